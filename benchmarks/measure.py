"""The clock: cases in turns, in one process, each compared with another of the same round.

pyperf gives every benchmark a process of its own, one after the other. Here a ratio is what counts, on a
machine that others may use as well: so cases take turns, a few milliseconds each, in an order that is shuffled
every round, and each ratio is one of neighbours. The clock is the processor time of the thread, which stands
still while others have the processor; the garbage collector works between rounds only. The ratios of the rounds
have a median and quartiles.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.cases import Application, Case, Environ

SLICE = 0.003  # seconds, at least, of one case in one round
FEWEST = 3  # rounds

Round = dict[str, float]
"""The seconds of one request of each case, at both ends; and those of a server alone, by :func:`at_server`."""

Clock = Callable[[], float]
"""Tells the seconds of processor time that a server has had."""


def at_server(case: str) -> str:
    """Return by what name a round has the share of the server."""
    return f"{case}, the server's"


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles on both sides of it."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return that of some values."""
        return cls(*quantiles(values, n=4))


@dataclass(frozen=True)
class Promise:
    """What must hold besides the ratios of the cases.

    :ivar formula: what is held to be at most something, of one round.
    """

    text: str
    at_most: float
    formula: Callable[[Round], float]


def measured(cases: Sequence[Case], seconds: float, server: Clock | None = None) -> list[Round]:
    """Check all cases, measure them in turns for so many seconds of processor time, and check them again.

    :param server: the clock of the server that they ask, if there is one.
    """
    for case in cases:
        case.check()
    shares: dict[str, list[float]] = {case.name: [] for case in cases}

    def timed(case: Case, number: int) -> float:
        own, share = _timed(case, number, server)
        shares[case.name].append(share)
        return own + share

    clocks = {case.name: partial(timed, case, _how_many(case)) for case in cases}
    rounds = in_turns(clocks, seconds, time.thread_time)
    for case in cases:
        case.check()
    return [
        {**each, **{at_server(name): share[number] for name, share in shares.items()}}
        for number, each in enumerate(rounds)
    ]


def in_turns(
    clocks: Mapping[str, Callable[[], float]],
    seconds: float,
    now: Callable[[], float] = time.monotonic,
    fewest: int = FEWEST,
) -> list[Round]:
    """Run what measures itself in turns, for as long as told.

    :param clocks: by name, what does something and returns how long that took.
    :param now: what the seconds are of.
    :param fewest: how many rounds there are, however long they take.
    """
    shuffled, order = list(clocks), random.Random(9)
    rounds: list[Round] = []
    deadline = now() + seconds
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        while len(rounds) < fewest or now() < deadline:
            order.shuffle(shuffled)
            taken = {name: clocks[name]() for name in shuffled}
            rounds.append({name: taken[name] for name in clocks})
            gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()
    return rounds


def ratio(rounds: Sequence[Round], case: Case) -> Spread:
    """Return how many times the other case's time it takes."""
    return Spread.of(each[case.name] / each[case.over] for each in rounds)


def _how_many(case: Case) -> int:
    """Return how many requests fill a slice."""
    return max(1, ceil(SLICE / median(_timed(case, 1)[0] for _ in range(9))))


def _timed(case: Case, number: int, server: Clock | None = None) -> tuple[float, float]:
    """Return the seconds that one request takes, here and at the server."""
    environs = case.environs(number)
    application = case.application
    before = 0.0 if server is None else server()
    start = time.thread_time_ns()
    for environ in environs:
        serve(application, environ)
    own = (time.thread_time_ns() - start) / len(environs) / 1e9
    return own, 0.0 if server is None else (server() - before) / len(environs)


def serve(application: Application, environ: Environ) -> None:
    """Do what a server does with a request: consume the body, and close it."""
    body: Any = application(environ, _start_response)
    for _ in body:
        pass
    body.close()


def _start_response(*_: object) -> None:
    pass


def clock_of(processes: Callable[[], Iterable[int]]) -> Clock:
    """Return a clock of other processes: Linux tells the nanoseconds of each of their threads.

    :param processes: gives their numbers. It is asked once, when the clock is first read: by then each connection
        has the process that it may have for itself.
    """
    seen: list[Path] = []

    def clock() -> float:
        if not seen:
            seen.extend(Path(f"/proc/{process}/task") for process in processes())
        nanoseconds = 0
        for tasks in seen:
            for task in tasks.glob("*/schedstat"):
                with suppress(OSError):  # that thread has just ended
                    nanoseconds += int(task.read_text().split()[0])
        return nanoseconds / 1e9

    return clock
