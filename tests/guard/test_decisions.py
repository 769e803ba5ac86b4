"""Which refusals are told as races: those of requests whose first judgement had passed, and no others."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask, request
from sqlalchemy.exc import OperationalError

from flask_etag import Decision, content_hash, decided, require_if_match, resource
from flask_etag.batches import Item
from tests.world.application import World, dump
from tests.world.models import Note, Paper


@contextmanager
def listening(app: Flask) -> Iterator[list[Decision]]:
    told: list[Decision] = []

    def listen(sender: Flask, decision: Decision) -> None:
        told.append(decision)

    with decided.connected_to(listen, app):
        yield told


def test_a_stale_client_and_a_true_race_are_told_apart(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "flask_etag")
    etag = world.etag()
    with listening(world.app) as told:
        slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
        new = world.put("fast", if_match=etag).headers["ETag"]
        hold.released.set()
        assert slow.answer().status_code == 412
        assert world.put("stale", if_match=etag).status_code == 412
    accepted, raced, stale = told
    assert accepted == Decision("accepted", etag=new, sent=etag, resource="find_note")
    assert raced == Decision("refused", "stale", True, new, etag, "find_note")
    assert stale == Decision("refused", "stale", False, new, etag, "find_note")
    assert caplog.messages == [
        "accepted: PUT replace_note",
        "stale, raced: PUT replace_note",
        "stale: PUT replace_note",
    ]


def test_in_debug_mode_a_race_is_shown_on_its_answer(world_on: Callable[[str], str]) -> None:
    world = World(world_on("sqlite"), config={"DEBUG": True})
    world.put_view(replace_slowly(world))
    lost, fast = world.overtaken()
    world.close()
    assert lost.headers["ETag-Decision"] == "refused; reason=stale; raced; by=version"
    assert fast.headers["ETag-Decision"] == "accepted; by=version"


def replace_slowly(world: World) -> Callable[[Note], str]:
    def replace(note: Note) -> str:
        world.hold("before commit")
        note.body = "slow"
        world.db.session.commit()
        return "done"

    return replace


def test_a_row_without_a_version_is_raced_for_before_its_view(world: World) -> None:
    """Another writer commits between the judgement and the hold."""
    rivals = ["rival"]

    def dump_and_be_overtaken(paper: Paper) -> dict[str, object]:
        content = dump(paper)
        if rivals:
            world.write_elsewhere(rivals.pop())
        return content

    @resource(etag=content_hash(dump_and_be_overtaken))
    def find_overtaken(name: str) -> Paper | None:
        return world.db.session.get(Paper, name)

    def replace(paper: Paper) -> str:
        raise AssertionError("its view runs")

    world.put_paper_view(replace, find_overtaken)
    etag = world.paper_etag()
    with listening(world.app) as told:
        assert world.put("", "/other/plan", if_match=etag).status_code == 412
    assert told == [Decision("refused", "stale", True, world.paper_etag(), etag, "find_overtaken")]


def test_of_two_creations_the_loser_is_raced(world: World) -> None:
    with listening(world.app) as told:
        slow, hold = world.held(
            "before commit", lambda: world.put_paper("slow", "new", if_none_match="*", hold="before commit")
        )
        assert world.put_paper("fast", "new", if_none_match="*").status_code == 201
        hold.released.set()
        assert slow.answer().status_code == 412
        assert world.put_paper("late", "new", if_none_match="*").status_code == 412
    refused = [(each.reason, each.raced, each.sent) for each in told if each.outcome == "refused"]
    assert refused == [("exists", True, "*"), ("exists", False, "*")]


def test_a_busy_row_is_a_race_with_the_error_behind_it(
    world_on: Callable[[str], str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})
    etag = world.etag()
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with listening(world.app) as told:
        assert world.put("refused", if_match=etag).status_code == 409
    other.execute("ROLLBACK")
    other.close()
    world.close()
    [decision] = told
    assert (decision.outcome, decision.reason, decision.raced) == ("refused", "busy", True)
    assert isinstance(decision.cause, OperationalError)
    assert caplog.messages == ["busy, raced: PUT replace_note (OperationalError, OperationalError)"]


def test_a_file_that_is_locked_before_anything_is_read_is_no_race(
    world_on: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})
    etag = world.etag()
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with listening(world.app) as told:
        assert world.put("refused", if_match=etag).status_code == 409
    other.execute("ROLLBACK")
    other.close()
    world.close()
    [decision] = told
    assert (decision.outcome, decision.reason, decision.raced) == ("refused", "busy", False)


def test_of_several_items_each_that_is_refused_is_told(world: World) -> None:
    def each() -> list[Item]:
        return [(tag, {"note_id": 1}) for tag in request.get_json()]

    def replace_all(notes: list[Note]) -> str:
        raise AssertionError("its view runs")

    world.app.patch("/notes")(require_if_match(world.find_note, each=each)(replace_all))
    with listening(world.app) as told:
        answer = world.app.test_client().patch("/notes", json=[world.etag(), '"stale"'])
    assert answer.status_code == 412
    decision = told[-1]
    assert (decision.outcome, decision.reason, decision.raced, decision.sent) == ("refused", "stale", False, None)
    assert decision.items == [{"index": 1, "note_id": 1, "reason": "stale", "etag": world.etag()}]
