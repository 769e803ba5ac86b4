"""Every database, isolation level, kind of version and way to write, under fire: run it with ``make torture``."""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from tempfile import TemporaryDirectory

from flask_etag.torture.clients import Plan, collide
from flask_etag.torture.history import Operation, State, Verdict, judge
from tests.servers import mariadb, postgresql
from torture.app import LOCKED, SNAPSHOT
from torture.faults import killed_workers, now_and_then, restart_postgresql, restarting_mariadb
from torture.moves import AGAIN, path_of
from torture.replica import replica_of
from torture.servers import serving

LEVELS = ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]
DATABASES: dict[str, dict[str, str]] = {
    "SQLite": {},
    "SQLite, WAL": {"journal": "wal"},
    "SQLite, real BEGINs": {"begin": "1"},
    "SQLite, WAL, real BEGINs": {"journal": "wal", "begin": "1"},
    **{f"PostgreSQL, {level}": {"isolation": level} for level in LEVELS},
    **{f"MariaDB, {level}": {"isolation": level} for level in LEVELS},
    f"MariaDB, {LEVELS[1]}, snapshot isolation": {"isolation": f"{LEVELS[1]} {SNAPSHOT}"},
}
KINDS = ["versioned", "unversioned", "integer", "uuid", "xmin", "trigger", "revision", "datetime"]
MOVES = ["put", "patch", "chain", "star", "both", "batch", "life"]
OF_TWO = ("both", "batch")  # counters
TWO, BEHIND = "two servers", "two servers, reads from a replica"
LIVES, LIFE, SHORTEST = ["create", "delete"], 5, 4  # accepted writes in a counter's life: about, and at least


@dataclass(frozen=True)
class Cell:
    """One run: where, on what, and how."""

    database: str
    kind: str
    move: str = "put"
    expire: str = "1"
    asynchronous: str = "0"
    faults: bool = False
    machines: str = ""

    @property
    def name(self) -> str:
        more = ["expire_on_commit=False"] if self.expire == "0" else []
        more += ["async"] if self.asynchronous == "1" else []
        more += ["faults"] if self.faults else []
        more += [self.machines] if self.machines else []
        return " | ".join([self.database, self.kind, ", ".join([self.move, *more])])

    @property
    def is_possible(self) -> bool:
        if self.kind == "xmin":
            return self.database.startswith("PostgreSQL")
        # SQLite's RETURNING shows what was there before the trigger, so that SQLAlchemy cannot know the version.
        return not (self.kind == "trigger" and self.database.startswith("SQLite"))

    def least(self, accepted: int) -> int:
        """Return how many states there have to be in the end, if so many writes were asked for."""
        if self.move == "life":
            return max(1, accepted // LIFE * SHORTEST)
        return accepted * 2 if self.move == "batch" else accepted

    def conflicts_allowed(self, accepted: int) -> float:
        """Return how many 409 may be answered to requests that all carry a tag."""
        # The first two write what no tag names, and a batch can die in a deadlock in which nobody else wrote.
        if self.move in ("star", "both", "batch") or self.kind == "datetime" or self.faults:
            return float("inf")
        if "real BEGINs" in self.database:  # who reads first cannot wait: the other would wait for it
            return accepted * (0.5 if "WAL" in self.database else 1)
        return accepted * 0.02 if "SERIALIZABLE" in self.database else 0


def in_full() -> list[Cell]:
    """Return the counter's PUT, on everything."""
    return [Cell(database, kind) for database in DATABASES for kind in ("versioned", "unversioned")]


def pairwise() -> list[Cell]:
    """Return cells in which each two values of any two factors meet at least once."""
    factors = [list(DATABASES), KINDS, MOVES, ["1", "0"], ["0", "1"]]
    cells = [Cell(*values) for values in itertools.product(*factors)]  # type: ignore[arg-type]
    cells = [cell for cell in cells if cell.is_possible]

    def pairs(cell: Cell) -> set[tuple[tuple[int, str], ...]]:
        values = [(number, getattr(cell, each.name)) for number, each in enumerate(fields(cell)[: len(factors)])]
        return set(itertools.combinations(values, 2))

    of = {cell: pairs(cell) for cell in cells}
    missing = set().union(*of.values())
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: len(of[cell] & missing))
        missing -= of[best]
        chosen.append(best)
    return chosen


