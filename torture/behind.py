"""How often a read elsewhere, right after a write, shows the state before: ``python -m torture.behind``.

One client writes at one server and reads at another, whose database is another node, or a standby. The next write
goes to yet another, with the tag of the last one: a node that does not know it yet refuses it, though it is right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

from flask_etag.torture.clients import Client, Plan
from tests.servers import galera, postgresql
from tests.servers.mariadb import MariaDBMissingError
from tests.servers.postgresql import PostgreSQLMissingError
from torture.clusters import ask
from torture.replica import replica_of
from torture.servers import Server, serving

HEAD = (
    "| where | writes | the next GET elsewhere shows the state before | a right tag is refused | GET, median "
    "| PUT, median |\n|---|---|---|---|---|---|"
)


@dataclass
class Seen:
    """What one client saw."""

    writes: int
    old: int
    refused: int
    get: float
    put: float

    def row(self, where: str) -> str:
        times = " | ".join(f"{seconds * 1000:.1f} ms" for seconds in (self.get, self.put))
        return f"| {where} | {self.writes} | {self.old} | {self.refused} | {times} |"


def look(writing: list[Server], reading: list[Server], writes: int) -> Seen:
    """Write and read in turns, each at the next server; return what was seen.

    :raises RuntimeError: if anything is answered that is neither the state of a write nor a 412.
    """
    client = Client(Plan([], 0), 0)
    tag = writing[0].state().etag
    tags = {tag}
    old = refused = accepted = 0
    gets: list[float] = []
    puts: list[float] = []
    while accepted < writes:
        write = writing[accepted % len(writing)]
        body = {"number": accepted, "writer": uuid4().hex}
        answer = client.send("PUT", write.url, body, **{"If-Match": tag or ""})
        puts.append(answer.end - answer.start)
        if answer.status == 412:
            refused += 1
            continue
        tag = answer.etag
        tags.add(tag)
        accepted += 1
        seen = client.send("GET", reading[accepted % len(reading)].url)
        gets.append(seen.end - seen.start)
        if answer.status != 200 or seen.etag not in tags:
            raise RuntimeError(f"{answer}; {seen}")
        old += seen.etag != tag
    return Seen(accepted, old, refused, median(gets), median(puts))


@contextmanager
def servers(*urls: str, create: int = 1, sync_wait: str = "") -> Iterator[list[Server]]:
    """Start a server over each database; the first one makes the tables."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                serving(database=url, create="1" if create and not number else "0", workers=1, sync_wait=sync_wait)
            )
            for number, url in enumerate(urls)
        ]


def of_galera(writes: int) -> Iterator[tuple[str, Seen]]:
    """Yield what is seen with each setting of ``wsrep_sync_wait``, at three nodes."""
    with galera.running() as nodes:
        for value in ("0", "1"):
            with servers(*(node.url for node in nodes), sync_wait=value) as all_of:
                yield f"Galera, `wsrep_sync_wait={value}`", look(all_of, all_of, writes)


def of_postgresql(writes: int) -> Iterator[tuple[str, Seen]]:
    """Yield what is seen at a synchronous standby, by what a COMMIT waits for."""
    with postgresql.running() as primary, replica_of(primary, behind="0") as standby:
        for value in ("on", "remote_apply"):
            ask(
                primary,
                "ALTER SYSTEM SET synchronous_standby_names = '*'",
                f"ALTER SYSTEM SET synchronous_commit = '{value}'",
                "SELECT pg_reload_conf()",
            )
            with servers(primary) as writing, servers(standby, create=0) as reading:
                yield f"PostgreSQL, a standby, `synchronous_commit={value}`", look(writing, reading, writes)


WHERE: list[Callable[[int], Iterator[tuple[str, Seen]]]] = [of_galera, of_postgresql]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture.behind", description=__doc__)
    parser.add_argument("--writes", type=int, default=800)
    given = parser.parse_args()
    print(HEAD)
    bad = 0
    for where in WHERE:
        try:
            for name, seen in where(given.writes):
                print(seen.row(name), flush=True)
                is_causal = name.endswith(("=1`", "apply`"))
                bad += is_causal and bool(seen.old or seen.refused)
        except (MariaDBMissingError, PostgreSQLMissingError) as missing:
            print(f"skipped: {missing!r} is not installed", file=sys.stderr, flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
