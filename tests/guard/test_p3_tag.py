"""P3: the ETag of a 2xx is that of the state that the request left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import request
from sqlalchemy import DateTime, ForeignKey, String, TypeDecorator, Uuid, delete, event, select, text, update
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import touch
from tests.conftest import KINDS
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Base, Memo
from tests.world.racing import in_thread

Write = Callable[[Any, Any], object]


def now(board: Board) -> str:
    """Return the tag of row 1 as it is stored, by a session that has nothing to do with any request."""
    with board.app.app_context():
        return str(board.find.etag_of(board.db.session.get_one(board.model, 1)))


def change_loaded(session: Any, model: Any) -> None:
    found = session.get_one(model, 1)
    found.text += "+"


def update_in_bulk(session: Any, model: Any) -> None:
    session.execute(update(model).values(text="in bulk"))


def update_by_text(session: Any, model: Any) -> None:
    session.execute(text(f"UPDATE {model.__tablename__} SET text = 'by text'"))


@pytest.mark.parametrize("is_written_before", [False, True])
@pytest.mark.parametrize(
    ("level", "moment"),
    [
        ("session", "before_commit"),
        ("session", "before_flush"),
        ("session", "after_flush_postexec"),
        ("factory", "before_commit"),
        ("class", "before_commit"),
    ],
)
def test_p3_the_tag_is_taken_after_the_application_s_own_listeners_of_the_commit(
    any_board: Board, moment: str, is_written_before: bool, level: str
) -> None:
    board = any_board

    def stamp(session: Session, *_: object) -> None:
        if targets:
            change_loaded(session, targets.pop())

    targets: list[Any] = []
    session: Any = board.db.session
    listened = {"session": session, "factory": session.session_factory, "class": Session}[level]

    def view(found: Any) -> None:
        if level == "session":
            event.listen(session(), moment, stamp)
        if is_written_before:
            found.text = "written"
        session.add(Player(id=2))
        targets.append(board.model)
        session.commit()

    if level != "session":
        event.listen(listened, moment, stamp)
    try:
        answer = board.save(view)
    finally:
        if level != "session":
            event.remove(listened, moment, stamp)
    assert (answer.status_code, board.get().text) == (200, "written+" if is_written_before else "first+")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("write", [update_in_bulk, update_by_text])
@pytest.mark.parametrize("moment", ["before_commit", "before_flush", "after_flush", "after_flush_postexec"])
def test_p3_a_statement_in_a_listener_of_the_commit_never_leaves_a_tag_of_before(
    board: Board, moment: str, write: Write
) -> None:
    """Where it comes after the last flush, the tag need not be known."""
    models: list[Any] = []

    def stamp(session: Session, *_: object) -> None:
        if models:
            write(session, models.pop())

    def view(found: Any) -> None:
        event.listen(board.db.session(), moment, stamp)
        found.text = "written"
        models.append(board.model)
        board.db.session.commit()

    answer = board.save(view)
    read = board.get()
    assert answer.status_code == 200
    assert answer.headers.get("ETag") in (None, read.headers["ETag"])
    again = board.send("PUT", "/1", {"If-Match": read.headers["ETag"]})
    assert again.status_code == 200


@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [update_in_bulk, update_by_text])
def test_p3_a_bulk_update_moves_the_version_also_in_memory(
    board_on: Callable[..., Board], kind: str, model: Any, write: Write
) -> None:
    """So that the view can write what it was handed afterwards, in the same transaction or the next one."""
    board = board_on(kind, model)

    def view(found: Any) -> None:
        for number in range(3):
            write(board.db.session, model)
            board.db.session.commit()
            write(board.db.session, model)
            found.text = f"by the ORM {number}"
            board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "by the ORM 2")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


def test_p3_a_statement_that_changes_nothing_moves_nothing(any_board: Board) -> None:
    board = any_board

    def view(_: Any) -> None:
        board.db.session.execute(update(board.model).values(text="first"))
        board.db.session.execute(update(board.model).where(board.model.id == 99).values(text="of another"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.seen)
    assert board.get().headers["ETag"] == board.seen


# Versions that are stored otherwise than they were made.


class WholeSeconds(TypeDecorator[datetime]):
    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: object) -> datetime | None:
        return None if value is None else value.replace(microsecond=0)


class Small(TypeDecorator[str]):
    """Small letters."""

    impl = String(80)
    cache_ok = True

    def process_bind_param(self, value: str | None, _: object) -> str | None:
        return None if value is None else value.lower()


class Stamped(Base):
    __tablename__ = "stamped"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    at: Mapped[datetime] = mapped_column(WholeSeconds)
    __mapper_args__ = {  # noqa: RUF012
        "version_id_col": at,
        "version_id_generator": lambda before: datetime(
            2020 if before is None else before.year + 1, 1, 1, 1, 1, 1, 7
        ),
    }


class Lowered(Base):
    __tablename__ = "lowered"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    mark: Mapped[str] = mapped_column(Small)
    __mapper_args__ = {  # noqa: RUF012
        "version_id_col": mark,
        "version_id_generator": lambda _: uuid4().hex.upper(),
    }


class Zoned(Base):
    """An instant, of which not every database keeps the zone, or the microseconds."""

    __tablename__ = "zoned"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    __mapper_args__ = {  # noqa: RUF012
        "version_id_col": at,
        "version_id_generator": lambda before: datetime(
            2020 if before is None else before.year + 1, 1, 1, 1, 1, 1, 7, tzinfo=UTC
        ),
    }


class Unique(Base):
    __tablename__ = "unique_"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    mark: Mapped[UUID] = mapped_column(Uuid)
    __mapper_args__ = {"version_id_col": mark, "version_id_generator": lambda _: uuid4()}  # noqa: RUF012


class Spelt(Base):
    """A UUID that is made as a text; SQLite's type takes none."""

    __tablename__ = "spelt"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    mark: Mapped[UUID] = mapped_column(Uuid)
    __mapper_args__ = {"version_id_col": mark, "version_id_generator": lambda _: str(uuid4())}  # noqa: RUF012


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        *((kind, model) for kind in KINDS for model in (Stamped, Lowered, Zoned, Unique)),
        ("postgresql", Spelt),
    ],
)
@pytest.mark.parametrize("write", [change_loaded, update_in_bulk])
def test_p3_versions_that_are_stored_otherwise(
    board_on: Callable[..., Board], kind: str, model: Any, write: Write
) -> None:
    board = board_on(kind, model)

    def view(_: Any) -> None:
        write(board.db.session, model)
        board.db.session.commit()

    answer = board.save(view)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen
    tag = answer.headers["ETag"]
    rival = board.send("PUT", "/1", {"If-Match": tag})
    assert (rival.status_code, board.get().text) == (200, "theirs")
    assert rival.headers["ETag"] == board.get().headers["ETag"] != tag
    assert board.send("PUT", "/1", {"If-Match": tag}).status_code == 412


