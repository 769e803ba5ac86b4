"""P2: a request has one answer, and it is the true one, whatever the view makes of what it meets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import Any

import pytest
from flask import Response, abort, after_this_request
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Comment, Memo
from tests.world.racing import WAIT, in_thread

Step = Callable[[Board], object]

IMPATIENT: dict[str, dict[str, Any]] = {
    "sqlite": {"connect_args": {"timeout": 0.2, "check_same_thread": False}},
    "postgresql": {"connect_args": {"options": "-c lock_timeout=200"}},
    "mariadb": {"connect_args": {"init_command": "SET SESSION innodb_lock_wait_timeout=1"}},
}


def flush_a_change(board: Board) -> None:
    board.db.session.get_one(board.model, 1).text = "mine"
    board.db.session.flush()


def flush_a_deletion(board: Board) -> None:
    board.db.session.delete(board.db.session.get_one(board.model, 1))
    board.db.session.flush()


def update_in_bulk(board: Board) -> None:
    board.db.session.execute(update(board.model).values(text="mine"))


def delete_in_bulk(board: Board) -> None:
    board.db.session.execute(delete(board.model))


def update_by_text(board: Board) -> None:
    board.db.session.execute(text(f"UPDATE {board.model.__tablename__} SET text = 'mine'"))


def merge_another(board: Board) -> None:
    board.db.session.merge(board.model(id=1, text="mine"))


def write_in_another_session(board: Board) -> None:
    with Session(board.engine) as session:
        session.get_one(board.model, 1).text = "mine"
        session.commit()


def write_in_a_savepoint(board: Board) -> None:
    with board.db.session.begin_nested():
        board.db.session.get_one(board.model, 1).text = "mine"


def is_refused(board: Board, answer: Any) -> bool:
    """Tell whether a request was refused, with the rival's tag, and has left what the rival wrote."""
    read = board.get()
    assert (answer.status_code, read.text) == (412, "theirs")
    assert answer.headers["ETag"] == read.headers["ETag"]
    return True


@pytest.mark.parametrize("first", [flush_a_change, update_in_bulk])
@pytest.mark.parametrize(
    "then",
    [
        flush_a_change, flush_a_deletion, update_in_bulk, delete_in_bulk, update_by_text, merge_another,
        write_in_another_session, write_in_a_savepoint,
    ],
)  # fmt: skip
def test_p2_what_a_view_does_to_the_target_after_a_refusal_is_refused_too(
    board: Board, first: Step, then: Step
) -> None:
    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_Match="*")
        for step in (first, then):
            with suppress(SQLAlchemyError):
                step(board)
                board.db.session.commit()
            board.db.session.rollback()

    assert is_refused(board, board.save(view))


@pytest.mark.parametrize("first", [flush_a_change, flush_a_deletion, update_in_bulk])
def test_p2_a_refused_flush_that_is_followed_by_a_commit_is_refused(board: Board, first: Step) -> None:
    """Without a rollback: SQLAlchemy has rolled back itself, or the transaction goes on."""

    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_Match="*")
        with suppress(StaleDataError):
            first(board)
        with suppress(SQLAlchemyError):
            board.db.session.commit()

    assert is_refused(board, board.save(view))


def test_p2_a_refusal_that_is_swallowed_without_a_commit_is_412(board: Board) -> None:
    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        with suppress(SQLAlchemyError):
            flush_a_change(board)

    assert is_refused(board, board.save(view))


@pytest.mark.parametrize("write", [write_in_another_session, write_in_a_savepoint])
def test_p2_a_refusal_that_is_swallowed_elsewhere_is_412(board: Board, write: Step) -> None:
    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        with suppress(SQLAlchemyError):
            write(board)

    assert is_refused(board, board.save(view))


def add_and_commit(board: Board) -> None:
    board.db.session.add(board.model(id=2, text="mine"))
    try:
        board.db.session.commit()
    except IntegrityError:
        board.db.session.rollback()


def add_in_a_savepoint(board: Board) -> None:
    with suppress(IntegrityError), board.db.session.begin_nested():
        board.db.session.add(board.model(id=2, text="mine"))
    board.db.session.commit()


