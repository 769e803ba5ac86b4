"""What a view makes, or overwrites, by statements and by other connections; rule 2.3."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import require_if_match
from tests.world.board import Board, Checked, Player, row_of
from tests.world.models import Memo
from tests.world.racing import in_thread
from tests.world.upserts import upsert


def by_a_connection(board: Board) -> None:
    with board.engine.begin() as connection:
        connection.execute(update(board.model).where(board.model.id == 2).values(text="mine"))


def by_a_session(board: Board) -> None:
    with Session(board.engine) as session:
        session.execute(update(board.model).where(board.model.id == 2).values(text="mine"))
        session.commit()


def by_an_object(board: Board) -> None:
    with Session(board.engine) as session:
        found = session.get_one(board.model, 2)
        found.text = "mine"
        session.commit()


def refusal_of(write: Callable[[Board], None], board: Board) -> Exception:
    """Return the error of a write: what a view itself asserts, a refusal would hide."""
    with pytest.raises((RuntimeError, StaleDataError)) as refused:
        write(board)
    return refused.value


@pytest.mark.parametrize("has_read", [False, True])
@pytest.mark.parametrize("write", [by_a_connection, by_a_session])
def test_2_3_what_another_has_made_is_not_overwritten_by_another_connection(
    board: Board, write: Callable[[Board], None], has_read: bool
) -> None:
    """The session of the loader may see for ever that there is nothing."""

    def view(found: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        if has_read:
            board.db.session.get(board.model, 1)
        with pytest.raises(StaleDataError):
            write(board)

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("moment", ["before_commit", "after_flush_postexec"])
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_2_3_what_another_has_made_is_not_overwritten_by_a_listener_of_the_commit(
    board_on: Callable[..., Board], database: str, moment: str
) -> None:
    """By the COMMIT itself, no session can load anything any more."""
    board = board_on(database, Memo)

    def listen(session: Session, *_: object) -> None:
        session.connection().execute(update(board.model).where(board.model.id == 2).values(text="mine"))

    def view(found: Any) -> None:
        session = board.db.session()
        session.add(Player(id=7, name="beside"))
        event.listen(session, moment, listen)
        board.meanwhile("PUT", If_None_Match="*")
        try:
            session.commit()
        finally:
            event.remove(session, moment, listen)

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize(
    "database", ["sqlite", "postgresql"]
)  # on MariaDB, its snapshot cannot see it before that
def test_2_3_nothing_is_overwritten_while_a_loader_s_broken_session_cannot_be_asked(
    board_on: Callable[..., Board], database: str, model: Any
) -> None:
    """The view has swallowed the error of a flush, and goes on by another connection."""
    board = board_on(database, model)
    told: list[Exception] = []

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_None_Match="*")
        board.db.session.add(Player(id=1))  # there is one
        with suppress(DBAPIError):
            board.db.session.flush()
        told.append(refusal_of(by_a_connection, board))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert "Write session.rollback() before it" in str(told[0])


@pytest.mark.parametrize("write", [by_a_connection, by_a_session, by_an_object])
@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_2_3_nothing_is_overwritten_where_a_loader_s_session_was_ended_inside_its_own_block(
    board_on: Callable[..., Board], database: str, model: Any, end: str, write: Callable[[Board], None]
) -> None:
    """Until that is left, SQLAlchemy lets the session load nothing, so that the loader cannot be asked."""
    board = board_on(database, model)
    told: list[Exception] = []

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_None_Match="*")
        with suppress(InvalidRequestError), board.db.session.begin_nested():
            getattr(board.db.session, end)()
            told.append(refusal_of(write, board))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert "leave the block first" in str(told[0])


@pytest.mark.parametrize("write", [by_a_connection, by_a_session, by_an_object])
@pytest.mark.parametrize("has_written", [False, True])
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_3_nothing_is_overwritten_where_a_loader_s_transaction_is_aborted(
    board_on: Callable[..., Board], model: Any, has_written: bool, write: Callable[[Board], None]
) -> None:
    """PostgreSQL answers nothing in it any more, not even at which isolation level it is."""
    board = board_on("postgresql", model)
    told: list[Exception] = []

    def view(found: Any) -> None:
        if has_written:
            board.db.session.add(Player(id=2))
            board.db.session.flush()
        board.meanwhile("PUT", If_None_Match="*")
        with suppress(DBAPIError):
            board.db.session.execute(text("SELECT 1 / 0"))
        told.append(refusal_of(write, board))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert isinstance(told[0], RuntimeError if has_written else StaleDataError)


def test_2_3_what_the_view_has_loaded_of_another_s_is_met_in_an_aborted_transaction(
    board_on: Callable[..., Board],
) -> None:
    """The loader finds it in the session, and whether it is there cannot be asked."""
    board = board_on("postgresql", Checked)

    def view(found: Any) -> None:
        board.db.session.execute(update(Player).values(name="mine"))
        board.meanwhile("PUT", If_None_Match="*")
        kept.append(board.db.session.get_one(Checked, 2))
        with suppress(DBAPIError):
            board.db.session.execute(text("SELECT 1 / 0"))

    kept: list[Checked] = []
    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


def test_2_3_a_snapshot_that_does_not_show_it_is_let_go_of(board_on: Callable[..., Board]) -> None:
    """MariaDB's session has read before another made the row, and sees for ever that there is none."""
    board = board_on("mariadb", Checked)

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_None_Match="*")
        assert board.db.session.scalar(select(Checked.id).where(Checked.id == 2)) is None
        with pytest.raises(StaleDataError):
            by_a_connection(board)

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


