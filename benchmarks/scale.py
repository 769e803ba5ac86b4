"""What very many editors cost, and where that breaks first: a model of measured inputs (make scale).

python -m benchmarks.scale                 measures, simulates, and puts tables and charts into docs/scale.md
python -m benchmarks.scale --quick         a smoke run, which writes nothing into the docs
python -m benchmarks.scale --only check    a part: inputs, check, conflicts, hot, lag, editors

The inputs are the processor time of each kind of request, of the application and of PostgreSQL, behind gunicorn.
The simulation (``benchmarks.simulation``) is checked against clients of the torture that meet on one row here.
"""

from __future__ import annotations

import argparse
import random
import time
from bisect import bisect
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, count
from statistics import fmean, median
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.database import processes_of
from benchmarks.measure import Spread, clock_of
from benchmarks.page import ROOT
from benchmarks.simulation import Costs, Habits, Outcome, Row, World
from benchmarks.tables import table
from flask_etag.torture.clients import Client, Crowd, Plan
from flask_etag.torture.history import judge
from tests.servers import postgresql
from torture.servers import Server, serving

PATH = "/counters/1"
CORES = 2  # of this machine, which clients and servers share
SEEDS = range(1, 6)
PAUSE = 0.05  # seconds, of the first pause at most, of whoever is no human
PARTS = ["inputs", "check", "conflicts", "hot", "lag", "editors"]
DURABLE = (
    0.002  # seconds: a COMMIT that waits for a disk and for a standby in the same city. Assumed, not measured
)
KINDS = {"GET, 304": 304, "GET, 200": 200, "PUT, accepted": 200, "PUT, 412": 412}
REQUESTS = 25  # of one kind in one round


# What requests cost here


