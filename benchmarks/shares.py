"""What each promise costs of a guarded PUT: the function calls that are made for it, and the statements.

python -m benchmarks.shares            shows it
python -m benchmarks.shares --write    puts it into the docs

A call counts for the innermost step of Flask-ETag that it is made in, whoever makes it: what SQLAlchemy does to
lock a row counts for the lock. What it does for the loader and for the view is theirs. From each count goes what
the same PUT without Flask-ETag has there, where SQLAlchemy's events have listeners too.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from benchmarks.costs import REQUESTS, Counted, Sender, profile
from benchmarks.page import put
from benchmarks.tables import table


@dataclass(frozen=True)
class Step:
    """A part of what Flask-ETag does in a PUT.

    :ivar what: what it does.
    :ivar promises: the numbers of those that it is for.
    :ivar functions: those that it begins in, by their names below ``flask_etag``.
    """

    what: str
    promises: str
    functions: tuple[str, ...]


STEPS = [
    Step(
        "read the request: its conditions, and the settings",
        "1.1, 1.6",
        (
            "decorators._decorated.<locals>.conditional_view",
            "writing.Target.load",
            "writing.Target.require_protection",
        ),
    ),
    Step(
        "claim the row: which state of it may be replaced",
        "P1, P5",
        (
            "backend.unit_of_write",
            "sqlalchemy.unit.SessionUnit.__enter__",
            "sqlalchemy.unit.SessionUnit.claim",
            "writing.Target._terms_of_request",
        ),
    ),
    Step("make the tag of what was loaded, and compare it", "1.3", ("writing.Target.judge",)),
    Step(
        "hold the row before the view runs, or see that it need not be",
        "P6, P8, 2.2",
        ("sqlalchemy.unit.SessionUnit.hold_before_view",),
    ),
    Step(
        "see that the flush replaces what was judged",
        "P1, 2.1",
        ("sqlalchemy.unit.SessionUnit.before_update",),
    ),
    Step(
        "look at each statement, whoever sends it",
        "P1, 2.10",
        (
            "sqlalchemy.unit.SessionUnit.before_cursor_execute",
            "sqlalchemy.unit.SessionUnit.after_cursor_execute",
        ),
    ),
    Step(
        "read back what was stored, and take its tag before the COMMIT",
        "P3, 2.6, 2.14",
        (
            "sqlalchemy.unit.SessionUnit.before_commit",
            "sqlalchemy.unit.SessionUnit.after_flush",
            "sqlalchemy.unit.SessionUnit.after_flush_postexec",
        ),
    ),
    Step(
        "follow each transaction of the request to its end",
        "P4, 2.8, 2.12",
        (
            "sqlalchemy.unit.SessionUnit.after_begin",
            "sqlalchemy.unit.SessionUnit.commit",
        ),
    ),
    Step(
        "send what the view has left unsent, and see whether anything was refused",
        "P2, 2.7",
        ("sqlalchemy.unit.SessionUnit.settle", "sqlalchemy.unit.SessionUnit.__exit__"),
    ),
    Step(
        "answer with the tag", "P3, 4.4", ("exchange.Exchange.serve", "exchange.Exchange.tag", "exchange.names_in")
    ),
    Step("tell who listens", "", ("decisions.tell_answer",)),
]

THEIRS = "Flask's and SQLAlchemy's own, and our listeners that every session has"

_STEP_OF = {f"flask_etag.{name}": step.what for step in STEPS for name in step.functions}
_LISTENERS = {  # of every session and request, whether its view is decorated or not
    f"flask_etag.{name}"
    for name in (
        "audit._process_response",
        "audit._check_answer",
        "sqlalchemy.databases._roll_back_or_give_up",
        "sqlalchemy.models._ignore_what_was_set",
        "sqlalchemy.models._next_version",
        "sqlalchemy.unit._tell.<locals>.listen.<locals>.tell",
        "sqlalchemy.unsent._note_flush",
        "sqlalchemy.unversioned._see_to_order",
        "sqlalchemy.unversioned._send",
    )
}
_HANDING_OVER = {
    "flask_etag.exchange.Exchange.serve",
    "flask_etag.resources.Resource.load",
    "flask_etag.sqlalchemy.backend._session_of_the_application",
}
"""The functions that call the view and the loader, and get the session: what these do is theirs."""


@dataclass
class Share:
    """What a step takes: calls, and statements."""

    calls: int = 0
    statements: int = 0

    def __sub__(self, other: Share) -> Share:
        return Share(self.calls - other.calls, self.statements - other.statements)


@dataclass
class _Shares:
    """Counts, while a request runs, by the step that goes on.

    :ivar met: the functions that were called of those which a step begins in.
    :ivar nameless: the functions of Flask-ETag that others have called, and no step begins in.
    """

    calls: Counter[str] = field(default_factory=Counter)
    statements: Counter[str] = field(default_factory=Counter)
    met: set[str] = field(default_factory=set)
    nameless: set[str] = field(default_factory=set)
    _stack: list[tuple[str, str]] = field(default_factory=lambda: [("", THEIRS)])

    def of(self, step: str) -> Share:
        return Share(self.calls[step], self.statements[step])

    def note(self, frame: FrameType, what: str, argument: Any) -> None:
        """Note what happens, as Python tells a profiler."""
        if what == "call":
            name, step = self._called(frame)
            self._stack.append((name, step))
            self.calls[step] += 1
        elif what == "return" and len(self._stack) > 1:
            self._stack.pop()
        elif what == "c_call":
            step = self._stack[-1][1]
            self.calls[step] += 1
            self.statements[step] += argument.__qualname__ in ("Cursor.execute", "Cursor.executemany")

    def _called(self, frame: FrameType) -> tuple[str, str]:
        """Return the name of a function that was called, and the step that goes on in it."""
        name = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
        caller, step = self._stack[-1]
        if name in _STEP_OF:
            self.met.add(name)
            return name, _STEP_OF[name]
        if caller in _HANDING_OVER and not name.startswith("flask_etag."):
            return name, THEIRS
        if (
            step == THEIRS
            and caller not in _LISTENERS
            and name.startswith("flask_etag.")
            and name not in _LISTENERS
        ):
            self.nameless.add(name)
        return name, step


def _shares_of(action: Callable[[], Any]) -> _Shares:
    shares = _Shares()
    profile(action, shares.note)
    shares.calls[THEIRS] -= 1  # the one to sys.setprofile
    return shares


def shares() -> dict[str, dict[str, Share]]:
    """Return what each step takes of each guarded PUT, by the name of the request.

    :raises RuntimeError: if a step names a function that no request has called, or none a function that one has.
    """
    sender, by_name = Sender(), {sent.name: sent for sent in REQUESTS}
    guarded = [sent for sent in REQUESTS if sent.name.startswith("guarded PUT")]
    met: set[str] = set()
    nameless: set[str] = set()

    def counted(sent: Counted) -> _Shares:
        sender.warm_up(sent)
        counts = _shares_of(sender.prepared(sent))
        met.update(counts.met)
        nameless.update(counts.nameless)
        return counts

    def above_plain(sent: Counted) -> dict[str, Share]:
        ours, plain = counted(sent), counted(by_name[sent.over])
        steps = [*(step.what for step in STEPS), THEIRS]
        return {step: ours.of(step) - plain.of(step) for step in steps}

    found = {sent.name: above_plain(sent) for sent in guarded}
    if nameless or met != _STEP_OF.keys():
        raise RuntimeError(f"Of no step: {sorted(nameless)}; never called: {sorted(_STEP_OF.keys() - met)}")
    return found


def shown(found: dict[str, dict[str, Share]]) -> str:
    """Make a table of the shares."""
    promises = {step.what: step.promises for step in STEPS}
    columns = list(found.values())

    def row(what: str, shares: list[Share]) -> list[str]:
        figures = [figure for share in shares for figure in (f"{share.calls:+}", f"{share.statements or ''}")]
        return [what, promises.get(what, ""), *figures]

    rows = [row(what, [column[what] for column in columns]) for what in columns[0]]
    whole = [
        Share(sum(each.calls for each in column.values()), sum(each.statements for each in column.values()))
        for column in columns
    ]
    head = ["", "promises", "with a version: calls", "statements", "without, by content_hash: calls", "statements"]
    return table(head, [*rows, row("all of it", whole)])


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        command = [sys.executable, "-m", "benchmarks.shares", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "PYTHONHASHSEED": "0"})
    text = shown(shares())
    print(text)
    if sys.argv[1:] == ["--write"]:
        put("what each promise costs", text)


if __name__ == "__main__":
    main()
