"""What the clients saw, and whether it can have happened without a lost update.

A resource goes through states that are numbered: each write that takes effect makes the state whose number is one
more than that of the state that it replaces. So the chain of states is known, and of each state its tag, when it
can have begun at the earliest (with the first write that can have made it, and never before the state that it
replaces), and when it has ended at the latest (once somebody has seen a later one). A history is right if every
accepted write has a place of its own in the chain, and every answer shows a state that was there at some moment
between the request's start and its end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from operator import attrgetter
from typing import NamedTuple


class State(NamedTuple):
    """One state of the resource: its number and its entity tag, which is ``None`` where there is no resource."""

    number: int
    etag: str | None


@dataclass(frozen=True, slots=True)
class Operation:
    """One request, and its answer.

    :param start: when the request was sent, on a clock that all clients share.
    :param end: when its answer was there, or was given up.
    :param number: the state that was read, or that is made if the write takes effect; ``None`` where the client
        cannot tell (a 404; a write without a base, the answer to which was lost).
    :param writes: whether it is a write.
    :param base: the tag in If-Match; ``None`` if the write does not name the state that it replaces.
    :param status: the answer's; ``None`` if it was lost.
    :param etag: the answer's tag, if it has one.
    :param note: what was answered, where that makes no sense.
    """

    start: float
    end: float
    number: int | None
    writes: bool = False
    base: str | None = None
    status: int | None = None
    etag: str | None = None
    note: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it was answered with success."""
        return self.status is not None and 200 <= self.status < 300


class Problem(NamedTuple):
    """Something that must not be: of which kind, and where."""

    kind: str
    where: str


@dataclass
class Verdict:
    """What a history comes to.

    :param made: how many states were made, by the numbers of the first and the last.
    :param lost: how many writes were accepted, and vanished.
    :param unknown: how many writes had no answer; each is in the chain, or is not.
    """

    made: int
    accepted: int = 0
    refused: int = 0
    conflicts: int = 0
    server_errors: int = 0
    unknown: int = 0
    lost: int = 0
    problems: list[Problem] = field(default_factory=list)

    def kinds(self) -> Counter[str]:
        """Count the problems of each kind."""
        return Counter(problem.kind for problem in self.problems)


def judge(
    operations: Iterable[Operation],
    first: State,
    last: State,
    *,
    faults: bool = False,
    stale_reads: bool = False,
    are_behind: bool = False,
) -> Verdict:
    """Judge a history.

    :param first: the state before all of it.
    :param last: the state after all of it, once nothing is at work any more.
    :param faults: whether servers were killed meanwhile: an answer of 5xx is as good as none, then, and a read may
        have waited in vain (409).
    :param stale_reads: whether reads come from a replica, which may be behind the writes, but not behind itself.
    :param are_behind: whether each of several servers may be behind the others: then nothing is said of the
        moment at which a state was shown, or a write refused.
    """
    history = _History(sorted(operations, key=attrgetter("start")), first, last, faults)
    history.check_answers()
    history.check_tags()
    history.check_chain()
    history.check_tags_that_only_refusals_show()
    if are_behind:
        return history.verdict
    history.check_refusals()
    for of_replica in (False, True):
        history.check_order(
            [each for each in history.operations if (stale_reads and not each.writes) == of_replica]
        )
    return history.verdict


