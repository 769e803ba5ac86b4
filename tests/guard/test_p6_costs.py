"""P6: what costs, costs where it is needed; and P8: what cannot be protected is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from tests.conftest import KINDS
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Comment, Memo
from tests.world.racing import Racer
from tests.world.statements import statements_of, verbs
from tests.world.upserts import upsert


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("model", "condition", "expected"),
    [
        (Checked, None, ["SELECT"]),
        (Counted, None, ["SELECT"]),
        (Checked, "*", ["SELECT", "hold"]),
        (Memo, None, ["SELECT", "hold"]),
    ],
)
def test_p6_a_view_that_writes_nothing_costs_nothing_more(
    board_on: Callable[..., Board], kind: str, model: Any, condition: str | None, expected: list[str]
) -> None:
    """It is loaded, and held where nothing else would keep others from it while the view runs."""
    board = board_on(kind, model)
    hold = ["UPDATE", "SELECT"] if kind == "sqlite" else ["SELECT"]
    with statements_of(board.engine) as statements:

        def view(_: Any) -> None:
            statements.append("VIEW")

        answer = board.save(view, If_Match=condition) if condition else board.save(view)
    assert answer.status_code == 200
    before = statements[: statements.index("VIEW")]
    assert statements[-1] == "VIEW"
    _, *sent = verbs(before)  # the first is of a GET
    assert sent == [verb for each in expected for verb in (hold if each == "hold" else [each])]


def test_p6_a_loser_without_a_version_is_refused_before_its_view(world_url: str) -> None:
    board = Board(world_url, Memo)
    bodies: list[str] = []
    racers: list[Racer] = []

    def view(found: Any) -> None:
        bodies.append(found.text)
        if not racers:
            racers.append(Racer(lambda: board.send("PUT", "/mine/1", {"If-Match": str(board.seen)})))
            racers[0].join(0.2)
            assert racers[0].is_alive()
        found.text = "mine"
        board.db.session.commit()

    assert board.save(view).status_code == 200
    assert racers[0].answer().status_code == 412
    assert bodies == ["first"]
    board.close()


@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("kind", KINDS)
def test_p6_a_version_that_is_named_is_not_locked_before_the_view(
    board_on: Callable[..., Board], kind: str, model: Any
) -> None:
    """A rival who comes while the view runs does not wait for it, and is the one who wins."""
    board = board_on(kind, model)

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_Match=str(board.seen))
        found.text = "mine"
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize("model", [Checked, Counted])
@pytest.mark.parametrize("kind", KINDS)
def test_p6_who_was_overtaken_waits_for_nobody(
    board_on: Callable[..., Board], kind: str, model: Any, is_hidden: bool
) -> None:
    """Its UPDATE found no row, so the winner is done. Where the view hides that, the row is held to see it."""
    board = board_on(kind, model)
    hold = ["UPDATE", "SELECT"] if kind == "sqlite" else ["SELECT"]
    with statements_of(board.engine) as statements:

        def view(found: Any) -> None:
            board.meanwhile("PUT", If_Match=str(board.seen))
            found.text = "mine"
            statements.clear()
            with suppress(StaleDataError if is_hidden else TimeoutError):
                board.db.session.commit()
            board.db.session.rollback()

        assert board.save(view).status_code == 412
        assert verbs(statements) == ["UPDATE", *(hold if is_hidden else []), "SELECT"]


# P8


def change(board: Board) -> None:
    board.db.session.get_one(board.model, 1).text = "mine"
    board.db.session.flush()


def change_in_bulk(board: Board) -> None:
    board.db.session.execute(update(board.model).values(text="mine"))


def remove(board: Board) -> None:
    board.db.session.delete(board.db.session.get_one(board.model, 1))
    board.db.session.flush()


@pytest.mark.parametrize("is_swallowed", [False, True])
@pytest.mark.parametrize("write", [change, change_in_bulk, remove])
@pytest.mark.parametrize("model", [Checked, Counted, Memo])
@pytest.mark.parametrize("kind", KINDS)
def test_p8_autocommit_is_refused_with_a_version_and_without(
    board_on: Callable[..., Board],
    kind: str,
    model: Any,
    write: Callable[[Board], object],
    is_swallowed: bool,
) -> None:
    board = board_on(kind, model, isolation_level="AUTOCOMMIT")

    def view(_: Any) -> None:
        with suppress(RuntimeError if is_swallowed else TimeoutError):
            write(board)
        board.db.session.rollback()

    with pytest.raises(RuntimeError, match=r"commits by itself \(AUTOCOMMIT\).* Leave isolation_level"):
        board.save(view)
    read = board.get()
    assert (read.text, read.headers["ETag"]) == ("first", board.seen)


def add(board: Board) -> None:
    board.db.session.add(board.model(id=2, text="mine"))
    board.db.session.flush()


def merge(board: Board) -> None:
    board.db.session.merge(board.model(id=2, text="mine"))
    board.db.session.flush()


def insert_or_update(board: Board) -> None:
    made = {"id": 2, "text": "mine", **NEW_VERSION[board.model]}
    board.db.session.execute(upsert(board.engine, board.model, made, {"text": "mine"}))


NEW_VERSION: dict[Any, dict[str, Any]] = {Checked: {"version": "x"}, Counted: {"revision": 1}, Memo: {}}


@pytest.mark.parametrize("is_swallowed", [False, True])
@pytest.mark.parametrize("create", [add, merge, insert_or_update])
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("kind", KINDS)
def test_p8_autocommit_is_refused_under_creation(
    board_on: Callable[..., Board],
    kind: str,
    model: Any,
    create: Callable[[Board], object],
    is_swallowed: bool,
) -> None:
    board = board_on(kind, model, isolation_level="AUTOCOMMIT")

    def view(_: Any) -> None:
        with suppress(RuntimeError if is_swallowed else TimeoutError):
            create(board)
        board.db.session.rollback()

    with pytest.raises(RuntimeError, match=r"commits by itself \(AUTOCOMMIT\)"):
        board.save(view, 2, create=True, If_None_Match="*")
    assert board.get(2).status_code == 404


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("write", [change, change_in_bulk])
@pytest.mark.parametrize("is_bulk", [False, True])
def test_p8_a_second_connection_that_would_wait_for_its_own_request_is_told(
    board_on: Callable[..., Board], kind: str, model: Any, write: Callable[[Board], object], is_bulk: bool
) -> None:
    board = board_on(kind, model)

    def view(_: Any) -> None:
        write(board)
        with Session(board.engine) as another:
            if is_bulk:
                another.execute(update(model).values(text="by another"))
            else:
                another.get_one(model, 1).text = "by another"
            another.commit()

    with pytest.raises(RuntimeError, match="on one connection, and writes on another"):
        board.save(view)
    assert board.get().text == "first"


@pytest.mark.parametrize("kind", KINDS)
def test_p8_a_second_connection_may_write_other_rows_where_it_does_not_wait(
    board_on: Callable[..., Board], kind: str
) -> None:
    """On SQLite all rows of a file are one lock."""
    board = board_on(kind, Memo)

    def view(found: Any) -> None:
        with Session(board.engine) as another:
            another.add(Comment(body="beside"))
            another.get_one(Player, 1).name = "changed"
            another.commit()
        found.text = "mine"
        board.db.session.commit()

    if kind == "sqlite":
        with pytest.raises(RuntimeError, match="commit that session first"):
            board.save(view)
        assert board.get().text == "first"
    else:
        assert (board.save(view).status_code, board.get().text) == (200, "mine")


def test_p8_a_listener_that_would_wait_for_its_own_request_is_told(board: Board) -> None:
    def write_there(*_: object) -> None:
        with Session(board.engine) as another:
            another.execute(update(board.model).values(text="by a listener"))
            another.commit()

    def view(found: Any) -> None:
        event.listen(board.db.session(), "after_flush", write_there)
        found.text = "mine"
        board.db.session.commit()

    with pytest.raises(RuntimeError, match="on one connection, and writes on another"):
        board.save(view)
    assert board.get().text == "first"


def test_p8_a_misuse_that_the_view_swallows_leaves_nothing_behind(board: Board) -> None:
    """It waits for nothing, and what the view does then is done by the connection that holds the row."""

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        with suppress(RuntimeError, SQLAlchemyError), Session(board.engine) as another:
            another.execute(update(board.model).values(text="by another"))
            another.commit()
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]
