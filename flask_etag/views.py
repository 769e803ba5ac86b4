"""What is known of the views that are decorated, and of the routes of an application that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import ref

from flask import Flask

from flask_etag.resources import Resource

_PROTECTION = "__flask_etag_protection__"
_DECORATED_AS = "__flask_etag_decorated_as__"


@dataclass(frozen=True, slots=True)
class Protection:
    """How a view is decorated.

    :param resource: what it serves; ``None`` where its tag is the digest of the body.
    :param required: whether a write has to name the state that it overwrites.
    """

    resource: Resource[..., Any] | None
    required: bool = False


def mark(view: Callable[..., Any], conditional: Callable[..., Any], protection: Protection) -> None:
    """Note that a view was decorated, on both: whoever finds one in an application can tell.

    :param view: the view as it was.
    :param conditional: what the decorator made of it.
    """
    vars(conditional).pop(_DECORATED_AS, None)  # functools.wraps copied it
    setattr(conditional, _PROTECTION, protection)
    for step in _unwrapped(view):  # the route may be below another decorator
        setattr(step, _DECORATED_AS, [*getattr(step, _DECORATED_AS, ()), ref(conditional)])


def protection_of(view: Callable[..., Any]) -> Protection | None:
    """Tell how a view is decorated, also through decorators above ours that use ``functools.wraps``."""
    return getattr(view, _PROTECTION, None)


def views_of(app: Flask) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    """Yield the rule, the method and what answers it, for every route of an application."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions.get(rule.endpoint)
        if view is None:
            continue
        view_class = getattr(view, "view_class", None)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield rule.rule, method, getattr(view_class, method.lower(), view)


def unreachable_views(app: Flask, apps: list[Flask]) -> list[str]:
    """Name the routes of an application whose view was decorated above the route, so that it never runs decorated.

    :param apps: all applications, since a view may be decorated for one and not for another.
    """
    reached = {id(step) for other in apps for view in other.view_functions.values() for step in _unwrapped(view)}
    found = []
    for endpoint, view in app.view_functions.items():
        conditionals = [conditional() for conditional in getattr(view, _DECORATED_AS, ())]
        if conditionals and not any(id(conditional) in reached for conditional in conditionals):
            found.append(endpoint)
    return found


def _unwrapped(view: Callable[..., Any] | None) -> Iterator[Callable[..., Any]]:
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)
