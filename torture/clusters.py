"""Clusters, failovers, and every kind of worker and of pool, under fire: run it with ``make clusters``."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import NullPool, create_engine, make_url

from tests.servers import galera, postgresql
from tests.servers.mariadb import MariaDBMissingError
from tests.servers.pgbouncer import PgBouncerMissingError, pgbouncer
from tests.servers.postgresql import PostgreSQLMissingError
from tests.servers.relay import relaying
from torture.clients import Client, Crowd, Plan
from torture.faults import kill_postgresql, promote_postgresql
from torture.history import judge
from torture.matrix import HEAD, Cell, Result, complaints
from torture.replica import replica_of
from torture.servers import Server, serving

MISSING = (MariaDBMissingError, PostgreSQLMissingError, PgBouncerMissingError)
PATH = "/counters/1"
SERVERS = ["gunicorn, sync", "gunicorn, gthread", "gunicorn, gevent", "uvicorn", "hypercorn", "waitress"]
BEGINS = 1 / 3  # of what is to be accepted, by when a fault begins
PAUSE = 0.05  # seconds at most between two rounds of a client, so that a fault has something to meet


@dataclass
class Setting:
    """Where a cell runs.

    :ivar urls: of the databases, one for each server of the application; or several of each.
    :ivar fault: what goes wrong once a third is accepted; it returns when all is well again.
    :ivar are_behind: whether a server may show what is old.
    :ivar environment: what the application is told besides.
    """

    urls: list[str]
    fault: Callable[[], None] | None = None
    are_behind: bool = False
    by: str = "gthread"
    preload: bool = True
    environment: dict[str, str] = field(default_factory=dict)


class Clusters:
    """The servers, started when they are needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._nodes: list[galera.Node] = []
        self._url = ""

    @property
    def nodes(self) -> list[galera.Node]:
        self._nodes = self._nodes or self._stack.enter_context(galera.running())
        return self._nodes

    @property
    def postgresql(self) -> str:
        self._url = self._url or self._stack.enter_context(postgresql.running())
        return self._url

    @contextmanager
    def galera(self, *, causal: bool = True, fault: str = "") -> Iterator[Setting]:
        nodes = self.nodes

        def end_one() -> None:
            nodes[-1].kill()
            time.sleep(1)
            nodes[-1].start()

        def hang_one() -> None:
            nodes[-1].freeze()
            time.sleep(5)
            nodes[-1].thaw()
            nodes[-1].wait_until_synced()

        environment = {"sync_wait": "1" if causal else "0", "outages": "1"}
        urls = [node.url for node in nodes]
        faults = {"": None, "killed": end_one, "hangs": hang_one}
        yield Setting(urls, faults[fault], are_behind=not causal, environment=environment)

    @contextmanager
    def failover(self) -> Iterator[Setting]:
        """Set up a primary and a synchronous standby, which is promoted when the primary dies."""
        with postgresql.running() as primary, replica_of(primary, behind="0") as standby:
            ask(primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
            while ask(primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != 1:
                time.sleep(0.05)
            with relaying(address_of(primary)) as relay:

                def fail_over() -> None:
                    kill_postgresql(primary)
                    relay.point_to(None)
                    promote_postgresql(standby)
                    ask(standby, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
                    relay.point_to(address_of(standby))

                url = f"postgresql+psycopg://postgres@127.0.0.1:{relay.port}/postgres?connect_timeout=5"
                yield Setting([url, url], fail_over, environment={"outages": "1"})

    @contextmanager
    def served_by(self, server: str) -> Iterator[Setting]:
        yield Setting([self.postgresql], by=server)

    @contextmanager
    def pooled_by(self, pool: str) -> Iterator[Setting]:
        with ExitStack() as stack:
            url = stack.enter_context(pgbouncer(self.postgresql)) if pool == "pgbouncer" else self.postgresql
            # The threads of psycopg's pool do not survive a fork.
            yield Setting([url], preload=pool != "psycopg", environment={"pool": pool})


def ask(url: str, *statements: str) -> object:
    """Send a server statements; return what the last one answers first."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            answer = connection.exec_driver_sql(statement)
        return answer.scalar() if answer.returns_rows else None


def address_of(url: str) -> Path:
    return Path(str(make_url(url).query["host"])) / ".s.PGSQL.5432"


Where = Callable[[], AbstractContextManager[Setting]]


def cells(clusters: Clusters) -> dict[Cell, Where]:
    """Return what there is to run, and where."""
    found: dict[Cell, Where] = {}
    for kind in ("versioned", "unversioned"):
        for move in ("put", "chain", "patch", "both", "batch"):
            found[Cell("Galera, clients at any of three nodes", kind, move)] = clusters.galera
        found[Cell("Galera, wsrep_sync_wait=0", kind)] = partial(clusters.galera, causal=False)
        for fault, name in {"killed": "a node is killed and comes back", "hangs": "a node hangs"}.items():
            found[Cell(f"Galera, {name}", kind, faults=True)] = partial(clusters.galera, fault=fault)
        found[Cell("PostgreSQL, a synchronous standby is promoted", kind, faults=True)] = clusters.failover
        for server in SERVERS:
            found[Cell(server, kind)] = partial(clusters.served_by, server.removeprefix("gunicorn, "))
        for pool, name in {"psycopg": "psycopg_pool", "pgbouncer": "PgBouncer", "none": "NullPool"}.items():
            found[Cell(name, kind)] = partial(clusters.pooled_by, pool)
    return found


def run(cell: Cell, setting: Setting, accepted: int) -> Result:
    """Collide clients where a cell is set, and judge what came of it."""
    with ExitStack() as stack:
        servers: list[Server] = []
        for url in setting.urls:
            told = {"database": url, "kind": cell.kind, "create": "0" if servers else "1", **setting.environment}
            size = {"workers": 1} if len(setting.urls) > 1 else {"workers": 8} if setting.by == "sync" else {}
            servers.append(stack.enter_context(serving(by=setting.by, preload=setting.preload, **size, **told)))  # type: ignore[arg-type]
        paths = [PATH, "/counters/2"] if cell.move in ("both", "batch") else [PATH]
        befores = {path: servers[0].state(path) for path in paths}
        pause = PAUSE if setting.fault else 0
        plan = Plan([server.url for server in servers], accepted, move=cell.move, nonce="writer", pause=pause)
        start = time.monotonic()
        with Crowd(plan, 6) as crowd:
            if setting.fault is not None:
                while crowd.is_at_work() and number_at(servers[0]) < accepted * BEGINS:
                    time.sleep(0.05)
                setting.fault()
            histories = crowd.histories()
        seconds = time.monotonic() - start
        verdicts = []
        for path, operations in histories.items():
            last = max(server.state(path) for server in servers)
            verdicts.append(
                judge(operations, befores[path], last, faults=cell.faults, are_behind=setting.are_behind)
            )
        result = Result(cell, verdicts, seconds)
        least = accepted if cell.move == "batch" else cell.least(accepted)
        result.complaints = [each for each in complaints(result, least) if "conflicts" not in each]
        statuses = {each.status or 0 for operations in histories.values() for each in operations}
        wrong = {status for status in statuses if status >= 500} - {503}
        result.complaints += [f"a server error that is not 503: {status}" for status in wrong]
    return result


def number_at(server: Server) -> int:
    return Client(Plan([], 0), 0).send("GET", server.url).number or 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture.clusters", description=__doc__)
    parser.add_argument("--accepted", type=int, default=2000, help="writes in each cell")
    parser.add_argument("--only", default="", metavar="PATTERN", help="of the cells' names")
    given = parser.parse_args()
    bad = 0
    with ExitStack() as stack:
        clusters = Clusters(stack)
        print(HEAD)
        for cell, where in cells(clusters).items():
            if not re.search(given.only, cell.name):
                continue
            try:
                with where() as setting:
                    result = run(cell, setting, given.accepted)
            except MISSING as missing:
                print(f"{cell.name}: skipped, {missing!r} is not installed", file=sys.stderr, flush=True)
                bad += os.environ.get("CI") == "true"
                continue
            print(result.row(), flush=True)
            for complaint in result.complaints:
                bad += 1
                print("!", complaint, file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
