"""What the matrix complains about."""

from __future__ import annotations

import subprocess
import sys

from flask_etag.torture.history import Verdict
from tests import ROOT
from torture.matrix import Cell, Result, complaints


def complained(cell: Cell, *verdicts: Verdict, asked: int = 10) -> list[str]:
    return list(complaints(Result(cell, list(verdicts), 1), asked))


def test_a_cell_makes_as_many_states_as_were_asked_for() -> None:
    cell = Cell("SQLite", "versioned")
    assert complained(cell, Verdict(10, accepted=10)) == []
    assert complained(cell, Verdict(10, accepted=8, unknown=2)) == []
    assert complained(cell, Verdict(9, accepted=9)) == ["9 were accepted and 9 made, of 10"]
    assert complained(cell, Verdict(0, unknown=10)) == ["0 were accepted and 0 made, of 10"]
    assert complained(cell, Verdict(10, unknown=10)) == ["0 were accepted and 10 made, of 10"]
    assert complained(cell) == ["0 were accepted and 0 made, of 10"]


def test_a_batch_writes_two_counters_and_a_life_may_end_early() -> None:
    batch, life = Cell("SQLite", "versioned", "batch"), Cell("SQLite", "versioned", "life")
    one = Verdict(10, accepted=10)
    assert complained(batch, one, one) == []
    assert complained(batch, one) == ["10 were accepted and 10 made, of 20"]
    lives = [Verdict(4, accepted=4), Verdict(4, accepted=4)]
    assert complained(life, *lives) == []
    assert complained(life, lives[0]) == ["4 were accepted and 4 made, of 8"]


def test_a_pattern_that_no_cell_has_is_refused() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "torture.matrix", "--only", "Postgres typo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no cell has a name like 'Postgres typo'" in ran.stderr
    assert (ran.returncode, ran.stdout) == (2, "")
