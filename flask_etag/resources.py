"""What a URL names, and how to load it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from werkzeug.exceptions import NotFound

from flask_etag.entity_tags import EntityTag
from flask_etag.preconditions import Representation
from flask_etag.validators import etag_of

P = ParamSpec("P")
T_co = TypeVar("T_co", covariant=True)


class Resource(Generic[P, T_co]):
    """A loader, and where the entity tag of what it loads comes from. Made by :func:`resource`.

    Calling it calls the loader, as the plain function that it is.
    """

    def __init__(self, loader: Callable[P, T_co]) -> None:
        functools.update_wrapper(self, loader)
        self._loader = loader

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co:
        """Call the loader."""
        return self._loader(*args, **kwargs)

    def load(self, url_arguments: dict[str, Any]) -> Any:
        """Load what a URL names.

        :param url_arguments: the URL's variables, by name.
        :raises werkzeug.exceptions.NotFound: if there is no such thing, so that the answer is 404.
        """
        target = self._loader(**url_arguments)  # type: ignore[call-arg]
        if target is None:
            raise NotFound
        return target

    def representation(self, target: object) -> Representation:
        """Return what the conditions of a request are compared with."""
        return Representation(etag=etag_of(target))

    def etag_of(self, target: object) -> EntityTag:
        """Return the entity tag of an object in hand: for the answer to a POST that made it, after a flush.

        :raises ValueError: if the object has no tag, or none yet.
        :raises TypeError: if nothing says what the tag of such an object is.
        """
        etag = etag_of(target)
        if etag is None:
            raise ValueError(f"This {type(target).__name__} has no ETag.")
        return etag


def resource(loader: Callable[P, T_co]) -> Resource[P, T_co]:
    """Declare what a URL names: a decorator for the function that loads it.

    The function takes the URL's variables and returns the object that they name. Where there is none, it
    returns ``None`` or aborts, and the answer is 404. It may be called more than once in a request, so it
    has no side effects.

    :raises TypeError: if it decorates something that is not a plain function.
    """
    if isinstance(loader, type) or not callable(loader):
        raise TypeError(f"@resource decorates the function that loads what a URL names, and was given {loader!r}.")
    if inspect.iscoroutinefunction(loader):
        raise TypeError(
            f"@resource takes plain functions only, and {loader.__qualname__} is async: "
            "async loaders are not supported yet."
        )
    return Resource(loader)
