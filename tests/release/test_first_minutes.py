"""A newcomer's first minutes: what the pages show, and no more, in an empty environment with the wheel."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.release import console

EXAMPLES = ROOT / "examples"


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
    printed = dict(console.run(console.commands_of(page), folder, environment))
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
