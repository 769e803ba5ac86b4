"""What a backend gives: objects that have versions, and writes that it can refuse.

Comparing a tag and then writing leaves a gap between the two. Only the store itself can close it. One kind of
store is known that can, SQLAlchemy's; its module registers itself here, where SQLAlchemy is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol

Cause = Literal["conflict", "busy", "partial"]
"""Why a write is refused, though its conditions may hold: another writer was first; a lock was waited for in vain;
or a part of it had been committed before the rest was refused."""


class Refused(Exception):
    """The store refused a write because of another writer; nothing of it is committed, unless the cause says so.

    :param cause: why it refused.
    """

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause: Cause = cause


class Stale(Refused):
    """Raise it in a view that writes by a compare-and-set of its own, when that has found another state.

    The request is judged again by the state that won, as when a database refuses: it is answered 412 with the
    current ETag, or the loader's own 404; or 409, should its conditions hold all the same. Let nothing be written
    by then: what was done in a SQLAlchemy session is rolled back. Tell the resource too:
    ``@resource(swaps=True)``. A GET is not judged again: there it is an error like any other.

    :param details: what it met, as of any exception, for whoever reads a traceback. The client is not told.
    """

    def __init__(self, *details: object) -> None:
        super().__init__("conflict")
        if details:
            Exception.__init__(self, *details)


class SeveralCommits(RuntimeError):
    """A view under ``replay=`` was about to commit more than once: what the first one does would pass for all."""


@dataclass(slots=True)  # not frozen: each write makes one, and that would triple its cost
class Terms:
    """What a write has to hold to, and how its target is found and tagged.

    There are three kinds: a write that names the state which it replaces; one that takes any (``If-Match: *``),
    and is held before its view runs; and one that is only reported, which takes nothing before its view, and is
    refused only by an error that leaves the view.

    :param find: finds the target from within the view; ``None`` where there is none.
    :param etag_of: gives the value of its field ETag; ``None`` where it has none.
    :param takes_any_state: whether the request replaces whatever is there: ``If-Match: *``.
    :param is_reported: whether it names none and is let pass all the same, to replace whatever is there.
    :param depends_on_more: whether the tag rests on more than the version that the store itself checks.
    :param shows_more: whether the tag's second half, which no write compares, rests on other rows too.
    :param state_of: gives what a write compares of it, without that second half.
    :param column: the attribute that has to change with the write, if the tag rests on that alone.
    :param is_hashing: whether what a write compares is being made of it at the moment.
    """

    find: Callable[[], object]
    etag_of: Callable[[object], str | None]
    takes_any_state: bool = False
    is_reported: bool = False
    depends_on_more: bool = False
    shows_more: bool = False
    state_of: Callable[[object], object] | None = None
    column: str | None = None
    is_hashing: bool = False


class Claim(Protocol):
    """What a request may replace of one target."""

    @property
    def etag(self) -> str | None:
        """The tag of what the request has left, as the value of the field ETag; ``None`` where none is known."""

    def judged(self, etag: str | None) -> None:
        """Note that the target was judged by what is loaded of it, and the tag of that."""


class Unit(Protocol):
    """What one request writes, from its judgement to its answer: a context manager around the view.

    It raises :class:`Refused` in the place of what leaves the view, where that hides a refusal.
    """

    def __enter__(self) -> Unit:
        """Listen to what the view does to the store."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""

    def claim(self, target: object, terms: Terms) -> Claim:
        """Claim what was loaded, or what is to be made where that is ``None``, before it is judged."""

    def plan(self, versions: Sequence[str]) -> None:
        """Let the request make these versions of what it has claimed last, one by one, and commit once."""

    def hold_before_view(self) -> bool:
        """Hold what has to be held before the view runs; tell whether it still is as it was judged.

        :raises Refused: if a lock was waited for in vain.
        """

    def begin_anew(self, *, locked: bool) -> None:
        """Roll back, and forget what was claimed.

        :param locked: whether to lock the rows that were claimed before anything is read.
        :raises Refused: if a lock was waited for in vain.
        """

    def settle(self, *, is_done: bool) -> None:
        """Come to terms with what the view has done; take the tags.

        :param is_done: whether the view answers that it has: then what it left unsent is sent now.
        :raises Refused: if a write was refused, whatever the view has made of that.
        """

    def roll_back(self, *, wait: bool = False) -> None:
        """Roll back every session that the request has used.

        :param wait: whether to wait then until whoever was first is done.
        """

    @property
    def is_pending(self) -> bool:
        """Whether some of the write is still to be committed."""


