"""P4: only the transactions that work on the target count; and P5: its row is known by its table and its key."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from threading import Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Response, g, request
from sqlalchemy import String, Uuid, event, select, text, update
from sqlalchemy.exc import InvalidRequestError, SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool

from flask_etag import content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.conftest import KINDS
from tests.guard.test_p3_tag import Small
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Base, Comment, Memo
from tests.world.racing import WAIT

Act = Callable[[Session], object]


def read_and_close(session: Session) -> None:
    session.scalars(select(Comment)).all()


def read_and_commit(session: Session) -> None:
    session.scalars(select(Comment)).all()
    session.commit()


def read_and_roll_back(session: Session) -> None:
    session.scalars(select(Comment)).all()
    session.rollback()


def fail(session: Session) -> None:
    with suppress(SQLAlchemyError):
        session.execute(text("SELECT nothing FROM nowhere"))


def use_savepoints(session: Session) -> None:
    with session.begin_nested():
        session.scalars(select(Comment)).all()
    session.begin_nested().rollback()


@pytest.mark.parametrize("act", [read_and_close, read_and_commit, read_and_roll_back, fail, use_savepoints])
@pytest.mark.parametrize(
    ("model", "condition"), [(Memo, None), (Memo, "*"), (Checked, "*"), (Counted, "*")], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_p4_a_listener_with_a_session_of_its_own_ends_no_hold(
    board_on: Callable[..., Board], kind: str, model: Any, condition: str | None, act: Act
) -> None:
    """Whoever else wants the row goes on waiting for it."""
    board = board_on(kind, model)
    rivals: list[Thread] = []

    def look_up(*_: object) -> None:
        with Session(board.engine) as another:
            act(another)

    def view(found: Any) -> None:
        event.listen(board.db.session(), "before_flush", look_up)
        event.listen(board.db.session(), "after_flush", look_up)
        look_up()
        rivals.append(Thread(target=board.send, args=("PUT", "/1", {"If-Match": "*"}), daemon=True))
        rivals[0].start()
        found.text = "mine"
        board.db.session.flush()
        rivals[0].join(0.1)
        assert rivals[0].is_alive()
        board.db.session.commit()

    answer = board.save(view, If_Match=condition) if condition else board.save(view)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != board.seen
    rivals[0].join(WAIT)
    assert board.get().text == "theirs"


@pytest.mark.parametrize("moment", ["before_flush", "before_commit"])
def test_p4_an_audit_row_in_another_transaction_stays_after_a_refusal(any_board: Board, moment: str) -> None:
    """It says that somebody tried."""
    board = any_board

    def note(*_: object) -> None:
        with Session(board.engine) as another:
            another.add(Comment(body="tried"))
            another.commit()

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.get_one(board.model, 1).text = "mine"
        event.listen(board.db.session(), moment, note, once=True)
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")
    with Session(board.engine) as session:
        assert session.scalars(select(Comment.body)).all() == ["tried"]


def test_p4_what_another_session_leaves_undone_is_not_committed_for_it(any_board: Board) -> None:
    board = any_board
    left: list[Session] = []

    def view(found: Any) -> None:
        another = Session(board.engine)
        left.append(another)
        another.add(Comment(body="never sent"))
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    left[0].close()
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get().headers["ETag"])
    with Session(board.engine) as session:
        assert session.scalars(select(Comment)).all() == []


# P5: table and key.


class Label(Versioned, Base):
    """With a key of which the database keeps small letters."""

    __tablename__ = "label"

    id: Mapped[str] = mapped_column(Small, primary_key=True)
    text: Mapped[str] = mapped_column(String(80))


class Sticker(Base):
    """The same without a version."""

    __tablename__ = "sticker"

    id: Mapped[str] = mapped_column(Small, primary_key=True)
    text: Mapped[str] = mapped_column(String(80))


class Ticket(Versioned, Base):
    """With a UUID for its key; some give a text for it, which SQLite's type does not take."""

    __tablename__ = "ticket"

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    text: Mapped[str] = mapped_column(String(80))


class CheckedToo(Base):
    """Another class for the same table, which sees to the version as well."""

    __table__ = Checked.__table__
    __mapper_args__ = {  # noqa: RUF012
        "version_id_col": Checked.__table__.c.version,
        "version_id_generator": lambda _: uuid4().hex,
    }


class CheckedCarelessly(Base):
    """Another class for the same table, which knows nothing of its version."""

    __table__ = Checked.__table__


class MemoToo(Base):
    __table__ = Memo.__table__


def spelt_in_capitals(key: Any) -> Any:
    return key.upper() if isinstance(key, str) else str(key).upper()


IS_2_0 = metadata.version("SQLAlchemy").startswith("2.0.")
"""Whether a UUID is asked for by nothing but a UUID, where the database has no type for it."""

KEYS: list[tuple[str, Any, Any]] = [
    *((kind, model, "red") for kind in KINDS for model in (Label, Sticker)),
    *((kind, Ticket, UUID(int=0xABCDEF)) for kind in ("postgresql", "mariadb")[: 1 if IS_2_0 else 2]),
]


