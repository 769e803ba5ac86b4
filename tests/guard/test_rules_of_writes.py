"""Rules 2.3 to 2.14, where a promise of theirs has no test of its own elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import Response, after_this_request, request
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, load_only

from flask_etag import content_hash, etag_resource, require_if_match, resource, version_column
from tests.conftest import KINDS
from tests.world.application import World
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Comment, Memo, Paper
from tests.world.racing import Racer, in_thread
from tests.world.statements import statements_of
from tests.world.upserts import upsert

NEW_VERSION: dict[Any, dict[str, Any]] = {Checked: {"version": "new"}, Counted: {"revision": 1}, Memo: {}}


# 2.3


@pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])
@pytest.mark.parametrize("rows", [1, 2])
def test_2_3_an_upsert_under_create_tells_whether_it_inserted(
    any_board: Board, rows: int, has_rival: bool
) -> None:
    board = any_board
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        made = [{"id": 2 + row, "text": "mine", **NEW_VERSION[board.model]} for row in range(rows)]
        statement = upsert(board.engine, board.model, made, {"text": "mine"})
        board.db.session.connection().execute(statement)
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_3_of_two_upserts_of_one_key_at_once_one_is_refused(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """The second waits for the first, and finds its row."""
    board = board_on(kind, model)
    racers: list[Racer] = []

    def view(_: Any) -> None:
        mine = request.headers.get("Name", "first")
        made = {"id": 2, "text": mine, **NEW_VERSION[model]}
        board.db.session.execute(upsert(board.engine, model, made, {"text": mine}))
        if not racers:
            headers = {"If-None-Match": "*", "Name": "second"}
            racers.append(Racer(lambda: board.send("PUT", "/mine/2", headers)))
            racers[0].join(0.2)
        board.db.session.commit()

    first = board.save(view, 2, create=True, If_None_Match="*")
    second = racers[0].answer()
    assert (first.status_code, second.status_code) == (200, 412)
    assert board.get(2).text == "first"
    assert first.headers["ETag"] == second.headers["ETag"] == board.get(2).headers["ETag"]


def test_2_3_an_insert_that_ignores_what_is_there_makes_nothing(any_board: Board) -> None:
    """INSERT ... ON CONFLICT DO NOTHING: the row is the rival's."""
    board = any_board

    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        values = {"id": 2, "text": "mine", **NEW_VERSION[board.model]}
        board.db.session.execute(upsert(board.engine, board.model, values, None))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")


# 2.5


@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_5_a_deadlock_at_the_commit_is_judged_again(board_on: Callable[..., Board], model: Any) -> None:
    """PostgreSQL at SERIALIZABLE finds out at COMMIT that two have read what the other writes."""
    board = board_on("postgresql", model, isolation_level="SERIALIZABLE")
    with board.app.app_context():
        board.db.session.add(Player(id=2))
        board.db.session.commit()

    def view(found: Any) -> None:
        def skew() -> None:
            with Session(board.engine) as session:
                session.scalars(select(Player.name).where(Player.id == 1)).all()
                session.execute(update(Player).where(Player.id == 2).values(name="theirs"))
                session.scalars(select(model.text)).all()
                session.commit()

        board.db.session.scalars(select(Player.name).where(Player.id == 2)).all()
        board.db.session.execute(update(Player).where(Player.id == 1).values(name="mine"))
        found.text = "mine"
        board.db.session.flush()
        in_thread(skew)
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (409, "first")
    assert answer.get_json()["reason"] == "conflict"
    assert board.get().headers["ETag"] == board.seen


def test_2_5_a_commit_that_fails_is_none(board_on: Callable[..., Board]) -> None:
    """SQLite's COMMIT waits for readers; what it could not commit can be tried again, and counts then."""
    board = board_on("sqlite", Checked, connect_args={"timeout": 0.1, "check_same_thread": False})
    reader = board.engine.connect()

    def begin_to_read() -> None:
        reader.exec_driver_sql("BEGIN")
        reader.execute(select(Checked.__table__)).all()

    def view(found: Any) -> None:
        in_thread(begin_to_read)
        found.text = "mine"
        with pytest.raises(OperationalError):
            board.db.session.commit()
        board.db.session.rollback()
        in_thread(reader.rollback)
        board.db.session.get_one(Checked, 1).text = "mine again"
        board.db.session.commit()

    answer = board.save(view)
    reader.close()
    assert (answer.status_code, board.get().text) == (200, "mine again")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


