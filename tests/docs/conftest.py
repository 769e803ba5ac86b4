from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

from tests.docs import creating_once, dry_runs, pages


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """A function that runs a page, or a section or file, in an empty folder, and returns what it defines."""
    monkeypatch.chdir(tmp_path)
    made: list[ModuleType] = []

    def run(name: str, section: str | None = None) -> ModuleType:
        made.append(pages.run(name, section))
        for app in vars(made[-1]).values():
            if isinstance(app, Flask):
                app.testing = True
        return made[-1]

    yield run
    for defined in made:
        pages.close(vars(defined).values())


# The recipes that the page on lost answers, and that on dry runs, include, on each kind of database.


def served(recipe: Any, url: str) -> Iterator[Flask]:
    app: Flask = recipe.create_app(url)
    app.testing = True
    with app.app_context():
        recipe.Base.metadata.create_all(recipe.db.engine)
    yield app
    with app.app_context():
        recipe.db.session.rollback()
        recipe.Base.metadata.drop_all(recipe.db.engine)
        recipe.db.engine.dispose()


@pytest.fixture
def dry(empty_url: str) -> Iterator[Flask]:
    yield from served(dry_runs, empty_url)


@pytest.fixture
def creating(empty_url: str) -> Iterator[Flask]:
    yield from served(creating_once, empty_url)
