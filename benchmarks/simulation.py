"""Editors of rows, as discrete events: how often they refuse one another, at sizes that no machine here can run.

An editor reads a row, thinks, and writes under the tag of what it has read. Whoever is refused pauses, reads again
and writes again. What is simulated is the order of these events, and who waits for whom: for a core, and for the
lock of a row from its UPDATE to its COMMIT. How long each takes is measured; see ``benchmarks.scale``.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from statistics import quantiles

Process = Generator["float | Places", None, None]
"""What happens to one editor: it yields the seconds that it sleeps, or what it wants a place of."""


class Places:
    """Some places that are taken in turn: the cores of a server, the lock of a row."""

    def __init__(self, number: int) -> None:
        self.free = number
        self.waiting: deque[Process] = deque()


class Clock:
    """Simulated time. Of two events at one moment, the one that was planned first is first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Process]] = []
        self._order = count()

    def start(self, process: Process, after: float = 0) -> None:
        """Let a process go on in some seconds."""
        heapq.heappush(self._due, (self.now + after, next(self._order), process))

    def leave(self, places: Places) -> None:
        """Give a place to whoever has waited longest."""
        if places.waiting:
            self.start(places.waiting.popleft())
        else:
            places.free += 1

    def run(self, until: float) -> None:
        """Let happen what is due before a moment."""
        while self._due and self._due[0][0] < until:
            self.now, _, process = heapq.heappop(self._due)
            wanted = next(process, None)
            if isinstance(wanted, Places):
                if wanted.free:
                    wanted.free -= 1
                    self.start(process)
                else:
                    wanted.waiting.append(process)
            elif wanted is not None:
                self.start(process, wanted)
        self.now = until


@dataclass(frozen=True)
class Costs:
    """What requests take: means in seconds, of exponential distributions, since some take much longer than most.

    :ivar read: of a core, for a GET.
    :ivar refused: of a core, for a 412.
    :ivar write: of a core, for an accepted write, besides what follows.
    :ivar view: that a view takes between its check and its UPDATE, without a core.
    :ivar commit: from the UPDATE to the end of COMMIT: the row is locked.
    """

    read: float
    refused: float
    write: float
    view: float = 0.001
    commit: float = 0.001


@dataclass(frozen=True)
class Habits:
    """How an editor goes about it; all times are means in seconds, of exponential distributions.

    :ivar think: between the first read and the first write.
    :ivar again: between each further read and its write: to merge.
    :ivar pause: of the first pause after a refusal at most, doubled each time (full jitter); 0 for none.
    :ivar longest: of any such pause.
    :ivar tries: after how many it gives up.
    :ivar lag: by how much what is read is behind what is written, in seconds.
    """

    think: float = 0
    again: float = 0
    pause: float = 0
    longest: float = 10
    tries: int = 1_000_000
    lag: float = 0


class Row:
    """One row: when each of its states was committed, and the lock from an UPDATE to its COMMIT."""

    def __init__(self) -> None:
        self.commits: list[float] = []
        self.lock = Places(1)

    def version(self, at: float) -> int:
        return bisect_right(self.commits, at)


@dataclass
class Outcome:
    """What came of the edits that ended."""

    accepted: int = 0
    refused: int = 0
    refused_at_first: int = 0
    first: int = 0
    given_up: int = 0
    took: list[float] = field(default_factory=list)

    @property
    def refused_for_each(self) -> float:
        """How many refusals there are for one accepted write."""
        return self.refused / max(1, self.accepted)

    @property
    def share_at_first(self) -> float:
        """How many of the first tries are refused."""
        return self.refused_at_first / max(1, self.first)

    def took_at_most(self, hundredth: int) -> float:
        """Return in how many seconds so many of a hundred accepted edits were done, from the first read on."""
        return quantiles(self.took, n=100)[hundredth - 1] if len(self.took) > 1 else 0


