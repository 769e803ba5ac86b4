"""What a request does in the transaction that is going on, on one connection, as its savepoints come and go."""

from __future__ import annotations

from sqlalchemy.orm import Session


class Transaction:
    """What a request does in the transaction that is going on, on one connection.

    A depth is how many savepoints are open: 0 for the transaction itself.

    :ivar depth: how many savepoints were seen to begin, and not to end.
    :ivar session: the session that has begun it, as far as that is asked for.
    :ivar flushes: the sessions whose flushes are going on, one within the other where a listener has its own.
    :ivar wrote_at: the depth at which something was first written; ``None`` where nothing was.
    :ivar counts_from: the same, without what was written of columns that do not count.
    :ivar broken_at: the depth at which an error has left nothing to do but to roll back; ``None`` where none has.
    :ivar broken_by: that error.
    :ivar is_committed_by_release: whether nothing was begun but its outermost savepoint, whose RELEASE commits.
    :ivar has_ended: whether the database has rolled back everything by it, which SQLAlchemy does not know: what is
        executed after it is in a transaction of its own.
    """

    depth = 0
    session: Session | None = None
    wrote_at: int | None = None
    counts_from: int | None = None
    broken_at: int | None = None
    broken_by: BaseException | None = None
    has_ended = False
    is_committed_by_release = False

    def __init__(self) -> None:
        self.flushes: list[Session] = []
        self._savepoints: list[str] = []

    @property
    def is_undone_by_commit(self) -> bool:
        """Whether COMMIT is answered by ROLLBACK, silently: by PostgreSQL, after an error."""
        return self.broken_by is not None and not self.has_ended

    def depth_inside(self, savepoint: str) -> int:
        """Return the depth of what is inside a savepoint; 0 for one that was there before the unit was."""
        return self._savepoints.index(savepoint) + 1 if savepoint in self._savepoints else 0

    def begin_savepoint(self, savepoint: str) -> None:
        """Note a savepoint, by its name."""
        self._savepoints.append(savepoint)
        self.depth += 1

    def flushing(self, session: Session | None) -> None:
        """Note that the flush of a session writes."""
        if session is not None and session not in self.flushes:
            self.flushes.append(session)

    def flushed(self, session: Session) -> None:
        """Note that the flush of a session is over."""
        if session in self.flushes:
            self.flushes.remove(session)

    def wrote(self, *, counts: bool = True) -> None:
        """Note that something was written.

        :param counts: whether any of it moves a version, or may have to.
        """
        if self.wrote_at is None:
            self.wrote_at = self.depth
        if counts and self.counts_from is None:
            self.counts_from = self.depth

    def broke(self, error: BaseException, *, ended: bool) -> None:
        """Note an error that has left nothing to do but to roll back.

        :param ended: whether the database has rolled back everything already.
        """
        if self.broken_at is None:
            self.broken_at, self.broken_by = 0 if ended else self.depth, error
        if ended:
            self.has_ended = True
            self.wrote_at = self.counts_from = None
            self._end_savepoints(0)

    def roll_back(self, depth: int) -> None:
        """Forget what was done inside a savepoint.

        :param depth: that of what is inside.
        """
        self.flushes.clear()
        if self.wrote_at is not None and self.wrote_at >= depth:
            self.wrote_at = None
        if self.counts_from is not None and self.counts_from >= depth:
            self.counts_from = None
        if self.broken_at is not None and self.broken_at >= depth:
            self.broken_at = self.broken_by = None
            self.has_ended = False
        self._end_savepoints(max(depth - 1, 0))

    def release(self, depth: int) -> None:
        """Let what was done inside a savepoint be done in what that is in.

        :param depth: that of what is inside.
        """
        if self.wrote_at is not None:
            self.wrote_at = min(self.wrote_at, depth - 1)
        if self.counts_from is not None:
            self.counts_from = min(self.counts_from, depth - 1)
        self._end_savepoints(depth - 1)

    def _end_savepoints(self, depth: int) -> None:
        del self._savepoints[depth:]
        self.depth = len(self._savepoints)
