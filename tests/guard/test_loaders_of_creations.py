"""What a loader does under ``create=True``, as it is asked again for what is made; rules 2.3 and 2.5."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from tests.world.board import Board, Checked, Player
from tests.world.models import Memo


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
