"""The code blocks of the README and of the docs are tests; each document runs in a folder of its own."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.docs import pages


def enter_folder(namespace: dict[str, Any]) -> None:
    folder = TemporaryDirectory()
    namespace.update(__name__="example", folder=folder, before=os.getcwd())  # noqa: PTH109
    pages.give_quickstart(Path(folder.name))
    sys.path.insert(0, folder.name)
    os.chdir(folder.name)


def leave_folder(namespace: dict[str, Any]) -> None:
    pages.close(namespace.values())
    os.chdir(namespace["before"])
    sys.path.remove(namespace["folder"].name)
    sys.modules.pop("app", None)
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["*.md"],
    # What these define can be defined once in a process, and tests/docs/test_pages.py does so.
    excludes=["docs/history.md", "docs/models.md"],
    setup=enter_folder,
    teardown=leave_folder,
).pytest()
