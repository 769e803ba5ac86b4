"""Under fire, over several processes, the decisions add up to what the clients were answered."""

from __future__ import annotations

import json
from collections import Counter
from math import inf
from pathlib import Path
from typing import Any

import pytest

from flask_etag.torture.clients import Plan, collide
from flask_etag.torture.history import Operation, State, judge
from torture.servers import serving

ACCEPTED = 30


def tortured(url: str, kind: str, told: Path) -> tuple[list[Operation], list[dict[str, Any]], State, State]:
    """Let clients collide; return what they saw, what was decided, and the states before and after."""
    with serving(
        "tests.torture.observed:create_app()", database=url, kind=kind, decisions=str(told), slow="0.005"
    ) as server:
        told.write_text("")  # the reads that waited for the server
        histories = collide(Plan([server.url], ACCEPTED, nonce="writer"))
        decisions = [json.loads(line) for line in told.read_text().splitlines()]
        last = server.state()
    return histories["/counters/1"], decisions, server.first, last


def ends_of_states(operations: list[Operation]) -> dict[str, float]:
    """Return by when each state had ended for sure, by its tag: when the answer to its replacement was there."""
    return {each.base: each.end for each in operations if each.writes and each.accepted and each.base is not None}


@pytest.mark.parametrize("kind", ["versioned", "unversioned"])
def test_the_decisions_are_the_answers_and_the_races_are_what_the_judge_knows(
    empty_url: str, kind: str, tmp_path: Path
) -> None:
    operations, decisions, first, last = tortured(empty_url, kind, tmp_path / "decisions")
    verdict = judge(operations, first, last)
    assert verdict.problems == []

    outcomes = Counter(each["outcome"] for each in decisions)
    answered = Counter(
        ("accepted" if each.writes else "served") if each.accepted else "refused" for each in operations
    )
    assert outcomes == answered
    assert outcomes["accepted"] == verdict.accepted
    assert outcomes["refused"] == verdict.refused + verdict.conflicts
    assert len({each["process"] for each in decisions}) > 1

    # Who was sent when its base had been replaced for sure is stale, and nobody else may be told as raced.
    ends = ends_of_states(operations)
    refused = [each for each in operations if each.writes and not each.accepted]
    surely_stale = [each for each in refused if each.start > ends.get(each.base or "", inf)]
    raced = [each for each in decisions if each["raced"]]
    assert 0 < len(raced) <= len(refused) - len(surely_stale)
    for each in raced:
        asked = [one for one in refused if one.base == each["sent"] and one.start <= each["at"] <= one.end]
        assert any(one not in surely_stale for one in asked), each
    # It raced if, and only if, what was loaded for it at first had the tag that it sent.
    told = [each for each in decisions if each["outcome"] == "refused"]
    assert [each for each in told if each["raced"] != (each["judged_first"] == each["sent"])] == []
    if kind == "versioned":  # whose view has run by then
        assert [each for each in told if each["raced"] != each["has_run"]] == []
