"""A process that adds marks of its own to a document: ``python -m tests.torture.updating URL NAME COUNT``."""

from __future__ import annotations

import os
import sys
from typing import Any

import requests
from flask import Flask

from flask_etag.client import create, update
from tests.client.papers import create_app as papers

PATH = "/papers/marks"


def create_app() -> Flask:
    """Return papers, one of which has no marks yet."""
    app = papers(os.environ["TORTURE_DATABASE"])
    create(app.test_client(), PATH, {"marks": []})
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
    return app


def add(url: str, name: str, count: int) -> None:
    """Add marks, one by one; print each that is said to be there."""
    with requests.Session() as session:
        for number in range(count):
            mark = f"{name}-{number}"

            def change(content: dict[str, Any], mark: str = mark) -> None:
                if mark not in content["marks"]:
                    content["marks"].append(mark)

            update(session, url, change, attempts=10_000, deadline=600)
            sys.stdout.write(f"{mark}\n")


if __name__ == "__main__":
    add(sys.argv[1], sys.argv[2], int(sys.argv[3]))