# Reads that write.


@pytest.fixture
def counting(any_board: Board) -> Callable[..., Any]:
    """A function that sends GET /counted/1, whose view writes to what it was handed; twice if it says so."""
    board = any_board

    def read(write: Write, *, is_committed: bool = True, **fields: str) -> Any:
        def view(found: Any) -> str:
            write(board.db.session, board.model)
            if is_committed:
                board.db.session.commit()
            return str(found.text)

        board.app.add_url_rule("/counted/<int:number>", "counted", etag_resource(board.find)(view))
        return board.send("GET", "/counted/1", fields)

    return read


def write_nothing(session: Any, model: Any) -> None:
    session.get_one(model, 1).text = "first"


@pytest.mark.parametrize("write", [change_loaded, update_in_bulk, update_by_text])
def test_p3_a_read_whose_view_moves_the_version_answers_the_new_tag(
    any_board: Board, counting: Callable[..., Any], write: Write
) -> None:
    board, before = any_board, now(any_board)
    answer = counting(write)
    assert answer.status_code == 200
    assert answer.headers.get("ETag") == now(board) != before
    assert board.send("PUT", "/1", {"If-Match": answer.headers["ETag"]}).status_code == 200


def test_p3_a_read_whose_view_commits_nothing_answers_the_tag_that_it_was_judged_by(
    any_board: Board, counting: Callable[..., Any]
) -> None:
    before = now(any_board)
    assert counting(change_loaded, is_committed=False).headers["ETag"] == before == now(any_board)