def locked() -> list[Cell]:
    return [Cell("no database", kind, move) for kind in LOCKED for move in MOVES if move not in OF_TWO]


def under_faults() -> list[Cell]:
    databases = [
        "SQLite",
        "SQLite, WAL, real BEGINs",
        *(f"{name}, {LEVELS[1]}" for name in ("PostgreSQL", "MariaDB")),
    ]
    cells = [(kind, move) for kind in ("versioned", "unversioned") for move in ("put", "chain", *OF_TWO)]
    return [Cell(database, *cell, faults=True) for database in databases for cell in [*cells, ("datetime", "put")]]


def insisting() -> list[Cell]:
    """Return the counter's PUT under ``replay=True``, sent until it is answered; many answers are dropped."""
    databases = ["SQLite", "SQLite, WAL", *(f"{name}, {LEVELS[0]}" for name in ("PostgreSQL", "MariaDB"))]
    return [Cell(database, "versioned", "insist", faults=True) for database in databases]


def on_several_machines() -> list[Cell]:
    """Return the counter's PUT to two servers of one database, also by tags of a replica that is behind."""
    database = f"PostgreSQL, {LEVELS[0]}"
    return [Cell(database, kind, machines=each) for each in (TWO, BEHIND) for kind in ("versioned", "unversioned")]


@dataclass
class Result:
    """What came of a cell, and whether that is what has to be.

    :ivar again: how many answers said that the write had been done before.
    """

    cell: Cell
    verdicts: list[Verdict]
    seconds: float
    again: int = 0
    complaints: list[str] = field(default_factory=list)

    def total(self, name: str) -> int:
        return sum(getattr(verdict, name) for verdict in self.verdicts)

    def row(self) -> str:
        accepted = self.total("accepted")
        names = ("refused", "conflicts", "server_errors", "unknown", "lost")
        counts = " | ".join(str(self.total(name)) for name in names)
        return f"| {self.cell.name} | {accepted} | {counts} | {accepted / self.seconds:.0f} |"


