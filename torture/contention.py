"""Many clients on one record, and readers of another beside them: run it with ``make contention``.

The pool and the lock timeout are those that the page on contention names.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import urljoin

from tests.servers import mariadb, postgresql
from torture.clients import Answer, Client, Crowd, Plan
from torture.history import Operation, Verdict, judge
from torture.servers import Server, serving

THREADS, PATIENCE, READERS = 8, 2, 4  # of each worker; seconds; clients
SLOW = 0.01  # seconds that a view takes under the lock
LAST = 20  # seconds: whoever waits for longer waits without end
KINDS = ["versioned", "unversioned"]
DATABASES = ["SQLite", "PostgreSQL", "MariaDB"]
HEAD = (
    "| database | kind | accepted | 412 | 409 | 5xx | no answer | lost | longest save | reads beside | refused "
    "| longest read |\n|---|---|---|---|---|---|---|---|---|---|---|---|"
)


class Readers:
    """Clients who read another record all the time."""

    def __init__(self, server: Server) -> None:
        self.answers: list[Answer] = []
        self._url = urljoin(server.url, "/counters/2")
        self._done = Event()
        self._threads = [Thread(target=self._read, args=[number]) for number in range(READERS)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _read(self, number: int) -> None:
        client = Client(Plan([], 0), number)
        while not self._done.is_set():
            self.answers.append(client.send("GET", self._url))
            time.sleep(0.02)


@dataclass
class Result:
    """What came of many clients on one record of a kind."""

    name: str
    verdict: Verdict
    writes: list[Operation]
    reads: list[Answer]

    def row(self) -> str:
        of = self.verdict
        counts = [of.accepted, of.refused, of.conflicts, of.server_errors, of.unknown, of.lost]
        times = [max(each.end - each.start for each in requests) for requests in (self.writes, self.reads)]
        cells = [*counts, f"{times[0]:.1f} s", len(self.reads), len(self.refused), f"{times[1]:.1f} s"]
        return f"| {self.name} | {' | '.join(map(str, cells))} |"

    @property
    def refused(self) -> list[Answer]:
        return [read for read in self.reads if read.status != 200]

    def complaints(self) -> Iterator[str]:
        for kind, count in self.verdict.kinds().items():
            yield f"{kind}: {count}"
        if self.verdict.unknown:
            yield f"{self.verdict.unknown} without an answer"
        requests: list[Operation | Answer] = [*self.writes, *self.reads]
        if any(each.end - each.start > LAST for each in requests):
            yield f"somebody waited for more than {LAST} seconds"
        if self.refused:
            yield f"{len(self.refused)} reads refused, e.g. {self.refused[0]}"


def contend(database: str, url: str, kind: str, clients: int, accepted: int) -> Result:
    with serving(threads=THREADS, database=url, kind=kind, slow=str(SLOW), patience=str(PATIENCE)) as server:
        plan = Plan([server.url], accepted, nonce="writer")
        with Readers(server) as readers, Crowd(plan, clients) as crowd:
            (operations,) = crowd.histories().values()
        verdict = judge(operations, server.first, server.state())
    writes = [operation for operation in operations if operation.writes]
    return Result(f"{database} | {kind}", verdict, writes, readers.answers)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture.contention", description=__doc__)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--accepted", type=int, default=300, help="writes, of all clients together")
    parser.add_argument("--only", default="", metavar="DATABASE")
    given = parser.parse_args()
    print(HEAD)
    complained = []
    with ExitStack() as stack:
        for database in [each for each in DATABASES if given.only in each]:
            if database == "SQLite":
                url = f"sqlite:///{Path(stack.enter_context(TemporaryDirectory())) / 'counters.db'}"
            else:
                url = stack.enter_context((postgresql if database == "PostgreSQL" else mariadb).running())
            for kind in KINDS:
                result = contend(database, url, kind, given.clients, given.accepted)
                print(result.row(), flush=True)
                complained += [f"{result.name}: {complaint}" for complaint in result.complaints()]
    for complaint in complained:
        print(f"\n* {complaint}")
    return 1 if complained else 0


if __name__ == "__main__":
    sys.exit(main())
