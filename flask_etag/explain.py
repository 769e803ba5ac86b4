"""``flask etag explain``: what a request would be answered, and why, without its view being run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import click
from flask import Flask, Response
from flask.cli import with_appcontext
from flask.globals import current_app
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_etag.audit import Protection, etag, guard_of
from flask_etag.errors import TYPE_PREFIX, ConditionalRequestError
from flask_etag.exchange import EXPLANATION, Exchange
from flask_etag.preconditions import Preconditions, Representation

_FIELDS = {
    "if_match": "If-Match",
    "if_unmodified_since": "If-Unmodified-Since",
    "if_none_match": "If-None-Match",
    "if_modified_since": "If-Modified-Since",
}
"""The conditional fields, in the order in which they are judged, by their names in ``Preconditions``."""

_HIDDEN_BY = {"if_unmodified_since": "if_match", "if_modified_since": "if_none_match"}
"""Where a tag is sent, the date that says the same less exactly is ignored (RFC 9110 section 13.2.2)."""

_PAGES = TYPE_PREFIX.removesuffix("errors#")


class _Stopped(BaseException):
    """The view would run now. No ``except Exception`` on the way keeps it from leaving the application."""


@dataclass
class Explanation:
    """What is known of one request when it is answered, or when its view would run.

    :ivar facts: what is told of it: a heading and a sentence each.
    :ivar is_reached: whether the request has got to a decorated view.
    :ivar refusal: the refusal that it is answered with, if that is so.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    is_reached: bool = False
    refusal: ConditionalRequestError | None = None

    def of(self, exchange: Exchange, protection: Protection, answer: Callable[[Exchange], Response]) -> Response:
        """Look at a request, and answer it by the story that answers all of them, up to its view.

        :raises _Stopped: where the view would run.
        """
        self.is_reached = True
        self._look(exchange, protection)

        def stop(*handed: Any, **__: object) -> None:
            if protection.is_batch:
                self.facts.append(("Items", f"the condition of each of the {len(handed[-1])} holds"))
            raise _Stopped

        exchange.view = stop
        try:
            return answer(exchange)
        except ConditionalRequestError as refusal:
            self.refusal = refusal
            self.facts.extend(_items(refusal))
            raise

    def _look(self, exchange: Exchange, protection: Protection) -> None:
        """Note the current tag, and what each condition says of it by itself."""
        resource = protection.resource
        if resource is None:
            self.facts.append(("Tag", "the digest of the body, which is known once the view has run"))
            return
        self.facts.append(("Resource", resource.name))
        if protection.is_batch:
            self.facts.append(("Content", "has the items, each with a tag of its own: give it by --data"))
            return
        try:
            target = resource.load(exchange.url_arguments, may_be_absent=True)
        except HTTPException as error:
            self.facts.append(("Loader", f"answers {error.code}"))
            return
        current: Representation | None = None
        if target is not None:
            fingerprint = resource.validator(target)
            opaque = None if fingerprint is None else resource.opaque(target, fingerprint, exchange.settings)
            current = resource.representation(target, fingerprint, exchange.settings, opaque)
        source = resource.validator.source
        tag = "none: the loader finds nothing" if current is None else current.field or "none"
        self.facts.append(("Current tag", tag if current is None else f"{tag}, by its {source}"))
        self.facts.extend(_conditions(exchange, current))
        if not exchange.is_read:
            kind, detail = guard_of(resource, [type(target)] if target is not None else None)
            self.facts.append(("Guard", f"{kind}: {detail}" if detail else kind))

    def conclude(self, status: str | None, is_read: bool) -> None:
        """Note what the answer is, and where the docs say so.

        :param status: of the answer; ``None`` where the view would run.
        """
        if status is None:
            what = "the view runs" if is_read else "the view runs; if another request is first to commit, 412"
            page = "judging" if is_read else "guards"
        elif self.refusal is not None:
            what, page = f"{status}: {self.refusal.reason}. {self.refusal.title}", f"errors#{self.refusal.reason}"
        elif status.startswith("304"):
            what, page = f"{status}: the sender has it already, and the view does not run", "judging"
        elif self.is_reached:
            what, page = f"{status}, by the loader: no condition is judged", "judging"
        else:
            what = f"{status}, before the request gets to a decorated view: by the route, by authentication, say"
            page = "access"
        self.facts.extend([("Answer", what), ("See", _PAGES + page)])


def _conditions(exchange: Exchange, current: Representation | None) -> Iterable[tuple[str, str]]:
    sent = exchange.preconditions()
    accepts = exchange.settings.accept_weakened
    found = False
    for name, title in _FIELDS.items():
        value: str | None = getattr(sent, name)
        if value is None:
            continue
        found = True
        hidden_by = _HIDDEN_BY.get(name)
        if hidden_by is not None and getattr(sent, hidden_by) is not None:
            yield title, f"{value} is ignored beside {_FIELDS[hidden_by]}"
            continue
        verdict = Preconditions(**{name: value}).evaluate(exchange.method, current, accept_weakened=accepts)
        says = {"proceed": "holds", "not modified": "says that the sender has it already"}
        yield title, f"{value} {says.get(verdict, f'fails: {verdict}')}"
    if not found:
        yield "Conditions", "none"


def _items(refusal: ConditionalRequestError) -> Iterable[tuple[str, str]]:
    """Yield what is said of each item of a batch that was refused, counted from 0."""
    for item in refusal.items:
        named = [f"{name}={value}" for name, value in item.items() if name not in ("index", "reason", "etag")]
        current = f"; current tag {item['etag'] or 'none'}" if "etag" in item else ""
        yield f"Item {item['index']}", f"{', '.join(named)} fails: {item['reason']}{current}"


def explain(app: Flask, builder: EnvironBuilder) -> list[tuple[str, str]]:
    """Send a request through an application, up to its view, and return what there is to say of it.

    It runs what any request runs before its view: ``before_request`` functions, authentication, the loader. It is
    no decision: no receiver of the signal is told, and no log.
    """
    explanation = Explanation()
    environ = {**builder.get_environ(), EXPLANATION: explanation}
    status: str | None = None
    with suppress(_Stopped):
        _, status, _ = Context().run(run_wsgi_app, app.wsgi_app, environ)  # in an application context of its own
    explanation.conclude(status, builder.method in ("GET", "HEAD"))
    return explanation.facts


@etag.command("explain")
@click.argument("method")
@click.argument("path")
@click.option("--if-match", help="The field, quotes and all: '\"abc\"'.")
@click.option("--if-none-match", help="The field, quotes and all, or *.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Another field; may be repeated."
)
@click.option("--data", help="The content.")
@with_appcontext
def explain_command(
    method: str,
    path: str,
    if_match: str | None,
    if_none_match: str | None,
    headers: tuple[str, ...],
    data: str | None,
) -> None:
    """Say what a request would be answered, and why; its view does not run, and nothing is written.

    The request goes through the whole application, authentication too: give --header 'Authorization: ...'.
    """
    fields = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not (colon and name.strip()):
            raise click.BadParameter(f"{header!r} is no field: write 'NAME: VALUE'.", param_hint="--header")
        fields.append((name.strip(), value.strip()))
    given = {"If-Match": if_match, "If-None-Match": if_none_match}
    fields += [(name, value) for name, value in given.items() if value is not None]
    builder = EnvironBuilder(path, method=method.upper(), headers=fields, data=data)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    facts = explain(app, builder)
    width = max(len(heading) for heading, _ in facts)
    for heading, sentence in facts:
        click.echo(f"{heading.ljust(width)}  {sentence}")
