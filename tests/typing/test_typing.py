"""mypy and pyright, as strict as they can be, refuse the lines of tests/typing that say so, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

FILES = sorted((ROOT / "tests" / "typing").glob("*.py"))
REFUSED = "  # refused"


def mypy() -> list[dict[str, Any]]:
    answer = _run("-m", "mypy", "--strict", "--output=json")
    return [json.loads(line) for line in answer.splitlines()]


def pyright() -> list[dict[str, Any]]:
    found = json.loads(_run("-m", "pyright", "--outputjson", "--pythonpath", sys.executable))
    return [
        {**one, "line": one["range"]["start"]["line"] + 1} for one in found["generalDiagnostics"] if "range" in one
    ]


@pytest.mark.parametrize("check", [mypy, pyright])
def test_the_lines_that_are_refused_are_those_that_are_marked(check: Any) -> None:
    refused = {
        (Path(one["file"]).name, one["line"]): one["message"] for one in check() if one["severity"] == "error"
    }
    marked = {
        (file.name, number)
        for file in FILES
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith(REFUSED)
    }
    assert len(marked) > 40
    accepted = marked - refused.keys()
    assert not accepted, f"marked, and accepted: {sorted(accepted)}"
    unmarked = {place: message for place, message in refused.items() if place not in marked}
    assert not unmarked, f"refused, and not marked: {unmarked}"


def _run(*command: str) -> str:
    """Run a checker on all the files, from the root of the project, so that it reads this flask_etag."""
    completed = subprocess.run(
        [sys.executable, *command, *map(str, FILES)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1, completed.stderr or completed.stdout
    return completed.stdout
