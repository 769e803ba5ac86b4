from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.world.board import Board, Checked, Counted
from tests.world.listing import Listing
from tests.world.models import Memo
from tests.world.orders import Orders


@pytest.fixture
def orders(world_url: str) -> Iterator[Orders]:
    orders = Orders(world_url)
    yield orders
    orders.close()


@pytest.fixture
def listing(world_url: str) -> Iterator[Listing]:
    listing = Listing(world_url)
    yield listing
    listing.close()


@pytest.fixture(params=[Checked, Memo])
def board(request: pytest.FixtureRequest, world_url: str) -> Iterator[Board]:
    """A board for a model with a version, and for one without."""
    board = Board(world_url, request.param)
    yield board
    board.close()


@pytest.fixture(params=[Checked, Counted, Memo])
def any_board(request: pytest.FixtureRequest, world_url: str) -> Iterator[Board]:
    """A board for each kind of model: with a version of ours, with an integer that counts, and without one."""
    board = Board(world_url, request.param)
    yield board
    board.close()


@pytest.fixture
def board_on(world_on: Callable[[str], str]) -> Iterator[Callable[..., Board]]:
    """A function that returns a board on a kind of database, for a model, with options of its engine."""
    boards: list[Board] = []

    def made(kind: str, model: Any, **options: Any) -> Board:
        boards.append(Board(world_on(kind), model, **options))
        return boards[-1]

    yield made
    for board in boards:
        board.close()
