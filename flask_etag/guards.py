"""What makes a store refuse a stale write: the protocol, and the stores that are known.

Comparing a tag and then writing leaves a gap between the two. Only the store itself can close it, so every
kind of store that can refuse a write has one module that says how; it registers itself here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol


class Refused(Exception):
    """The store refused a write because another writer was first. What was attempted is rolled back.

    :param perhaps: an error that may as well have another cause, as a violated constraint may: it is a refusal
        if the request turns out to be stale, and otherwise what it is.
    :param swallowed: whether the view got to know of it first and answered all the same, as if nothing was wrong:
        which nothing is, unless the request turns out to be stale.
    """

    def __init__(self, perhaps: Exception | None = None, *, swallowed: bool = False) -> None:
        super().__init__()
        self.perhaps = perhaps
        self.swallowed = swallowed


@dataclass(slots=True)  # not frozen: each write makes one, and that would triple its cost
class Write:
    """One write, as its guard has to know it.

    :param read: the load that has locked the target, if one did.
    :param load: loads the target anew; ``None`` where there is none.
    :param etag_of: gives the value of its field ETag, or ``None`` where it has none.
    :param rereads: whether the tag rests on more than the version that the store itself checks.
    :param column: the attribute that has to change with the write, if the tag rests on that alone.
    """

    read: LockingRead | None
    load: Callable[[], Any]
    etag_of: Callable[[Any], str | None]
    rereads: bool = False
    column: str | None = None


class Guard:
    """The guard of one write to one resource, from its judgement to its answer; this one holds nothing.

    As a context manager it holds the store to the state that was judged, while the view runs; what the store
    refuses leaves it as :class:`Refused`.
    """

    etag: str | None = None
    """The tag of what this write left behind, as the value of the field ETag, taken where no later writer can
    change it; ``None`` after a deletion. Where the write changed nothing, the tag that it was judged by."""

    committed: bool = False
    """Whether some of the write has been committed, so that it is too late to say that nothing was."""

    pending: bool = False
    """Whether some of the write is still to be committed."""

    def __enter__(self) -> None:
        return  # pragma: no cover - where SQLAlchemy is not installed: tests/test_package.py

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return  # pragma: no cover - as above

    def lock(self) -> bool:
        """Take what has to be held before the view runs; tell whether to load and judge anew under it."""
        return False

    def hold(self, target: Any, etag: str | None) -> None:
        """Take note of what was judged last, and of its tag."""

    def flush(self) -> None:
        """Send what the view left unsent, so that a refusal comes before the answer; and take the tag."""

    def after_the_winner(self, judge: Callable[[], object]) -> None:
        """Wait until the winner is done, and judge what is there now; raises :class:`Refused` where that fails."""
        judge()  # pragma: no cover - as above


class LockingRead(Protocol):
    """A load that locks what it reads."""

    def going_on(self) -> AbstractContextManager[None]:
        """Lock what is read while this lasts."""

    def give_up(self, error: Exception) -> bool:
        """After an error, undo it, so that it can be read without; tell whether there was anything to undo."""


class Store(Protocol):
    """A kind of store which can refuse a stale write."""

    def owns(self, target: object) -> bool:
        """Tell whether an object is kept in a store of this kind."""

    def guarding(self, model: type) -> str | None:
        """Tell how the objects of a class are guarded; ``None`` for a class that is not kept in such a store."""

    def refused(self, error: Exception) -> bool:
        """Tell whether an error means that another writer was first, or is at it."""

    def scope_of(self, target: object) -> tuple[object, ...]:
        """Name what a version of an object belongs to: its model, its key.

        :raises ValueError: if it has no key yet.
        """

    def scoped_version_of(self, target: object) -> tuple[object, ...]:
        """Return the version that the store keeps of an object, after what it belongs to.

        :raises TypeError: if its model has none.
        :raises ValueError: if the object has none yet.
        """

    def attribute_of(self, target: object, name: str) -> object:
        """Return an attribute of an object, of the same time as what is loaded of it."""

    def is_asked(self, question: object) -> bool:
        """Tell whether something asks for an object of such a store: its class, or a query."""

    def probe(self, question: Any, arguments: Mapping[str, object], attributes: frozenset[str]) -> object | None:
        """Read no more of an object than tells its state; ``None`` where there is none.

        :param question: its class, or a query.
        :param arguments: its key, where the question is a class.
        :param attributes: what is to be read besides.
        """

    def uncovered(self, target: object) -> dict[str, tuple[str, bool]]:
        """Name what is loaded beside an object, and can change without its version.

        With what to write so that it cannot, and whether it can only be content of the object.
        """

    def locking_read(self, model: type) -> LockingRead | None:
        """Return what locks the objects of a class as they are read, where it keeps them and guards them so."""

    def guard(self, write: Write, target: object | None) -> Guard:
        """Return the guard of one write.

        :param target: what is to be written; ``None`` where it is to be made.
        """


_stores: list[Store] = []


def register(store: Store) -> None:
    """Make a kind of store known, to whatever takes tags of objects and guards them."""
    _stores.append(store)


def refused(error: Exception) -> bool:
    """Tell whether an error means that a store refused, because of another writer."""
    return any(store.refused(error) for store in _stores)


def store_of(target: object) -> Store | None:
    """Return the kind of store that an object is kept in, or ``None`` for an object that is in none."""
    for store in _stores:
        if store.owns(target):
            return store
    return None


def store_of_class(model: type) -> Store | None:
    """Return the kind of store that the objects of a class are kept in."""
    return next((store for store in _stores if store.guarding(model) is not None), None)


def probe(question: object, arguments: Mapping[str, object], attributes: frozenset[str]) -> object | None:
    """Read no more of an object than tells its state; what is no question to any store is the answer itself."""
    for store in _stores:
        if store.is_asked(question):
            return store.probe(question, arguments, attributes)
    return question


def locking_read(model: type | None) -> LockingRead | None:
    """Return what locks the objects of a class as they are read, where that is how they are guarded."""
    if model is None:
        return None
    for store in _stores:
        read = store.locking_read(model)
        if read is not None:
            return read
    return None


def guard_of(write: Write, target: object | None) -> Guard | None:
    """Return the guard of a write; ``None`` where no store can refuse it.

    :param target: what is to be written; ``None`` where it is to be made.
    """
    for store in _stores:
        if target is None or store.owns(target):
            return store.guard(write, target)
    return None
