"""The sample app on a database of the tests, and what is said to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from sample_app import create_app

POT = {"name": "Blue pot", "description": "It is blue.", "price": "9.90", "stock": 3}
MEMO = {"body": "Buy clay.", "edits": 1}

NEW = {"If-None-Match": "*"}


@contextmanager
def opened(url: str) -> Iterator[FlaskClient]:
    """Open the shop on a database; yield a client of it."""
    shop_app = create_app({"SQLALCHEMY_DATABASE_URI": url, "TESTING": True})
    yield shop_app.test_client()
    engine_of(shop_app).dispose()


def engine_of(app: Flask) -> Engine:
    with app.app_context():
        engine: Engine = app.extensions["sqlalchemy"].engine
    return engine
