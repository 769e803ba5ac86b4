"""What a request takes of memory: its peak, and what is left of it afterwards."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterable

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


def memory_of(size: str, content: Content, requests: int) -> str:
    """Make a table of what the requests for a content take."""
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
    return _table(cases, 3, STREAM_AT_MOST)


def _stream(record_id: int) -> Response:
    return Response((bytes(CHUNK) for _ in range(CHUNKS)), mimetype="application/octet-stream")


def _table(cases: Iterable[Case], requests: int, at_most: float | None = None) -> str:
    peaks: dict[str, float] = {}
    rows = []
    for case in cases:
        case.check()
        peaks[case.name], left = _taken(case, requests)
        above = peaks[case.name] - peaks[case.over]
        limit = ""
        if at_most is not None and case.over != case.name:
            limit = f"{at_most:.0f}" if above <= at_most else f"{at_most:.0f}: **missed**"
        rows.append([case.name, f"{peaks[case.name]:,.1f}", f"{above:+,.1f}", limit, f"{left:,.0f}"])
    return table(["", "peak, KiB", "above the bare view", "at most", "bytes left by a request"], rows)


def _taken(case: Case, requests: int) -> tuple[float, float]:
    """Return the peak of one request, in KiB, and the bytes that are left of each of many."""
    for environ in case.environs(3):
        serve(case.application, environ)
    gc.collect()
    tracemalloc.start()
    try:
        [environ] = case.environs(1)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        serve(case.application, environ)
        peak = tracemalloc.get_traced_memory()[1] - before
        del environ
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(requests):
            serve(case.application, *case.environs(1))
        gc.collect()
        left = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    return peak / 1024, left / requests