def add_and_leave_it_so(board: Board) -> None:
    board.db.session.add(board.model(id=2, text="mine"))
    with suppress(IntegrityError):
        board.db.session.flush()


def add_in_another_session(board: Board) -> None:
    with suppress(IntegrityError), Session(board.engine) as session:
        session.add(board.model(id=2, text="mine"))
        session.commit()


@pytest.mark.parametrize(
    "create", [add_and_commit, add_in_a_savepoint, add_and_leave_it_so, add_in_another_session]
)
def test_p2_a_creation_that_is_refused_and_swallowed_is_412(board: Board, create: Step) -> None:
    def view(_: Any) -> None:
        board.db.session.rollback()
        board.meanwhile("PUT", If_None_Match="*")
        create(board)

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (412, "theirs")
    assert answer.headers["ETag"] == board.get(2).headers["ETag"]


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_p2_a_write_from_the_same_base_after_a_refusal_counts(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """A lock was waited for in vain, and nobody has changed anything."""
    board = board_on(kind, model, **IMPATIENT[kind])

    def view(_: Any) -> None:
        board.db.session.rollback()
        other = board.engine.connect()
        in_thread(lambda: other.execute(update(model).values(text="held")))
        with pytest.raises(OperationalError):
            flush_a_change(board)
        board.db.session.rollback()
        in_thread(other.close)
        flush_a_change(board)
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen


@pytest.mark.parametrize("is_later", [False, True])
@pytest.mark.parametrize("write", [flush_a_change, update_in_bulk, update_by_text, flush_a_deletion])
def test_p2_a_refused_request_leaves_nothing_of_the_target(board: Board, write: Step, is_later: bool) -> None:
    """Nor of what was in its transaction; also where somebody else commits what the view has left."""

    def view(_: Any) -> tuple[str, int]:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        board.db.session.add(Player(id=2))
        with suppress(SQLAlchemyError):
            write(board)
        if not is_later:
            with suppress(SQLAlchemyError):
                board.db.session.commit()
        return "sorry", 500

    @board.app.after_request
    def commit(response: Response) -> Response:
        with suppress(SQLAlchemyError):
            board.db.session.commit()
        return response

    assert is_refused(board, board.save(view))
    with Session(board.engine) as session:
        assert session.get(Player, 2) is None


@pytest.fixture(params=["constraint of another table", "constraint of its own", "update of another table"])
def mistake(request: pytest.FixtureRequest) -> Step:
    """What a view may try in a savepoint, and fail at, without anybody else."""

    def add_what_is_taken(board: Board) -> None:
        board.db.session.add_all([Comment(body="taken"), Comment(body="taken")])

    def leave_out_its_text(board: Board) -> None:
        board.db.session.get_one(board.model, 1).text = None

    def change_what_is_not_there(board: Board) -> None:
        player = board.db.session.get_one(Player, 1)
        board.db.session.execute(delete(Player), execution_options={"synchronize_session": False})
        player.name = "of nobody"

    return {
        "constraint of another table": add_what_is_taken,
        "constraint of its own": leave_out_its_text,
        "update of another table": change_what_is_not_there,
    }[request.param]


@pytest.mark.parametrize("is_later", [False, True])
def test_p2_a_mistake_of_the_view_s_own_costs_nobody_else_s_rows(
    board: Board, mistake: Step, is_later: bool
) -> None:
    def view(found: Any) -> None:
        with suppress(IntegrityError, StaleDataError, OperationalError), board.db.session.begin_nested():
            mistake(board)
        board.db.session.add(Player(id=7, name="beside"))
        if not is_later:
            board.db.session.commit()

        @after_this_request
        def commit(response: Response) -> Response:
            board.db.session.commit()
            return response

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "first")
    assert answer.headers["ETag"] == board.get().headers["ETag"]
    with Session(board.engine) as session:
        assert session.get_one(Player, 7).name == "beside"


