"""Batches: one request that writes several resources, each judged by a tag of its own: all are written or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from copy import copy
from typing import Any
from uuid import UUID

from werkzeug.exceptions import BadRequest, NotFound

from flask_etag.backend import Unit
from flask_etag.entity_tags import EntityTag
from flask_etag.errors import PreconditionFailed, PreconditionRequired
from flask_etag.exchange import Exchange
from flask_etag.preconditions import Preconditions, Representation
from flask_etag.resources import Resource
from flask_etag.writing import Target, holding

Item = tuple[EntityTag | str | None, Mapping[str, Any]]
"""One item of a request: its entity tag, as in If-Match, and the loader's arguments, by name."""

_SORTABLE = (str, int, UUID)
"""The types of arguments by which items are sorted and told apart: equal texts, equal values."""


class Batch:
    """The resources that one request writes, and the condition that it sets on each: a ``Subject`` of ``writing``.

    The header's conditions are not about the items. They are about what the URL names, a collection: it exists,
    and its tag is not known.

    :param each: takes the URL's variables, and returns the items of the request.
    :raises PreconditionFailed: if a condition in the header does not hold.
    """

    etag = None
    """No tag for the answer: it is about several resources, and the view puts the tag of each into its content."""

    def __init__(
        self,
        exchange: Exchange,
        resource: Resource[..., Any],
        each: Callable[..., Iterable[Item]],
    ) -> None:
        exchange.is_unchanged(exchange.preconditions(), Representation())
        self._has_locks = resource.has_lock
        self._arguments: list[Mapping[str, Any]] = []
        self._targets: list[Target] = []
        self._unprotected: list[int] = []
        for index, (etag, arguments) in enumerate(_checked(each(**exchange.url_arguments))):
            condition = None if etag is None or etag == "" else str(etag)
            if condition is None:
                self._unprotected.append(index)
            self._arguments.append(arguments)
            exchange_of_item = copy(exchange)
            exchange_of_item.url_arguments = dict(arguments)
            self._targets.append(self._target(exchange_of_item, resource, Preconditions(condition)))

    def _target(self, exchange: Exchange, resource: Resource[..., Any], conditions: Preconditions) -> Target:
        return Target(exchange, resource, conditions)

    @property
    def handed(self) -> list[Any]:
        """What the view is handed: the object of each item, in the order of the request."""
        return [target.handed for target in self._targets]

    @property
    def is_kept_from_others(self) -> bool:
        """Whether locks of their own, and no store, keep others from all of them."""
        return all(target.is_kept_from_others for target in self._targets)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that ``lock=`` gives for each item: once, where two items have the same."""
        with ExitStack() as stack:
            for lock in self._locks() if self._has_locks else ():
                stack.enter_context(holding(lock))
            yield

    def _locks(self) -> Iterable[AbstractContextManager[Any]]:
        """Return the locks to be taken, each once, in an order that all batches have.

        Locks that are made anew for each request are taken in the order of what they are for; those that are kept,
        which several items may have, in an order of their own.
        """
        targets = [self._targets[index] for index in self._items_to_lock()]
        locks = {id(lock): lock for lock in [target.lock() for target in targets]}
        is_kept = bool(targets) and id(targets[0].lock()) in locks
        return [locks[key] for key in sorted(locks)] if is_kept else locks.values()

    def load(self, unit: Unit) -> None:
        """Load the object of each item, and claim it.

        The unit holds rows in the order in which they are claimed. All batches have the same order, so that no
        two of them wait for each other for ever. An object that is gone is refused when it is judged.
        """
        for index in self._order():
            self._targets[index].handed = None
            with suppress(NotFound):
                self._targets[index].load(unit)

    def require_protection(self) -> None:
        """Refuse a request of which an item has no tag."""
        if self._unprotected:
            raise PreconditionRequired([self._item(index, "missing") for index in self._unprotected])

    def judge(self) -> None:
        """Judge each item by its own tag.

        :raises PreconditionFailed: if an item is stale or gone; the error names each one that is.
        """
        refused = []
        for index, target in enumerate(self._targets):
            try:
                if target.handed is None:
                    raise PreconditionFailed("absent")
                target.judge()
            except PreconditionFailed as failure:
                etag = None if failure.etag is None else str(failure.etag)
                refused.append({**self._item(index, failure.reason), "etag": etag})
        if refused:
            raise PreconditionFailed(refused[0]["reason"], items=refused)

    def reload_under_lock(self) -> None:
        """Do nothing: the answer has no tag."""

    def tell_of_what_is_hidden(self) -> None:
        """Tell nothing: a batch creates nothing."""

    def _order(self) -> list[int]:
        """Return the indices of the items, sorted by the loader's arguments: the same in every batch."""
        return sorted(range(len(self._targets)), key=lambda index: _name_of(self._arguments[index]))

    def _items_to_lock(self) -> Iterable[int]:
        """Return the indices of the items whose locks are to be taken, sorted, one for each resource.

        :raises BadRequest: if two items may name one resource in two ways, as 1 and "1" do: the request would wait
            for its own lock.
        """
        first: dict[str, int] = {}
        for index in self._order():
            arguments = self._arguments[index]
            for name, value in arguments.items():
                if type(value) not in _SORTABLE:
                    raise BadRequest(f"{name} of item {index} is not a text, an integer or a UUID.")
            other = first.setdefault(_name_of(arguments), index)
            if self._arguments[other] != arguments:
                raise BadRequest(f"Items {other} and {index} have one name, of two types.")
        return first.values()

    def _item(self, index: int, reason: str) -> dict[str, Any]:
        """Return an item as the problem document names it, and why it was refused."""
        return {**self._name(index), "reason": reason}

    def _name(self, index: int) -> dict[str, Any]:
        """Name an item: by its index, and the arguments that JSON can say."""
        arguments = self._arguments[index].items()
        names: dict[str, Any] = {name: value for name, value in arguments if isinstance(value, str | int)}
        names |= {name: str(value) for name, value in arguments if isinstance(value, UUID)}
        return {**names, "index": index}


def _checked(items: Iterable[Item]) -> list[Item]:
    """Return what ``each=`` has given as a list; it is an error if that is no list of items."""
    if not isinstance(items, Iterable):
        raise TypeError(f"each= gave {items!r}: it has to give an item for each resource, in a list, say.")
    items = list(items)
    for item in items:
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping)):
            raise TypeError(
                f"each= gave {item!r} for an item: it has to give the ETag that came with it, and the loader's "
                'arguments, such as (item.get("etag"), {"note_id": item["id"]}).'
            )
    return items


def _name_of(arguments: Mapping[str, Any]) -> str:
    """Return the name of a resource as a URL would have it, where 1 and "1" are the same."""
    return repr(sorted((name, str(value)) for name, value in arguments.items()))