@pytest.mark.parametrize(
    ("kind", "level"),
    [("postgresql", "SERIALIZABLE"), ("postgresql", "READ COMMITTED"), ("mariadb", "REPEATABLE READ")],
)
def test_2_3_a_violation_that_is_swallowed_tells_of_a_row_that_cannot_be_seen(
    board_on: Callable[..., Board], kind: str, level: str
) -> None:
    board = board_on(kind, Checked, isolation_level=level)

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_None_Match="*")
        board.db.session.add(Player(id=2))
        with suppress(IntegrityError), Session(board.engine) as session:
            session.add(Checked(id=2, text="mine"))
            session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


def test_2_3_a_session_that_only_reads_asks_for_nothing(board: Board) -> None:
    """A loader that reads everything anew would take from its objects what is not sent yet."""

    def find(number: int) -> Any:
        return board.db.session.get(board.model, number, populate_existing=True)

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.execute(upsert(board.engine, board.model, row_of(board, 2), None))
        board.db.session.get_one(board.model, 2).text = "changed"
        with Session(board.engine) as session:
            session.scalar(select(Player.name))
            session.commit()
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "changed")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


def test_2_3_what_a_savepoint_leaves_in_the_session_when_it_is_rolled_back_is_nobody_s(board: Board) -> None:
    """SQLAlchemy goes on giving an object that was loaded in it, whose row is gone."""

    def view(found: Any) -> None:
        savepoint = board.db.session.begin_nested()
        board.db.session.execute(insert(board.model).values(row_of(board, 2)))
        kept.append(board.db.session.get_one(board.model, 2))
        savepoint.rollback()
        board.db.session.execute(update(Player).values(name="mine"))
        board.db.session.commit()

    kept: list[Any] = []
    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).status_code) == (200, 404)
    assert "ETag" not in answer.headers


def test_2_3_another_row_that_a_statement_makes_is_not_taken_for_it(board: Board) -> None:
    """Of one table, and by one INSERT: what this names is another row."""

    def view(found: Any) -> None:
        board.db.session.execute(insert(board.model).values(row_of(board, 3)))
        board.db.session.commit()
        board.meanwhile("PUT", If_None_Match="*")
        board.db.session.execute(update(board.model).where(board.model.id == 2).values(text="mine"))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert board.get(3).text == "mine"