def test_p2_a_mistake_of_the_view_s_own_stays_what_it_is(board: Board, mistake: Step) -> None:
    def view(_: Any) -> None:
        mistake(board)
        board.db.session.commit()

    if (
        mistake.__name__ == "change_what_is_not_there"
    ):  # as if another had been first there: nothing tells them apart
        assert board.save(view).status_code == 409
    else:
        with pytest.raises((IntegrityError, OperationalError)):
            board.save(view)
    assert board.get().text == "first"
    assert board.get().headers["ETag"] == board.seen


@pytest.mark.parametrize("is_swallowed", [False, True])
def test_p2_a_stale_write_of_another_row_is_the_view_s_own_affair(board: Board, is_swallowed: bool) -> None:
    """Unless it leaves the view: then it is a conflict, and no error of the server."""

    with board.app.app_context():
        board.db.session.add(Counted(id=5, text="another"))
        board.db.session.commit()

    def win() -> None:
        with Session(board.engine) as session:
            session.get_one(Counted, 5).text = "the winner's"
            session.commit()

    def view(found: Any) -> None:
        another = board.db.session.get_one(Counted, 5)
        board.let_go()
        assert another.text == "another"
        board.let_go()
        in_thread(win)
        another.text = "lost"
        with suppress(StaleDataError if is_swallowed else TimeoutError):
            board.db.session.commit()
        board.db.session.rollback()
        board.db.session.get_one(board.model, 1).text = "mine"
        board.db.session.commit()

    if is_swallowed or board.model is Memo:  # which had to be let go of, and the other row with it
        answer = board.save(view)
        assert (answer.status_code, board.get().text) == (200, "mine")
        assert answer.headers["ETag"] == board.get().headers["ETag"]
    else:
        assert board.save(view).status_code == 409
        assert board.get().text == "first"


@pytest.mark.parametrize("status", [400, 409, 422, 503])
def test_p2_what_a_view_aborts_with_stays_what_it_is(board: Board, status: int) -> None:
    def view(_: Any) -> None:
        flush_a_change(board)
        abort(status)

    answer = board.save(view)
    assert answer.status_code == status
    assert board.get().headers["ETag"] == board.seen
    assert not answer.is_json


def meet_in_a_deadlock(board: Board) -> None:
    """Lock players 1 and 2 against another transaction that has written more, so that this one is ended."""
    is_ready, is_done = Event(), Event()

    def lock_the_other_way_round() -> None:
        with board.engine.connect() as other:
            if board.engine.dialect.name == "postgresql":
                other.execute(text("SET LOCAL deadlock_timeout = '5s'"))
            for number in (*range(10, 40), 2):
                other.execute(update(Player).where(Player.id == number).values(name="theirs"))
            is_ready.set()
            other.execute(update(Player).where(Player.id == 1).values(name="theirs"))
            other.rollback()
        is_done.set()

    session = board.db.session
    if board.engine.dialect.name == "postgresql":
        session.execute(text("SET LOCAL deadlock_timeout = '300ms'"))
    session.execute(update(Player).where(Player.id == 1).values(name="mine"))
    rival = Thread(target=lock_the_other_way_round, daemon=True)
    rival.start()
    assert is_ready.wait(WAIT)
    is_done.wait(0.2)  # the other waits already, so that this one closes the circle
    with pytest.raises(OperationalError):
        session.execute(update(Player).where(Player.id == 2).values(name="mine"))
    if board.engine.dialect.name == "postgresql":
        session.rollback()
    assert is_done.wait(WAIT)


@pytest.fixture(params=["postgresql", "mariadb"])
def crowded(request: pytest.FixtureRequest, board_on: Callable[..., Board]) -> Callable[[Any], Board]:
    """A function that returns a board with enough players; SQLite has one lock, and no deadlocks."""

    def made(model: Any) -> Board:
        board = board_on(request.param, model)
        with board.app.app_context():
            board.db.session.add_all(Player(id=number) for number in (2, *range(10, 40)))
            board.db.session.commit()
        return board

    return made


