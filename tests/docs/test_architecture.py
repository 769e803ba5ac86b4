"""The page on the architecture names what there is."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def members_of_classes() -> dict[str, set[str]]:
    """Return the names that the classes of the package have, by the names of the classes."""
    members: dict[str, set[str]] = defaultdict(set)
    for path in (ROOT / "flask_etag").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for each in ast.walk(tree):
            if isinstance(each, ast.ClassDef):
                inner = list(ast.walk(each))
                members[each.name] |= {
                    part.name for part in inner if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                members[each.name] |= {part.attr for part in inner if isinstance(part, ast.Attribute)}
                members[each.name] |= {part.id for part in inner if isinstance(part, ast.Name)}
    return members


def test_each_method_that_the_page_names_is_there() -> None:
    members = members_of_classes()
    named = re.findall(r"`(\w+)\.(\w+)(?:\(\))?`", (ROOT / "docs" / "architecture.md").read_text())
    ours = [(name, member) for name, member in named if name in members]
    assert len(ours) > 10
    assert [f"{name}.{member}" for name, member in ours if member not in members[name]] == []


def test_each_module_has_its_line() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    lined = {name for line in page.splitlines() if line.startswith("|") for name in re.findall(r"`(\w+)`", line)}
    modules = {path.stem for path in (ROOT / "flask_etag").rglob("*.py")} - {"__init__", "__main__"}
    modules -= {path.stem for path in (ROOT / "flask_etag" / "torture").glob("*.py")}
    assert modules - lined == set()