def inputs(server: Server, database: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the seconds of processor time that a request of each kind takes: of ours, and of the database.

    Each request has a TCP connection of its own. The kinds take turns, and these are the least of all rounds: what
    else goes on can only add.
    """
    client = Client(Plan([], 0), 1)
    clocks = [clock_of(server.workers), clock_of(partial(processes_of, database))]
    taken: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for kind in [*KINDS] * rounds:
        tag = client.send("GET", server.url).etag or ""
        before = [clock() for clock in clocks]
        for _ in range(REQUESTS):
            if kind.startswith("GET"):
                known = {"If-None-Match": tag} if kind == "GET, 304" else {}
                answer = client.send("GET", server.url, **known)
            else:
                condition = tag if kind == "PUT, accepted" else '"stale"'
                answer = client.send("PUT", server.url, {"number": 0}, **{"If-Match": condition})
                tag = answer.etag or ""
            if answer.status != KINDS[kind]:
                raise RuntimeError(f"{kind}: {answer}")
        taken[kind].append([(clock() - at) / REQUESTS for clock, at in zip(clocks, before, strict=True)])
    return {kind: (min(ours for ours, _ in of), min(its for _, its in of)) for kind, of in taken.items()}


def alone(server: Server, database: str, rounds: int) -> Costs:
    """Return how long requests take one client that is alone, from end to end."""
    client = Client(Plan([], 0, nonce="writer"), 1)
    taken: dict[str, list[float]] = {"read": [], "write": [], "refused": []}

    def timed(name: str, method: str, body: object = None, **conditions: str) -> None:
        answer = client.send(method, server.url, body, **conditions)
        taken[name].append(answer.end - answer.start)

    for number in range(rounds):
        timed("read", "GET")
        tag = client.send("GET", server.url).etag or ""
        timed("write", "PUT", {"number": 0, "writer": str(number)}, **{"If-Match": tag})
        timed("refused", "PUT", {"number": 0, "writer": ""}, **{"If-Match": tag})
    commit, view = commit_of(database, rounds), Costs.view
    took = {name: fmean(values) for name, values in taken.items()}
    return Costs(took["read"], took["refused"], took["write"] - view - commit, view, commit)


def commit_of(database: str, rounds: int) -> float:
    """Return for how long an UPDATE and its COMMIT lock a row."""
    taken = []
    engine = create_engine(database)
    with engine.connect() as connection:
        for number in range(rounds):
            connection.begin()
            start = time.perf_counter()
            connection.execute(text("UPDATE counter SET writer = :writer WHERE id = 2"), {"writer": str(number)})
            connection.commit()
            taken.append(time.perf_counter() - start)
    engine.dispose()
    return fmean(taken)


# Real clients beside simulated ones


def edit(client: Client) -> bool:
    """Edit until it is accepted: GET, think, PUT, and a random pause after a refusal. A move of the torture's."""
    think = float(client.plan.headers["Think"])
    for refusals in count():
        found = client.current()
        if found is None:
            return False
        url, seen = found
        time.sleep(client.random.expovariate(1 / think) if think else 0)
        if client.put(url, seen.body, seen.number or 0, seen.etag or "").status == 200:
            return True
        time.sleep(client.random.uniform(0, min(Habits.longest, PAUSE * 2**refusals)))
    return False


def real(server: Server, clients: int, think: float, accepted: int) -> float:
    """Let clients of the torture meet on one row; return how many refusals there were for each accepted write.

    :raises RuntimeError: if the judge of the torture finds anything wrong.
    """
    first = server.state()
    move = f"{__name__}:edit" if __name__ != "__main__" else "benchmarks.scale:edit"
    goal = (first.number or 0) + accepted
    plan = Plan([server.url], goal, 120, move=move, nonce="writer", headers={"Think": str(think)})
    with Crowd(plan, clients) as crowd:
        [operations] = crowd.histories().values()
    verdict = judge(operations, first, server.state())
    if verdict.problems:
        raise RuntimeError(str(verdict.problems))
    return verdict.refused / verdict.accepted


def simulated(costs: Costs, clients: int, think: float, seconds: float = 100) -> float:
    """Return the same of simulated clients, on as many cores."""
    habits = Habits(think=think, again=think, pause=PAUSE)
    refused = []
    for seed in SEEDS:
        world, row = World(costs, habits, CORES, seed), Row()
        world.work(clients, lambda row=row: row)  # type: ignore[misc]
        refused.append(world.run(seconds, warm=1).refused_for_each)
    return median(refused)


MEETINGS = [(2, 0.0), (8, 0.0), (2, 0.1), (4, 0.1), (8, 0.1), (4, 0.5)]
"""Clients of one row, and how long each thinks, in seconds."""


def compared(
    server: Server, costs: Costs, accepted: int, meetings: Sequence[tuple[int, float]] = MEETINGS
) -> Iterator[tuple[int, float, float, float]]:
    """Yield clients, their time to think, and refusals for each accepted write: real, and simulated."""
    for clients, think in meetings:
        found = real(server, clients, think, accepted if think < 0.5 else accepted // 3)
        yield clients, think, found, simulated(costs, clients, think, 20 if think < 0.1 else 200)


# What if


def chance(rate: float, think: float) -> float:
    """Return which share of edits is refused at first: others write the row so many times a second.

    Each editor thinks for an exponential time: the chance that nobody writes meanwhile is 1 / (1 + rate * think).
    """
    return 1 - 1 / (1 + rate * think)


def conflicts(seconds: float) -> dict[str, list[tuple[float, Spread]]]:
    """Return the share of first tries that is refused, by how many edits of a row begin while one is made."""
    quick = Costs(0.0005, 0.0005, 0.0005, 0, 0.0001)
    loads = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]
    found: dict[str, list[tuple[float, Spread]]] = {"1 - 1 / (1 + edits meanwhile)": [], "simulated": []}
    think = 10.0
    for load in loads:
        expected = chance(load / think, think)
        shares = []
        for seed in SEEDS:
            world = World(quick, Habits(think=think, again=1, pause=1), seed=seed)
            rows = [Row() for _ in range(50)]
            for row in rows:
                world.arrive(load / think, lambda row=row: row)  # type: ignore[misc]
            shares.append(world.run(seconds, warm=100).share_at_first)
        found["1 - 1 / (1 + edits meanwhile)"].append((load, Spread(expected, expected, expected)))
        found["simulated"].append((load, Spread.of(shares)))
    return found


WAYS = ["at once", "full jitter", "16 parts", "UPDATE n = n + 1", "a queue"]
WRITERS = [1, 4, 16, 64, 128, 256, 512]


def hot(writers: int, way: str, seconds: float, seed: int) -> Outcome:
    """Return what comes of writers of one number, in one way or another: each increases it once a second."""
    costs = Costs(0.0006, 0.0006, 0.0014, 0.001, DURABLE)
    world = World(costs, Habits(pause=0 if way == "at once" else PAUSE), cores=32, seed=seed)
    rows = [Row() for _ in range(16 if way == "16 parts" else 1)]
    choose = partial(world.random.choice, rows)
    if way == "UPDATE n = n + 1":
        world.count(writers, choose, rest=1)
    elif way == "a queue":
        world.queue(writers, rows[0], rest=1)
    else:
        world.work(writers, choose, rest=1)
    return world.run(seconds, warm=2)


def lagging(lag: float, rate: float, seed: int) -> Outcome:
    """Return what comes of editors that read from a replica: a save every so often, of one row."""
    costs = Costs(0.001, 0.001, 0.001, 0.001, DURABLE)
    world, row = World(costs, Habits(think=1, again=0.01, pause=PAUSE, lag=lag), seed=seed), Row()
    world.arrive(rate, lambda: row)
    return world.run(3000, warm=20)


class Even:
    """Rows that are asked for equally often."""

    def __init__(self, number: int, seed: int) -> None:
        self.rows: dict[int, Row] = {}
        self.number = number
        self._random = random.Random(seed)

    def choose(self) -> Row:
        """Return a row, which is made when it is first asked for."""
        rank = self._rank()
        if rank not in self.rows:
            self.rows[rank] = Row()
        return self.rows[rank]

    def _rank(self) -> int:
        return self._random.randrange(self.number)


class Popular(Even):
    """Rows of which the first is asked for most, the second half as often, the third a third as often (Zipf)."""

    def __init__(self, number: int, seed: int) -> None:
        super().__init__(number, seed)
        self._weights = list(accumulate(1 / rank for rank in range(1, number + 1)))

    def share(self, rank: int) -> float:
        """Return which share of the requests the row of a rank has."""
        return 1 / rank / self._weights[-1]

    def _rank(self) -> int:
        return bisect(self._weights, self._random.random() * self._weights[-1])


def editors(number: int, rows: int, zipf: bool, seconds: float) -> Outcome:
    """Return what comes of humans: each saves every ten minutes, thinks for one, and merges for ten seconds."""
    costs = Costs(0.001, 0.001, 0.001, 0.001, DURABLE)
    habits = Habits(think=60, again=10, pause=1, tries=10)
    world = World(costs, habits)
    world.arrive(number / 600, Popular(rows, 1).choose if zipf else Even(rows, 1).choose)
    return world.run(seconds, warm=300)


# The command


def rows_of_inputs(found: dict[str, tuple[float, float]]) -> str:
    rows = [
        [kind, f"{ours * 1e6:,.0f}", f"{its * 1e6:,.0f}", f"{1 / ours:,.0f}", f"{1 / its:,.0f}"]
        for kind, (ours, its) in found.items()
    ]
    head = ["", "application, µs", "PostgreSQL, µs", "a second, for each core of the application", "of PostgreSQL"]
    return table(head, rows)


def rows_of_editors(seconds: float) -> str:
    rows = []
    for number, documents in ((1_000, 10_000), (1_000_000, 1_000_000)):
        for zipf in (False, True):
            came = editors(number, documents, zipf, seconds)
            done = came.accepted + came.given_up
            rows.append(
                [
                    f"{number:,}",
                    f"{documents:,}",
                    "by popularity" if zipf else "evenly",
                    f"{number / 600:,.0f}",
                    f"{came.share_at_first:.1%}",
                    f"{came.refused_for_each:.2f}",
                    f"{came.given_up / max(1, done):.2%}",
                    f"{came.took_at_most(99):,.0f} s",
                ]
            )
    head = ["editors", "documents", "chosen", "saves a second", "refused at first", "refused for each accepted"]
    return table([*head, "given up", "done in, 99 %"], rows)


def rows_of_reads(found: dict[str, tuple[float, float]]) -> str:
    """Say what a million editors' reads take: each asks every thirty seconds whether its document has changed."""
    rows = []
    for cache in (0.0, 0.5, 0.9, 0.99):
        left = 1_000_000 / 30 * (1 - cache)
        cores = [left * of_304 for of_304 in found["GET, 304"]]
        rows.append([f"{cache:.0%}", f"{left:,.0f}", *(f"{each:,.1f}" for each in cores)])
    head = ["answered by a cache in front", "304 a second", "cores of the application", "cores of PostgreSQL"]
    return table(head, rows)


def rows_of_shards(found: dict[str, tuple[float, float]]) -> str:
    """Say what 100,000 writes a second take, over 64 shards, of machines that read, take 50 ms, and write."""
    rate, shards, think, rows = 100_000, 64, 0.05, []
    one_row = 1 / DURABLE
    for documents in (1_000_000, 10_000_000):
        for zipf in (False, True):
            popular = Popular(documents, 1)
            of_first = rate * popular.share(1) if zipf else rate / documents
            if zipf:  # the chance of each rank, by how often it is chosen
                shares = [popular.share(rank) for rank in range(1, documents + 1)]
                refused = sum(share * chance(rate * share, think) for share in shares)
                beyond = sum(rate * share > one_row for share in shares)
            else:
                refused, beyond = chance(of_first, think), int(of_first > one_row)
            tries = 1 / (1 - refused)
            ours = rate * (
                tries * found["GET, 200"][0] + found["PUT, accepted"][0] + (tries - 1) * found["PUT, 412"][0]
            )
            its = rate * (
                tries * found["GET, 200"][1] + found["PUT, accepted"][1] + (tries - 1) * found["PUT, 412"][1]
            )
            rows.append(
                [
                    f"{documents:,}",
                    "by popularity" if zipf else "evenly",
                    f"{refused:.2%}",
                    f"{ours:,.0f}",
                    f"{its / shards:,.1f}",
                    f"{of_first:,.3g}",
                    str(beyond),
                ]
            )
    head = [
        "rows",
        "chosen",
        "refused at first",
        "cores of the application",
        "cores of PostgreSQL, for each shard",
    ]
    return table([*head, "writes a second of the first row", f"rows of more than {one_row:,.0f}"], rows)


def main() -> None:
    from benchmarks.report import Report  # noqa: PLC0415 - which needs matplotlib, as nothing else here does

    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    parts = PARTS if given.only is None else [given.only]
    report = Report(is_kept=not given.quick, page=ROOT / "docs" / "scale.md", folder="scale")
    seeds = SEEDS if not given.quick else range(1, 3)
    if {"inputs", "check"} & {*parts}:
        with postgresql.running() as database:
            if "inputs" in parts:
                _report_inputs(report, database, 2 if given.quick else 40)
            if "check" in parts:
                _report_check(report, database, quick=given.quick)
    if "conflicts" in parts:
        report.lines(
            "conflicts",
            "How often an edit is refused",
            "edits of the same row that others begin while one is made",
            "share refused at the first try",
            conflicts(100 if given.quick else 2000),
            "linear",
        )
    if "hot" in parts:
        _report_hot(report, seeds, 2 if given.quick else 10, [4, 64] if given.quick else WRITERS)
    if "lag" in parts:
        lags = [0.01, 0.1, 1, 4]
        series = {
            f"{rate:g} saves of the row a second": [
                (lag, Spread.of(lagging(lag, rate, seed).refused_for_each for seed in seeds)) for lag in lags
            ]
            for rate in (0.05, 0.2, 0.5)
        }
        title = "Reads from a replica"
        report.lines("lag", title, "seconds that it is behind", "refused for each accepted", series)
    if "editors" in parts:
        report.text("editors", rows_of_editors(20 if given.quick else 100))


def _report_inputs(report: Any, database: str, rounds: int) -> None:
    with serving(database=database, workers=1, threads=1) as server:
        found = inputs(server, database, rounds)
    report.text("inputs", rows_of_inputs(found))
    report.text("reads", rows_of_reads(found))
    report.text("shards", rows_of_shards(found))


def _report_check(report: Any, database: str, *, quick: bool) -> None:
    with serving(database=database, slow=str(Costs.view)) as server:
        costs = alone(server, database, 20 if quick else 100)
        rows = [
            [str(clients), f"{think:g} s", f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / max(ours, 1e-9):.2f}"]
            for clients, think, ours, theirs in compared(server, costs, 30 if quick else 150)
        ]
    head = ["clients of one row", "think", "refused for each accepted: real", "simulated", "ratio"]
    report.text("check", table(head, rows))


def _report_hot(report: Any, seeds: range, seconds: float, writers: list[int]) -> None:
    came = {
        way: {number: [hot(number, way, seconds, seed) for seed in seeds] for number in writers} for way in WAYS
    }
    rows = []
    for number in writers:
        for way in WAYS:
            outcomes = came[way][number]
            rows.append(
                [
                    str(number),
                    way,
                    f"{median(each.accepted for each in outcomes) / seconds:,.0f}",
                    f"{median(each.refused_for_each for each in outcomes):.1f}",
                    f"{median(each.took_at_most(50) for each in outcomes):.3f} s",
                    f"{median(each.took_at_most(99) for each in outcomes):.3f} s",
                ]
            )
    head = ["writers", "", "accepted a second", "refused for each", "done in: median", "99 %"]
    report.text("hot", table(head, rows))
    series = {
        way: [(number, Spread.of(each.accepted / seconds for each in of)) for number, of in by.items()]
        for way, by in came.items()
    }
    title = "One row, and writers who want it once a second each"
    report.lines("hot", title, "writers", "accepted a second", series)


if __name__ == "__main__":
    main()
