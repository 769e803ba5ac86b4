"""``flask etag explain``: what a request would be answered, and why, without its view being run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import click
from flask import Flask, Response
from flask.cli import with_appcontext
from flask.globals import current_app
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_etag.audit import Guard, Protection, all_apps, etag, field_given, guard_of, undecorated_views
from flask_etag.errors import TYPE_PREFIX, ConditionalRequestError
from flask_etag.exchange import ANSWERED_AGAIN, EXPLANATION, Exchange
from flask_etag.preconditions import Preconditions, Representation, http_date

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
    :ivar is_loaded: whether the loader has run, and the tag is made, without an error.
    :ivar is_replayed: whether it was done before, and is answered without its view.
    :ivar refusal: the refusal that it is answered with, if that is so.
    :ivar stopped: what would happen now, and the page that has more of it, if its view would run.
    """

    facts: list[tuple[str, str]] = field(default_factory=list)
    is_reached: bool = False
    is_loaded: bool = False
    is_replayed: bool = False
    refusal: ConditionalRequestError | None = None
    stopped: tuple[str, str] = "", ""
    _guard: Guard | None = None

    def of(self, exchange: Exchange, protection: Protection, answer: Callable[[Exchange], Response]) -> Response:
        """Look at a request, and answer it by the story that answers all of them, up to its view.

        :raises _Stopped: where the view would run.
        """
        if ANSWERED_AGAIN in exchange.environ:  # by what a GET gives
            self.is_replayed = True
            raise _Stopped
        self.is_reached = True
        self._look(exchange, protection)

        def stop(*handed: Any, **__: object) -> None:
            if protection.is_batch:
                self.facts.append(("Items", f"the condition of each of the {len(handed[-1])} holds"))
            self.stopped = self._what_then(exchange)
            raise _Stopped

        exchange.view = stop
        try:
            response = answer(exchange)
            self.is_replayed = exchange.outcome == "replayed"
            return response
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
            self.is_loaded = True
            self.facts.append(("Content", "has the items, each with a tag of its own: give it by --data"))
            return
        try:
            target = resource.load(exchange.url_arguments, may_be_absent=True)
        except HTTPException as error:
            self.is_loaded = True
            self.facts.append(("Loader", f"answers {error.get_response(exchange.environ).status_code}"))
            return
        current: Representation | None = None
        if target is not None:
            fingerprint = resource.validator(target)
            etag = None if fingerprint is None else resource.field(target, fingerprint, exchange.settings)
            current = resource.representation(target, fingerprint, exchange.settings, etag)
        source = resource.validator.source
        tag = "none: the loader finds nothing" if current is None else current.field or "none"
        self.facts.append(("Current tag", tag if current is None else f"{tag}, by its {source}"))
        self.facts.extend(_conditions(exchange, current))
        if not exchange.is_read:
            self._guard, detail = guard_of(resource, [type(target)] if target is not None else None)
            self.facts.append(("Guard", f"{self._guard}: {detail}" if detail else self._guard))
        self.is_loaded = True

    def _what_then(self, exchange: Exchange) -> tuple[str, str]:
        """Return what happens as the view runs, and the page that has more of it."""
        if exchange.is_read:
            return "the view runs", "judging"
        preconditions = exchange.preconditions()
        if exchange.outcome == "reported":
            return "the view runs, and this is reported: missing. It overwrites what is there by then", "rollout"
        if self._guard == "judged only":
            return (
                "the view runs; another request that does so at the same moment may be overwritten",
                "guards#other-stores",
            )
        if preconditions.take_any_state:
            return "the view runs, and replaces whatever is there by then", "judging"
        if self._guard is not None and not (preconditions.protect or preconditions.if_unmodified_since):
            return (
                "the view runs: no condition is sent, and none is needed. It overwrites what is there by then",
                "views",
            )
        return "the view runs; if another request is first to commit, 412", "guards"

    def stop_before(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return what stands in for a view that is not decorated."""

        @wraps(view)
        def stop(*_: object, **__: object) -> None:
            what = "the view runs: it is not decorated for this method, so that no condition is judged"
            self.is_replayed = self.is_reached  # by what a GET gives, of a class of its own
            self.stopped = what, "configuration#the-audit"
            raise _Stopped

        return stop

    def conclude(self, status: str | None) -> None:
        """Note what the answer is, and where the docs say so.

        :param status: of the answer; ``None`` where the view would run.
        """
        if self.is_replayed:
            told = "this very request was done before, and is known again. It is not done twice"
            what, page = f"{status or '200 OK'}: {told}", "lost-answers"
        elif status is None:
            what, page = self.stopped
        elif self.refusal is not None:
            what, page = f"{status}: {self.refusal.reason}. {self.refusal.title}", f"errors#{self.refusal.reason}"
        elif status.startswith("304"):
            what, page = f"{status}: the sender has it already, and the view does not run", "judging"
        elif self.is_reached and not self.is_loaded:
            what, page = (
                f"{status}, by an error in the loader, or in what makes the tag: the log has it",
                "judging",
            )
        elif self.is_reached and status.startswith("5"):
            what, page = f"{status}, by an error before the view: the log has it", "troubleshooting"
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
        if hidden_by is not None and http_date(value) is None:
            yield title, f"{value} is no date, and is ignored"
            continue
        if hidden_by is not None and (current is None or current.last_modified is None):
            yield title, f"{value} is ignored: the resource has no last_modified="
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
    with suppress(_Stopped), _none_of_the_others(builder.method, explanation):
        try:  # in an application context of its own
            _, status, _ = Context().run(run_wsgi_app, app.wsgi_app, environ)
        except Exception:  # in debug mode, an error leaves the application
            status = "500 INTERNAL SERVER ERROR"
            app.logger.exception("An error has left the application")
    explanation.conclude(status)
    return explanation.facts


@contextmanager
def _none_of_the_others(method: str, explanation: Explanation) -> Iterator[None]:
    """Let no view run that is not decorated: what it writes would be written."""
    bare = [(app, undecorated_views(app, method)) for app in all_apps()]
    for app, views in bare:
        app.view_functions.update({name: explanation.stop_before(view) for name, view in views.items()})
    try:
        yield
    finally:
        for app, views in bare:
            app.view_functions.update(views)


@etag.command("explain")
@click.argument("method")
@click.argument("path")
@click.option("--if-match", help="The field, quotes and all: '\"abc\"'.")
@click.option("--if-none-match", help="The field, quotes and all, or *.")
@click.option(
    "--header",
    "headers",
    type=field_given,
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Another field; may be repeated.",
)
@click.option("--data", help="The content.")
@with_appcontext
def explain_command(
    method: str,
    path: str,
    if_match: str | None,
    if_none_match: str | None,
    headers: tuple[tuple[str, str], ...],
    data: str | None,
) -> None:
    """Say what a request would be answered, and why; its view does not run, and nothing is written.

    The request goes through the whole application, authentication too: give --header 'Authorization: ...'.
    """
    given = {"If-Match": if_match, "If-None-Match": if_none_match}
    fields = [*headers, *((name, value) for name, value in given.items() if value is not None)]
    builder = EnvironBuilder(path, method=method.upper(), headers=fields, data=data)
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    facts = explain(app, builder)
    width = max(len(heading) for heading, _ in facts)
    for heading, sentence in facts:
        click.echo(f"{heading.ljust(width)}  {sentence}")
