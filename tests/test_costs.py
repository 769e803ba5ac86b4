"""What each request costs, in function calls, which do not depend on the machine; ``make costs`` shows them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CEILINGS = {
    "body hash, 200": 59,
    "body hash, 304": 73,
    "version, 200": 60,
    "version, 304": 27,
    "version_column, 200": 62,
    "version_column, 304": 28,
    "content_hash, 200": 72,
    "content_hash, 304": 38,
    "content_hash, content_of, 200": 51,
    "Versioned, 200": 68,
    "Versioned, 304": 35,
    "guarded PUT": 188,
    "refused PUT": -294,
    "guarded PUT, content_hash": 499,
}
"""The most calls over those of the same view without Flask-ETag. Lower them when less is needed."""


def test_no_request_costs_more_than_it_did() -> None:
    """In a process of its own, where nobody else traces calls or has wrapped what is called."""
    program = (
        "from benchmarks.costs import counted, over_their_floors\n"
        "for name, calls in over_their_floors(counted()).items(): print(name, calls, sep=':')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    costs = {name: int(calls) for name, calls in (line.split(":") for line in ran.stdout.splitlines())}
    assert {name for name, ceiling in CEILINGS.items() if costs[name] > ceiling} == set(), costs
