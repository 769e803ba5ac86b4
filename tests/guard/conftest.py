from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.world.listing import Listing
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
