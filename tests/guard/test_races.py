"""Two writers at once, on real connections: rules 2.1, 2.4, 2.5, 2.6, 2.7 and 2.8.

What holds a request is an event in its own view, between the check and the commit, or after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Response, request
from sqlalchemy import text

from tests.world.application import World
from tests.world.models import Comment, Note
from tests.world.racing import Racer, in_thread


def test_2_1_of_two_that_pass_the_check_with_one_tag_one_commits(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    fast = world.put("fast", if_match=etag)
    hold.released.set()

    assert fast.status_code == 200
    lost = slow.answer()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"] == world.etag()
    assert lost.json is not None
    assert lost.json["reason"] == "stale"
    assert lost.json["etag"] == fast.headers["ETag"]
    assert world.body() == "fast"


def test_2_1_the_loser_can_repeat_with_the_tag_of_the_winner(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    world.put("fast", if_match=etag)
    hold.released.set()

    assert world.put("slow", if_match=slow.answer().headers["ETag"]).status_code == 200
    assert world.body() == "slow"


def test_2_4_a_stale_deletion_loses(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.delete(if_match=etag, hold="before commit"))
    assert world.put("fast", if_match=etag).status_code == 200
    hold.released.set()

    assert slow.answer().status_code == 412
    assert world.body() == "fast"


def test_2_4_an_update_of_what_was_deleted_meanwhile_is_404(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    assert world.delete(if_match=etag).status_code == 204
    hold.released.set()

    assert slow.answer().status_code == 404
    assert world.get().status_code == 404


def test_2_6_a_third_writer_does_not_leak_its_tag_into_the_answer(world: World) -> None:
    second, hold = world.held(
        "after commit", lambda: world.put("second", if_match=world.etag(), hold="after commit")
    )
    third = world.put("third", if_match=world.etag())
    assert third.status_code == 200
    hold.released.set()

    answer = second.answer()
    assert answer.status_code == 200
    assert answer.headers["ETag"] != third.headers["ETag"]
    assert world.put("overwritten", if_match=answer.headers["ETag"]).status_code == 412
    assert world.body() == "third"


def test_2_6_the_tag_of_a_write_is_the_tag_of_the_next_read(world: World) -> None:
    answer = world.put("second", if_match=world.etag())
    assert answer.headers["ETag"] == world.etag()
    assert world.get(if_none_match=answer.headers["ETag"]).status_code == 304


def test_2_7_a_view_that_leaves_its_commit_to_later_is_refused_in_time(world: World) -> None:
    def leave_dirty(note: Note) -> str:
        world.hold("before commit")
        note.body = "slow"
        return "done"

    @world.app.after_request
    def commit(response: Response) -> Response:
        if response.status_code == 200:
            world.db.session.commit()
        return response

    world.put_view(leave_dirty)
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert world.body() == "fast"

    answer = world.put("", "/other/1", if_match=fast.headers["ETag"])
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag()
    assert world.body() == "slow"


def test_2_8_a_view_that_has_committed_and_then_meets_another_writer_is_409(world: World) -> None:
    def commit_twice(note: Note) -> str:
        note.body = "once"
        world.db.session.commit()
        world.hold("before commit")
        note.body = "twice"
        world.db.session.commit()
        return "done"

    world.put_view(commit_twice)
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=world.etag(), hold="before commit")
    )
    assert world.put("fast", if_match=world.etag()).status_code == 200
    hold.released.set()

    assert slow.answer().status_code == 409
    assert world.body() == "fast"


def test_2_8_who_has_committed_a_part_is_told_so(world: World) -> None:
    def commit_twice(note: Note) -> str:
        note.body = "once"
        world.db.session.commit()
        in_thread(lambda: world.put("fast", if_match=world.etag()))
        note.body = "twice"
        world.db.session.commit()
        return "done"

    world.put_view(commit_twice)
    refused = world.put("", "/other/1", if_match=world.etag())
    assert refused.status_code == 409
    assert refused.headers["Cache-Control"] == "no-store"
    assert refused.get_json()["reason"] == "partial"
    assert world.body() == "fast"


def test_2_1_a_view_that_lets_go_of_what_was_judged_is_held_to_it(world: World) -> None:
    """A commit expires the object, and what is loaded next is another writer's: it is not to be overwritten."""

    def commit_something_else_first(note: Note) -> str:
        world.db.session.add(Comment(body=f"somebody was here {uuid4()}"))
        world.db.session.commit()
        world.hold("before commit")
        note.body = "slow"
        world.db.session.commit()
        return "done"

    world.put_view(commit_something_else_first)
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"]
    assert world.body() == "fast"

    answer = world.put("", "/other/1", if_match=fast.headers["ETag"])
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag()


@pytest.mark.parametrize("let_go", ["refresh", "rollback", "expire"])
def test_2_1_a_view_that_loads_the_winner_s_state_does_not_overwrite_it(world: World, let_go: str) -> None:
    def load_again(note: Note) -> str:
        world.hold("before commit")
        if let_go == "rollback":
            world.db.session.rollback()
        else:
            getattr(world.db.session, let_go)(note)
        note.body += " and slow"
        world.db.session.commit()
        return "done"

    world.put_view(load_again)
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"]
    assert world.body() == "fast"
    assert world.put("", "/other/1", if_match=fast.headers["ETag"]).status_code == 200


