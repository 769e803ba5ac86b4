"""``flask etag routes``: which routes are conditional, where their tags come from, and what protects them."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_etag.backend import backend
from flask_etag.resources import Resource
from flask_etag.settings import Settings, settings_of
from flask_etag.views import Protection, protection_of, views_of

_HEADINGS = ("Route", "Method", "Resource", "Tag", "Protection")
_WRITES = ("PUT", "PATCH", "DELETE")


@click.group()
def etag() -> None:
    """Audit conditional requests."""


@etag.command()
@click.option("--check", is_flag=True, help="Exit with 1 if a PUT, PATCH or DELETE is not protected.")
@with_appcontext
def routes(check: bool) -> None:
    """Show every route: its resource, where its tag comes from, and how it is protected."""
    configured = settings_of(current_app)
    rows, unprotected = [], []
    for rule, method, view in views_of(current_app):
        protection = protection_of(view)
        rows.append((rule, method, *_described(method, protection, configured)))
        if method in _WRITES and not _is_protected(protection, configured):
            unprotected.append(f"{method} {rule}")
    _echo_table([_HEADINGS, *rows])
    if check and unprotected:
        click.echo(f"\nNot protected: {', '.join(unprotected)}", err=True)
        sys.exit(1)


def _is_protected(protection: Protection | None, configured: Settings) -> bool:
    return protection is not None and protection.required and configured.require == "enforce"


def _described(method: str, protection: Protection | None, configured: Settings) -> tuple[str, str, str]:
    """Tell of one route what its resource is, where its tag comes from, and how a write to it is protected."""
    if protection is None:
        return "", "", "not at all" if method in _WRITES else ""
    resource = protection.resource
    if resource is None:
        return "", "body", ""
    source = resource.validator.source
    if method in ("GET", "TRACE"):
        return resource.name, source, ""
    if not protection.required:
        return resource.name, source, "not at all: If-Match is judged, and not required"
    if configured.require != "enforce":
        return resource.name, source, f'not at all: ETAG_REQUIRE is "{configured.require}"'
    return resource.name, source, _guard_of(resource)


def _guard_of(resource: Resource[..., Any]) -> str:
    """Tell what holds a write to the state that was judged, from what the loader says that it returns."""
    loaded = _loaded_by(resource)
    store = backend()
    guards = {None if store is None else store.guarding(model) for model in loaded}
    if guards and None not in guards:
        return ", or ".join(sorted(filter(None, guards)))
    if resource.has_lock:
        return "locked: lock="
    return "judged only" if loaded else "guarded if mapped: the loader's annotation does not say"


def _loaded_by(resource: Resource[..., Any]) -> list[type]:
    """Return the classes of what a loader returns, as far as its annotation tells."""
    loader: Callable[..., Any] = resource.__wrapped__  # type: ignore[attr-defined]
    try:
        returned = typing.get_type_hints(loader).get("return")
    except (NameError, TypeError):
        return []
    alternatives = typing.get_args(returned) if _is_union(returned) else (returned,)
    origins = [typing.get_origin(alternative) or alternative for alternative in alternatives]
    classes = [origin for origin in origins if isinstance(origin, type)]
    return [alternative for alternative in classes if alternative not in (type(None), object)]


def _is_union(annotation: object) -> bool:
    return isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union


def _echo_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