def test_p3_a_read_whose_view_sets_what_was_there_answers_the_tag_that_it_was_judged_by(
    any_board: Board, counting: Callable[..., Any]
) -> None:
    before = now(any_board)
    assert counting(write_nothing).headers["ETag"] == before == now(any_board)


def test_p3_a_read_whose_view_sets_the_version_back_sends_nothing(board_on: Callable[..., Board]) -> None:
    """What is put into the version of ``Versioned`` is ignored, also after it was moved by another session."""
    board = board_on("postgresql", Checked, isolation_level="REPEATABLE READ")

    def view(found: Any) -> str:
        before = found.version
        with Session(board.engine) as session:
            update_in_bulk(session, Checked)
            session.commit()
        found.version = before
        board.db.session.commit()
        return "read"

    board.app.add_url_rule("/counted/<int:number>", "counted", etag_resource(board.find)(view))
    assert board.send("GET", "/counted/1", {}).status_code == 200
    assert board.get().text == "in bulk"


class Edited(Base):
    """With a version that the application sets itself."""

    __tablename__ = "edited"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    edition: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"version_id_col": edition, "version_id_generator": False}  # noqa: RUF012


@pytest.mark.parametrize("kind", KINDS)
def test_p3_what_a_hook_has_set_before_the_request_is_not_taken_for_what_is_stored(
    board_on: Callable[..., Board], kind: str
) -> None:
    """It has not been sent, and would be lost if the row were found in another state."""
    board = board_on(kind, Edited)

    @board.app.before_request
    def edit() -> None:
        if request.path.startswith("/mine"):
            found = board.db.session.get_one(Edited, 1)
            found.text, found.edition = "by a hook", 2

    answer = board.save(lambda _: board.db.session.commit(), If_Match="*")
    assert (answer.status_code, board.get().text) == (200, "by a hook")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
