"""What makes a store refuse a stale write: the protocol, and the stores that are known.

Comparing a tag and then writing leaves a gap between the two. Only the store itself can close it, so every
kind of store that can refuse a write has one module that says how; it registers itself here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from flask_etag.entity_tags import EntityTag


class Refused(Exception):
    """The store refused a write because another writer was first. What was attempted is rolled back.

    :param perhaps: an error that may as well have another cause, as a violated constraint may: it is a refusal
        if the request turns out to be stale, and otherwise what it is.
    """

    def __init__(self, perhaps: Exception | None = None) -> None:
        super().__init__()
        self.perhaps = perhaps


class Guard(Protocol):
    """The guard of one write to one resource, from its judgement to its answer."""

    etag: EntityTag | None
    """The tag of what this write left behind, taken where no later writer can change it; ``None`` after a
    deletion. Where the write changed nothing, the tag that it was judged by."""

    committed: bool
    """Whether some of the write has been committed, so that it is too late to say that nothing was."""

    def writing(self) -> AbstractContextManager[None]:
        """Hold the store to the state that was judged while the view runs; raises :class:`Refused`."""

    def judging(self) -> AbstractContextManager[None]:
        """Read the store anew; raises :class:`Refused` where even that is not possible now."""

    def flush(self) -> None:
        """Send what the view left unsent, so that a refusal comes before the answer."""


class Store(Protocol):
    """A kind of store whose objects have versions, and which can refuse a stale write."""

    def owns(self, target: object) -> bool:
        """Tell whether an object is kept in a store of this kind."""

    def refused(self, error: Exception) -> bool:
        """Tell whether an error means that another writer was first, or is at it."""

    def state_of(self, target: object) -> tuple[object, ...]:
        """Name the state of an object: its model, its key, its version.

        :raises TypeError: if its model has no version.
        :raises ValueError: if the object has none yet.
        """

    def guard(
        self, target: object, etag: EntityTag | None, etag_of: Callable[[object], EntityTag | None]
    ) -> Guard:
        """Return the guard of one write.

        :param target: the object, as it was judged.
        :param etag: the tag that it was judged by.
        :param etag_of: gives its tag once it has been written.
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