@pytest.mark.parametrize("model", [Checked, Memo])
def test_p2_a_deadlock_on_another_table_that_is_swallowed_is_the_view_s_own(
    crowded: Callable[[Any], Board], model: Any
) -> None:
    board = crowded(model)

    def view(_: Any) -> None:
        meet_in_a_deadlock(board)
        board.db.session.rollback()
        flush_a_change(board)
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("model", [Checked, Memo])
def test_p2_a_deadlock_that_is_swallowed_and_followed_by_nothing_has_changed_nothing(
    crowded: Callable[[Any], Board], model: Any
) -> None:
    board = crowded(model)

    def view(_: Any) -> None:
        meet_in_a_deadlock(board)
        board.db.session.rollback()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "first")
    assert answer.headers["ETag"] == board.get().headers["ETag"] == board.seen


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("is_later", [False, True])
def test_p2_half_of_what_a_deadlock_has_undone_is_not_answered_as_done(
    crowded: Callable[[Any], Board], model: Any, is_later: bool
) -> None:
    board = crowded(model)

    def view(_: Any) -> tuple[str, int]:
        flush_a_change(board)
        meet_in_a_deadlock(board)
        board.db.session.add(Player(id=7))
        if not is_later:
            board.db.session.commit()

        @after_this_request
        def commit(response: Response) -> Response:
            board.db.session.commit()
            return response

        return "done", 200

    answer = board.save(view)
    left = board.get().text
    assert (answer.status_code == 200) == (left == "mine")
    if board.engine.dialect.name == "mysql":  # there a part was lost without a word
        assert (answer.status_code, left) == (409, "first")


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("is_committed", [False, True])
def test_p2_what_a_deadlock_has_undone_of_a_creation_is_not_answered_as_done(
    crowded: Callable[[Any], Board], model: Any, is_committed: bool
) -> None:
    """MariaDB does that unseen, and the loader finds the object; on PostgreSQL the view has rolled back itself."""
    board = crowded(model)

    def view(_: Any) -> None:
        board.db.session.add(model(id=50, text="mine"))
        board.db.session.flush()
        meet_in_a_deadlock(board)
        if is_committed:
            board.db.session.commit()

    answer = board.save(view, 50, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(50).status_code) == (409, 404)


@pytest.mark.parametrize("model", [Checked, Memo])
def test_p2_after_a_deadlock_that_is_swallowed_a_rival_is_met_as_ever(
    crowded: Callable[[Any], Board], model: Any
) -> None:
    board = crowded(model)

    def view(_: Any) -> None:
        meet_in_a_deadlock(board)
        board.meanwhile("PUT", If_Match="*")
        board.db.session.get_one(model, 1).text = "mine"
        board.db.session.commit()

    assert is_refused(board, board.save(view))


def return_500() -> Any:
    return "sorry", 500


def abort_with_500() -> Any:
    abort(500)


def abort_with_409() -> Any:
    abort(409)


def raise_another() -> Any:
    raise RuntimeError("sorry")


def redirect() -> Any:
    return "", 303, {"Location": "/"}


@pytest.mark.parametrize("say", [return_500, abort_with_500, abort_with_409, raise_another, redirect])
@pytest.mark.parametrize("write", [flush_a_change, update_in_bulk, write_in_another_session])
def test_p2_a_refusal_that_becomes_a_500_in_the_view_is_the_412_that_it_is(
    board: Board, write: Step, say: Callable[[], Any]
) -> None:
    board.app.testing = False

    def view(_: Any) -> Any:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        try:
            write(board)
            board.db.session.commit()
        except SQLAlchemyError:
            return say()
        return "done"

    assert is_refused(board, board.save(view))


def test_p2_what_another_session_has_committed_stays_after_a_refusal(board: Board) -> None:
    def view(_: Any) -> None:
        board.let_go()
        with Session(board.engine) as session:
            session.add(Player(id=2, name="noted"))
            session.commit()
        board.meanwhile("PUT", If_Match="*")
        flush_a_change(board)

    assert is_refused(board, board.save(view))
    with Session(board.engine) as session:
        assert session.scalar(select(Player.name).where(Player.id == 2)) == "noted"