def test_2_1_a_view_may_set_the_next_version_itself(world: World) -> None:
    def set_version(note: Note) -> str:
        note.version = str(uuid4())
        note.body = "second"
        world.db.session.commit()
        return "done"

    world.put_view(set_version)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag() != etag


def test_2_1_a_view_that_finds_its_object_deleted_is_refused(world: World) -> None:
    def let_go_and_look(note: Note) -> str:
        world.db.session.rollback()
        world.hold("before commit")
        return note.body

    world.put_view(let_go_and_look)
    etag = world.etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    assert world.delete(if_match=etag).status_code == 204
    hold.released.set()
    assert slow.answer().status_code == 404


def test_2_5_a_serialization_failure_is_412(world_on: Callable[[str], str]) -> None:
    world = World(world_on("postgresql"), isolation_level="REPEATABLE READ")
    try:
        etag = world.etag()
        slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
        fast = world.put("fast", if_match=etag)
        hold.released.set()
        lost = slow.answer()
        assert lost.status_code == 412
        assert lost.headers["ETag"] == fast.headers["ETag"]
    finally:
        world.close()


def test_2_5_a_busy_sqlite_file_is_409_and_can_be_tried_again(
    world_on: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})
    etag = world.etag()
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert world.put("refused", if_match=etag).status_code == 409
    assert world.body() == "first"
    other.execute("ROLLBACK")
    other.close()
    assert world.put("accepted", if_match=etag).status_code == 200
    world.close()


def test_2_5_a_sqlite_file_that_cannot_be_read_in_the_first_place_is_409(
    world_on: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})
    etag = world.etag()
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert world.put("refused", if_match=etag).status_code == 409
    other.execute("ROLLBACK")
    other.close()
    assert world.put("accepted", if_match=etag).status_code == 200
    world.close()


def test_2_5_a_sqlite_file_that_cannot_even_be_read_again_is_409(
    world_on: Callable[[str], str], tmp_path: Path
) -> None:
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)

    def lock_everybody_out(note: Note) -> str:
        other.execute("BEGIN EXCLUSIVE")
        note.body = "refused"
        world.db.session.commit()
        return "done"

    world.put_view(lock_everybody_out)
    assert world.put("", "/other/1", if_match=world.etag()).status_code == 409
    other.execute("ROLLBACK")
    other.close()
    assert world.body() == "first"
    world.close()


def test_savepoints_that_end_well_or_badly_leave_the_guard_in_place(world: World) -> None:
    def use_savepoints(note: Note) -> str:
        session = world.db.session
        note.body = "outside"
        session.flush()
        with session.begin_nested():
            note.body = "inside"
        with session.begin_nested() as savepoint:
            note.body = "undone"
            session.flush()
            savepoint.rollback()
        assert note.body == "inside"
        note.body = request.get_data(as_text=True)
        session.commit()
        return "done"

    world.put_view(use_savepoints)
    answer = world.put("after all", "/other/1", if_match=world.etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag()
    assert world.body() == "after all"


def test_what_was_written_in_a_savepoint_alone_and_undone_may_be_written_again(world: World) -> None:
    def try_twice(note: Note) -> str:
        session = world.db.session
        with session.begin_nested() as savepoint:
            note.body = "undone"
            session.flush()
            savepoint.rollback()
        with session.begin_nested():
            note.body = "done"
        session.commit()
        return "done"

    world.put_view(try_twice)
    answer = world.put("", "/other/1", if_match=world.etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag()
    assert world.body() == "done"


def test_a_view_that_writes_nothing_answers_the_tag_that_it_was_judged_by(world: World) -> None:
    world.put_view(lambda note: note.body)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == etag == world.etag()


def test_an_error_that_is_no_refusal_stays_what_it_is(world: World) -> None:
    def break_the_database(note: Note) -> str:
        world.db.session.execute(text("SELECT nonsense FROM nowhere"))
        return note.body

    world.app.testing = False
    world.put_view(break_the_database)
    assert world.put("", "/other/1", if_match=world.etag()).status_code == 500
    assert world.body() == "first"


def test_of_a_crowd_that_reads_and_writes_no_accepted_update_is_lost(world: World) -> None:
    """Eight clients append to one note, each by GET and then PUT with If-Match, until ten are accepted each."""
    world.put("", if_match=world.etag())
    statuses: list[int] = []

    def append_until_accepted() -> None:
        accepted = 0
        while accepted < 10:
            seen = world.get()
            assert seen.json is not None
            answer = world.put(seen.json["body"] + "x", if_match=seen.headers["ETag"])
            statuses.append(answer.status_code)
            accepted += answer.status_code == 200

    def client() -> object:
        append_until_accepted()
        return None

    racers = [Racer(client) for _ in range(8)]  # type: ignore[arg-type]
    for racer in racers:
        racer.join(60)
        assert not racer.is_alive()
    assert statuses.count(200) == 80
    assert set(statuses) <= {200, 412}
    assert world.body() == "x" * 80
