"""The applications in examples/, served, and asked by the commands of the pages that show them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.release import console

DOCS = ROOT / "docs"
INSTALLS = ("python3 -m venv", ". .venv", "pip install")  # tests/release does that, where nothing is installed


@pytest.mark.parametrize(
    ("example", "page", "section"),
    [
        ("notes", "quickstart", ""),
        ("dictionary", "examples", "A dictionary and a lock"),
        ("smorest", "examples", "flask-smorest and Alembic"),
    ],
)
def test_an_example_answers_as_its_page_says(example: str, page: str, section: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / example, tmp_path, dirs_exist_ok=True)
    commands = [
        command
        for command in console.commands_of(DOCS / f"{page}.md", section)
        if not command.startswith(INSTALLS)
    ]
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    printed = console.run(commands, tmp_path, {"PATH": path})
    assert any("# 412" in command and '"reason": "stale"' in output for command, output in printed)


def test_all_examples_are_tried() -> None:
    assert {path.name for path in (ROOT / "examples").iterdir()} == {"notes", "dictionary", "smorest"}


def test_the_page_shows_every_file_of_the_examples() -> None:
    shown = "".join(page.read_text("utf-8") for page in (DOCS / "quickstart.md", DOCS / "examples.md"))
    for path in (ROOT / "examples").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in shown
