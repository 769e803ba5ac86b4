"""Rule 2.5, where a database fails in the middle of a write: what it has not done is not answered as done."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import abort, request
from sqlalchemy import event, func, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from tests.world.board import Board, Checked, Player
from tests.world.models import Memo


def test_2_5_a_transaction_that_cannot_even_be_rolled_back_is_given_up(
    board_on: Callable[..., Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of a cluster has ended it for another's, and says so to ROLLBACK as well."""
    board = board_on("mariadb", Memo)
    roll_back = board.engine.dialect.do_rollback
    failures = iter([1213])

    def fail_once(connection: Any) -> None:
        roll_back(connection)
        for code in failures:
            raise board.engine.dialect.loaded_dbapi.OperationalError(
                code, "Deadlock found when trying to get lock"
            )

    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_Match="*")
        monkeypatch.setattr(board.engine.dialect, "do_rollback", fail_once)
        board.db.session.execute(update(Memo).values(text="mine"))

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")
    assert next(failures, None) is None


def test_2_5_a_lock_timeout_after_which_the_server_is_gone_leaves_nothing(board_on: Callable[..., Board]) -> None:
    """Whether it has rolled back all, or the statement alone, cannot be asked any more."""
    impatient = {"init_command": "SET SESSION innodb_lock_wait_timeout=1"}
    board = board_on("mariadb", Checked, connect_args=impatient)

    def kill(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "innodb_rollback_on_timeout" in statement:
            with board.engine.connect() as other:
                other.exec_driver_sql(f"KILL {connection.connection.dbapi_connection.thread_id()}")

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        with board.engine.connect() as other:
            other.execute(update(Player).values(name="held"))
            board.db.session.execute(update(Player).values(name="waited for in vain"))

    event.listen(board.engine, "before_cursor_execute", kill)
    answer = board.save(view)
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "busy")
    assert (board.get().text, board.get().headers["ETag"]) == ("first", board.seen)


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("has_rival", [False, True])
def test_2_5_a_view_that_swallows_the_loss_of_its_connection_is_judged_by_what_is_there(
    board_on: Callable[..., Board], model: type[Any], has_rival: bool
) -> None:
    """The connection is of no use any more until it is rolled back, and that says nothing of the database."""
    board = board_on("postgresql", model)
    lost = []

    def view(_: Any) -> str:
        backend = board.db.session.scalar(select(func.pg_backend_pid()))
        with board.engine.connect() as other:
            other.execute(select(func.pg_terminate_backend(backend, 5000)))
        if has_rival:
            board.meanwhile("PUT", If_Match=str(board.seen))
        with pytest.raises(OperationalError) as raised:
            board.db.session.execute(update(model).values(text="mine"))
        lost.append(raised.value)
        return "swallowed"

    answer = board.save(view)
    assert lost
    assert answer.status_code == (412 if has_rival else 200)
    assert board.get().text == ("theirs" if has_rival else "first")


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
@pytest.mark.parametrize("how", ["orm", "bulk"])
def test_2_5_a_connection_that_is_lost_before_a_commit_leaves_the_view_as_the_error_that_says_so(
    board_on: Callable[..., Board], model: type[Any], database: str, how: str
) -> None:
    """A handler of such errors has to see it, and nothing that was raised behind it."""
    board = board_on(database, model)
    ask, end = KILLED_BY[database]

    def view(found: Any) -> None:
        session = board.db.session
        if how == "orm":
            found.text = "mine"
            session.flush()
        else:
            session.execute(update(model).values(text="mine"))
        with board.engine.connect() as other:
            other.exec_driver_sql(end.format(session.scalar(text(ask))))
        session.commit()

    with pytest.raises(OperationalError):
        board.save(view)
    assert board.get().text == "first"


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("database", ["postgresql", "mariadb"])
@pytest.mark.parametrize("how", ["orm", "bulk"])
def test_2_5_a_commit_that_is_swallowed_when_its_connection_is_lost_is_not_answered_as_done(
    board_on: Callable[..., Board], model: type[Any], database: str, how: str, goes_on: bool
) -> None:
    """Unless the view does it once more."""
    board = board_on(database, model)
    ask, end = KILLED_BY[database]

    def write(found: Any) -> None:
        if how == "orm":
            found.text = "mine"
            board.db.session.flush()
        else:
            board.db.session.execute(update(model).values(text="mine"))

    def view(found: Any) -> None:
        session = board.db.session
        write(found)
        with board.engine.connect() as other:
            other.exec_driver_sql(end.format(session.scalar(text(ask))))
        with pytest.raises(OperationalError):
            session.commit()
        session.rollback()
        if goes_on:
            write(session.get_one(model, 1))
            session.commit()

    if goes_on and not (how == "orm" and model is Checked):
        assert (board.save(view).status_code, board.get().text) == (200, "mine")
    else:  # of a flush that was complete, COMMIT was the first to be told: nobody knows what became of that
        with pytest.raises(OperationalError):
            board.save(view)
        assert board.get().text == "first"


