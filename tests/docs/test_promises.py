"""Every promise names tests that exist, and every test that names a rule finds it in docs/promises.md."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PAGE = (ROOT / "docs" / "promises.md").read_text()
HEADING = re.compile(r"^### (P\d+|\d+\.\d+) ", re.MULTILINE)
CITATION = re.compile(r"^\* `(\w+)::(\w+)`$", re.MULTILINE)
NUMBER = re.compile(r"test_(p\d+|\d+(?:_\d+)+)(?=_|$)")


def rules_in(page: str) -> dict[str, str]:
    """Return the text below the heading of each promise and rule, by its number."""
    _, *parts = HEADING.split(page)
    numbers, texts = parts[::2], parts[1::2]
    twice = [number for number, count in Counter(numbers).items() if count > 1]
    assert not twice, f"has two meanings: {twice}"
    return dict(zip(numbers, texts, strict=True))


def functions_in(source: str) -> set[str]:
    """Return the names of the test functions and methods of a module."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def rule_of(test: str, rules: dict[str, str]) -> str | None:
    """Return the number of the rule that a test's name begins with; ``None`` where no rule has it.

    A longer number belongs to the nearest shorter one: ``test_13_2_1_`` to section 13.2.
    """
    match = NUMBER.match(test)
    assert match is not None
    parts = match[1].upper().split("_")
    known = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((number for number in known if number in rules), None)


RULES = rules_in(PAGE)
CITED = {number: CITATION.findall(text) for number, text in RULES.items()}


@cache
def modules() -> dict[Path, set[str]]:
    """Return the names of the test functions and methods of each module: to read them all takes a second."""
    return {path: functions_in(path.read_text()) for path in sorted((ROOT / "tests").rglob("test_*.py"))}


def test_there_are_eight_promises() -> None:
    assert [number for number in RULES if number.startswith("P")] == [f"P{number}" for number in range(1, 9)]


@pytest.mark.parametrize("number", RULES)
def test_every_promise_names_tests_that_exist(number: str) -> None:
    assert CITED[number], f"{number} is held by no test"
    for module, name in CITED[number]:
        homes = [path.stem for path, tests in modules().items() if name in tests]
        assert module in homes, f"{name} is in {' and '.join(homes)}" if homes else f"there is no {name}"


def test_every_test_that_is_named_is_looked_for() -> None:
    """A citation in any other form than that of a list's item would be looked for by nobody."""
    rules = HEADING.split(PAGE, maxsplit=1)[-1]
    assert re.findall(r"(\w+)::(\w+)", rules) == [citation for cited in CITED.values() for citation in cited]


def test_every_test_with_a_number_finds_its_rule() -> None:
    numbered = {name for tests in modules().values() for name in tests if NUMBER.match(name)}
    assert len(numbered) > 100
    assert sorted(name for name in numbered if rule_of(name, RULES) is None) == []


@pytest.mark.parametrize(
    ("test", "rule"),
    [
        ("test_2_5_a_busy_sqlite_file_is_409", "2.5"),
        ("test_13_2_1_p2_options_that_flask_answers_ignore_conditions", "13.2"),
        ("test_6585_3_an_unprotected_write_is_428", "6585.3"),
        ("test_p1_a_bulk_update_is_held_to_what_was_judged", "P1"),
        ("test_p9_what_nobody_promised", None),
        ("test_2_99_what_no_rule_says", None),
        ("test_1_1_1_what_is_finer_than_its_rule", "1.1"),
    ],
)
def test_a_number_is_that_of_its_rule(test: str, rule: str | None) -> None:
    assert rule_of(test, RULES) == rule


def test_a_number_that_two_rules_have_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"2\.5"):
        rules_in("### 2.5 One\n\n### 2.5 Another\n")
