"""No request costs more processor instructions than it did; ``make instructions`` shows and writes them down."""

from __future__ import annotations

import shutil

from benchmarks.instructions import SLACK, instructions, ratios, written_down
from tests.servers import unavailable


def test_no_request_costs_more_instructions_than_it_did() -> None:
    if shutil.which("valgrind") is None:
        unavailable("valgrind", "apt-get install valgrind")
    before, now = written_down(), ratios(instructions())
    assert now.keys() == before.keys()
    assert {name: ratio for name, ratio in now.items() if ratio > before[name] + SLACK} == {}, now