class World:
    """Rows, the cores that serve them, and the editors of both.

    :param cores: how many requests are computed at once.
    :param seed: of all that is random. The same one gives the same events.
    """

    def __init__(self, costs: Costs, habits: Habits, cores: int = 1_000_000, seed: int = 1) -> None:
        self.costs, self.habits = costs, habits
        self.cores = Places(cores)
        self.random = Random(seed)
        self.clock = Clock()
        self.outcome = Outcome()

    def work(self, editors: int, choose: Callable[[], Row], rest: float = 0) -> None:
        """Add editors who begin an edit when they have done one, and rested for so many seconds on average."""
        for _ in range(editors):
            self.clock.start(self._one_after_another(choose, rest), self._about(rest))

    def arrive(self, rate: float, choose: Callable[[], Row]) -> None:
        """Let so many edits begin each second, each by somebody else."""
        self.clock.start(self._arrivals(rate, choose))

    def count(self, editors: int, choose: Callable[[], Row], rest: float = 0) -> None:
        """Add editors whose write needs no tag: the database increments, and they wait for the row in turn."""
        for _ in range(editors):
            self.clock.start(self._increments(choose, rest), self._about(rest))

    def queue(self, editors: int, row: Row, rest: float = 0) -> None:
        """Add editors who leave their writes in a queue, of which one worker commits all that is there at once."""
        waiting: list[Places] = []
        for _ in range(editors):
            self.clock.start(self._sends(waiting, rest), self._about(rest))
        self.clock.start(self._works(waiting, row))

    def run(self, seconds: float, warm: float = 0) -> Outcome:
        """Let time pass; return what came of it after the first seconds, which do not count."""
        self.clock.run(warm)
        self.outcome = Outcome()
        self.clock.run(warm + seconds)
        return self.outcome

    def _about(self, mean: float) -> float:
        return self.random.expovariate(1 / mean) if mean else 0

    def _one_after_another(self, choose: Callable[[], Row], rest: float) -> Process:
        while True:
            yield from self._edit(choose())
            yield self._about(rest)

    def _arrivals(self, rate: float, choose: Callable[[], Row]) -> Process:
        while True:
            self.clock.start(self._edit(choose()))
            yield self._about(1 / rate)

    def _edit(self, row: Row) -> Process:
        habits, began = self.habits, self.clock.now
        for refusals in range(habits.tries):
            yield self.cores
            seen = row.version(self.clock.now - habits.lag)
            yield self._about(self.costs.read)
            self.clock.leave(self.cores)
            yield self._about(habits.again if refusals else habits.think)
            answer: list[bool] = []
            yield from self._write(row, seen, answer)
            self.outcome.first += not refusals
            if answer == [True]:
                self._done(began)
                return
            self.outcome.refused += 1
            self.outcome.refused_at_first += not refusals
            longest = min(habits.longest, habits.pause * 2 ** min(refusals, 30))
            yield self.random.uniform(0, longest)
        self.outcome.given_up += 1

    def _write(self, row: Row, seen: int, answer: list[bool]) -> Process:
        """Judge, run the view, and commit: refused by the judgement, or by the UPDATE, if another was first."""
        yield self.cores
        if seen == row.version(self.clock.now):
            yield self._about(self.costs.write)
            self.clock.leave(self.cores)
            yield self._about(self.costs.view)
            yield row.lock
            if seen == row.version(self.clock.now):
                yield self._about(self.costs.commit)
                row.commits.append(self.clock.now)
                answer.append(True)
            self.clock.leave(row.lock)
            if answer:
                return
            yield self.cores
        yield self._about(self.costs.refused)
        self.clock.leave(self.cores)
        answer.append(False)

    def _increments(self, choose: Callable[[], Row], rest: float) -> Process:
        while True:
            row, began = choose(), self.clock.now
            yield self.cores
            yield self._about(self.costs.write)
            self.clock.leave(self.cores)
            yield row.lock
            yield self._about(self.costs.commit)
            self.clock.leave(row.lock)
            self._done(began)
            yield self._about(rest)

    def _sends(self, waiting: list[Places], rest: float) -> Process:
        while True:
            done, began = Places(0), self.clock.now
            yield self.cores
            yield self._about(self.costs.write)
            self.clock.leave(self.cores)
            waiting.append(done)
            yield done
            self._done(began)
            yield self._about(rest)

    def _works(self, waiting: list[Places], row: Row) -> Process:
        while True:
            batch, waiting[:] = list(waiting), []
            yield self._about(self.costs.commit)
            row.commits += [self.clock.now] * bool(batch)
            for done in batch:
                self.clock.leave(done)

    def _done(self, began: float) -> None:
        self.outcome.accepted += 1
        self.outcome.took.append(self.clock.now - began)