class Watch(Protocol):
    """What a read does to its target, which may be counted or marked as seen: a context manager around it."""

    @property
    def has_committed(self) -> bool:
        """Whether the view has committed a change of its target."""

    def __enter__(self) -> Watch:
        """Listen to what the view does to the store."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""

    def etag_after(self, etag: str | None) -> str | None:
        """Return the tag of what the view has left.

        :param etag: the one of before.
        """


class Backend(Protocol):
    """A kind of store which can refuse a stale write."""

    def owns(self, target: object) -> bool:
        """Tell whether an object is kept in such a store."""

    def guarding(self, model: type) -> Literal["guarded", "held"] | None:
        """Tell how the objects of a class are guarded: by a version, or by a hold on the row.

        ``None`` is for a class that is not kept in such a store.
        """

    def cause_of(self, error: Exception) -> Cause | None:
        """Tell why the store refused; ``None`` for an error that is no refusal."""

    def let_go(self, error: Exception, target: object) -> Cause | None:
        """Tell why the store refused what the view of a read was to write, and give up what that has begun.

        ``None`` is for an error that is no refusal; one of the store's may get a note of what to write.

        :param target: what the view was handed.
        """

    def is_stale(self, error: Exception) -> bool:
        """Tell whether an error says that a row has not the version any more that was loaded."""

    def scope_of(self, target: object) -> tuple[object, ...]:
        """Name what a version of an object belongs to: its model, its key.

        :raises ValueError: if it has no key yet.
        """

    def scoped_version_of(self, target: object) -> tuple[object, ...]:
        """Return the version that the store keeps of an object, after what it belongs to.

        :raises TypeError: if its model has none.
        :raises ValueError: if the object has none yet.
        """

    def takes_versions(self, target: object) -> bool:
        """Tell whether it can be planned which version of an object follows."""

    def attribute_of(self, target: object, name: str) -> object:
        """Return an attribute of an object, of the same time as what is loaded of it."""

    def uncovered(self, target: object) -> dict[str, tuple[str, bool]]:
        """Name what is loaded beside an object, and can change without its version.

        With what to write so that it cannot, and whether it can only be content of the object.
        """

    def unit(self) -> Unit:
        """Return what one request is going to write."""

    def watch(self, target: object, terms: Terms) -> Watch:
        """Return what a read does to what it was handed, all the same."""


_backend: Backend | None = None


def register(backend: Backend) -> None:
    """Make the store known, to whatever takes tags of objects and guards them."""
    global _backend  # noqa: PLW0603 - there is one in a process, or none
    _backend = backend


def backend() -> Backend | None:
    """Return the store; ``None`` where SQLAlchemy is not installed."""
    return _backend


def owner_of(target: object) -> Backend | None:
    """Return the store that keeps an object; ``None`` for an object that is in none."""
    return _backend if _backend is not None and _backend.owns(target) else None


def cause_of(error: Exception) -> Cause | None:
    """Tell why the store refused; ``None`` for an error that is no refusal, or where there is no store."""
    return None if _backend is None else _backend.cause_of(error)


def unit_of_write() -> Unit:
    """Return what one request is going to write: where there is no store, nothing is held, and nothing refused."""
    return _NothingWritten() if _backend is None else _backend.unit()


class _NothingWritten:
    """What a request writes where no store is known that could refuse: nothing is held, and nothing is refused."""

    is_pending = False

    def __enter__(self) -> Unit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def claim(self, target: object, terms: Terms) -> Claim:
        """Claim nothing: what is not there can only be made."""
        del target, terms
        return _NothingClaimed()

    def plan(self, versions: Sequence[str]) -> None:
        """Plan nothing."""

    def hold_before_view(self) -> bool:
        """Hold nothing."""
        return True

    def begin_anew(self, *, locked: bool) -> None:
        """Roll nothing back."""

    def settle(self, *, is_done: bool) -> None:
        """Come to terms with nothing."""

    def roll_back(self, *, wait: bool = False) -> None:
        """Roll nothing back."""


class _NothingClaimed:
    etag = None

    def judged(self, etag: str | None) -> None:
        """Note nothing."""
