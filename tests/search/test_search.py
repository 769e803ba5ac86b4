"""A short search, of the same views each time: the long one is ``make search``."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from search.__main__ import described, examine, search
from search.databases import opened
from search.known import KNOWN
from search.oracle import judge
from search.world import World
from tests.servers.mariadb import MariaDBMissingError

SEED = 2

pytestmark = pytest.mark.filterwarnings("ignore")  # what SQLAlchemy warns of, the views do on purpose


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("sqlite", 40),
        ("sqlite, wal", 60),
        ("sqlite, wal, real begins", 40),
        ("postgresql, read committed", 30),
        ("postgresql, repeatable read", 15),
    ],
)
def test_no_way_around_the_guard_is_found(name: str, count: int) -> None:
    found = search([name], seconds=60, seed=SEED, count=count)
    assert not found.findings, "\n".join(map(described, found.findings))


@pytest.mark.parametrize("name", sorted({trial.database for trial in KNOWN.values()}))
def test_no_way_that_was_found_by_hand_is_open(name: str) -> None:
    trials = {title: trial for title, trial in KNOWN.items() if trial.database == name}
    with ExitStack() as stack:
        try:
            (database,) = stack.enter_context(opened([name]))
        except MariaDBMissingError:
            pytest.skip("MariaDB is not installed")
        world = World(database)
        broken = {
            title: [str(violation) for violation in judge(examine(world, trial))]
            for title, trial in trials.items()
        }
        world.close()
    assert not {title: violations for title, violations in broken.items() if violations}
