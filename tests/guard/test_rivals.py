"""What a rival does while a view has let go of what it was handed, or works in another session."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import Response, after_this_request, g, request
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError, NoResultFound
from sqlalchemy.orm import Session, make_transient

from flask_etag import content_hash, resource
from tests.conftest import KINDS
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Memo
from tests.world.racing import in_thread


def merge(session: Any, model: type[Any]) -> None:
    session.merge(model(id=2, text="mine"))


def change(session: Any, model: type[Any]) -> None:
    session.get(model, 2).text = "mine"


def replace(session: Any, model: type[Any]) -> None:
    session.delete(session.get(model, 2))
    session.add(model(id=2, text="mine"))


@pytest.mark.parametrize("overwrite", [merge, change, replace])
def test_what_another_has_made_is_not_overwritten(
    board: Board, overwrite: Callable[[Any, type[Any]], None]
) -> None:
    def view(found: Any) -> None:
        assert found is None
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        board.db.session.get(Player, 1)
        overwrite(board.db.session, board.model)
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert answer.status_code == 412
    assert board.get(2).text == "theirs"
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


def test_what_is_changed_or_deleted_beside_what_is_made_is_no_conflict(board: Board) -> None:
    def view(found: Any) -> None:
        board.db.session.add_all([board.model(id=2, text="mine"), board.model(id=3, text="mine")])
        board.db.session.get_one(board.model, 1).text = "changed"
        board.db.session.commit()
        board.db.session.delete(board.db.session.get_one(board.model, 3))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get(2).headers["ETag"])
    assert board.get().text == "changed"


def test_what_is_deleted_before_something_is_made_is_no_conflict(board: Board) -> None:
    def view(found: Any) -> None:
        board.db.session.delete(board.db.session.get_one(board.model, 1))
        board.db.session.flush()
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get(2).headers["ETag"])
    assert board.get().status_code == 404


def test_what_a_statement_deletes_of_the_table_of_what_is_made_may_have_been_that(board: Board) -> None:
    """Nobody can tell which rows a statement has deleted: it is refused, rather than lose another's."""

    def view(found: Any) -> None:
        board.db.session.execute(delete(board.model).where(board.model.id == 1))
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "conflict")
    assert (board.get().text, board.get(2).status_code) == ("first", 404)


def test_what_is_made_in_a_savepoint_after_something_else_is_tagged(board: Board) -> None:
    def view(found: Any) -> None:
        board.db.session.execute(insert(Player).values(id=2, name=""))
        with board.db.session.begin_nested():
            board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get(2).headers["ETag"])


def test_what_a_view_has_made_and_undone_by_a_connection_of_its_own_is_made_anew(any_board: Board) -> None:
    board = any_board
    versions: dict[Any, dict[str, Any]] = {Checked: {"version": "undone"}, Counted: {"revision": 1}}
    version = versions.get(board.model, {})

    def view(found: Any) -> None:
        with board.engine.connect() as connection:
            connection.execute(insert(board.model).values(id=2, text="undone", **version))
            connection.rollback()
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


def test_a_loader_that_writes_when_it_finds_something_finds_what_is_made(board: Board) -> None:
    """It notes who has been looked for first, say."""

    def find(number: int) -> Any:
        found = board.db.session.get(board.model, number)
        if found is not None and "noted" not in g:
            g.noted = True
            board.db.session.execute(update(Player).values(name="found"))
        return found

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.flush()
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get(2).headers["ETag"])


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
@pytest.mark.parametrize("model", [Checked, Memo])
def test_a_creation_whose_view_swallows_a_mistake_of_its_own_and_makes_nothing_has_no_tag(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    board = board_on(kind, model)

    def view(found: Any) -> None:
        with suppress(IntegrityError):
            board.db.session.execute(insert(Player).values(id=1, name="there already"))

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert board.get(2).status_code == 404


def test_what_another_has_made_is_met_also_where_its_loader_returns_no_object(board: Board) -> None:
    """A loader of columns finds a dictionary, once there is something."""

    def find(number: int) -> Any:
        found = board.db.session.execute(select(board.model.text).filter_by(id=number)).mappings().first()
        return None if found is None else dict(found)

    board.find = resource(etag=content_hash(dict))(find)

    def view(found: Any) -> None:
        board.db.session.rollback()
        in_thread(lambda: make(board))
        with suppress(IntegrityError):
            board.db.session.add(board.model(id=2, text="mine"))
            board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.get_json()["reason"]) == (412, "exists")


def make(board: Board) -> None:
    with Session(board.engine) as session:
        session.add(board.model(id=2, text="theirs"))
        session.commit()


def test_what_is_made_under_another_name_and_then_gets_its_own_is_tagged(board: Board) -> None:
    board.find = board.found_by(
        lambda number: board.db.session.scalar(select(board.model).filter_by(id=number, text="published"))
    )

    def view(found: Any) -> None:
        draft = board.model(id=2, text="draft")
        board.db.session.add(draft)
        board.db.session.commit()
        draft.text = "published"
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    with board.app.app_context():
        etag = str(board.find.etag_of(board.db.session.get_one(board.model, 2)))
    assert (answer.status_code, answer.headers["ETag"]) == (200, etag)