KILLED_BY = {
    "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({}, 5000)"),
    "mariadb": ("SELECT connection_id()", "KILL {}"),
}
"""What a session asks to know who it is, and what another one says to end it."""


def test_2_5_nothing_is_written_after_a_commit_of_which_nobody_knows_the_end(
    board_on: Callable[..., Board],
) -> None:
    board = board_on("postgresql", Checked)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        backend = board.db.session.scalar(select(func.pg_backend_pid()))
        with board.engine.connect() as other:
            other.execute(select(func.pg_terminate_backend(backend, 5000)))
        with pytest.raises(OperationalError):
            board.db.session.commit()
        board.db.session.rollback()
        board.db.session.get_one(Checked, 1).text = "mine again"
        board.db.session.commit()

    with pytest.raises(OperationalError):
        board.save(view)
    assert (board.get().text, board.get().headers["ETag"]) == ("first", board.seen)


@pytest.mark.parametrize("call", [1, 2])
def test_2_5_a_database_that_takes_no_writes_any_more_is_no_conflict(
    board_on: Callable[..., Board], call: int
) -> None:
    """Also where another writer was met just before."""
    board = board_on("sqlite", Memo)
    calls: list[int] = []

    def find(number: int) -> Any:
        found = board.db.session.get(Memo, number)
        if request.path.startswith("/mine"):
            calls.append(number)
            if len(calls) == 1 and call == 2:
                board.meanwhile("PUT", If_Match="*")
            if len(calls) == call:
                event.listen(board.engine, "checkout", lambda each, *_: each.execute("PRAGMA query_only = ON"))
                board.db.session.rollback()
                found = board.db.session.get(Memo, number)
        return found

    board.find = board.found_by(find)
    with pytest.raises(OperationalError, match="readonly"):
        board.save(lambda _: None, If_Match="*")


def test_2_5_a_write_that_failed_and_cannot_be_looked_into_is_an_error(board_on: Callable[..., Board]) -> None:
    """Nobody knows whether another writer was the reason."""
    board = board_on("sqlite", Checked)

    def view(found: Any) -> None:
        board.db.session.connection().exec_driver_sql("PRAGMA query_only = ON")
        found.text = "mine"
        with suppress(OperationalError):
            board.db.session.commit()
        board.db.session.rollback()

    with pytest.raises(OperationalError, match="readonly"):
        board.save(view)


@pytest.mark.parametrize("aborts", [False, True])
def test_2_5_a_view_that_says_itself_that_nothing_was_written_is_believed(
    board_on: Callable[..., Board], aborts: bool
) -> None:
    """Nobody knows whether another writer was the reason; but the answer is no success."""
    board = board_on("sqlite", Checked)

    def view(found: Any) -> Any:
        board.db.session.connection().exec_driver_sql("PRAGMA query_only = ON")
        found.text = "mine"
        with suppress(OperationalError):
            board.db.session.commit()
        board.db.session.rollback()
        if aborts:
            abort(503)
        return "read only, for now", 503

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (503, "first")


@pytest.mark.parametrize("aborts", [False, True])
def test_2_5_a_view_that_says_itself_that_nothing_was_made_is_believed(
    board_on: Callable[..., Board], aborts: bool
) -> None:
    board = board_on("sqlite", Checked)

    def view(_: Any) -> Any:
        board.db.session.connection().exec_driver_sql("PRAGMA query_only = ON")
        board.db.session.add(Checked(id=2, text="mine"))
        with suppress(OperationalError):
            board.db.session.commit()
        board.db.session.rollback()
        if aborts:
            abort(503)
        return "read only, for now", 503

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert answer.status_code == 503


def test_2_5_a_statement_that_failed_and_is_swallowed_is_the_view_s_own_affair(
    board_on: Callable[..., Board],
) -> None:
    """PostgreSQL takes nothing more in its transaction, so that it is looked into by another."""
    board = board_on("postgresql", Checked)

    def view(_: Any) -> None:
        with suppress(SQLAlchemyError):
            board.db.session.execute(text("UPDATE checked SET nothing = 1"))

    answer = board.save(view)
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.seen)