@pytest.mark.parametrize("is_among_others", [False, True])
def test_2_3_an_upsert_that_has_made_it_is_no_conflict_where_its_loader_locks(
    board: Board, is_among_others: bool
) -> None:
    """What a lock leaves on PostgreSQL's row looks like what an upsert leaves on one that it has found."""
    board.find = board.found_by(lambda number: board.db.session.get(board.model, number, with_for_update=True))

    def view(found: Any) -> None:
        rows = [row_of(board, 2), *([row_of(board, 3)] if is_among_others else [])]
        board.db.session.execute(upsert(board.engine, board.model, rows, {"text": "mine again"}))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("changed", [{"text": "mine"}, None])
def test_2_3_an_upsert_of_several_is_refused_where_it_finds_the_one(
    board: Board, changed: dict[str, str] | None
) -> None:
    """That it has made another of them tells nothing of this one."""

    def view(found: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        rows = [row_of(board, 2), row_of(board, 3)]
        board.db.session.execute(upsert(board.engine, board.model, rows, changed))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text, board.get(3).status_code) == (412, "theirs", 404)


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_2_3_an_upsert_that_does_not_name_its_key_is_looked_into_later(
    board_on: Callable[..., Board], kind: str
) -> None:
    board = board_on(kind, Memo)

    def view(found: Any) -> None:
        made = upsert(
            board.engine, Memo, {"id": select(literal(2)).scalar_subquery(), "text": "mine"}, {"text": "again"}
        )
        board.db.session.execute(made)
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_3_what_another_session_makes_is_looked_for_when_it_is_committed(
    board_on: Callable[..., Board], model: Any
) -> None:
    """At SERIALIZABLE, MariaDB lets the loader wait for the INSERT: the request would wait for itself."""
    board = board_on("mariadb", model, isolation_level="SERIALIZABLE")

    def view(found: Any) -> None:
        board.db.session.commit()
        with Session(board.engine) as session:
            session.merge(model(id=2, text="mine"))
            session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")


@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_3_what_another_session_makes_is_committed_past_the_loader(
    board_on: Callable[..., Board], model: Any
) -> None:
    """SQLite commits nothing while anybody reads, in a savepoint say: not by WAL."""
    board = board_on("sqlite", model)

    def view(found: Any) -> None:
        with board.db.session.begin_nested(), Session(board.engine) as session:
            session.add(model(id=2, text="mine"))
            session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")


def test_2_3_a_row_beside_what_was_made_is_inserted_past_the_loader(board_on: Callable[..., Board]) -> None:
    """An INSERT overwrites nothing, so that nobody has to be asked before: in SQLite's way, if by a savepoint."""
    board = board_on("sqlite", Checked)

    def view(found: Any) -> None:
        with Session(board.engine) as session:
            session.add(Checked(id=2, text="mine"))
            session.commit()
        with board.db.session.begin_nested(), board.engine.begin() as connection:
            connection.execute(insert(Player).values(id=2, name="logged"))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")


def test_2_10_a_statement_of_the_driver_s_is_not_taken_for_the_one_before_it(board: Board) -> None:

    def view(found: Any) -> None:
        session = board.db.session
        session.execute(update(board.model).where(board.model.id == 1).values(text="undone"))
        session.rollback()
        assert session.connection().exec_driver_sql("SELECT 1").scalar() == 1
        session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "first")
    assert answer.headers["ETag"] == board.seen == board.get().headers["ETag"]


def test_2_3_a_loader_that_fails_when_it_is_asked_again_is_an_error(board: Board) -> None:
    """Whether another has made it, nobody knows then."""
    calls: list[int] = []

    def find(number: int) -> Any:
        calls.append(number)
        if len(calls) > 1:
            board.db.session.execute(text("SELECT nothing FROM nowhere"))
        return board.db.session.get(board.model, number)

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    with pytest.raises(DBAPIError, match="nowhere"):
        board.save(view, 2, create=True, If_None_Match="*")
    assert board.get(2).status_code == 404


