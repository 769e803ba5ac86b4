"""Sessions of the view's own beside that of its loader: an answer, or an error in words, and never a wait."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import ForeignKey, event, insert, select, text, update
from sqlalchemy.exc import InvalidRequestError, OperationalError
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import etag_resource, resource
from tests.conftest import KINDS
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Base, Memo


class MemoReply(Base):
    """What names a memo by a foreign key, perhaps."""

    __tablename__ = "reply_to_memo"

    id: Mapped[int] = mapped_column(primary_key=True)
    memo_id: Mapped[int | None] = mapped_column(ForeignKey("memo.id"))
    player_id: Mapped[int | None] = mapped_column(ForeignKey("player.id"))


# `with session.begin():` in a view.


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
def test_to_begin_what_the_loader_has_begun_is_refused_with_what_to_write(world_url: str, model: Any) -> None:
    board = Board(world_url, model)

    def view(found: Any) -> None:
        with board.db.session.begin():
            found.text = "mine"

    with pytest.raises(InvalidRequestError, match="already begun") as raised:
        board.save(view)
    [note] = raised.value.__notes__
    assert "end the view with session.commit()" in note
    assert "with session.begin_nested():" in note
    assert board.get().text == "first"
    board.close()


@pytest.mark.parametrize("is_list", [False, True])
def test_so_it_is_in_a_read(board_on: Callable[..., Board], is_list: bool) -> None:
    board = board_on("sqlite", Checked)

    def load() -> Any:
        found = board.db.session.scalars(select(Checked)).all()
        return found if is_list else found[0]

    def view(_: object) -> None:
        with board.db.session.begin():
            pass

    board.app.get("/begun")(etag_resource(resource(load))(view))
    with pytest.raises(InvalidRequestError, match="already begun") as raised:
        board.send("GET", "/begun", {})
    [note] = raised.value.__notes__
    assert "end the view with session.commit()" in note


@pytest.mark.parametrize("has_rival", [False, True])
def test_what_is_to_be_written_in_its_place(any_board: Board, has_rival: bool) -> None:
    board = any_board
    board.has_rival = has_rival

    def view(found: Any) -> None:
        with board.db.session.begin_nested():
            found.name = ""
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        with board.db.session.begin_nested():
            found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("has_rival", [False, True])
def test_a_session_of_its_own_writes_what_has_a_version(world_url: str, model: Any, has_rival: bool) -> None:
    """What is judged is judged by the loader's session, and written by another."""
    board = Board(world_url, model)
    board.has_rival = has_rival
    sessions = sessionmaker(board.engine)

    def view(_: Any) -> None:
        board.meanwhile("PUT", If_Match="*")
        with sessions.begin() as session:
            session.get_one(model, 1).text = "mine"

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]
    board.close()


# A second session, while the first holds a row without a version. That it may not write that row itself is in
# test_p6_costs.py, with what it may write besides.


def add(session: Session) -> None:
    session.add(MemoReply(memo_id=1))


def add_several(session: Session) -> None:
    session.execute(insert(MemoReply), [{"memo_id": None}, {"memo_id": 2}, {"memo_id": 1}])


def add_several_in_one_statement(session: Session) -> None:
    session.execute(insert(MemoReply).values([{"memo_id": 2}, {"memo_id": 1}]))


def move(session: Session) -> None:
    session.get_one(MemoReply, 1).memo_id = 1


def add_to_another(session: Session) -> None:
    session.add_all([MemoReply(memo_id=2), MemoReply()])
    session.get_one(MemoReply, 1).memo_id = None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [add, add_several, add_several_in_one_statement, move, add_to_another])
def test_what_names_the_row_that_is_held_by_a_foreign_key(
    board_on: Callable[..., Board], kind: str, write: Callable[[Session], None]
) -> None:
    """MariaDB looks for it under a lock, and would wait for the very request."""
    board = board_on(kind, Memo)
    with Session(board.engine) as session:
        session.add(Memo(id=2))
        session.flush()
        session.add(MemoReply(memo_id=2))
        session.commit()

    def view(found: Any) -> None:
        with Session(board.engine) as another:
            write(another)
            another.commit()
        found.text = "mine"
        board.db.session.commit()

    if kind == "sqlite" or (kind == "mariadb" and write is not add_to_another):
        with pytest.raises(RuntimeError, match="holds a Memo on one connection, and writes on another"):
            board.save(view)
        assert board.get().text == "first"
    else:
        answer = board.save(view)
        assert (answer.status_code, board.get().text) == (200, "mine")
        assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("by", ["get", "a join", "a text"])