def test_2_5_a_connection_whose_transaction_is_broken_tells_it_at_its_commit(
    board_on: Callable[..., Board],
) -> None:
    """PostgreSQL would answer COMMIT by a ROLLBACK, and not say so."""
    board = board_on("postgresql", Checked)

    def view(_: Any) -> None:
        with board.engine.connect() as connection:
            connection.execute(update(Checked).values(text="mine"))
            with suppress(SQLAlchemyError):
                connection.execute(text("SELECT nothing"))
            with pytest.raises(SQLAlchemyError, match="nothing"):
                connection.commit()
            connection.rollback()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "first")
    assert answer.headers["ETag"] == board.get().headers["ETag"] == board.seen


@pytest.mark.parametrize("is_swallowed", [False, True])
@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("was_refused", [False, True])
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_p2_of_a_commit_that_nobody_knows_the_end_of_nobody_is_told(
    board_on: Callable[..., Board],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    model: Any,
    was_refused: bool,
    is_done: bool,
    is_swallowed: bool,
) -> None:
    """Neither that it was done, nor that nothing was changed: the error is for the application's own handler."""
    board = board_on(kind, model)
    dialect = board.engine.dialect
    commit, roll_back, error = dialect.do_commit, dialect.do_rollback, dialect.loaded_dbapi.OperationalError
    ends = iter(["refused", "lost"] if was_refused else ["lost"])

    class Refused(error):  # type: ignore[misc, valid-type]
        sqlstate = "40001"

    def fail(connection: Any) -> None:
        end = next(ends, None)
        (roll_back if end == "refused" or (end == "lost" and not is_done) else commit)(connection)
        if end == "refused":
            raise Refused(1213, "Another was first")
        if end == "lost":
            raise error(2013, "Lost connection")

    def view(_: Any) -> None:
        monkeypatch.setattr(dialect, "do_commit", fail)
        for is_last in [False, True] if was_refused else [True]:
            board.db.session.get_one(model, 1).text = "mine"
            try:
                board.db.session.commit()
            except OperationalError:
                board.db.session.rollback()
                if is_last and not is_swallowed:
                    raise

    with pytest.raises(OperationalError, match="Lost connection"):
        board.save(view)
    assert board.get().text == ("mine" if is_done else "first")


def test_p2_a_view_that_answers_itself_that_nobody_knows_is_believed(
    board_on: Callable[..., Board], monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_on("postgresql", Checked)
    dialect = board.engine.dialect
    commit = dialect.do_commit

    def lose(connection: Any) -> None:
        commit(connection)
        monkeypatch.setattr(dialect, "do_commit", commit)
        raise dialect.loaded_dbapi.OperationalError("Lost connection")

    def view(found: Any) -> tuple[str, int]:
        monkeypatch.setattr(dialect, "do_commit", lose)
        found.text = "mine"
        with pytest.raises(OperationalError):
            board.db.session.commit()
        return "See whether it is there.", 503

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (503, "mine")


def test_p2_a_constraint_that_a_commit_violates_leaves_what_was_there_to_be_written_again(
    board_on: Callable[..., Board],
) -> None:
    board = board_on("postgresql", Checked)
    with board.engine.begin() as connection:
        connection.execute(text("CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)"))

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.execute(text("INSERT INTO late VALUES (1), (1)"))
        with pytest.raises(IntegrityError):
            board.db.session.commit()
        board.db.session.rollback()
        board.db.session.get_one(Checked, 1).text = "mine again"
        board.db.session.commit()

    try:
        answer = board.save(view)
    finally:
        with board.engine.begin() as connection:
            connection.execute(text("DROP TABLE late"))
    assert (answer.status_code, board.get().text) == (200, "mine again")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("code", [1213, 1047, 2013])
def test_2_5_a_rollback_that_fails_is_done(
    board_on: Callable[..., Board], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Flask-SQLAlchemy rolls back as the context of the application ends, where no handler sees what is raised."""
    board = board_on("mariadb", Checked)
    driver: Any = board.engine.dialect.loaded_dbapi
    roll_back = driver.connections.Connection.rollback

    def fail(connection: Any) -> None:
        if code == 1213:
            roll_back(connection)
        monkeypatch.setattr(driver.connections.Connection, "rollback", roll_back)
        raise driver.OperationalError(code, "Deadlock found when trying to get lock")

    def view(found: Any) -> tuple[str, int]:
        monkeypatch.setattr(driver.connections.Connection, "rollback", fail)
        found.text = "mine"
        board.db.session.flush()
        return "no", 422

    assert board.save(view).status_code == 422
    assert board.get().text == "first"
