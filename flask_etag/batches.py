"""Several resources that one request writes: each judged by an entity tag of its own, and all written or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
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
from flask_etag.writing import Target, refuse_unprotected

Item = tuple[EntityTag | str | None, Mapping[str, Any]]
"""One item of a request: its entity tag, as in If-Match, and the arguments of the loader, by name."""

_OF_ONE_TEXT = (str, int, UUID)
"""Of these, what is equal has the same text, and the other way round."""


class Batch:
    """Several resources, and the condition that a request sets on each.

    The conditions in its fields are not for these: they speak of what the URL names, which is there, and whose
    tag is not known.

    :param each: given the URL's variables, tells what the items of the request are.
    :raises PreconditionFailed: if a condition in its fields does not hold.
    """

    etag = None
    """The answer speaks of several resources: its view gives the tag of each."""

    def __init__(
        self,
        exchange: Exchange,
        resource: Resource[..., Any],
        each: Callable[..., Iterable[Item]],
    ) -> None:
        exchange.is_unchanged(exchange.preconditions(), Representation())
        self._exchange = exchange
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
            self._targets.append(Target(exchange_of_item, resource, Preconditions(condition)))

    @property
    def handed(self) -> list[Any]:
        """What was loaded for each item, in the order of the request."""
        return [target.handed for target in self._targets]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of each resource, and of one that is named twice once."""
        with ExitStack() as stack:
            for index in self._each_once() if self._has_locks else ():
                stack.enter_context(self._targets[index].locked())
            yield

    def load(self, unit: Unit) -> None:
        """Load each, in the one order in which all batches hold rows, so that none waits for another for ever."""
        for index in self._order():
            self._targets[index].handed = None
            with suppress(NotFound):
                self._targets[index].load(unit)

    def require_protection(self) -> None:
        """Refuse a request in which an item sets no condition on what it overwrites, or report it."""
        if self._unprotected:
            missing = [self._item(index, "missing") for index in self._unprotected]
            refuse_unprotected(self._exchange, PreconditionRequired(missing))

    def judge(self) -> None:
        """Judge each item by what was loaded for it.

        :raises PreconditionFailed: if a condition does not hold; it names each item that is the reason.
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
        """Take no tag: the answer has none of its own."""

    def _order(self) -> list[int]:
        """Return the one order in which all batches take locks, so that none waits for another for ever."""
        return sorted(range(len(self._targets)), key=lambda index: _name_of(self._arguments[index]))

    def _each_once(self) -> Iterable[int]:
        """Return, in order, the items whose locks are to be held.

        :raises BadRequest: if two of them may be one by two names, as 1 and 1.0 are: it would wait for itself.
        """
        first: dict[str, int] = {}
        for index in self._order():
            arguments = self._arguments[index]
            for name, value in arguments.items():
                if type(value) not in _OF_ONE_TEXT:
                    raise BadRequest(f"{name} of item {index} is not a text, an integer or a UUID.")
            other = first.setdefault(_name_of(arguments), index)
            if self._arguments[other] != arguments:
                raise BadRequest(f"Items {other} and {index} have one name, of two types.")
        return first.values()

    def _item(self, index: int, reason: str) -> dict[str, Any]:
        """Name an item: by its index, and by the arguments of the loader that a client can have sent."""
        arguments = self._arguments[index].items()
        names = {name: value for name, value in arguments if isinstance(value, str | int)}
        names |= {name: str(value) for name, value in arguments if isinstance(value, UUID)}
        return {**names, "index": index, "reason": reason}


def _checked(items: Iterable[Item]) -> list[Item]:
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
    """Name what is named as a URL would, where 1 and "1" are the same."""
    return repr(sorted((name, str(value)) for name, value in arguments.items()))
