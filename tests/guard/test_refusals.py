"""Every way in which a database refuses, at every isolation level; rules 2.1, 2.3 to 2.5 and 2.8."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import OperationalError

from tests.world.application import World
from tests.world.models import Note, Paper
from tests.world.racing import Racer

SNAPSHOT: dict[str, Any] = {"connect_args": {"init_command": "SET SESSION innodb_snapshot_isolation=ON"}}
LEVELS: list[tuple[str, dict[str, Any]]] = [
    ("sqlite", {}),
    *[
        ("postgresql", {"isolation_level": level})
        for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")
    ],
    *[("mariadb", {"isolation_level": level}) for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")],
    ("mariadb", {"isolation_level": "REPEATABLE READ", **SNAPSHOT}),
    ("mariadb", {"isolation_level": "SERIALIZABLE", **SNAPSHOT}),
]
IMPATIENT: list[tuple[str, dict[str, Any]]] = [
    ("sqlite", {"connect_args": {"timeout": 0.2}}),
    ("postgresql", {"connect_args": {"options": "-c lock_timeout=200"}}),
    ("mariadb", {"connect_args": {"init_command": "SET SESSION innodb_lock_wait_timeout=1"}}),
    ("postgresql", {"connect_args": {"options": "-c statement_timeout=200"}}),
    ("mariadb", {"connect_args": {"init_command": "SET SESSION max_statement_time=0.2"}}),
]


def named(case: tuple[str, dict[str, Any]]) -> str:
    kind, options = case
    snapshot = "snapshot" if "init_command" in str(options) and "isolation_level" in options else ""
    return " ".join(filter(None, [kind, str(options.get("isolation_level", "")).lower(), snapshot]))


def made(request: pytest.FixtureRequest, world_on: Callable[[str], str]) -> Iterator[World]:
    kind, options = request.param
    world = World(world_on(kind), **options)
    world.isolation_level = options.get("isolation_level")
    world.app.testing = False  # what is neither 412 nor 409 is a 500, as in production
    yield world
    world.close()


world = pytest.fixture(params=LEVELS, ids=named)(made)
impatient = pytest.fixture(params=IMPATIENT, ids=named)(made)


def test_2_1_of_two_writers_of_a_version_one_is_refused(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put("fast", if_match=etag))
    fast.join(0.3)  # at SERIALIZABLE, MariaDB has it wait for the other's read
    hold.released.set()
    answers = {slow.answer().status_code: "slow", fast.answer().status_code: "fast"}
    assert set(answers) == {200, 412}
    assert world.body() == answers[200]


@pytest.mark.parametrize("path", ["/notes/1", "/papers/plan"])
def test_2_5_of_two_writers_that_name_no_state_each_is_served(world: World, path: str) -> None:
    """The second waits for the row, and replaces what it finds then."""
    reads_lock = world.engine.dialect.name in {"mysql", "mariadb"} and world.isolation_level == "SERIALIZABLE"
    slow, hold = world.held("before commit", lambda: world.put("slow", path, if_match="*", hold="before commit"))
    fast = Racer(lambda: world.put("fast", path, if_match="*"))
    fast.join(0.3)
    assert fast.is_alive()
    hold.released.set()
    statuses = (slow.answer().status_code, fast.answer().status_code)
    read = world.app.test_client().get(path)
    if reads_lock and 409 in statuses:  # its reads lock, so it may see a deadlock in the two
        assert sorted(statuses) == [200, 409]
        assert read.get_json() == {"body": "slow" if statuses[0] == 200 else "fast"}
        return
    assert statuses == (200, 200)
    assert read.get_json() == {"body": "fast"}
    assert read.headers["ETag"] == fast.answer().headers["ETag"] != slow.answer().headers["ETag"]


def test_2_2_of_two_writers_of_a_row_one_is_refused(world: World) -> None:
    etag = world.paper_etag()
    slow, hold = world.held("before commit", lambda: world.put_paper("slow", if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put_paper("fast", if_match=etag))
    fast.join(0.2)
    hold.released.set()
    assert {slow.answer().status_code, fast.answer().status_code} == {200, 412}
    assert world.paper_body() == ("slow" if slow.answer().status_code == 200 else "fast")


def test_2_3_of_two_that_create_one_is_refused(world: World) -> None:
    slow, hold = world.held(
        "before commit", lambda: world.put_paper("slow", "new", if_none_match="*", hold="before commit")
    )
    fast = Racer(lambda: world.put_paper("fast", "new", if_none_match="*"))
    fast.join(0.2)
    hold.released.set()
    assert {slow.answer().status_code, fast.answer().status_code} == {201, 412}


def test_2_3_of_many_that_create_at_once_all_but_one_are_stale(world: World) -> None:
    """MariaDB ends most of them as deadlocks, while the row is still to be made by the one that wins."""
    place = "before commit"
    held = [
        world.held(place, lambda body=body: world.put_paper(body, "new", if_none_match="*", hold=place))  # type: ignore[misc]
        for body in ("first", "second", "third", "fourth", "fifth", "sixth")
    ]
    for _, hold in held:
        hold.released.set()
    assert sorted(racer.answer().status_code for racer, _ in held) == [201, *[412] * 5]


def test_2_4_of_a_deletion_and_an_update_one_is_refused(world: World) -> None:
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.delete(if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put("fast", if_match=etag))
    fast.join(0.2)
    hold.released.set()
    answers = (slow.answer().status_code, fast.answer().status_code)
    assert answers in {(204, 404), (412, 200)}
    assert world.get().status_code == (404 if answers[0] == 204 else 200)


def test_2_5_a_lock_that_is_waited_for_too_long_is_judged_by_what_is_there(impatient: World) -> None:
    """Another writer holds the row, and goes on holding it: the conditions still hold, so far."""
    for path, table, etag in (
        ("/notes/1", "note", impatient.etag()),
        ("/papers/plan", "paper", impatient.paper_etag()),
    ):
        with impatient.engine.connect() as connection:
            connection.execute(text(f"UPDATE {table} SET body = 'held'"))
            answer = impatient.put("late", path, if_match=etag)
            assert answer.status_code == 409, path
            connection.rollback()
        assert impatient.put("in time", path, if_match=etag).status_code == 200, path


def test_2_5_who_has_waited_in_vain_is_told_to_try_again(impatient: World) -> None:
    for path, table, etag in (
        ("/notes/1", "note", impatient.etag()),
        ("/papers/plan", "paper", impatient.paper_etag()),
    ):
        with impatient.engine.connect() as connection:
            connection.execute(text(f"UPDATE {table} SET body = 'held'"))
            answer = impatient.put("late", path, if_match=etag)
            connection.rollback()
        assert (answer.status_code, answer.get_json()["reason"]) == (409, "busy"), path
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Cache-Control"] == "no-store"


def test_2_5_a_deadlock_is_judged_by_what_is_there(world: World) -> None:
    if world.engine.dialect.name == "sqlite":
        return  # it has one lock, and so no deadlocks
    if world.engine.dialect.name in {"mysql", "mariadb"} and "SERIALIZABLE" in str(world.isolation_level):
        return  # a read locks, so that the other writer waits for the first from the beginning

    def write_both(note: Note) -> str:
        world.db.session.execute(update(Paper).values(body="first the paper"))
        world.hold("before commit")
        note.body = "then the note"
        world.db.session.commit()
        return "done"

    world.put_view(write_both)
    etag = world.etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    lost = False
    with world.engine.connect() as connection:
        connection.execute(update(Note).values(body="first the note"))
        hold.released.set()
        slow.join(0.3)
        try:
            connection.execute(update(Paper).values(body="then the paper"))
            connection.commit()
        except OperationalError:
            lost = True
            with suppress(OperationalError):
                connection.rollback()
    assert slow.answer().status_code == (200 if lost else 409)  # a raw UPDATE moves no version
    assert world.body() == ("then the note" if lost else "first the note")


def test_what_mariadb_has_rolled_back_is_not_committed_by_halves(world_on: Callable[[str], str]) -> None:
    """The server ends the whole transaction when it refuses one statement, and a view may swallow that."""
    world = World(world_on("mariadb"), isolation_level="REPEATABLE READ", **SNAPSHOT)
    world.app.testing = False

    def swallow(note: Note) -> str:
        note.body = "by halves"
        world.db.session.flush()
        world.write_elsewhere(f"the winner's, {world.in_savepoint}")
        with suppress(OperationalError):
            if world.in_savepoint:
                with world.db.session.begin_nested():
                    world.db.session.execute(update(Paper).values(body="refused"))
            else:
                world.db.session.execute(update(Paper).values(body="refused"))
        world.db.session.commit()
        return "done"

    world.put_view(swallow)
    for world.in_savepoint in (False, True):
        etag = world.etag()
        assert world.put("", "/other/1", if_match=etag).status_code == 409
        assert world.etag() == etag
        assert world.body() == "first"
    world.close()


def test_what_mariadb_has_rolled_back_stays_so_after_another_refusal(world_on: Callable[[str], str]) -> None:
    """A lock that is waited for in vain does not bring back what an earlier refusal has undone."""
    impatient = {"init_command": "SET SESSION innodb_snapshot_isolation=ON, innodb_lock_wait_timeout=1"}
    world = World(world_on("mariadb"), isolation_level="REPEATABLE READ", connect_args=impatient)
    world.app.testing = False

    def swallow_both(note: Note) -> str:
        session = world.db.session
        note.body = "by halves"
        session.flush()
        world.write_elsewhere("the winner's")
        with suppress(OperationalError):
            session.execute(update(Paper).values(body="refused, and all undone"))
        with world.engine.connect() as other:
            other.execute(update(Paper).values(body="held"))
            with suppress(OperationalError):
                session.execute(update(Paper).values(body="waited for in vain"))
        session.commit()
        return "done"

    world.put_view(swallow_both)
    etag = world.etag()
    assert world.put("", "/other/1", if_match=etag).status_code == 409
    assert world.etag() == etag
    assert world.body() == "first"
    world.close()
