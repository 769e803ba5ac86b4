"""A newcomer's first minutes: what the pages show, and no more, in an empty environment with the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ROOT
from tests.docs import pages
from tests.release import console

EXAMPLES = ROOT / "examples"
TESTING = ROOT / "docs" / "testing.md"


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """An environment whose pip takes Flask-ETag from the wheel, and whose ``python3`` is this one's."""
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(python)
    kept = {
        key: os.environ[key] for key in ("HOME", "LANG", "PIP_CONFIG_FILE", "PIP_INDEX_URL") if key in os.environ
    }
    return {
        **kept,
        "PATH": f"{tmp_path / 'bin'}:{os.defpath}:/usr/local/bin:/usr/bin:/bin",
        "PIP_FIND_LINKS": str(wheel.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_QUIET": "1",
    }


def test_the_quickstart_runs_as_it_is_shown(environment: dict[str, str], tmp_path: Path) -> None:
    page = ROOT / "docs" / "quickstart.md"
    [shown] = re.findall(r"^```\{literalinclude\} \.\./(\S+)", page.read_text("utf-8"), re.MULTILINE)
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "app.py").write_text((ROOT / shown).read_text("utf-8"))
    commands = [*console.commands_of(page), ". .venv/bin/activate", *console.commands_of(TESTING)]
    printed = dict(console.run(commands, folder, environment))
    [counted] = [output for command, output in printed.items() if "flask_etag.testing" in command]
    assert counted in TESTING.read_text("utf-8")
    [refusal] = [output for command, output in printed.items() if "# 412" in command]
    problem = page.read_text("utf-8").partition("```json\n")[2].partition("```")[0]
    for member in re.findall(r'"(?:type|title|detail|reason)": "[^"]*"', problem):
        assert member in refusal


def test_the_readme_shows_the_example_whole() -> None:
    [shown] = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    whole = (EXAMPLES / "notes" / "app.py").read_text("utf-8").partition("\n\n")[2]
    assert shown == whole.replace("\n\n\n", "\n\n")  # a page has less room than a file


def test_the_readme_s_requests_are_answered_as_it_says(
    environment: dict[str, str], wheel: Path, tmp_path: Path
) -> None:
    app = tmp_path / "shop"
    shutil.copytree(ROOT / "sample_app", app / "sample_app", ignore=shutil.ignore_patterns("__pycache__"))
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["run"]
    install = f"pip install 'Flask-ETag[sqlalchemy]' {' '.join(map(repr, needs))}"
    start = ["python3 -m venv .venv", ". .venv/bin/activate", install, "flask run"]
    console.run(
        [*start, *console.commands_of(ROOT / "README.md")], app, {**environment, "FLASK_APP": "sample_app"}
    )


BESIDES = (  # what some pages are about
    "Flask-Caching",
    "Flask-Compress",
    "Flask-SQLAlchemy",
    "Flask-RESTX",
    "PyMySQL",
    "SQLAlchemy-Continuum",
    "dogpile.cache",
    "hishel[httpx2]",
    "hypothesis",
    "marshmallow-sqlalchemy",
    "pytest",
    "sqlmodel",
)


def test_each_page_runs_where_nothing_else_is(environment: dict[str, str], tmp_path: Path) -> None:
    """One environment for all pages: the wheel, and the libraries that they are about."""
    install = f"pip install 'Flask-ETag[sqlalchemy]' {' '.join(map(repr, BESIDES))}"
    console.run(["python3 -m venv .venv", ". .venv/bin/activate", install], tmp_path, environment)
    tried = 0
    for path in sorted((ROOT / "docs").glob("*.md")):
        if source := pages.shown(path.stem):
            folder = tmp_path / path.stem
            folder.mkdir()
            pages.give_quickstart(folder)
            (folder / "page.py").write_text(source)
            ran = subprocess.run(
                [tmp_path / ".venv" / "bin" / "python", "page.py"],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, (path.stem, ran.stderr)
            tried += 1
    assert tried > 15