# 2.7


def test_2_7_what_is_not_sent_behind_a_4xx_is_left_to_the_application(any_board: Board) -> None:
    """What was sent is read back, and what is not yet is not lost by that."""
    board = any_board

    def view(found: Any) -> Any:
        @after_this_request
        def commit(response: Response) -> Response:
            board.db.session.commit()
            return response

        found.text = "sent"
        board.db.session.merge(board.model(id=1, text="not sent"))
        return "not quite", 400

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (400, "not sent")


# 2.8


@pytest.mark.parametrize("is_swallowed", [False, True])
def test_2_8_a_part_that_was_committed_is_partial(any_board: Board, is_swallowed: bool) -> None:
    board = any_board

    def view(found: Any) -> None:
        found.text = "a part"
        board.db.session.commit()
        board.meanwhile("PUT", If_Match="*")
        found.text = "the rest"
        with suppress(SQLAlchemyError if is_swallowed else TimeoutError):
            board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    assert board.get().text == "theirs"


def test_2_8_a_part_that_another_session_has_committed_is_partial(any_board: Board) -> None:
    board = any_board

    def view(found: Any) -> None:
        board.let_go()
        with Session(board.engine) as another:
            another.get_one(board.model, 1).text = "a part"
            another.commit()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.rollback()
        found.text = "the rest"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    assert board.get().text == "theirs"


@pytest.mark.parametrize("creates", [True, False])
@pytest.mark.parametrize("has_rival", [True, False])
def test_2_8_what_is_unique_and_another_has_made_since_the_request_deleted_its_own_is_partial(
    world: World, creates: bool, has_rival: bool
) -> None:
    """Its loader finds it by a unique column, which is not the key, so that no error tells what was met."""
    session = world.db.session

    @resource(etag=content_hash(lambda comment: comment.body))
    def find(body: str) -> Comment | None:
        return session.scalar(select(Comment).where(Comment.body == body))

    def make_it_as_another() -> None:
        with Session(world.engine) as rival:
            rival.add(Comment(id=77, body="it"))
            rival.commit()

    def replace(comment: Comment | None, body: str) -> str:
        if comment is None:
            comment = Comment(body=body)
            session.add(comment)
            session.commit()
        session.delete(comment)
        session.commit()
        if has_rival:
            in_thread(make_it_as_another)
        session.add(Comment(body=body))
        if not has_rival:
            session.add(Comment(body=body))  # a mistake of the view's own
        session.commit()
        return ""

    world.app.get("/comments/<body>")(etag_resource(find)(lambda comment: comment.body))
    world.app.put("/comments/<body>")(require_if_match(find, create=True)(replace))
    client = world.app.test_client()
    fields = {"If-None-Match": "*"}
    if not creates:
        with world.app.app_context():
            session.add(Comment(id=5, body="it"))
            session.commit()
        fields = {"If-Match": client.get("/comments/it").headers["ETag"]}
    if has_rival:
        answer = client.put("/comments/it", headers=fields)
        assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    else:
        with pytest.raises(IntegrityError):
            client.put("/comments/it", headers=fields)


# 2.10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize(
    "statement",
    [
        lambda model: update(model).values(text="mine"),
        lambda model: update(model.__table__).values(text="mine"),
        lambda model: text(f"UPDATE {model.__tablename__} SET text = 'mine'"),
    ],
)
def test_2_10_a_bulk_statement_moves_the_version(
    board_on: Callable[..., Board], kind: str, model: Any, statement: Callable[[Any], Any]
) -> None:
    board = board_on(kind, model)
    name = "version" if model is Checked else "revision"

    def stored() -> Any:
        with Session(board.engine) as session:
            return session.scalar(select(getattr(model, name)).where(model.id == 1))

    before = stored()

    def view(found: Any) -> None:
        board.db.session.execute(statement(model))
        board.db.session.commit()
        assert getattr(found, name) == stored() != before

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    if model is Counted:
        assert stored() == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_2_10_a_version_that_a_statement_gives_is_kept_where_it_counts_on(
    board_on: Callable[..., Board], kind: str
) -> None:
    board = board_on(kind, Counted)

    def view(_: Any) -> None:
        board.db.session.execute(update(Counted).values(text="mine", revision=7))
        board.db.session.commit()

    answer = board.save(view)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == board.get().headers["ETag"]
    with Session(board.engine) as session:
        assert session.scalar(select(Counted.revision)) == 7