def serve_keys(board: Board, model: Any, meanwhile: Callable[[Any], object] = lambda _: None) -> None:
    """Serve the model under the key as it is in the URL, whatever its letters."""
    etag = content_hash(lambda each: each.text) if model is Sticker else None
    found = resource(etag=etag)(lambda key: board.db.session.get(model, key))

    def write(each: Any, key: str) -> tuple[str, int]:
        meanwhile(each)
        status = 200 if each is not None else 201
        if each is None:
            each = model(id=key)
            board.db.session.add(each)
        each.text = "mine"
        board.db.session.commit()
        return "", status

    board.app.add_url_rule("/keys/<key>", "key", etag_resource(found)(lambda each: each.text))
    board.app.add_url_rule(
        "/keys/<key>", "write key", require_if_match(found, create=True)(write), methods=["PUT"]
    )


@pytest.mark.parametrize(("kind", "model", "key"), KEYS)
def test_p5_a_key_that_is_spelt_otherwise_is_the_same_row(
    board_on: Callable[..., Board], kind: str, model: Any, key: Any
) -> None:
    """It is made and changed by one spelling and read by another, and has one tag."""
    board = board_on(kind, Checked)
    serve_keys(board, model)
    mine, theirs = f"/keys/{spelt_in_capitals(key)}", f"/keys/{key}"
    made = board.send("PUT", mine, {"If-None-Match": "*"})
    assert (made.status_code, made.headers["ETag"]) == (201, board.send("GET", theirs, {}).headers["ETag"])
    changed = board.send("PUT", mine, {"If-Match": made.headers["ETag"]})
    assert (changed.status_code, changed.headers["ETag"]) == (200, board.send("GET", theirs, {}).headers["ETag"])
    assert board.send("PUT", theirs, {"If-Match": changed.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])
@pytest.mark.parametrize(("kind", "model", "key"), KEYS)
def test_p5_a_row_is_guarded_by_whichever_spelling_of_its_key_it_is_written(
    board_on: Callable[..., Board], kind: str, model: Any, key: Any, has_rival: bool
) -> None:
    board = board_on(kind, Checked)
    with board.app.app_context():
        board.db.session.add(model(id=key, text="first"))
        board.db.session.commit()

    def lose(each: Any) -> None:
        def win() -> None:
            with Session(board.engine) as session:
                session.scalars(select(model)).one().text = "theirs"
                session.commit()

        board.db.session.rollback()
        if has_rival:
            rival = Thread(target=win)
            rival.start()
            rival.join(WAIT)
        board.db.session.expunge_all()
        board.db.session.execute(update(model).where(model.id == key).values(text="mine in bulk"))
        board.db.session.scalars(select(model)).one().text = "mine by the other"
        board.db.session.commit()

    serve_keys(board, model, lose)
    url = f"/keys/{spelt_in_capitals(key)}"
    seen = board.send("GET", url, {}).headers["ETag"]
    answer = board.send("PUT", url, {"If-Match": seen})
    read = board.send("GET", url, {})
    if has_rival:
        assert (answer.status_code, read.text) == (412, "theirs")
        assert answer.headers["ETag"] == read.headers["ETag"]
    else:
        assert answer.status_code == 200
        assert answer.headers.get("ETag") in (None, read.headers["ETag"])


def change_by(other: Any) -> Callable[[Any], object]:
    def change(session: Any) -> None:
        session.get_one(other, 1).text = "mine"

    return change


def update_by(other: Any) -> Callable[[Any], object]:
    def change(session: Any) -> None:
        session.execute(update(other).values(text="mine"))

    return change


@pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])
@pytest.mark.parametrize("write", [change_by, update_by])
@pytest.mark.parametrize(
    ("model", "other"), [(Checked, CheckedToo), (Checked, CheckedCarelessly), (Memo, MemoToo)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_p5_two_classes_mapped_to_one_table_are_one_row(
    board_on: Callable[..., Board],
    kind: str,
    model: Any,
    other: Any,
    write: Any,
    has_rival: bool,
) -> None:
    board = board_on(kind, model)
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        write(other)(board.db.session)
        board.db.session.commit()

    answer = board.save(view)
    read = board.get()
    if has_rival:
        assert (answer.status_code, read.text) == (412, "theirs")
        assert answer.headers["ETag"] == read.headers["ETag"]
    else:
        assert (answer.status_code, read.text) == (200, "mine")
        assert answer.headers.get("ETag") in (None, read.headers["ETag"])
        assert read.headers["ETag"] != board.seen


def test_p5_a_part_of_the_request_may_write_other_rows_of_the_table(any_board: Board) -> None:
    board = any_board

    def view(found: Any) -> None:
        board.db.session.add(board.model(id=2, text="beside"))
        board.db.session.add(Player(id=2))
        board.db.session.flush()
        board.db.session.execute(update(board.model).where(board.model.id == 2).values(text="changed"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.seen)
    assert board.get().headers["ETag"] == board.seen
    assert board.get(2).text == "changed"


# What an application does with its sessions and connections.


def test_p4_what_is_written_by_another_session_and_not_committed_yet_is_not_held_by_the_first(
    any_board: Board,
) -> None:
    board = any_board

    def view(found: Any) -> None:
        board.let_go()
        another = Session(board.engine)
        another.add(Comment(body="beside"))
        another.flush()
        board.db.session.commit()
        another.commit()
        another.close()

    answer = board.save(view)
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.seen)


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
def test_p4_sessions_that_share_one_connection_do_not_wait_for_each_other(
    board_on: Callable[..., Board], model: Any
) -> None:
    """As with SQLite's database in memory, of which there is one connection."""
    shared = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    board = board_on("sqlite", model, **shared)

    def view(found: Any) -> None:
        found.text = "flushed"
        board.db.session.flush()
        with Session(board.engine) as another:
            another.execute(update(model).values(text="mine"))
            another.commit()
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers.get("ETag") in (None, board.get().headers["ETag"])
    assert board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("is_undone", [False, True])
def test_p4_a_savepoint_that_began_before_the_request_was_judged(any_board: Board, is_undone: bool) -> None:
    board = any_board

    @board.app.before_request
    def begin() -> None:
        if request.path.startswith("/mine"):
            g.savepoint = board.db.session.begin_nested()
            board.db.session.get(Player, 1)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        if is_undone:
            g.savepoint.rollback()
        else:
            g.savepoint.commit()
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "first" if is_undone else "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]
    assert (answer.headers["ETag"] == board.seen) is is_undone


@pytest.mark.parametrize("kind", KINDS)
def test_p4_a_session_whose_own_transaction_is_over_does_not_matter_to_another_connection(
    board_on: Callable[..., Board], kind: str
) -> None:
    """A transaction for each request, which the view commits itself, before it goes on by a connection."""
    board = board_on(kind, Memo)
    left: list[Any] = []

    @board.app.before_request
    def begin() -> None:
        g.transaction = None
        if request.path.startswith("/mine"):
            g.transaction = board.db.session.begin()
            g.transaction.__enter__()

    @board.app.after_request
    def end(response: Response) -> Response:
        for connection in left:
            connection.commit()
            connection.close()
        if g.transaction is not None:
            g.transaction.__exit__(None, None, None)
        return response

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.commit()
        left.append(board.engine.connect())
        left[0].execute(update(Memo).values(text="mine again"))

    answer = board.save(view)
    left.clear()
    assert (answer.status_code, board.get().text) == (200, "mine again")
    assert answer.headers.get("ETag") in (None, board.get().headers["ETag"])


@pytest.mark.parametrize("model", [Memo, Checked])
@pytest.mark.parametrize("has_rival", [False, True])
def test_p4_a_commit_in_a_savepoint_s_block_holds_what_was_judged_in_a_session_that_had_begun_before(
    board_on: Callable[..., Board], model: type[Any], has_rival: bool
) -> None:
    """Such a session gives no connection any more until the block ends."""
    board = board_on("postgresql", model)

    @board.app.before_request
    def begin() -> None:
        if request.path.startswith("/mine"):
            board.db.session.scalars(select(Player)).all()

    def view(found: Any) -> None:
        session = board.db.session
        if has_rival:
            board.let_go()
            board.meanwhile("PUT", If_Match="*")
        with suppress(InvalidRequestError), session.begin_nested():
            session.add(Player(id=7, name="beside it"))
            session.commit()

    assert board.save(view).status_code == (412 if has_rival else 200)
    with board.engine.connect() as connection:
        names = connection.scalars(select(Player.name).where(Player.id == 7)).all()
    assert names == ([] if has_rival else ["beside it"])


@pytest.mark.parametrize("is_flushed", [True, False])
def test_p4_a_listener_that_commits_a_session_of_its_own_leaves_the_tag_of_the_commit(
    any_board: Board, is_flushed: bool
) -> None:
    """As one does that reads a setting: of two commits that go on, one is within the other."""
    board = any_board

    @event.listens_for(board.db.session, "before_commit")
    def read(_: Any) -> None:
        with Session(board.engine) as session:
            session.scalar(select(Player.name))
            session.commit()

    board.save_the_object(is_flushed=is_flushed)


def by_a_connection(board: Board) -> None:
    with board.engine.begin() as connection:
        connection.execute(update(board.model).values(text="counted"))


def by_an_object(board: Board) -> None:
    with Session(board.engine) as session:
        session.get_one(board.model, 1).text = "counted"
        session.commit()


@pytest.mark.parametrize("write", [by_a_connection, by_an_object])
def test_p4_what_is_refused_in_a_listener_of_after_commit_is_partial(
    any_board: Board, write: Callable[[Board], None]
) -> None:
    """SQLAlchemy lets nobody roll back a session that is about to tell of its commit."""
    board = any_board
    told: list[Any] = []

    @event.listens_for(board.db.session, "after_commit")
    def count(_: Any) -> None:
        if not told and request.path.startswith("/mine"):
            told.append(True)
            board.meanwhile("PUT", If_Match="*")
            write(board)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    assert board.get().text == "theirs"
