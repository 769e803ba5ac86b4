"""What each request costs, in function calls, which do not depend on the machine; ``make costs`` shows them."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT

MEASURED = {
    "body hash, 200": 57,
    "body hash, 304": 72,
    "version, 200": 63,
    "version, 304": 29,
    "version_column, 200": 65,
    "version_column, 304": 31,
    "content_hash, 200": 75,
    "content_hash, 304": 41,
    "content_hash, content_of, 200": 60,
    "Versioned, 200": 83,
    "Versioned, 304": 39,
    "guarded PUT": 303,
    "refused PUT": -259,
    "guarded PUT, content_hash": 925,
}
"""The calls over those of the same view without Flask-ETag, when they were last looked at."""


def alarm(calls: int) -> float:
    """Return how many calls are too many: to extract a function is no fire, and to do something twice is one."""
    return calls + 0.15 * abs(calls) + 10


def test_no_request_costs_much_more_than_it_did() -> None:
    """In a process of its own, where nobody else traces calls or has wrapped what is called."""
    program = (
        "from benchmarks.costs import counted, over_their_floors\n"
        "for name, calls in over_their_floors(counted()).items(): print(name, calls, sep=':')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    costs = {name: int(calls) for name, calls in (line.split(":") for line in ran.stdout.splitlines())}
    assert {name for name, calls in MEASURED.items() if costs[name] > alarm(calls)} == set(), costs
