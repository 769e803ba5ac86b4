"""What a request may replace of one row: the state that it has seen, and what it has made of that since.

A claim has a *base*: the state that the request was judged by, or that its own last commit has left. Above the
base lies one *entry* for each open transaction, or savepoint, in which the request has locked or written the row::

       lock or write                    ROLLBACK (TO)        RELEASE                      COMMIT
                       ┌───────────┐
                       │ savepoint │ ── is dropped      ── becomes that of its
       is put on top ─>├───────────┤                       parent
                       │transaction│ ── is dropped                               ── becomes the base
                       ├───────────┤
       was judged ────>│   base    │
                       └───────────┘

What is on top is *expected*: the row has to be in this state when the request writes it. While there is any entry,
the database keeps others from the row: the claim is *held*. While the top differs from the base, the write is
*pending*.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final


class NoFingerprint(Enum):
    """What stands for a fingerprint where there is none."""

    ABSENT = "there is no such row"
    UNREAD = "the row was not read since the request has written it, or since its session has lost sight of it"


ABSENT: Final = NoFingerprint.ABSENT
UNREAD: Final = NoFingerprint.UNREAD


@dataclass(slots=True, eq=False)  # not frozen: each write makes some, and that would double their cost
class Known:
    """One state of a row; it is not changed, but for its tag, which is taken when the state was read.

    :param fingerprint: what tells it from any other state: its version; of a model without one, its columns.
    :param etag: the value of the field ETag for it; ``None`` where it has none, or none is known.
    """

    fingerprint: object
    etag: str | None = None


@dataclass(slots=True)
class _Entry:
    """What a request has made of the row in one transaction, or in one savepoint.

    :param connection: the connection that the transaction is on.
    :param depth: how many savepoints were open on it: 0 for the transaction itself.
    """

    connection: object
    depth: int
    known: Known


class Claim:
    """What a request may replace of one row.

    :param base: the state that the request was judged by.
    :ivar expected: the state that the row has to be in when the request writes it.
    :ivar connection: the connection on which the row is held; ``None`` where it is not.
    :ivar has_committed: whether the request has committed a change of the row: then it is too late to say that
        nothing was done.
    """

    def __init__(self, base: Known) -> None:
        self.base = self.expected = base
        self.connection: Any = None
        self.has_committed = False
        self._entries: list[_Entry] = []
        self._committing: tuple[Known, list[_Entry], bool] | None = None  # what to go back to, should COMMIT fail

    @property
    def is_pending(self) -> bool:
        """Whether the request has changed the row, and has not committed that."""
        return self.expected is not self.base

    def rebase(self, base: Known) -> None:
        """Let a state be the base: the request was judged by it, or takes whatever is there for expected."""
        self.base = base
        self._look_at_top()

    def push(self, connection: object, depth: int, known: Known) -> None:
        """Note that a transaction, or the innermost savepoint of it, has locked or written the row.

        :param known: the state that this has left.
        """
        top = self._entries[-1] if self._entries else None
        if top is not None and top.connection is connection and top.depth >= depth:
            top.known = known
        else:
            self._entries.append(_Entry(connection, depth, known))
        self.expected, self.connection = known, connection

    def roll_back(self, connection: object, depth: int = 0) -> None:
        """Drop what a transaction, or a savepoint and those inside it, has made of the row."""
        self._drop(connection, depth)

    def _drop(self, connection: object, depth: int) -> None:
        self._entries = [each for each in self._entries if each.connection is not connection or each.depth < depth]
        self._look_at_top()

    def release(self, connection: object, depth: int) -> None:
        """Let what a savepoint has made of the row be that of what it is in."""
        passed_on = [entry for entry in self._entries if entry.connection is connection and entry.depth >= depth]
        if passed_on:
            self._drop(connection, depth)
            self.push(connection, depth - 1, passed_on[-1].known)

    def commit(self, connection: object) -> None:
        """Let what a transaction has made of the row be the base; COMMIT is about to be sent."""
        self._committing = None
        if self.connection is connection:
            self._committing = self.base, self._entries, self.has_committed
            self.has_committed = self.has_committed or self.is_pending
            self.base, self._entries, self.connection = self.expected, [], None

    def commit_failed(self, connection: object) -> bool:
        """Go back to the base of before a COMMIT that has failed; tell whether that was to change the row."""
        if self._committing is None or self._committing[1][-1].connection is not connection:
            return False
        was_pending = self._committing[1][-1].known is not self._committing[0]
        self.base, _, self.has_committed = self._committing
        self._committing, self._entries = None, []  # the transaction is over, whatever the driver thinks
        self._look_at_top()
        return was_pending

    def lose_sight(self) -> None:
        """Give up what is known of the row: nobody knows whether the database has committed, and what."""
        self._entries = []
        self.rebase(Known(UNREAD))

    def _look_at_top(self) -> None:
        top = self._entries[-1] if self._entries else None
        self.expected, self.connection = (self.base, None) if top is None else (top.known, top.connection)
