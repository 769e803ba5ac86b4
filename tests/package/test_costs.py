"""What each request costs, in function calls, which do not depend on the machine; ``make costs`` shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

from benchmarks.page import told
from benchmarks.shares import STEPS
from tests import ROOT

MEASURED = {
    "body hash, 200": 36,
    "body hash, 304": 47,
    "version, 200": 39,
    "version, 304": 2,
    "version_column, 200": 35,
    "version_column, 304": -2,
    "content_hash, 200": 48,
    "content_hash, 304": 11,
    "content_hash, content_of, 200": 30,
    "Versioned, 200": 60,
    "Versioned, 304": 9,
    "guarded PUT": 284,
    "refused PUT": -259,
    "guarded PUT, content_hash": 704,
}
"""The calls over those of the same view without Flask-ETag, when they were last looked at."""


def alarm(calls: int) -> float:
    """Return how many calls are too many: to extract a function is no fire, and to do something twice is one."""
    return calls + 0.15 * abs(calls) + 10


@cache
def counted() -> Any:
    """Count in a process of its own, where nobody else traces calls or has wrapped what is called."""
    program = """
import json
from benchmarks.costs import counted, over_their_floors
from benchmarks.shares import shares, shown
found = shares()
calls = {name: {step: share.calls for step, share in each.items()} for name, each in found.items()}
print(json.dumps({"over": over_their_floors(counted()), "shares": calls, "shown": shown(found)}))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_no_request_costs_much_more_than_it_did() -> None:
    costs = counted()["over"]
    assert {name for name, calls in MEASURED.items() if costs[name] > alarm(calls)} == set(), costs


def test_what_each_promise_costs_adds_up_to_what_the_request_does() -> None:
    for request, shares in counted()["shares"].items():
        assert sum(shares.values()) == counted()["over"][request]
        assert all(shares[step.what] > 0 for step in STEPS)


def test_the_docs_say_what_each_promise_costs() -> None:
    """As well as a smoke alarm can tell: ``make costs WRITE=1`` writes it."""
    before, now = (rows_of(text) for text in (told("what each promise costs"), counted()["shown"]))
    assert before.keys() == now.keys()
    for what, known in before.items():
        assert len(known) == len(now[what]), what
        for was, calls in zip(known, now[what], strict=True):
            assert abs(calls - was) <= alarm(was) - was, (what, known, now[what])


def rows_of(text: str) -> dict[str, list[int]]:
    """Return the figures of each row of a table, by what its first cell says."""
    rows = [row.strip("| ").split(" | ") for row in text.splitlines()[2:]]
    return {row[0]: [int(cell) for cell in row[2:] if cell.strip()] for row in rows}