def test_a_lock_on_the_row_that_is_held(board_on: Callable[..., Board], kind: str, model: Any, by: str) -> None:
    """SQLite has none that a SELECT could take."""
    board = board_on(kind, model)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        with Session(board.engine) as another:
            if by == "get":
                another.get(model, 1, with_for_update=True)
            elif by == "a text":
                lock = "" if kind == "sqlite" else "FOR UPDATE"
                another.execute(text(f"SELECT id FROM {model.__tablename__} {lock}"))
            else:
                another.scalars(select(model).join(Player, Player.id == model.id).with_for_update(read=True)).all()
        board.db.session.commit()

    if kind == "sqlite":
        assert board.save(view).status_code == 200
        return
    with pytest.raises(RuntimeError, match="on one connection, and reads it under a lock on another"):
        board.save(view)
    assert board.get().text == "first"


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
@pytest.mark.parametrize("lock", [{"nowait": True}, {"skip_locked": True}, {"of": Player}, None])
def test_a_lock_that_waits_for_nobody(
    board_on: Callable[..., Board], kind: str, lock: dict[str, Any] | None
) -> None:
    """MariaDB knows no OF: it locks the rows of all tables."""
    board = board_on(kind, Memo)

    def view(found: Any) -> None:
        statement = select(Memo).join(Player, Player.id == Memo.id)
        statement = statement if lock is None else statement.with_for_update(**lock)
        with Session(board.engine) as another:
            if lock == {"nowait": True}:
                with pytest.raises(OperationalError):
                    another.scalars(statement).all()
            else:
                assert len(another.scalars(statement).all()) == (0 if lock == {"skip_locked": True} else 1)
        found.text = "mine"
        board.db.session.commit()

    if kind == "mariadb" and lock == {"of": Player}:
        with pytest.raises(RuntimeError, match="reads it under a lock on another"):
            board.save(view)
        return
    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


# A session within the flush of another, on its connection, as history libraries have one.


@pytest.mark.parametrize("is_made", [False, True])
def test_a_flush_within_a_flush(any_board: Board, is_made: bool) -> None:
    board = any_board
    inner: list[Session] = []

    def begin(session: Session, *_: object) -> None:
        inner.append(Session(session.connection()))
        inner[-1].add(Player(id=8))
        inner[-1].flush()

    def end(session: Session, *_: object) -> None:
        inner[-1].get_one(Player, 8).name = "flushed within"
        inner[-1].flush()
        inner[-1].execute(update(Player).where(Player.id == 8).values(name="updated within"))

    def view(found: Any) -> None:
        session = board.db.session()
        event.listen(session, "before_flush", begin)
        event.listen(session, "after_flush", end)
        if found is None:
            session.add(board.model(id=2, text="mine"))
        else:
            found.text = "mine"
        session.commit()

    number = 2 if is_made else 1
    answer = board.save(view, 2, create=True, If_None_Match="*") if is_made else board.save(view)
    assert (answer.status_code, board.get(number).text) == (200, "mine")
    assert answer.headers["ETag"] == board.get(number).headers["ETag"]
    with Session(board.engine) as session:
        assert session.get_one(Player, 8).name == "updated within"


@pytest.mark.parametrize("swallows", [False, True])
def test_a_session_on_a_connection_that_has_ended_is_refused_like_any(any_board: Board, swallows: bool) -> None:
    """It can be asked nothing any more."""
    board = any_board

    def view(_: Any) -> str:
        board.let_go()
        may_swallow = suppress(*([StaleDataError] if swallows else []))
        with may_swallow, board.engine.begin() as connection, Session(connection) as session:
            found = session.get_one(board.model, 1)
            board.meanwhile("PUT", If_Match="*")
            found.text = "mine"
            session.commit()
        return "swallowed"

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")


def test_a_session_of_its_own_does_not_wait_for_what_the_loader_has_read(board_on: Callable[..., Board]) -> None:
    """MariaDB's readers lock what they read, at SERIALIZABLE."""
    board = board_on("mariadb", Checked, isolation_level="SERIALIZABLE")

    def view(_: Any) -> None:
        with Session(board.engine) as session:
            session.get_one(Checked, 1).text = "mine"
            session.commit()

    with pytest.raises(RuntimeError, match="has read a Checked at SERIALIZABLE on one connection"):
        board.save(view)


@pytest.mark.parametrize("model", [Memo, Checked])
@pytest.mark.parametrize("has_rival", [False, True])
def test_a_session_that_commits_in_two_phases(board_on: Callable[..., Board], model: Any, has_rival: bool) -> None:
    """Nothing can be read any more after the first."""
    board = board_on("mariadb", model)

    def view(_: Any) -> None:
        board.let_go()
        with Session(board.engine, twophase=True) as session:
            found = session.get_one(model, 1)
            if has_rival:
                board.meanwhile("PUT", If_Match="*")
            found.text = "mine"
            session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]
