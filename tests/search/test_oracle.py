"""The oracle, fed with guards that are broken on purpose, and with evidence that is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from random import Random
from typing import Any

import pytest
from flask import abort, make_response, request

from flask_etag.resources import Resource
from search.compose import compose
from search.databases import opened
from search.known import KNOWN
from search.oracle import Evidence, judge
from search.outcomes import RIVAL, VIEW, Again, Change, Mishap, Outcome, RivalOutcome
from search.shrink import shrunk
from search.steps import BLOCKS, STEPS, Step, heads
from search.trial import Trial, outcomes
from search.world import World

TAG, OTHER_TAG = '"one"', '"two"'
MINE, THEIRS = Change(VIEW, "note", "U", "a", "v1"), Change(RIVAL, "note", "U", "a", "r1")
STALE = Mishap("StaleDataError", "", is_refusal=True)
LOCKED = Mishap("OperationalError", "database is locked", is_of_commit=True)
OLDER = Mishap("StaleDataError", "Version id on merged state does not match", is_refusal=True)
MY_SIBLING, THEIR_SIBLING = replace(MINE, is_of_sibling=True), replace(THEIRS, is_of_sibling=True)
BROKEN = Mishap("PendingRollbackError", "")
READER = RivalOutcome("reads", 200)
COMMITTED, AFTERWARDS = RivalOutcome("put", 200, 0, "r1"), RivalOutcome("put fresh", 200, 1, "r1")

pytestmark = pytest.mark.filterwarnings("ignore")  # what SQLAlchemy warns of, the views do on purpose


def comparing_only(find: Resource[[], Any], create: bool = False) -> Callable[..., Any]:
    """Compare, then write: what most applications do by hand."""

    def decorate(view: Callable[[Any], Any]) -> Callable[[], Any]:
        @wraps(view)
        def guarded() -> Any:
            found = find()
            if found is None and not create:
                abort(404)
            if found is not None and request.headers.get("If-None-Match") == "*":
                abort(412)
            sent = request.headers.get("If-Match", "*")
            if found is not None and sent not in ("*", str(find.etag_of(found))):
                abort(412)
            answer = make_response(view(found))
            if found is not None:
                answer.headers["ETag"] = sent  # as if nothing had changed
            return answer

        return guarded

    return decorate


@pytest.fixture(scope="module")
def unguarded() -> Iterator[World]:
    with opened(["sqlite, wal"]) as (database,):
        world = World(database, protect=comparing_only)
        yield world
        world.close()


def broken(world: World, **trial: Any) -> set[str]:
    made = Trial("sqlite, wal", **trial)
    return {violation.rule for violation in judge(Evidence(made, *outcomes(world, made)))}


@pytest.mark.parametrize(
    ("trial", "rule"),
    [
        ({"kind": "hashed", "steps": ["rival put", "set num", "commit"]}, "lost update"),
        ({"kind": "hashed", "steps": ["rival delete", "add", "commit"], "form": "star"}, "lost update"),
        ({"steps": ["rival put", "bulk update", "commit"]}, "lost update"),
        ({"steps": ["bulk update", "commit"]}, "the tag has not moved"),
        ({"steps": ["rival put", "set text", "commit"]}, "5xx"),
        ({"steps": ["set text", "commit"]}, "the tag of another state"),
        ({"steps": ["delete", "commit"]}, "the tag of what is gone"),
        (
            {"steps": ["rival put", "set text", {"try SQLAlchemyError rollback": ["commit"]}]},
            "accepted, and its write is nowhere",
        ),
        (
            {"kind": "hashed", "form": "create", "steps": ["rival create", "upsert update", "commit"]},
            "lost update",
        ),
        ({"steps": ["rival put", "other add", "commit"]}, "other rows were written by a state that was gone"),
    ],
)
def test_a_guard_that_only_compares_is_found(unguarded: World, trial: dict[str, Any], rule: str) -> None:
    assert rule in broken(unguarded, **trial)


def test_a_few_views_by_chance_are_enough_for_that(unguarded: World) -> None:
    missing = {"lost update", "the tag of another state"}
    for number in range(60):
        trial = compose(Random(f"1/{number}"), unguarded)  # noqa: S311
        missing -= {violation.rule for violation in judge(Evidence(trial, *outcomes(unguarded, trial)))}
        if not missing:
            return
    pytest.fail(f"not found: {missing}")


def test_what_is_found_is_made_as_short_as_it_can_be(unguarded: World) -> None:
    steps: list[Step] = ["query", {"savepoint commit": ["rival put", "other add"]}, "set num", "flush", "commit"]
    long = Trial("sqlite, wal", "decimal", steps=steps, loader="select", ending="204", expire=False)

    def fails(trial: Trial) -> bool:
        return "lost update" in {
            violation.rule for violation in judge(Evidence(trial, *outcomes(unguarded, trial)))
        }

    assert shrunk(long, fails) == Trial("sqlite, wal", "hashed", steps=["rival put", "set text", "commit"])


def evidence(outcome: Outcome, control: Outcome | None = None, **trial: Any) -> Evidence:
    return Evidence(Trial(**trial), outcome, control or Outcome(200, changes=[MINE]))


@pytest.mark.parametrize(
    ("found", "rule"),
    [
        (evidence(Outcome(200, changes=[THEIRS, MINE], rivals=[COMMITTED])), "lost update"),
        (evidence(Outcome(404, changes=[THEIRS, MINE], rivals=[COMMITTED])), "lost update"),
        (evidence(Outcome(200, changes=[MINE, THEIRS], rivals=[COMMITTED])), "lost update"),
        (evidence(Outcome(412, reason="stale", changes=[MINE])), "refused, and the target was written"),
        (evidence(Outcome(412, reason="stale")), "refused, and there was nobody"),
        (evidence(Outcome(404, reason=None)), "answered otherwise"),
        (evidence(Outcome(500)), "5xx"),
        (evidence(Outcome(200, rows={"other": ["a"]})), "other rows are not as they would be"),
        (evidence(Outcome(200, last_content="a")), "the target is not as it would be"),
        (evidence(Outcome(200, seconds=60)), "somebody hangs"),
        (evidence(Outcome(200, runs=2)), "the view ran twice"),
        (evidence(Outcome(200, rivals=[RivalOutcome("put", 500)])), "the rival's 5xx"),
        (
            evidence(Outcome(200, swallowed=[STALE], changes=[THEIRS], rivals=[COMMITTED])),
            "accepted, and its write is nowhere",
        ),
        (
            evidence(Outcome(412, reason="stale", rivals=[RivalOutcome("put", 409)])),
            "412, and nobody has changed the target",
        ),
        (
            evidence(Outcome(409, reason="conflict", rivals=[COMMITTED], changes=[THEIRS]), form="unprotected"),
            "refused, where nothing protects",
        ),
        (
            evidence(Outcome(200, rivals=[RivalOutcome("put", 412)], last_content="a", changes=[MINE])),
            "accepted, and half of it is lost",
        ),
        (evidence(Outcome(200, etag=OTHER_TAG, first_etag=TAG, last_etag=TAG)), "the tag of another state"),
        (evidence(Outcome(200, etag=TAG, last_status=404)), "the tag of what is gone"),
        (evidence(Outcome(500, error=Mishap("KeyError", "", is_ours=True)), Outcome(500)), "5xx of our own"),
        (evidence(Outcome(409, reason="partial", rivals=[COMMITTED])), "partial, and nothing was committed"),
        (evidence(Outcome(200, swallowed=[LOCKED], rivals=[READER])), "accepted, and its write is nowhere"),
        (
            evidence(Outcome(200, changes=[THEIR_SIBLING, MY_SIBLING], rivals=[COMMITTED]), form="batch"),
            "lost update",
        ),
        (evidence(Outcome(200, changes=[MINE], again=Again(412))), "not known again"),
        (evidence(Outcome(200, changes=[MINE], again=Again(200, runs=1, changed=True))), "done twice"),
        (evidence(Outcome(412, changes=[THEIRS], again=Again(204))), "taken for done"),
        (evidence(Outcome(400, again=Again(200))), "taken for done"),
        (
            evidence(Outcome(200, changes=[MINE], again=Again(200, changed=True))),
            "what comes again is written again",
        ),
    ],
)
def test_each_rule_sees_what_it_is_for(found: Evidence, rule: str) -> None:
    assert rule in {violation.rule for violation in judge(found)}


@pytest.mark.parametrize(
    "found",
    [
        evidence(Outcome(200, etag=OTHER_TAG, first_etag=TAG, last_etag=OTHER_TAG, changes=[MINE])),
        evidence(Outcome(412, reason="stale", changes=[THEIRS], rivals=[COMMITTED])),
        evidence(Outcome(409, reason="partial", changes=[MINE, THEIRS], rivals=[AFTERWARDS])),
        evidence(Outcome(409, reason="busy", rivals=[RivalOutcome("put", 412)])),
        evidence(Outcome(500, error=Mishap("RuntimeError", "Commit first.", is_advice=True))),
        evidence(Outcome(200, changes=[THEIRS, MINE], rivals=[COMMITTED]), form="unprotected"),
        evidence(Outcome(200, etag=TAG, last_etag=OTHER_TAG, changes=[MINE, THEIRS], rivals=[AFTERWARDS])),
        evidence(Outcome(200, changes=[THEIR_SIBLING, MINE], rivals=[RivalOutcome("sibling", 200)]), form="batch"),
        evidence(Outcome(200, etag=OTHER_TAG, first_etag=TAG, last_etag=TAG, is_pending=True), Outcome(200)),
        evidence(Outcome(200, swallowed=[LOCKED], rivals=[READER], changes=[MINE])),
        evidence(Outcome(409, reason="busy"), Outcome(200, swallowed=[LOCKED])),
        evidence(Outcome(500, failed_later=True, error=STALE), Outcome(404), ending="abort 404", later=True),
        evidence(Outcome(412, reason="stale"), early="unsent"),
        evidence(Outcome(500, error=OLDER)),
        evidence(Outcome(500, error=OLDER, rivals=[RivalOutcome("put", 412)])),
        evidence(Outcome(409, reason="busy", rivals=[COMMITTED, READER]), form="unprotected"),
        evidence(Outcome(500, failed_later=True, error=BROKEN, rivals=[COMMITTED]), form="reading", later=True),
        evidence(Outcome(200, last_content="a"), steps=["delete add", "add"]),
        evidence(Outcome(200, changes=[MINE], again=Again(200))),
        evidence(Outcome(200, changes=[MINE, THEIRS], rivals=[AFTERWARDS], again=Again(412))),
        evidence(Outcome(200, changes=[MINE], last_status=404, again=Again(404))),
        evidence(
            Outcome(200, etag=OTHER_TAG, first_etag=TAG, last_etag=OTHER_TAG, again=Again(200)), Outcome(200)
        ),
    ],
)
def test_what_is_right_is_no_finding(found: Evidence) -> None:
    assert judge(found) == []


def test_whatever_was_found_by_hand_is_made_of_steps() -> None:
    for trial in KNOWN.values():
        assert {head.split()[0] for head in heads(trial.steps)} <= {*STEPS, *BLOCKS}
        assert Trial.from_json(trial.to_json()) == trial
