"""What a request takes of memory: its peak, and what many of them leave behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise

from flask import Response

from benchmarks.bodies import BARE, bodies
from benchmarks.cases import PATH, Case, ask, copies_of, environ_of, plain, serving
from benchmarks.contents import Content
from benchmarks.measure import serve
from benchmarks.tables import table
from flask_etag import etag_resource

CHUNK, CHUNKS = 64 * 1024, 1024
STREAM_AT_MOST = 16.0  # KiB above the same without us: less than a chunk, where the whole is 64 MiB
MEASURED = {BARE}.union(
    f"{what}, {status}" for what in ("etag_resource", "version, version_column") for status in (200, 304)
)
MEASURED.add("version, another each time, 200")


def memory_of(size: str, content: Content, requests: int) -> str:
    """Make a table of what the requests for a content take.

    :param requests: how many are sent to see what they leave, and again as many; 0 to leave that out. A cache has
        its size after the first ones, if these are more than it keeps; what has no bound grows by the second.
    """
    return _table([case for case in bodies(size, content) if case.name in MEASURED], requests)


def memory_of_a_stream() -> str:
    """Make a table of what a streamed response of 64 MiB takes."""
    tagged = serving(etag_resource(_stream), etag=True)
    cases = [
        plain(BARE, serving(_stream), None),
        Case("etag_resource", BARE, tagged, copies_of(environ_of())),
    ]
    sizes = {len(ask(case.application, environ_of(PATH)).body) for case in cases}
    if sizes != {CHUNK * CHUNKS}:
        raise RuntimeError(f"The streams have {sizes} bytes.")
    return _table(cases, 0, STREAM_AT_MOST)


def _stream(record_id: int) -> Response:
    return Response((bytes(CHUNK) for _ in range(CHUNKS)), mimetype="application/octet-stream")


def _table(cases: Iterable[Case], requests: int, at_most: float | None = None) -> str:
    head = ["", "peak, KiB", "above the bare view", "at most"]
    if requests:
        head += [f"left by {requests:,} requests, KiB", "by as many more, KiB"]
    peaks: dict[str, float] = {}
    rows = []
    for case in cases:
        case.check()
        peaks[case.name] = _peak(case)
        above = peaks[case.name] - peaks[case.over]
        limit = ""
        if at_most is not None and case.over != case.name:
            limit = f"{at_most:.0f}" if above <= at_most else f"{at_most:.0f}: **missed**"
        left = [f"{kibibytes:.1f}" for kibibytes in _left(case, requests)] if requests else []
        rows.append([case.name, f"{peaks[case.name]:,.1f}", f"{above:+,.1f}", limit, *left])
    return table(head, rows)


def _peak(case: Case) -> float:
    """Return the most that one request holds, in KiB."""
    with _traced():
        for environ in case.environs(50):
            serve(case.application, environ)
        [environ] = case.environs(1)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        serve(case.application, environ)
        return (tracemalloc.get_traced_memory()[1] - before) / 1024


def _left(case: Case, requests: int) -> list[float]:
    """Return what is left of some requests, and of as many after them, in KiB."""
    held = []
    with _traced():
        for number in (0, requests, requests):
            for _ in range(number):
                serve(case.application, *case.environs(1))
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0] / 1024)
    return [after - before for before, after in pairwise(held)]


@contextmanager
def _traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
