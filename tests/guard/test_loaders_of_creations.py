"""What a loader does under ``create=True``, as it is asked again for what is made; rules 2.3 and 2.5."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.world.board import Board, Checked, Player
from tests.world.models import Memo
from tests.world.racing import in_thread


def test_2_3_a_loader_that_writes_whenever_it_finds_something_finds_what_is_made(board: Board) -> None:
    """It counts how often it is asked, say."""

    def find(number: int) -> Any:
        found = board.db.session.get(board.model, number)
        if found is not None:
            board.db.session.execute(update(Player).values(name=Player.name + "x"))
        return found

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.add(board.model(id=2, text="mine"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.headers["ETag"]) == (200, board.get(2).headers["ETag"])


@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_5_a_creation_whose_view_swallows_a_mistake_of_its_own_is_answered_on_postgresql_too(
    board_on: Callable[..., Board], model: Any
) -> None:
    """The loader is asked in a transaction that PostgreSQL has given up."""
    board = board_on("postgresql", model)

    def view(found: Any) -> None:
        with suppress(IntegrityError):
            board.db.session.execute(insert(Player).values(id=1, name="there already"))

    assert board.save(view, 2, create=True, If_None_Match="*").status_code == 200


class TestTheAdviceOfARefusal:
    """To let the loader return what is changed, or to add() a new object: not where the view does that."""

    @pytest.mark.parametrize("way", ["add", "insert"])
    def test_is_not_given_to_a_creation_that_is_overtaken(
        self, board: Board, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def rival() -> None:
            with Session(board.engine) as session:
                session.add(board.model(id=2, text="theirs"))
                session.commit()

        def view(found: Any) -> None:
            in_thread(rival)
            if way == "add":
                board.db.session.add(board.model(id=2, text="mine"))
            else:
                board.db.session.execute(insert(board.model).values(id=2, text="mine"))
            board.db.session.commit()

        assert board.save(view, 2, create=True, If_None_Match="*").status_code == 412
        assert "its loader did not find" not in caplog.text

    def test_is_given_to_a_view_that_changes_what_its_loader_leaves_out(
        self, board: Board, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = board.db.session

        def find(number: int) -> Any:
            found = session.get(board.model, number)
            return None if found is None or found.text == "hidden" else found

        with Session(board.engine) as other:
            other.add(board.model(id=2, text="hidden"))
            other.commit()
        board.find = board.found_by(find)

        def view(found: Any) -> None:
            session.get_one(board.model, 2).text = "mine"
            session.commit()

        assert board.save(view, 2, create=True, If_None_Match="*").status_code == 409
        assert "let the loader return it, or let the view add() a new object" in caplog.text
