"""The same over gunicorn, with a load generator: ab, of Apache; and clients that save one row, or one each.

A single application serves it all, so that the cases can take turns on one server.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from math import ceil
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from benchmarks.bodies import BARE, bodies
from benchmarks.cases import PATH, Case
from benchmarks.contents import contents
from benchmarks.database import VersionedRecord, by_hand, with_us, without_us
from torture.servers import Server

APPLICATION = "benchmarks.server:application()"
SENT = {BARE}.union(
    f"{what}, {status}"
    for what in ("version by hand", "etag_resource", "version, version_column")
    for status in (200, 304)
)
SAVED = {"no ETag": "/without-us", "version by hand": "/by-hand", "Flask-ETag": "/with-us"}
SLICE = 0.4  # seconds of the worker, of one case in one round; the system counts hundredths
FEWEST = 9  # rounds
CLIENTS = [1, 2, 4, 8]


def sent(size: str) -> dict[str, Case]:
    """Return what is sent for a size, by the path of its application."""
    cases = bodies(size, dict(contents())[size])
    return {f"/{size.replace(' ', '')}/{number}": case for number, case in enumerate(cases) if case.name in SENT}


def application() -> Any:
    """Return what gunicorn serves: the cases of two sizes, or views over a database if there is one."""
    database = os.environ.get("TORTURE_DATABASE")
    if database:
        return DispatcherMiddleware(
            NotFound(),
            {
                "/without-us": without_us(database),
                "/by-hand": by_hand(database),
                "/with-us": with_us(database, VersionedRecord),
            },
        )
    cases = sent("192 B") | sent("64 KiB")
    return DispatcherMiddleware(NotFound(), {path: case.application for path, case in cases.items()})


def has_load_generator() -> bool:
    return shutil.which("ab") is not None


def clock(server: Server, origin: str, path: str, case: Case, wanted: float) -> Callable[[], float]:
    """Return what measures a case by as many requests as let the server compute for the seconds wanted."""
    sends = partial(seconds_of, server, origin, path, case)
    return partial(sends, ceil(wanted / max(sends(100), 1e-4)))


def seconds_of(server: Server, origin: str, path: str, case: Case, requests: int) -> float:
    """Let ab send a case to a server; return the seconds that this computes for a request, whatever else goes on.

    :raises RuntimeError: if an answer has another status.
    """
    [environ] = case.environs(1)
    known = environ.get("HTTP_IF_NONE_MATCH")
    field = ["-H", f"If-None-Match: {known}"] if known else []
    command = ["ab", "-q", "-k", "-c", "4", "-n", str(requests), *field, f"{origin}{path}{PATH}"]
    before = server.processor_time()
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    others = re.search(r"Non-2xx responses: +(\d+)", told)  # ab counts a 304 as one
    if int(others[1] if others else 0) != (requests if case.status == 304 else 0):
        raise RuntimeError(f"{case.name}: not each answer was a {case.status}.\n{told}")
    return (server.processor_time() - before) / requests


def saves(origin: str, path: str, clients: int, seconds: float, *, many: bool) -> float:
    """Let clients save rows, each after a GET; return the seconds of an accepted write.

    :param many: whether each client has a row of its own.
    """
    rows = range(1, clients + 1) if many else [1] * clients
    with ProcessPoolExecutor(clients, initializer=_leave_signals_to_who_started_it) as pool:
        accepted = sum(pool.map(partial(_save, origin, seconds), [f"{path}/records/{row}" for row in rows]))
    return seconds / max(accepted, 1)


def _leave_signals_to_who_started_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _save(origin: str, seconds: float, path: str) -> int:
    """GET and PUT a row for some time; return how many writes were accepted."""
    accepted, deadline = 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        etag = _send(origin, "GET", path, {})[1]
        fields = {"Content-Type": "application/json", "If-Match": etag or "*"}
        changed = json.dumps({"place": str(time.time_ns())})
        accepted += _send(origin, "PUT", path, fields, changed)[0] == HTTPStatus.OK
    return accepted


def _send(origin: str, method: str, path: str, fields: dict[str, str], body: str = "") -> tuple[int, str | None]:
    connection = HTTPConnection(origin.removeprefix("http://"), timeout=30)
    try:
        connection.request(method, path, body or None, fields)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("ETag")
    finally:
        connection.close()