HEAD = (
    "| database | kind | write | accepted | 412 | 409 | 5xx | no answer | lost | writes/s |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


class Matrix:
    """The databases' servers, started when they are needed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._urls: dict[str, str] = {}
        self._restart: dict[str, Callable[[], None]] = {}

    def url(self, database: str) -> str:
        kind = database.partition(",")[0]
        if kind in ("SQLite", "no database"):
            folder = self._stack.enter_context(TemporaryDirectory())
            return f"sqlite:///{folder}/counters.db" if kind == "SQLite" else folder
        if kind not in self._urls:
            server = postgresql if kind == "PostgreSQL" else mariadb
            url = self._urls[kind] = self._stack.enter_context(server.running())
            if kind == "PostgreSQL":
                self._restart[kind] = lambda: restart_postgresql(url)
            else:
                self._restart[kind] = self._stack.enter_context(restarting_mariadb(url))
        return self._urls[kind]

    def run(self, cell: Cell, accepted: int) -> Result:
        environment = {
            "database": self.url(cell.database),
            "kind": cell.kind,
            "expire": cell.expire,
            "async": cell.asynchronous,
            **DATABASES.get(cell.database, {}),
        }
        if cell.faults:
            environment |= {"slow": "0.01", "clock": "3600"}
        if cell.move == "insist":
            environment |= {"slow": "0.001", "replay": "1"}
        processes = {"workers": 1, "threads": 8} if cell.kind == "dict" else {}
        with ExitStack() as servers:
            server = servers.enter_context(serving(**processes, **environment))  # type: ignore[arg-type]
            urls, read_from = [server.url], None
            if cell.machines:
                urls.append(servers.enter_context(serving(**{**environment, "create": "0"})).url)  # type: ignore[arg-type]
            if cell.machines == BEHIND:
                behind = servers.enter_context(replica_of(environment["database"]))
                replica = {**environment, "database": behind, "create": "0"}
                read_from = servers.enter_context(serving(**replica)).url  # type: ignore[arg-type]
            befores = {"/counters/1": server.first}
            if cell.move in OF_TWO:
                befores["/counters/2"] = server.state("/counters/2")
            histories: dict[str, list[Operation]] = {}
            start = time.monotonic()
            with ExitStack() as faults:
                if cell.faults:
                    faults.enter_context(killed_workers(server))
                    restart = self._restart.get(cell.database.partition(",")[0])
                    if restart is not None:
                        faults.enter_context(now_and_then(5, lambda _: restart()))
                goal = accepted // LIFE if cell.move == "life" else accepted
                for move in LIVES if cell.move == "life" else [cell.move]:
                    plan = Plan(
                        urls,
                        goal,
                        seconds=max(600, accepted),
                        move=path_of(move),
                        nonce="writer",
                        hang_up=30 if cell.move == "insist" else 5 if cell.faults else 0,
                        read_from=read_from,
                    )
                    for path, operations in collide(plan).items():
                        histories.setdefault(path, []).extend(operations)
            seconds = time.monotonic() - start
            verdicts = []
            for path, operations in histories.items():
                if cell.move == "life":
                    first, last = State(0, None), last_of_a_life(operations)
                else:
                    first, last = befores[path], server.state(path)
                verdicts.append(judge(operations, first, last, faults=cell.faults, stale_reads=bool(read_from)))
        again = sum(each.note == AGAIN for operations in histories.values() for each in operations)
        result = Result(cell, verdicts, seconds, again)
        result.complaints = list(complaints(result, accepted))
        return result


def last_of_a_life(operations: list[Operation]) -> State:
    """Return the state after the deletion: what was written after it, or at the same time, is lost."""
    deleted = [operation.number or 0 for operation in operations if operation.status == HTTPStatus.NO_CONTENT]
    return State(deleted[0] if deleted else 0, None)


def complaints(result: Result, accepted: int) -> Iterator[str]:
    for verdict in result.verdicts:
        for kind, count in verdict.kinds().items():
            example = next(problem.where for problem in verdict.problems if problem.kind == kind)
            yield f"{kind}: {count}, e.g. {example}"
    least = result.cell.least(accepted)
    if result.total("made") < least or not result.total("accepted"):
        yield f"{result.total('accepted')} were accepted and {result.total('made')} made, of {least}"
    if result.total("conflicts") > result.cell.conflicts_allowed(result.total("accepted")):
        yield f"{result.total('conflicts')} conflicts"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m torture.matrix", description=__doc__)
    parser.add_argument("--accepted", type=int, default=2000, help="writes in each cell of the first part")
    parser.add_argument("--fewer", type=int, default=200, help="writes in each cell of the other parts")
    parser.add_argument("--only", default="", metavar="PATTERN", help="of the cells' names")
    given = parser.parse_args()
    parts: dict[str, tuple[list[Cell], int]] = {
        "PUT, in full": (in_full(), given.accepted),
        "The rest, pairwise": (pairwise(), given.fewer),
        "Under lock=": (locked(), given.fewer),
        "On several machines": (on_several_machines(), given.fewer),
        "With faults": (under_faults(), given.fewer),
        "Under replay=, until answered": (insisting(), given.accepted),
    }
    chosen = {
        title: [cell for cell in cells if re.search(given.only, f"{title} | {cell.name}")]
        for title, (cells, _) in parts.items()
    }
    if not any(chosen.values()):
        parser.error(f"no cell has a name like {given.only!r}")
    bad = 0
    with ExitStack() as stack:
        matrix = Matrix(stack)
        for title, (_, accepted) in parts.items():
            if chosen[title]:
                print(f"\n## {title}\n\n{HEAD}")
            complained, known_again = [], []
            for cell in chosen[title]:
                result = matrix.run(cell, accepted)
                print(result.row(), flush=True)
                known_again += [f"{cell.name}: {result.again} were known again"] if result.again else []
                complained += [f"{cell.name}: {complaint}" for complaint in result.complaints]
                for complaint in result.complaints:
                    print("!", complaint, file=sys.stderr, flush=True)
            bad += len(complained)
            for complaint in known_again + complained:
                print(f"\n* {complaint}")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # its servers and clients have ended by now
        sys.exit(130)
