"""The code blocks of the README and of the docs are tests; each document runs in a folder of its own."""

import os
from tempfile import TemporaryDirectory
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def enter_folder(namespace: dict[str, Any]) -> None:
    folder = TemporaryDirectory()
    namespace.update(__name__="example", folder=folder, before=os.getcwd())  # noqa: PTH109
    os.chdir(folder.name)


def leave_folder(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["before"])
    namespace["folder"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["*.md"], setup=enter_folder, teardown=leave_folder
).pytest()