def test_p3_what_is_made_again_is_not_taken_for_what_a_snapshot_still_shows(
    board_on: Callable[..., Board], model: Any
) -> None:
    """At REPEATABLE READ, PostgreSQL shows both the row that another session has deleted and the new one."""
    board = board_on("postgresql", model, isolation_level="REPEATABLE READ")

    def view(found: Any) -> None:
        board.db.session.rollback()
        board.db.session.get_one(Player, 1)
        board.db.session.expunge(found)
        with Session(board.engine) as session:
            session.delete(session.get_one(model, 1))
            session.commit()
        board.db.session.add(model(id=1, text="made again"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "made again")
    assert board.get().headers["ETag"] != board.seen
    assert answer.headers.get("ETag", board.get().headers["ETag"]) == board.get().headers["ETag"]


@pytest.mark.parametrize("kind", KINDS)
def test_p3_what_a_hook_has_set_is_sent_while_the_request_is_judged(
    board_on: Callable[..., Board], kind: str
) -> None:
    """A content hash that asks the database has the session send what it has."""
    board = board_on(kind, Checked)

    def dump(found: Any) -> list[Any]:
        return [found.text, *board.db.session.scalars(select(Checked.id))]

    def find(number: int) -> Any:
        return board.db.session.get(Checked, number)

    board.find = resource(etag=content_hash(dump))(find)

    @board.app.before_request
    def edit() -> None:
        if request.path.startswith("/mine"):
            board.db.session.get_one(Checked, 1).text = "by a hook"

    answer = board.save(lambda _: board.db.session.commit(), If_Match="*")
    assert (answer.status_code, board.get().text) == (200, "by a hook")


def test_p3_a_read_whose_view_would_write_is_304_before_that(
    any_board: Board, counting: Callable[..., Any]
) -> None:
    before = now(any_board)
    assert counting(change_loaded, If_None_Match=before).status_code == 304
    assert now(any_board) == before


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
def test_p3_a_read_that_writes_refuses_nobody(board_on: Callable[..., Board], model: Any) -> None:
    """What is counted beside a rival is counted on top of what that wrote, or fails as it did without a tag."""
    board = board_on("postgresql", model)

    def view(_: Any) -> str:
        board.db.session.rollback()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.execute(update(model).values(text=model.text + ", counted"))
        board.db.session.commit()
        return "counted"

    board.app.add_url_rule("/mine/<int:number>", "counted", etag_resource(board.find)(view))
    answer = board.send("GET", "/mine/1", {})
    assert (answer.status_code, board.get().text) == (200, "theirs, counted")
    assert answer.headers.get("ETag") in (None, now(board))


def test_p3_a_read_whose_view_lets_go_of_what_it_was_handed_and_writes_has_no_tag(
    any_board: Board, counting: Callable[..., Any]
) -> None:
    """It may be the row that is written: nobody knows."""

    def let_go_and_count(session: Any, model: Any) -> None:
        session.expunge(session.get_one(model, 1))
        session.execute(update(Player).values(name="counted"))

    answer = counting(let_go_and_count)
    assert (answer.status_code, answer.text) == (200, "first")
    assert "ETag" not in answer.headers


def touch_it(board: Board) -> None:
    touch(board.db.session.get_one(board.model, 1))


def write_by_core(board: Board) -> None:
    board.db.session.execute(update(board.model.__table__).values(text="by a listener"))


def write_in_bulk(board: Board) -> None:
    update_in_bulk(board.db.session, board.model)


@pytest.mark.parametrize("is_flushed", [True, False])
@pytest.mark.parametrize("write", [touch_it, write_by_core, write_in_bulk])
def test_p3_what_a_listener_of_the_commit_writes_last_has_its_tag(
    world_url: str, write: Callable[[Board], None], is_flushed: bool
) -> None:
    """No flush comes after it, and by the COMMIT itself no session can load anything."""
    board = Board(world_url, Checked)

    @event.listens_for(board.db.session, "before_commit")
    def write_last(_: Any) -> None:
        if request.path.startswith("/mine"):
            write(board)

    board.save_the_object(is_flushed=is_flushed)
    board.close()


@pytest.mark.parametrize("moment", ["after_commit", "after_rollback"])
def test_p3_a_read_whose_listener_writes_by_another_session_keeps_its_tag(
    any_board: Board, counting: Callable[..., Any], moment: str
) -> None:
    """As an audit trail does: while a session commits, it cannot be asked for its connection."""
    board, before = any_board, now(any_board)
    written: list[str] = []

    @event.listens_for(board.db.session, moment)
    def write(_: Any) -> None:
        if moment not in written:
            written.append(moment)
            with Session(board.engine) as session:
                session.add(Player(id=7, name="written"))
                session.commit()

    def end(session: Any, _: Any) -> None:
        if moment == "after_rollback":
            session.rollback()

    answer = counting(end)
    assert (answer.status_code, written) == (200, [moment])
    assert answer.headers["ETag"] == before == now(board)


def delete_twice(session: Any, found: Any) -> None:
    session.delete(found)


def delete_and_replace(session: Any, found: Any) -> None:
    """SQLAlchemy makes an UPDATE of both, which finds nothing; of a model without a version it minds that too."""
    session.delete(found)
    version = {"revision": 1} if isinstance(found, Counted) else {}
    session.add(type(found)(id=1, text="again", **version))


@pytest.mark.filterwarnings("ignore:DELETE statement on table")
@pytest.mark.parametrize("write", [delete_twice, delete_and_replace])
def test_p3_a_read_whose_view_deletes_what_it_was_handed_has_no_tag_of_it(
    any_board: Board, counting: Callable[..., Any], write: Write
) -> None:
    """The second time nothing is found, as where another has deleted it."""

    def delete_and_write(session: Any, model: Any) -> None:
        found = session.get_one(model, 1)
        session.execute(delete(model), execution_options={"synchronize_session": False})
        with suppress(StaleDataError), session.begin_nested():
            write(session, found)

    answer = counting(delete_and_write)
    assert (answer.status_code, any_board.get().status_code) == (200, 404)
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("model", [Counted, Memo])
@pytest.mark.parametrize("lets_go", [True, False])
def test_p3_what_a_hook_has_set_and_the_view_lets_go_of_has_no_tag(
    world_url: str, model: Any, lets_go: bool
) -> None:
    """No row has ever had that state; where it is sent, it has its own."""
    board = Board(world_url, model)

    @board.app.before_request
    def edit() -> None:
        if request.path.startswith("/mine"):
            board.db.session.get_one(model, 1).text = "by a hook"

    def view(found: Any) -> None:
        if lets_go:
            board.db.session.expunge(found)
        board.db.session.commit()

    answer = board.save(view, If_Match="*")
    assert answer.status_code == 200
    if lets_go and model is Memo:
        assert "ETag" not in answer.headers
    else:
        assert answer.headers["ETag"] == board.get().headers["ETag"]
    board.close()


class Parcel(Base):
    """Without a version; its columns are in two tables."""

    __tablename__ = "parcel"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    kind: Mapped[str] = mapped_column(String(10), default="parcel")
    __mapper_args__ = {"polymorphic_on": kind, "polymorphic_identity": "parcel"}  # noqa: RUF012


class Crate(Parcel):
    __tablename__ = "crate"

    id: Mapped[int] = mapped_column(ForeignKey("parcel.id"), primary_key=True)
    size: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "crate"}  # noqa: RUF012


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_rival", [True, False])
def test_p3_what_is_only_reported_has_no_tag_of_one_table_s_past(
    board_on: Callable[..., Board], kind: str, has_rival: bool
) -> None:
    """A snapshot shows what the view has written to one of them, and the other as it was before the rival."""
    level = "SERIALIZABLE" if kind == "sqlite" else "REPEATABLE READ"
    board = board_on(kind, Crate, isolation_level=level)

    def find(number: int) -> Crate | None:
        return board.db.session.get(Crate, number)

    board.find = resource(etag=content_hash(lambda crate: [crate.text, crate.size]))(find)
    board.app.view_functions["read"] = etag_resource(board.find)(lambda each: each.text)

    table: Any = Crate.__table__

    def put_in_a_rival_s_text() -> None:
        with Session(board.engine) as rival:
            rival.execute(update(Parcel).values(text="theirs"))
            rival.commit()

    def view(found: Any) -> str:
        if has_rival:
            in_thread(put_in_a_rival_s_text)
        board.db.session.execute(update(table).values(size=7))
        board.db.session.commit()
        return "mine"

    board.app.add_url_rule("/mine/<int:number>", "mine", etag_resource(board.find)(view), methods=["PUT"])
    answer = board.send("PUT", "/mine/1", {})
    assert (answer.status_code, board.get().text) == (200, "theirs" if has_rival else "first")
    assert answer.headers.get("ETag") in (None, now(board))


