"""Many clients on one record, and readers beside them: what ``make contention`` does at length."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_etag.torture.clients import Answer
from flask_etag.torture.history import Operation, Verdict
from torture.contention import KINDS, Result, contend


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_is_served_and_no_read_is_refused(tmp_path: Path, kind: str) -> None:
    result = contend("SQLite", f"sqlite:///{tmp_path / 'counters.db'}", kind, clients=4, accepted=10)
    assert list(result.complaints()) == []
    assert result.row().startswith(f"| SQLite | {kind} | 10 | ")


def test_whoever_is_not_served_is_told() -> None:
    write = Operation(0, 30, 1, writes=True)
    read = Answer("GET /counters/2", status=500, content=b"no connection", end=1)
    told = list(Result("SQLite | versioned", Verdict(made=0, unknown=1), [write], [read]).complaints())
    assert told == [
        "1 without an answer",
        "somebody waited for more than 20 seconds",
        "1 reads refused, e.g. GET /counters/2 was answered by 500: b'no connection'",
    ]
