"""No lost update under fire: client processes against gunicorn, on each database; ``make torture`` runs long."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from torture.clients import Crowd, Plan, collide
from torture.faults import Restart, killed_workers, restart_postgresql, restarting_mariadb
from torture.history import Operation, judge
from torture.replica import replica_of
from torture.servers import Server, serving

ROOT = Path(__file__).parent.parent
ACCEPTED = 30
KINDS = ["versioned", "unversioned"]


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_collide_lose_no_update_and_meet_no_server_error(database_url: str, kind: str) -> None:
    with serving(database=database_url, kind=kind) as server:
        histories = collide(Plan([server.url], ACCEPTED))
        verdict = judge(histories["/counters/1"], server.first, server.state())
    assert verdict.problems == []
    assert verdict.accepted == ACCEPTED
    assert verdict.conflicts == 0


@pytest.mark.parametrize("kind", KINDS)
def test_killed_workers_and_clients_that_disconnect_lose_no_update(
    empty_database: Callable[[str], str], kind: str
) -> None:
    """The view is slow between its check and its commit, and the clock of its process jumps."""
    with serving(database=empty_database("sqlite"), kind=kind, slow="0.01", clock="3600") as server:
        with killed_workers(server, 0.3):
            histories = collide(Plan([server.url], ACCEPTED, hang_up=10))
        check_it_serves_again(server, histories["/counters/1"])


def check_it_serves_again(server: Server, operations: list[Operation]) -> None:
    before = server.state()
    verdict = judge(operations, server.first, before, faults=True)
    assert verdict.problems == []
    assert verdict.unknown
    assert before.number >= ACCEPTED
    again = collide(Plan([server.url], before.number + 5), clients=2)["/counters/1"]
    assert judge(again, before, server.state()).problems == []


@pytest.fixture(scope="session")
def restart_mariadb(mariadb_server: str) -> Iterator[Restart]:
    with restarting_mariadb(mariadb_server) as restart:
        yield restart


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_restart_of_the_database_loses_no_update(
    empty_database: Callable[[str], str], request: pytest.FixtureRequest, kind: str
) -> None:
    url = empty_database(kind)
    with (
        serving(database=url, kind="versioned") as server,
        Crowd(Plan([server.url], ACCEPTED, hang_up=2, pause=0.05)) as crowd,
    ):
        while server.state().number < ACCEPTED // 3:
            assert crowd.is_at_work()
        if kind == "postgresql":
            restart_postgresql(url)
        else:
            request.getfixturevalue("restart_mariadb")()
        histories: dict[str, list[Operation]] = {}
        crowd.add_to(histories)
        check_it_serves_again(server, histories["/counters/1"])


def test_two_machines_share_a_database_and_read_from_a_replica_that_is_behind(
    empty_database: Callable[[str], str],
) -> None:
    """What is read from a replica may be stale, which costs a 412 and never an update."""
    url = empty_database("postgresql")
    with (
        serving(database=url) as one,
        serving(database=url, create="0") as two,
        replica_of(url) as behind,
        serving(database=behind, create="0") as replica,
    ):
        histories = collide(Plan([one.url, two.url], ACCEPTED))["/counters/1"]
        middle = one.state()
        verdict = judge(histories, one.first, middle)
        assert verdict.problems == []
        assert verdict.conflicts == 0
        assert two.state() == middle

        plan = Plan([one.url, two.url], middle.number + ACCEPTED // 3, read_from=replica.url)
        histories = collide(plan)["/counters/1"]
        verdict = judge(histories, middle, one.state(), stale_reads=True)
        assert verdict.problems == []
        assert verdict.accepted >= ACCEPTED // 3


def test_the_command_line_collides_clients_on_any_application(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample app's own: the stock of a product."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'store.db'}")
    with serving("sample_app:create_app()", "/api/products/teapot") as server:
        ran = subprocess.run(
            [sys.executable, "-m", "torture", server.url, "--accepted", "10", "--member", "stock"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert ran.stdout.startswith("accepted 10, ")
    assert "accepted and lost: 0" in ran.stdout