@pytest.mark.parametrize("is_made", [False, True])
def test_2_3_a_loader_that_writes_whenever_it_is_asked_settles_what_was_swallowed(
    board: Board, is_made: bool
) -> None:
    """Its own statement asks for what it is looking for."""

    def find(number: int) -> Any:
        board.db.session.execute(update(Player).values(name=Player.name + "x"))
        return board.db.session.get(board.model, number)

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.rollback()
        if is_made:
            in_thread(lambda: by_another(board))
        with suppress(IntegrityError):
            board.db.session.add_all([board.model(id=2, text="mine"), Player(id=1, name="there already")])
            board.db.session.flush()
        board.db.session.rollback()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert answer.status_code == (412 if is_made else 200)


def by_another(board: Board) -> None:
    with Session(board.engine) as session:
        session.add(board.model(id=2, text="theirs"))
        session.commit()


def test_an_asynchronous_loader_is_asked_from_within_an_asynchronous_view(
    board_on: Callable[..., Board],
) -> None:
    """One event loop cannot wait for another in its thread, so that the loader is asked in another thread."""
    board = board_on("sqlite", Checked)

    async def find(number: int) -> Any:
        return board.db.session.get(Checked, number)

    async def view(_: Any, number: int) -> str:
        board.db.session.add(Checked(id=number, text="mine"))
        board.db.session.commit()
        return "mine"

    made = require_if_match(board.found_by(find), create=True)(view)
    board.app.add_url_rule("/mine/<int:number>", "mine", made, methods=["PUT"])
    answers = [board.send("PUT", "/mine/2", {"If-None-Match": "*"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 412]
    assert board.get(2).text == "mine"
    assert answers[0].headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("write", ["merge", "get", "update", "second merge", "second update"])
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_2_3_an_asynchronous_view_overwrites_nothing_that_another_has_made(
    board_on: Callable[..., Board], database: str, model: Any, write: str
) -> None:
    board = board_on(database, model)

    async def find(number: int) -> Any:
        return board.db.session.get(model, number)

    def make() -> None:
        with Session(board.engine) as session:
            session.add(model(id=2, text="theirs"))
            session.commit()

    async def view(_: Any, number: int) -> str:
        board.db.session.rollback()
        in_thread(make)
        with Session(board.engine) if write.startswith("second") else board.db.session() as session:
            if write.endswith("merge"):
                session.merge(model(id=number, text="mine"))
            elif write == "get":
                session.get_one(model, number).text = "mine"
            else:
                session.execute(update(model).where(model.id == number).values(text="mine"))
            session.commit()
        return "mine"

    made = require_if_match(board.found_by(find), create=True)(view)
    board.app.add_url_rule("/mine/<int:number>", "mine", made, methods=["PUT"])
    answer = board.send("PUT", "/mine/2", {"If-None-Match": "*"})
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


@pytest.mark.parametrize("expire", [True, False])
@pytest.mark.parametrize("has_rival", [False, True])
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_6_what_an_asynchronous_view_makes_has_its_own_tag_whoever_writes_after_it(
    board_on: Callable[..., Board], model: type[Any], has_rival: bool, expire: bool
) -> None:
    """Between the commit of an asynchronous view and its answer, others may write."""
    board = board_on("postgresql", model)

    async def find(number: int) -> Any:
        board.db.session().expire_on_commit = expire
        return board.db.session.get(model, number)

    async def view(_: Any, number: int) -> str:
        board.db.session.add(model(id=number, text="mine"))
        board.db.session.commit()
        if has_rival:
            in_thread(write)
        return "mine"

    def write() -> None:
        with Session(board.engine) as session:
            session.get_one(model, 2).text = "theirs"
            session.commit()

    made = require_if_match(board.found_by(find), create=True)(view)
    board.app.add_url_rule("/mine/<int:number>", "mine", made, methods=["PUT"])
    answer = board.send("PUT", "/mine/2", {"If-None-Match": "*"})
    there = board.get(2)
    assert (answer.status_code, there.text) == (200, "theirs" if has_rival else "mine")
    assert (answer.headers["ETag"] == there.headers["ETag"]) is not has_rival
