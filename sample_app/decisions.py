"""What the shop has decided in the last minutes: kept as the signal tells it, and shown as a picture and a table.

Each process keeps its own: with several workers, the page shows what one of them has seen.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from threading import Lock
from typing import Any

from flask import Blueprint, Flask, Response, current_app, render_template, request

from flask_etag import Decision, decided

EXTENSION = "decisions"
STEP = 10  # seconds that one bar stands for
STEPS = 30  # bars: five minutes
MOST = 20_000  # decisions that are kept
KINDS = {
    "accepted": "saved",
    "served": "read in full",
    "unchanged": "unchanged (304)",
    "stale": "stale: refused",
    "raced": "raced: refused",
    "other": "refused otherwise",
}
"""The kinds that are told apart, in the order in which a bar is stacked, with what the page calls them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One decision, as much as the picture shows of it.

    :param at: when, in seconds.
    :param endpoint: of which view.
    :param kind: one of :data:`KINDS`.
    :param saved: how many bytes a 304 has saved.
    """

    at: float
    endpoint: str
    kind: str
    saved: int


class Memory:
    """What one process has seen of one application."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=MOST)
        self._sizes: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._lock = Lock()

    def note(self, decision: Decision, now: float) -> None:
        """Keep a decision of the request that is being answered."""
        kind = _kind_of(decision)
        if kind is not None:
            saved = self._sizes.get((request.full_path, decision.etag or ""), 0) if kind == "unchanged" else 0
            with self._lock:
                self._seen.append(Seen(now, str(request.endpoint).removeprefix("store."), kind, saved))

    def note_size(self, path: str, response: Response) -> None:
        """Remember how large the answer to a read is, to tell what a 304 in its place saves."""
        etag, size = response.headers.get("ETag"), response.content_length
        if response.status_code == 200 and etag is not None and size is not None:
            with self._lock:
                self._sizes[path, etag] = size
                while len(self._sizes) > MOST:
                    self._sizes.popitem(last=False)

    def summary(self, now: float) -> dict[str, Any]:
        """Return what the page shows: the bars, the rows of the table, and the totals of all."""
        last = int(now // STEP)
        with self._lock:
            seen = [each for each in self._seen if last - each.at // STEP < STEPS]
        bars = [Counter[str]() for _ in range(STEPS)]
        rows: dict[str, Counter[str]] = {}
        for each in seen:
            bars[STEPS - 1 - (last - int(each.at // STEP))][each.kind] += 1
            rows.setdefault(each.endpoint, Counter())[each.kind] += 1
        return {
            "bars": [dict(bar) for bar in bars],
            "rows": [{"endpoint": endpoint, **dict(rows[endpoint])} for endpoint in sorted(rows)],
            "totals": {**dict(sum(rows.values(), Counter())), "bytes": sum(each.saved for each in seen)},
        }


def _kind_of(decision: Decision) -> str | None:
    """Tell which of the kinds a decision is; ``None`` for what the loader or the view has answered otherwise."""
    if decision.outcome in ("reported", "replayed"):  # a write that was done, all the same
        return "accepted"
    if decision.outcome != "refused":
        return decision.outcome if decision.outcome in KINDS else None
    if decision.raced:
        return "raced"
    return "stale" if decision.reason == "stale" else "other"


def watch(app: Flask) -> None:
    """Keep what an application decides from now on."""
    memory = app.extensions[EXTENSION] = Memory()

    def note(_: Flask, decision: Decision) -> None:
        memory.note(decision, time.time())

    def note_size(response: Response) -> Response:
        if request.method == "GET":
            memory.note_size(request.full_path, response)
        return response

    decided.connect(note, app, weak=False)
    app.after_request(note_size)


decisions = Blueprint("decisions", __name__, url_prefix="/decisions")


@decisions.get("")
def show() -> str:
    """Show the picture, and the table beside it."""
    return render_template("decisions.html", kinds=KINDS, step=STEP, steps=STEPS, summary=_summary())


@decisions.get("/last")
def read() -> dict[str, Any]:
    """Answer what the page shows, as JSON."""
    return _summary()


def _summary() -> dict[str, Any]:
    memory: Memory = current_app.extensions[EXTENSION]
    return memory.summary(time.time())