class _History:
    def __init__(self, operations: list[Operation], first: State, last: State, faults: bool) -> None:
        self.operations = operations
        self.first = first
        self.last = last
        self.faults = faults
        self.verdict = Verdict(last.number - first.number)
        self.states = range(first.number, last.number + 1)
        self.etags: dict[int, str | None] = {}
        self.numbers: dict[str | None, int] = {}
        self.begun: dict[int | None, float] = {first.number: -inf}
        self.absent = [state.number for state in (first, last) if state.etag is None]
        # Whoever deletes what was made in between has seen it, so that no 404 of the last state comes before this.
        moved = (each.end for each in operations if each.accepted and (each.number or 0) > first.number)
        self.first_ended = min(moved, default=inf)

    def problem(self, kind: str, where: object) -> None:
        self.verdict.problems.append(Problem(kind, str(where)))

    def is_unknown(self, operation: Operation) -> bool:
        status = operation.status
        return operation.writes and (status is None or (self.faults and status >= 500))

    def is_refused(self, operation: Operation) -> bool:
        return operation.writes and (operation.status == 412 or self.is_absent(operation))

    def is_absent(self, operation: Operation) -> bool:
        return operation.status == 404 and bool(self.absent)

    def check_answers(self) -> None:
        verdict = self.verdict
        for operation in self.operations:
            status = operation.status
            if status is not None and status >= 500:
                verdict.server_errors += 1
                if not self.faults:
                    self.problem("server error", operation)
            elif operation.end < operation.start or (operation.accepted and operation.number is None):
                self.problem("no sense", operation)
            elif operation.writes and operation.accepted:
                verdict.accepted += 1
            elif self.is_refused(operation):
                verdict.refused += 1
            elif operation.writes and status == 409:
                verdict.conflicts += 1
            elif not (
                operation.accepted
                or status is None
                or self.is_absent(operation)
                or (self.faults and status == 409)
            ):
                self.problem("unexpected answer", operation)
            if self.is_unknown(operation):
                verdict.unknown += 1

    def check_tags(self) -> None:
        """See that each state has one tag, and each tag is of one state."""
        self.name(self.first.number, self.first.etag, self.first)
        self.name(self.last.number, self.last.etag, self.last)
        for operation in self.operations:
            if operation.number is None:
                continue
            if operation.accepted:
                if operation.etag is None and operation.number not in self.absent:
                    self.problem("no tag", operation)
                else:
                    self.name(operation.number, operation.etag, operation)
            if operation.writes and operation.base is not None:
                self.name(operation.number - 1, operation.base, operation)

    def name(self, number: int, etag: str | None, where: object) -> None:
        if self.etags.setdefault(number, etag) != etag:
            self.problem("two tags of one state", where)
        if etag is not None and self.numbers.setdefault(etag, number) != number:
            self.problem("one tag of two states", where)

    def shown(self, operation: Operation) -> int | None:
        """Return the state that an answer shows, if it does."""
        if operation.accepted:
            return operation.number
        if operation.status == 412:
            return self.numbers.get(operation.etag)
        if self.is_absent(operation):
            return self.absent[0 if operation.start <= self.first_ended else -1]
        return None

    def seen(self, operations: Iterable[Operation]) -> dict[int, float]:
        """Return by when each state, or a later one, was there for sure: a refused write tells it of its own."""
        ends: dict[int, float] = defaultdict(lambda: inf)
        for operation in operations:
            for number in (self.shown(operation), operation.number if self.is_refused(operation) else None):
                begun = self.begun.get(number, -inf)
                if number is not None and number in self.states and begun <= operation.end:
                    ends[number] = min(ends[number], operation.end)
        for number in reversed(self.states):
            ends[number] = min(ends[number], ends[number + 1])
        return ends

    def check_chain(self) -> None:
        """See that each accepted write has a state of its own, and that each state was made by a write."""
        makers: dict[int, list[float]] = defaultdict(list)
        perhaps: dict[int | None, list[float]] = defaultdict(list)
        for operation in self.operations:
            if operation.writes and operation.accepted and operation.number is not None:
                if makers[operation.number] or operation.number not in self.states[1:]:
                    self.verdict.lost += 1
                    self.problem("lost update", operation)
                makers[operation.number].append(operation.start)
            elif self.is_unknown(operation):
                perhaps[operation.number].append(operation.start)
        seen = self.seen(self.operations)
        blind = perhaps[None]
        for number in self.states[1:]:
            in_time = [start for start in perhaps[number] if start <= seen[number]]
            starts = makers[number] or in_time + blind[:1]
            if not starts:
                self.problem("a state that nobody made", number)
            elif not makers[number] and not in_time:
                blind = blind[1:]
            self.begun[number] = max(self.begun[number - 1], min(starts, default=-inf))

    def check_tags_that_only_refusals_show(self) -> None:
        """See that each is of a state whose tag nobody else saw, and that was there at the time."""
        refusals: dict[str, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.status == 412 and operation.etag is not None and operation.etag not in self.numbers:
                refusals[operation.etag].append(operation)
        seen = self.seen(self.operations)
        for etag, operations in sorted(refusals.items(), key=lambda each: min(one.end for one in each[1])):
            start, end = max(one.start for one in operations), min(one.end for one in operations)
            for number in self.states:
                if number not in self.etags and self.begun[number] <= end and start <= seen[number + 1]:
                    self.name(number, etag, operations[0])
                    break
            else:
                self.problem("a tag of no state", operations[0])

    def check_refusals(self) -> None:
        """See that a 412, or a 404, has a reason: its base was being replaced, by the time of the answer."""
        for operation in self.operations:
            if self.is_refused(operation):
                if self.begun.get(operation.number, inf) > operation.end:
                    self.problem("refused without a reason", operation)
                if operation.base is not None and operation.base == operation.etag:
                    self.problem("refused by its own tag", operation)

    def check_order(self, operations: list[Operation]) -> None:
        """See that no answer is older than what was answered before its request was sent, or of the future."""
        seen = self.seen(operations)
        for operation in operations:
            number = self.shown(operation)
            if number is None:
                continue
            later = number if operation.writes and operation.accepted else number + 1
            if operation.start > seen[later]:
                self.problem("out of order", operation)
            if number not in self.states:
                self.problem("a state outside the chain", operation)
            elif self.begun[number] > operation.end:
                self.problem("a state of the future", operation)