def test_what_was_hidden_from_its_loader_is_not_overwritten_and_the_log_says_what_to_do(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    board.find = board.found_by(
        lambda number: board.db.session.scalar(select(board.model).filter_by(id=number, text="published"))
    )

    def view(found: Any) -> None:
        board.db.session.get_one(board.model, 1).text = "published"
        board.db.session.commit()

    assert board.save(view, 1, create=True, If_None_Match="*").status_code == 409
    assert board.get().text == "first"
    assert any("let the view add() a new object" in message for message in caplog.messages)


def test_what_was_handed_to_a_view_may_be_saved_as_a_new_row(board: Board) -> None:
    def view(found: Any) -> None:
        make_transient(found)
        found.id, found.text = 2, "mine"
        board.db.session.add(found)
        board.db.session.commit()

    assert board.save(view).status_code == 200
    assert (board.get().text, board.get(2).text) == ("first", "mine")


def test_a_bulk_statement_may_delete_what_is_then_made_again(board: Board) -> None:
    def view(found: Any) -> None:
        board.db.session.execute(delete(board.model).where(board.model.id == 1))
        board.db.session.add(board.model(id=1, text="mine"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


def test_what_is_changed_for_display_alone_in_another_session_is_not_sent(board: Board) -> None:
    def view(found: Any) -> str:
        found.text = "mine"
        board.db.session.commit()
        g.session = Session(board.db.engine)
        player: Player = g.session.get_one(Player, 1)
        player.name = "to be seen"
        return player.name

    board.app.teardown_request(lambda _: g.session.close() if "session" in g else None)
    assert board.save(view).text == "to be seen"
    with board.app.app_context():
        assert board.db.session.get_one(Player, 1).name == ""


@pytest.mark.parametrize("is_other", [False, True])
def test_what_another_has_deleted_is_not_made_again(board: Board, is_other: bool) -> None:
    def view(_: Any) -> None:
        board.db.session.remove()
        board.meanwhile("DELETE", If_Match="*")
        with Session(board.db.engine) if is_other else board.db.session() as session:
            session.merge(board.model(id=1, text="mine"))
            session.commit()

    assert board.save(view).status_code == 404
    assert board.get().status_code == 404


@pytest.mark.parametrize("is_flushed", [False, True])
def test_a_view_may_delete_and_make_again_what_it_was_handed(board: Board, is_flushed: bool) -> None:
    def view(found: Any) -> None:
        board.db.session.delete(found)
        if is_flushed:
            board.db.session.commit()
        board.db.session.add(board.model(id=1, text="mine"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


def test_what_a_loader_reads_again_under_the_lock_is_what_is_locked(board: Board) -> None:
    """At MariaDB's own isolation, a SELECT reads what was there when the transaction first read something."""
    board.find = board.found_by(lambda number: board.db.session.get(board.model, number, populate_existing=True))

    @board.app.before_request
    def read_something_else() -> None:
        if request.path.startswith("/mine"):
            board.db.session.get(Player, 1)
            board.meanwhile("PUT", If_Match="*")

    def view(found: Any) -> None:
        found.text += ", mine"
        board.db.session.commit()

    assert board.save(view).status_code == 412
    assert board.get().text == "theirs"


@pytest.mark.parametrize("has_rival", [False, True])
def test_what_is_unsent_in_another_session_is_guarded(board: Board, has_rival: bool) -> None:
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.db.session.remove()
        board.meanwhile("PUT", If_Match="*")
        session = Session(board.db.engine)
        session.get_one(board.model, 1).text = "mine"

        @after_this_request
        def commit(response: Response) -> Response:
            session.commit()
            session.close()
            return response

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]


def test_to_refresh_what_another_has_deleted_is_no_server_error(board: Board) -> None:
    def view(found: Any) -> None:
        board.db.session.commit()
        board.meanwhile("DELETE", If_Match="*")
        board.db.session.refresh(found)

    assert board.save(view).status_code == 404


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (lambda session: session.refresh(Player()), InvalidRequestError),
        (lambda session: session.scalars(select(Player).filter_by(id=77)).one(), NoResultFound),
    ],
)
def test_a_mistake_that_sqlalchemy_calls_by_the_same_name_stays_one(
    board: Board, mistake: Callable[[Any], object], error: type[Exception]
) -> None:
    def view(found: Any) -> None:
        board.db.session.delete(found)
        board.db.session.commit()
        mistake(board.db.session)

    with pytest.raises(error):
        board.save(view)
    assert board.get().status_code == 404


@pytest.mark.parametrize("has_rival", [False, True])
def test_a_view_may_let_go_of_what_it_was_handed_and_load_it_again(board: Board, has_rival: bool) -> None:
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.db.session.expunge_all()
        board.db.session.commit()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.get_one(board.model, 1).text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("has_rival", [False, True])
def test_what_is_let_go_of_between_two_writes_is_held_to_the_first(board: Board, has_rival: bool) -> None:
    """What the first has left behind is not asked of the session, which has it no longer."""
    board.has_rival = has_rival

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        board.db.session.expunge_all()
        board.db.session.commit()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.get_one(board.model, 1).text = "mine again"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == ((409, "theirs") if has_rival else (200, "mine again"))
    assert has_rival or answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Counted])
def test_what_the_request_itself_has_deleted_elsewhere_cannot_be_changed(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """The row is gone, and nothing tells by whom: a part of the request is done."""
    board = board_on(kind, model)

    def view(found: Any) -> None:
        with Session(board.engine) as another:
            another.delete(another.get_one(model, 1))
            another.commit()
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    assert board.get().status_code == 404
