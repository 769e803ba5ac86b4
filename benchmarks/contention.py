"""Writers by Flask-ETag and by other means: accepted writes a second, what a PUT takes, what is lost.

python -m benchmarks.contention                            all databases (make rivals)
python -m benchmarks.contention --only MariaDB --quick     a smoke run, whose figures say little

Each client gets a row, the same one or its own, and puts its number increased by one, as fast as it can. gunicorn
has two workers of four threads, and each view takes a millisecond. The peers take turns, and the figures are
medians of the turns, with charts of them. A run that is not quick puts them into the docs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from statistics import median, quantiles
from urllib.parse import urljoin, urlsplit

from benchmarks.measure import Spread
from benchmarks.report import Report
from benchmarks.tables import table
from benchmarks.world import databases
from torture.peers import OURS, OURS_WITHOUT
from torture.servers import serving

ONE_ROW = [1, 4, 16, 64]
"""How many clients there are at one row."""
PROCESSES = 4  # of clients: more would only take time from the server
PEERS = [OURS, OURS_WITHOUT, "by hand", "FOR UPDATE by hand", "flask-smorest", "Django"]


@dataclass(frozen=True)
class Crowd:
    """Some clients.

    :ivar rows: how many rows they share.
    """

    clients: int
    rows: int = 1

    def __str__(self) -> str:
        return f"{self.clients}" if self.rows == 1 else f"{self.clients}, a row each"


CROWDS = [*map(Crowd, ONE_ROW), Crowd(16, 16)]


@dataclass(frozen=True)
class Turn:
    """What came of the clients of one peer.

    :ivar accepted: how many writes were accepted in a second.
    :ivar refused: the share of the writes that were answered 412 or 409.
    :ivar lost: how many writes were accepted and overwritten unseen.
    :ivar broken: how many were answered otherwise, or not at all.
    :ivar put: the seconds of a PUT, at the median, the 95th and the 99th of a hundred.
    """

    accepted: float
    refused: float
    lost: int
    broken: int
    put: tuple[float, float, float]


def run(peer: str, database: str, crowd: Crowd, seconds: float) -> Turn:
    """Let clients loose on one peer."""
    with serving("torture.peers:create_app()", database=database, peer=peer) as server:
        rows = [f"/counters/{number}" for number in range(1, crowd.rows + 1)]
        urls = [urljoin(server.url, row) for row in rows] * (crowd.clients // crowd.rows)
        processes = min(PROCESSES, crowd.clients)
        with ProcessPoolExecutor(processes) as pool:
            shares = [urls[first::processes] for first in range(processes)]
            puts = [put for puts in pool.map(partial(_clients, seconds), shares) for put in puts]
        written = sum(server.state(row).number or 0 for row in rows)  # which began at 0
    statuses = [status for status, _ in puts]
    accepted = statuses.count(HTTPStatus.OK)
    refused = statuses.count(HTTPStatus.PRECONDITION_FAILED) + statuses.count(HTTPStatus.CONFLICT)
    hundredths = quantiles([taken for _, taken in puts], n=100)
    return Turn(
        accepted / seconds,
        refused / len(puts),
        accepted - written,
        len(puts) - accepted - refused,
        (hundredths[49], hundredths[94], hundredths[98]),
    )


def _clients(seconds: float, urls: list[str]) -> list[tuple[int, float]]:
    """Be a client of each URL for some time; return the status of each PUT, and the seconds that it took."""
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(len(urls)) as pool:
        return [put for puts in pool.map(partial(_client, deadline), urls) for put in puts]


def _client(deadline: float, url: str) -> list[tuple[int, float]]:
    puts = []
    while time.monotonic() < deadline:
        status, etag, body = _send(url, "GET")
        if status == HTTPStatus.OK:
            start = time.monotonic()
            status, *_ = _send(url, "PUT", {"number": body["number"] + 1}, etag or "")
            puts.append((status, time.monotonic() - start))
    return puts


def _send(url: str, method: str, changed: object = None, etag: str = "") -> tuple[int, str | None, dict[str, int]]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    fields = {"Content-Type": "application/json", "If-Match": etag} if changed else {}
    with suppress(OSError, HTTPException):
        connection.request(method, parts.path, json.dumps(changed) if changed else None, fields)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_read = method == "GET" and answer.status == HTTPStatus.OK
        return answer.status, answer.getheader("ETag"), json.loads(content) if is_read else {}
    connection.close()
    return 0, None, {}


def turns(database: str, peers: list[str], crowd: Crowd, seconds: float, rounds: int) -> dict[str, list[Turn]]:
    """Return what came of each peer, in turns."""
    came: dict[str, list[Turn]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            came[peer].append(run(peer, database, crowd, seconds))
    return came


def rows_of(came: dict[Crowd, dict[str, list[Turn]]]) -> Iterator[list[str]]:
    for crowd, by_peer in came.items():
        for peer, all_of in by_peer.items():
            put = [median(each.put[place] for each in all_of) * 1000 for place in range(3)]
            yield [
                str(crowd),
                peer,
                f"{median(each.accepted for each in all_of):.0f}",
                f"{median(each.refused for each in all_of):.0%}",
                *(f"{milliseconds:.0f}" for milliseconds in put),
                str(sum(each.lost for each in all_of)),
                str(sum(each.broken for each in all_of)),
            ]


HEAD = ["clients", "", "accepted a second", "refused", "PUT, ms: median", "95th", "99th", "lost", "other answers"]


COMPARED = {OURS: "by hand", OURS_WITHOUT: "FOR UPDATE by hand"}
"""With whom we are compared: a model with a version, and one without."""


def compared(came: dict[Crowd, dict[str, list[Turn]]]) -> Iterator[list[str]]:
    """Compare with what is written by hand, turn by turn."""
    for crowd, by_peer in came.items():
        for ours, theirs in COMPARED.items():
            turns = list(zip(by_peer[ours], by_peer[theirs], strict=True))
            accepted = median(us.accepted / them.accepted for us, them in turns)
            slowest = median(us.put[2] / them.put[2] for us, them in turns)
            yield [
                str(crowd),
                f"{ours}, of {theirs}",
                f"{accepted:.2f}",
                "1.00" if round(accepted, 2) >= 1 else "1.00: **missed**",
                f"{slowest:.2f}",
                "1.00" if round(slowest, 2) <= 1 else "1.00: **missed**",
            ]


HEAD_COMPARED = ["clients", "", "accepted a second", "at least", "99th of a hundred PUTs", "at most"]


def draw(report: Report, database: str, came: dict[Crowd, dict[str, list[Turn]]]) -> None:
    """Draw what came of each peer at one row, by the number of clients."""
    drawn: list[tuple[str, str, Callable[[Turn], float]]] = [
        ("accepted", "accepted writes a second", lambda turn: turn.accepted),
        ("slowest", "ms of a PUT, the 99th of a hundred", lambda turn: turn.put[2] * 1000),
    ]
    for what, axis, figure in drawn:
        line = {
            peer: [
                (crowd.clients, Spread.of(map(figure, by_peer[peer])))
                for crowd, by_peer in came.items()
                if crowd.rows == 1
            ]
            for peer in next(iter(came.values()))
        }
        title = f"Writers of one row, on {database}"
        report.lines(f"contention-{database}-{what}", title, "clients", axis, line, "linear")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contention")
    parser.add_argument("--only", metavar="DATABASE")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    report = Report(is_kept=not arguments.quick)
    quick = [Crowd(1), Crowd(4), Crowd(4, 4)]
    seconds, rounds, crowds = (0.5, 1, quick) if arguments.quick else (2.5, 3, CROWDS)
    with databases() as urls:
        for name, url in urls.items():
            if arguments.only in (None, name):
                peers = [peer for peer in PEERS if find_spec("django") or peer != "Django"]
                if name == "MariaDB":
                    peers.remove("Django")  # it takes no PyMySQL
                came = {crowd: turns(url, peers, crowd, seconds, rounds) for crowd in crowds}
                tables = [table(HEAD, list(rows_of(came))), table(HEAD_COMPARED, list(compared(came)))]
                report.text(f"contention, {name}", "\n\n".join(tables))
                if not arguments.quick:
                    draw(report, name, came)


if __name__ == "__main__":
    main()
