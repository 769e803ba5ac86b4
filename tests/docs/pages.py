"""The pages of the docs, as their readers copy them: the visible code, from top to bottom, in one file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper

from tests import ROOT

QUICKSTART = ROOT / "examples" / "notes" / "app.py"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shown(page: str, section: str | None = None) -> str:
    """Return the Python blocks of a page, or of one of its sections, each on the lines that it has there."""
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    start, end = 0, len(text)
    if section is not None:
        start = text.index(f"\n## {section}\n")
        end = text.find("\n## ", start + 1) % (len(text) + 1)
    source = ""
    for block in _BLOCK.finditer(text, start, end):
        line = text.count("\n", 0, block.start(1))
        source += "\n" * (line - source.count("\n")) + block[1]
    return source


def run(page: str, section: str | None = None) -> ModuleType:
    """Run what :func:`shown` returns, in the folder that is the current one.

    :param page: its name; or the path of a Python file, from the folder of the pages.
    :return: the module that the code makes.
    """
    is_file = page.endswith(".py")
    source = (ROOT / "docs" / page).read_text("utf-8") if is_file else shown(page, section)
    module = ModuleType(page.replace("-", "_"))
    code = compile(source, f"docs/{page}" if is_file else f"docs/{page}.md", "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - ours
    return module


def give_quickstart(folder: Path) -> None:
    """Put the quickstart's file into a folder, since some pages go on from it."""
    shutil.copyfile(QUICKSTART, folder / "app.py")


def close(values: Iterable[object]) -> None:
    """Close the databases of those of a page's values that are applications, and let go of those that are models.

    Otherwise a model that waits for another to be configured may stay when that one is gone already, and the next
    ``configure_mappers()``, which is of all models, fails.
    """
    for value in values:
        if isinstance(value, Flask) and isinstance(db := value.extensions.get("sqlalchemy"), SQLAlchemy):
            with value.app_context():
                db.session.remove()
                for engine in db.engines.values():
                    engine.dispose()
        mapper: object = inspect(value, raiseerr=False) if isinstance(value, type) else None
        if isinstance(mapper, Mapper):
            mapper.registry.dispose(cascade=True)
