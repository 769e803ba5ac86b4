"""No lost update under fire: client processes against gunicorn, on each database; ``make torture`` runs long."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import urlopen

import pytest

from flask_etag.torture.clients import Client, Crowd, Plan, collide
from flask_etag.torture.history import Operation, State, judge
from tests import ROOT
from tests.world.racing import WAIT
from torture.faults import Restart, killed_workers, restart_postgresql, restarting_mariadb
from torture.moves import AGAIN, path_of
from torture.replica import replica_of
from torture.servers import Server, serving

ACCEPTED = 30
BOTH = "versioned,unversioned"
PATHS = ["/counters/1", "/unversioned/1"]  # of the one, and of the other


def urls(*servers: Server) -> list[str]:
    return [urljoin(server.url, path) for server in servers for path in PATHS]


def plan(urls: list[str], goal: int, **more: Any) -> Plan:
    return Plan(urls, goal, nonce="writer", **more)


def states(server: Server) -> dict[str, State]:
    return {path: server.state(path) for path in PATHS}


def test_clients_that_collide_lose_no_update_and_meet_no_server_error(empty_url: str) -> None:
    with serving(database=empty_url, kind=BOTH) as server:
        before = states(server)
        histories = collide(plan(urls(server), ACCEPTED))
        after = states(server)
    for path in PATHS:
        verdict = judge(histories[path], before[path], after[path])
        assert verdict.problems == [], path
        assert verdict.conflicts == 0, path
    assert max(state.number for state in after.values()) == ACCEPTED


def test_batches_that_collide_with_single_writes_write_all_or_nothing(empty_url: str) -> None:
    """Half a batch would be a state that nobody made, or a lost update."""
    with serving(database=empty_url, kind=BOTH) as server:
        for folder in ("/counters", "/unversioned"):
            paths = [f"{folder}/1", f"{folder}/2"]
            before = [server.state(path) for path in paths]
            histories = collide(
                plan([urljoin(server.url, paths[0])], ACCEPTED // 2, move=path_of("batch")), clients=4
            )
            for path, first in zip(paths, before, strict=True):
                verdict = judge(histories[path], first, server.state(path))
                assert verdict.problems == [], path
                assert verdict.accepted >= ACCEPTED // 2, path
            assert {each.status for path in paths for each in histories[path]} >= {200, 412}, folder


def test_who_insists_is_told_that_it_was_done(empty_url: str) -> None:
    """Each write is sent until it is answered; many answers are dropped, and workers are killed."""
    with serving(database=empty_url, replay="1", slow="0.01") as server:
        with killed_workers(server):
            histories = collide(plan([server.url], ACCEPTED * 2, move=path_of("insist"), hang_up=40))
        verdict = judge(histories["/counters/1"], server.first, server.state(), faults=True)
    assert verdict.problems == []
    assert verdict.made == ACCEPTED * 2
    assert [each for each in histories["/counters/1"] if each.note == AGAIN]


def test_of_a_tag_that_is_only_compared_the_same_clients_find_lost_updates(tmp_path: Path) -> None:
    with serving(
        "torture.peers:create_app()", database=f"sqlite:///{tmp_path / 'one.db'}", peer="Werkzeug"
    ) as server:
        histories = collide(Plan([server.url], ACCEPTED))
        verdict = judge(histories["/counters/1"], server.first, server.state())
    assert verdict.lost
    assert "lost update" in verdict.kinds()


def test_killed_workers_and_clients_that_disconnect_lose_no_update(
    empty_database: Callable[[str], str],
) -> None:
    """The view is slow between its check and its commit, and the clock of its process jumps."""
    with serving(database=empty_database("sqlite"), kind=BOTH, slow="0.01", clock="3600") as server:
        before = states(server)
        with killed_workers(server, 0.3):
            histories = collide(plan(urls(server), ACCEPTED // 2, hang_up=10))
        check_it_serves_again(server, before, histories)


def test_the_clock_that_tells_whether_a_date_is_old_enough_to_be_shown_jumps_too(tmp_path: Path) -> None:
    with serving(database=f"sqlite:///{tmp_path / 'one.db'}", kind="datetime", clock="3600") as server:
        time.sleep(1)  # the date is old enough by now
        deadline, shown = time.monotonic() + WAIT, set[bool]()
        while len(shown) < 2:
            assert time.monotonic() < deadline
            with urlopen(server.url) as answer:  # noqa: S310 - our own
                shown.add("Last-Modified" in answer.headers)


def check_it_serves_again(server: Server, before: dict[str, State], histories: dict[str, list[Operation]]) -> None:
    after = states(server)
    unknown = 0
    for path in PATHS:
        verdict = judge(histories[path], before[path], after[path], faults=True)
        assert verdict.problems == [], path
        unknown += verdict.unknown
        client = Client(Plan([urljoin(server.url, path)], after[path].number + 1), 0)
        client.run()
        assert {operation.status for _, operation in client.operations} == {200}, path
    assert unknown


@pytest.fixture(scope="session")
def restart_mariadb(mariadb_server: str) -> Iterator[Restart]:
    with restarting_mariadb(mariadb_server) as restart:
        yield restart


@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_a_restart_of_the_database_loses_no_update(
    empty_database: Callable[[str], str], request: pytest.FixtureRequest, kind: str
) -> None:
    url = empty_database(kind)
    with serving(database=url, kind=BOTH) as server, ExitStack() as stack:
        before = states(server)
        crowd = stack.enter_context(Crowd(plan(urls(server), ACCEPTED, hang_up=2, pause=0.05)))
        while server.state().number < ACCEPTED // 3:
            assert crowd.is_at_work()
        if kind == "postgresql":
            restart_postgresql(url)
        else:
            request.getfixturevalue("restart_mariadb")()
        check_it_serves_again(server, before, crowd.histories())


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
        histories = collide(plan([one.url, two.url], ACCEPTED))["/counters/1"]
        middle = one.state()
        verdict = judge(histories, one.first, middle)
        assert verdict.problems == []
        assert verdict.conflicts == 0
        assert two.state() == middle

        from_replica = plan([one.url, two.url], middle.number + ACCEPTED // 3, read_from=replica.url)
        histories = collide(from_replica)["/counters/1"]
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
            [sys.executable, "-m", "flask_etag.torture", server.url, "--accepted", "10", "--member", "stock"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert ran.stdout.startswith("accepted 10, ")
    assert "accepted and lost: 0" in ran.stdout