def test_2_10_what_sqlalchemy_does_not_see_is_the_documented_limit(any_board: Board) -> None:
    """It is neither held nor does it move a version; a later write of the same transaction refuses it or not."""
    board = any_board

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        connection = board.db.session.connection()
        connection.exec_driver_sql(f"UPDATE {board.model.__tablename__} SET text = 'unseen'")
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "unseen")


# 2.11


@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("kind", KINDS)
def test_2_11_a_guarded_view_runs_the_same_statements_with_and_without_if_match(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """With a version, all that the guard asks of a database is in the UPDATE that is sent anyway."""
    sent: list[list[str]] = []
    for is_guarded in (False, True):
        board = board_on(kind, model)

        def view(found: Any, board: Board = board) -> str:
            found.text = "mine"
            board.db.session.add(Player(id=2))
            board.db.session.commit()
            return "done"

        def unguarded(number: int, board: Board = board, view: Any = view) -> str:
            return str(view(board.db.session.get(model, number)))

        tag = "*"
        if is_guarded:
            board.app.put("/plain/<int:number>")(require_if_match(board.find)(view))
            tag = board.get().headers["ETag"]
        else:
            board.app.put("/plain/<int:number>")(unguarded)
        with statements_of(board.engine) as statements:
            assert board.send("PUT", "/plain/1", {"If-Match": tag}).status_code == 200
        sent.append(list(statements))
    assert sent[0] == sent[1]


# 2.14


def by_assignment(found: Any, record: dict[str, Any]) -> None:
    for name, value in record.items():
        setattr(found, name, value)


def by_assignment_to_what_is_expired(found: Any, record: dict[str, Any]) -> None:
    session: Any = Session.object_session(found)
    session.expire(found)
    by_assignment(found, record)


def by_merge(found: Any, record: dict[str, Any]) -> None:
    session: Any = Session.object_session(found)
    now = found.version if isinstance(found, Checked) else found.revision
    name = "version" if isinstance(found, Checked) else "revision"
    session.merge(type(found)(**{**record, name: now}))
    by_assignment(found, record)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("take", [by_assignment, by_assignment_to_what_is_expired, by_merge])
def test_2_14_a_version_that_a_view_sends_back_is_ignored(
    board_on: Callable[..., Board], kind: str, model: Any, take: Callable[[Any, dict[str, Any]], None]
) -> None:
    """Two saves from one form, whose version is that of the first read, do not bring that one's tag back.

    A version that counts does not go back either: such a save is refused.
    """
    board = board_on(kind, model)
    name = "version" if model is Checked else "revision"
    with board.app.app_context():
        first = getattr(board.db.session.get_one(model, 1), name)

    def view(found: Any) -> None:
        take(found, {"id": 1, name: first, "text": request.headers.get("Text", "one")})
        board.db.session.commit()

    one = board.save(view)
    seen = str(board.seen)
    two = board.send("PUT", "/mine/1", {"If-Match": board.get().headers["ETag"], "Text": "two"})
    statuses = (one.status_code, two.status_code)
    if model is Checked:
        assert statuses == (200, 200)
        assert board.get().text == "two"
    else:
        assert set(statuses) <= {200, 409}
    tags = [answer.headers["ETag"] for answer in (one, two) if answer.status_code == 200]
    assert seen not in tags
    assert len(set(tags)) == len(tags)
    if tags:
        assert board.get().headers["ETag"] == tags[-1]
        assert board.send("PUT", "/1", {"If-Match": seen}).status_code == 412


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_flushed", [False, True])
@pytest.mark.parametrize("by", ["ORM", "statement", "insert"])
def test_2_14_a_version_that_begins_again_goes_on_from_the_base(
    board_on: Callable[..., Board], kind: str, is_flushed: bool, by: str
) -> None:
    """Deleted and made again in one request: it would count from 1 once more, and say what it said before."""
    board = board_on(kind, Counted)
    with board.app.app_context():
        for number in range(3):
            board.db.session.get_one(Counted, 1).text = f"change {number}"
            board.db.session.commit()
        before = board.db.session.get_one(Counted, 1).revision

    def view(found: Any) -> None:
        if by == "ORM":
            board.db.session.delete(found)
        else:
            board.db.session.execute(delete(Counted))
            board.db.session.expunge(found)
        if is_flushed:
            board.db.session.flush()
        if by == "insert":
            board.db.session.execute(insert(Counted).values(id=1, text="again", revision=1))
        else:
            board.db.session.add(Counted(id=1, text="again"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "again")
    assert answer.headers.get("ETag") in (None, board.get().headers["ETag"])
    with Session(board.engine) as session:
        assert session.scalar(select(Counted.revision)) == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_2_14_a_version_that_is_set_before_it_was_loaded_is_ignored(
    board_on: Callable[..., Board], kind: str
) -> None:
    board = board_on(kind, Checked)

    def view(_: Any) -> None:
        board.db.session.expunge_all()
        found = board.db.session.scalars(select(Checked).options(load_only(Checked.text))).one()
        found.version = "sent back"
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen
    with Session(board.engine) as session:
        assert session.scalar(select(Checked.version)) != "sent back"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_11_what_is_only_reported_may_make_and_delete_as_it_did(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """Another has deleted the row meanwhile: what the view does then fails as it would without Flask-ETag."""
    board = board_on(kind, model)

    def remove() -> None:
        with Session(board.engine) as session:
            session.execute(delete(model))
            session.commit()

    def view(_: Any) -> str:
        board.db.session.rollback()
        in_thread(remove)
        board.db.session.execute(update(model).values(text="of nobody"))
        board.db.session.commit()
        return "done"

    board.app.put("/reported/<int:number>")(etag_resource(board.find)(view))
    answer = board.send("PUT", "/reported/1", {})
    assert (answer.status_code, board.get().status_code) == (200, 404)
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("kind", KINDS)
def test_2_14_a_version_that_a_statement_has_counted_on_is_the_one_that_a_flush_replaces(
    board_on: Callable[..., Board], kind: str
) -> None:
    board = board_on(kind, Counted)

    def view(found: Any) -> None:
        counted = update(Counted).values(text="half of it", revision=Counted.revision + 1)
        board.db.session.execute(counted, execution_options={"synchronize_session": False})
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("moves", [False, True])
def test_2_14_a_statement_that_changes_what_was_never_loaded_has_to_move_the_version_column(
    world: World, moves: bool
) -> None:
    @resource(etag=version_column("revision"))
    def find(name: str) -> Paper | None:
        return world.db.session.scalar(select(Paper).filter_by(name=name).options(load_only(Paper.revision)))

    def write(paper: Paper) -> str:
        values = {"body": "second", "revision": Paper.revision + 1} if moves else {"body": "second"}
        world.db.session.execute(update(Paper).values(values))
        world.db.session.commit()
        return ""

    world.put_paper_view(write, find)
    with world.app.test_request_context():
        etag = str(find.etag_of(find("plan")))
    answer = world.put("", "/other/plan", if_match=etag)
    assert (answer.status_code, world.paper_body()) == ((200, "second") if moves else (409, "first"))


@pytest.mark.parametrize("body", ["first", "of no paper"])
def test_2_14_a_statement_that_leaves_all_as_it_is_leaves_the_tag(world: World, body: str) -> None:
    @resource(etag=version_column("revision"))
    def find(name: str) -> Paper | None:
        return world.db.session.scalar(select(Paper).filter_by(name=name).options(load_only(Paper.revision)))

    def write(paper: Paper) -> str:
        world.db.session.execute(update(Paper).where(Paper.body == body).values(body="first"))
        world.db.session.commit()
        return ""

    world.put_paper_view(write, find)
    with world.app.test_request_context():
        etag = str(find.etag_of(find("plan")))
    answer = world.put("", "/other/plan", if_match=etag)
    assert (answer.status_code, answer.headers["ETag"]) == (200, etag)
