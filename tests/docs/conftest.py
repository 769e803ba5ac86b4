from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask

from tests.docs import pages


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """A function that runs a page, or a section of one, in an empty folder, and returns what it defines."""
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
