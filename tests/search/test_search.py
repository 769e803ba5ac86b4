"""A short search, of the same views each time: the long one is ``make search``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from search.__main__ import described, examine, search
from search.databases import NAMES, Database, opened
from search.known import KNOWN
from search.oracle import judge
from search.world import World
from tests.servers import unavailable
from tests.servers.mariadb import MariaDBMissingError

SEED = 2

pytestmark = pytest.mark.filterwarnings("ignore")  # what SQLAlchemy warns of, the views do on purpose


@pytest.fixture(scope="module")
def database_called() -> Iterator[Callable[[str], Database]]:
    """A function that returns the database with a name; its server is started once."""
    found: dict[str, Database] = {}
    with ExitStack() as stack:

        def called(name: str) -> Database:
            if name not in found:
                kind = name.partition(",")[0]
                family = [each for each in NAMES if each.startswith(kind)]
                try:
                    found.update(zip(family, stack.enter_context(opened(family)), strict=True))
                except MariaDBMissingError:
                    unavailable("MariaDB", "apt-get install mariadb-server")
            return found[name]

        yield called


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("sqlite", 20),
        ("sqlite, wal", 30),
        ("sqlite, wal, real begins", 20),
        ("postgresql, read committed", 20),
        ("postgresql, repeatable read", 10),
    ],
)
def test_no_way_around_the_guard_is_found(
    database_called: Callable[[str], Database], name: str, count: int
) -> None:
    found = search([database_called(name)], seconds=60, seed=SEED, count=count)
    assert not found.findings, "\n".join(map(described, found.findings))


@pytest.mark.parametrize("name", sorted({trial.database for trial in KNOWN.values()}))
def test_no_way_that_was_found_by_hand_is_open(database_called: Callable[[str], Database], name: str) -> None:
    world = World(database_called(name))
    broken = {
        title: [str(violation) for violation in judge(examine(world, trial))]
        for title, trial in KNOWN.items()
        if trial.database == name
    }
    world.close()
    assert not {title: violations for title, violations in broken.items() if violations}
