"""The decorators of views: ``etag_resource`` serves a resource, ``require_if_match`` protects it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from flask import Response, current_app, request
from flask.typing import ResponseReturnValue

from flask_etag.errors import ConditionalRequestError
from flask_etag.reading import read
from flask_etag.resources import Resource
from flask_etag.settings import settings_of
from flask_etag.writing import logger, write

P = ParamSpec("P")
T = TypeVar("T")

_READS = ("GET", "HEAD")
_UNCONDITIONAL = ("OPTIONS", "TRACE")


def etag_resource(resource: Resource[P, T | None]) -> ConditionalView[P, T]:
    """Serve a resource: its ETag is on the answer, and an unchanged read is a 304 before the view runs.

    The view takes what the resource's loader returned, alone or followed by the URL's variables. On any
    method, the conditions that the request sets are judged before the view runs. On a method that writes,
    the write is guarded as by :func:`require_if_match`, but a request without conditions is let through.

    :param resource: what the URL names: a loader under :func:`~flask_etag.resource`.
    :raises TypeError: if it is none.
    """
    return ConditionalView(resource, protected=False)


def require_if_match(resource: Resource[P, T | None]) -> ConditionalView[P, T]:
    """Protect a resource: nothing overwrites a state of it that the sender has not seen.

    A request that writes is answered 428 without If-Match (RFC 6585 section 3), and 412 where If-Match names
    another state than the current one (RFC 9110 section 13.1.1), be it before the view runs or when a racing
    writer was first to commit. The new ETag is on the answer. Reads are served as by :func:`etag_resource`.

    :param resource: what the URL names: a loader under :func:`~flask_etag.resource`.
    :raises TypeError: if it is none.
    """
    return ConditionalView(resource, protected=True)


class ConditionalView(Generic[P, T]):
    """A decorator for a view of one resource, which it hands what the loader returned.

    :param resource: what the URL names.
    :param protected: whether a write has to name the state that it overwrites.
    """

    def __init__(self, resource: Resource[P, T | None], *, protected: bool) -> None:
        if not isinstance(resource, Resource):
            word = "require_if_match" if protected else "etag_resource"
            raise TypeError(
                f"@{word} takes the resource that the view is for, and was given {resource!r}. Put @resource "
                f"above the function that loads it, say find_note; and @{word}(find_note) above the view."
            )
        self._resource = resource
        self._protected = protected

    def __call__(
        self,
        view: Callable[[T], ResponseReturnValue] | Callable[Concatenate[T, P], ResponseReturnValue],
        /,
    ) -> Callable[P, Response]:
        """Decorate a view: below its route, and below whatever decides who may call it.

        :raises TypeError: if it is no function that takes a resource.
        """
        hand = _handing(view)
        resource, protected = self._resource, self._protected

        @functools.wraps(view)
        def conditional_view(*args: P.args, **url_arguments: P.kwargs) -> Response:
            if args:
                raise TypeError(
                    f"{view.__qualname__}() was called with a positional argument. A decorator that passes "
                    "one belongs below this one. From the top: the route, authentication, etag_resource or "
                    "require_if_match, then what parses or serialises."
                )
            settings_of(current_app.extensions)  # raises where ETag(app) is missing

            def serve(target: T) -> Response:
                return current_app.make_response(hand(target, url_arguments))

            try:
                if request.method in _READS:
                    return read(resource, url_arguments, serve)
                if request.method in _UNCONDITIONAL:
                    return serve(resource.load(url_arguments))
                return write(resource, url_arguments, serve, protected=protected)
            except ConditionalRequestError as refusal:
                logger.info("%s: %s %s", refusal.reason, request.method, request.endpoint)
                raise

        return conditional_view


def _handing(
    view: Callable[..., ResponseReturnValue],
) -> Callable[[Any, dict[str, Any]], ResponseReturnValue]:
    """Return a view as a function of the resource and the URL's variables, whether it takes these or not.

    :raises TypeError: if it is no view that can be decorated.
    """
    if isinstance(view, Resource):
        raise TypeError(f"{view!r} is a resource; decorate the view that serves it.")
    if not inspect.isfunction(view) or inspect.iscoroutinefunction(view):
        raise TypeError(
            f"{view!r} cannot be decorated: plain functions can; async views and view classes cannot yet."
        )
    parameters = inspect.signature(view).parameters
    if not parameters:
        raise TypeError(
            f"{view.__qualname__}() takes no argument, so it would not get the resource that is loaded for "
            "it: let its first parameter be the resource."
        )
    if len(parameters) == 1:
        return lambda target, _: view(target)
    return lambda target, url_arguments: view(target, **url_arguments)
