"""What is known of Flask-RESTful and Flask-RESTX: their ``Api``, and not Flask, answers errors of its routes."""

from __future__ import annotations

from functools import partial
from typing import Any

from flask import Flask


def api_of(app: Flask, endpoint: str) -> Any:
    """Return the ``Api`` that answers the errors of an endpoint; ``None`` where Flask answers them."""
    handle: Any = app.handle_user_exception
    while isinstance(handle, partial):  # each Api has put itself before what was there
        api: Any = getattr(handle.func, "__self__", None)
        if hasattr(api, "owns_endpoint") and api.owns_endpoint(endpoint):
            return api
        handle = next(iter(handle.args), None)
    return None


def has_handler(api: Any, error: type[Exception]) -> bool:
    """Tell whether the application has registered a handler of its own for an error: RESTX has such."""
    return any(
        issubclass(error, kind)
        for owner in (api, *getattr(api, "namespaces", ()))
        for kind in getattr(owner, "error_handlers", ())
    )


def answers_in_its_own_way(api: Any, error: type[Exception]) -> bool:
    """Tell whether the application itself says what an ``Api`` answers of an error.

    Of RESTful, by ``Api(errors=...)``, or in a class of its own, which handles errors.
    """
    package = type(api).handle_error.__module__.partition(".")[0]
    is_its_own = package not in ("flask_restful", "flask_restx")
    return is_its_own or error.__name__ in getattr(api, "errors", ()) or has_handler(api, error)