class Draft(Base):
    """Without a version, and with a column that has a value of its own where none is given."""

    __tablename__ = "draft_of_two_columns"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="")
    size: Mapped[int] = mapped_column(default=0)


def test_p3_what_takes_the_place_of_a_row_has_the_tag_of_what_it_has_from_that(
    board_on: Callable[..., Board],
) -> None:
    """Of a column that is not given, the row keeps what it had: SQLAlchemy makes an UPDATE of both."""
    board = board_on("sqlite", Draft)
    find = resource(etag=content_hash(dump_of_draft))(lambda number: board.db.session.get(Draft, number))

    def view(found: Any) -> str:
        session = board.db.session
        session.delete(found)
        session.add(Draft(id=1, text="mine"))
        session.commit()
        return "mine"

    board.app.add_url_rule("/drafts/<int:number>", "read_draft", etag_resource(find)(lambda each: each.text))
    board.app.add_url_rule("/drafts/<int:number>", "replace", require_if_match(find)(view), methods=["PUT"])
    client = board.app.test_client()
    seen = client.get("/drafts/1").headers["ETag"]
    answer = client.put("/drafts/1", headers={"If-Match": seen})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == client.get("/drafts/1").headers["ETag"] != seen


def dump_of_draft(draft: Draft) -> dict[str, Any]:
    return {"text": draft.text, "size": draft.size}
