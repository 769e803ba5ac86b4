"""What the clients saw, and whether it can have happened without a lost update.

A resource goes through states that are numbered: each write that takes effect makes the state whose number is one
more than that of the state that it replaces. So the chain of states is known, and a history is right if every
accepted write has a place of its own in it, and every answer fits that chain at some moment between the request's
start and its end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

REFUSALS = {404, 412}


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
    """

    start: float
    end: float
    number: int | None
    writes: bool = False
    base: str | None = None
    status: int | None = None
    etag: str | None = None

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

    :param lost: how many writes were accepted, and vanished.
    :param unknown: how many writes had no answer; each is in the chain, or is not.
    """

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
    operations: Iterable[Operation], first: State, last: State, *, faults: bool = False, stale_reads: bool = False
) -> Verdict:
    """Judge a history.

    :param first: the state before all of it.
    :param last: the state after all of it, once nothing is at work any more.
    :param faults: whether servers were killed meanwhile: an answer of 5xx is as good as none, then.
    :param stale_reads: whether reads come from a replica, which may be behind.
    """
    history = _History(sorted(operations, key=attrgetter("start")), first, last, faults)
    history.check_answers()
    history.check_tags()
    history.check_chain()
    history.check_refusals()
    history.check_order(stale_reads)
    return history.verdict


class _History:
    def __init__(self, operations: list[Operation], first: State, last: State, faults: bool) -> None:
        self.operations = operations
        self.first = first
        self.last = last
        self.faults = faults
        self.verdict = Verdict()
        self.etags: dict[int, str | None] = {}
        self.numbers: dict[str, int] = {}
        self.makers: dict[int, list[Operation]] = defaultdict(list)
        self.begun: dict[int, float] = {}

    def problem(self, kind: str, where: object) -> None:
        self.verdict.problems.append(Problem(kind, str(where)))

    def is_unknown(self, operation: Operation) -> bool:
        status = operation.status
        return operation.writes and (status is None or (self.faults and status >= 500))

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
            elif operation.writes and status in REFUSALS:
                verdict.refused += 1
            elif operation.writes and status == 409:
                verdict.conflicts += 1
            elif not (operation.accepted or status is None or (status == 404 and self.may_be_absent)):
                self.problem("unexpected answer", operation)
            if self.is_unknown(operation):
                verdict.unknown += 1

    @property
    def may_be_absent(self) -> bool:
        return None in (self.first.etag, self.last.etag)

    def check_tags(self) -> None:
        """See that each state has one tag, and each tag is of one state."""
        self.name(self.first.number, self.first.etag, self.first)
        self.name(self.last.number, self.last.etag, self.last)
        for operation in self.operations:
            if operation.number is None:
                continue
            if operation.accepted and operation.etag is not None:
                self.name(operation.number, operation.etag, operation)
            if operation.writes and operation.base is not None:
                self.name(operation.number - 1, operation.base, operation)

    def name(self, number: int, etag: str | None, where: object) -> None:
        if self.etags.setdefault(number, etag) != etag:
            self.problem("two tags of one state", where)
        if etag is not None and self.numbers.setdefault(etag, number) != number:
            self.problem("one tag of two states", where)

    def check_chain(self) -> None:
        """See that each accepted write has a state of its own, and that each state in the end was made by one."""
        perhaps: dict[int | None, list[Operation]] = defaultdict(list)
        for operation in self.operations:
            if operation.writes and operation.accepted and operation.number is not None:
                self.makers[operation.number].append(operation)
            elif self.is_unknown(operation):
                perhaps[operation.number].append(operation)
        for number, makers in self.makers.items():
            self.begun[number] = min(maker.start for maker in makers)
            spare = makers if not self.first.number < number <= self.last.number else makers[1:]
            self.verdict.lost += len(spare)
            for maker in spare:
                self.problem("lost update", maker)
        blind = perhaps.pop(None, [])
        for number in range(self.first.number + 1, self.last.number + 1):
            if number not in self.makers and number not in perhaps:
                if not blind:
                    self.problem("a state that nobody made", number)
                    continue
                perhaps[number].append(blind.pop(0))
        for made, operations in perhaps.items():
            if made is not None:
                start = min(operation.start for operation in operations)
                self.begun[made] = min(start, self.begun.get(made, start))

    def check_refusals(self) -> None:
        """See that a 412, or a 404, has a reason: its base was being replaced, by the time of the answer."""
        for operation in self.operations:
            if operation.writes and operation.status in REFUSALS and operation.number is not None:
                if self.begun.get(operation.number, operation.end) >= operation.end:
                    self.problem("refused without a reason", operation)
                if operation.base is not None and operation.base == operation.etag:
                    self.problem("refused by its own tag", operation)

    def check_order(self, stale_reads: bool) -> None:
        """See that no answer is older than what was answered before its request was sent, or of the future."""
        seen = self.first.number
        ended = sorted(self.operations, key=attrgetter("end"))
        numbers: dict[int, int] = {}
        position = 0
        for operation in self.operations:
            while position < len(ended) and ended[position].end < operation.start:
                # It was sent before this one, so that its own number is known by now.
                seen = max(seen, numbers.get(id(ended[position]), seen))
                position += 1
            number = self.number_of(operation, seen)
            if number is None or (stale_reads and not operation.writes):
                continue
            numbers[id(operation)] = number
            made = operation.writes and operation.accepted
            if number < seen or (made and number == seen):
                self.problem("out of order", operation)
            if not self.first.number <= number <= self.last.number:
                self.problem("a state outside the chain", operation)
            elif self.begun.get(number, operation.start) > operation.end:
                self.problem("a state of the future", operation)

    def number_of(self, operation: Operation, seen: int) -> int | None:
        """Return the state that an answer speaks of, if it does."""
        if operation.accepted:
            return operation.number
        if operation.status == 404 and self.may_be_absent:
            absent = (state.number for state in (self.first, self.last) if state.etag is None)
            return next((number for number in absent if number >= seen), seen - 1)
        if operation.status == 412 and operation.etag is not None:
            return self.numbers.get(operation.etag)
        return None
