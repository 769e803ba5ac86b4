"""What became of each conditional request: told to whoever listens, to the log, in debug mode to the client."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from blinker import NamedSignal, Namespace
from flask import Flask, Response, after_this_request, current_app, request

from flask_etag import log
from flask_etag.backend import Refused
from flask_etag.errors import ConditionalRequestError, PreconditionFailed
from flask_etag.exchange import ANSWERED_AGAIN, Exchange
from flask_etag.resources import Resource

Outcome = Literal["served", "unchanged", "accepted", "refused", "reported", "replayed", "passed"]
"""What became of a request to a decorated view.

``served``: a read, answered in full. ``unchanged``: a read, answered 304. ``accepted``: a write, done.
``refused``: 412, 428 or 409. ``reported``: a write that sets no condition, and was let pass, whatever the view has
answered. ``replayed``: a write that was done before, recognised. ``passed``: the loader or the view answered
otherwise, by a 404, say, a redirect or an error.
"""

MAX_SENT = 200
"""How many characters of a client's field are told."""

decided: NamedSignal = Namespace().signal(
    "flask-etag-decided", "Sent for each request to a decorated view, with its :class:`Decision`."
)

_UNCONDITIONAL = ("OPTIONS", "TRACE")
_IS_TOKEN = re.compile(r"[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*").fullmatch  # RFC 9651 section 3.3.4


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request to a decorated view, and why.

    :param outcome: see :data:`~flask_etag.decisions.Outcome`.
    :param reason: why it was refused, or would have been: one of those in the page on errors; otherwise ``None``.
    :param raced: whether it was refused though its first judgement had passed: another writer came in between, and
        a check alone would have let it overwrite that one's work.
    :param etag: the value of the field ETag that the answer carries, if it carries one.
    :param sent: the value of the field that the decision rests on, as the client sent it: at most
        :data:`~flask_etag.decisions.MAX_SENT` characters, with escapes for what is not printable ASCII.
    :param resource: the name of the resource, which is its loader's; ``None`` for a view without one.
    :param items: the items that were refused, where one request writes several resources: see
        :class:`~flask_etag.ConditionalRequestError`.
    :param cause: the error behind a refusal: of the store, where it has raised one.
    """

    outcome: Outcome
    reason: str | None = None
    raced: bool = False
    etag: str | None = None
    sent: str | None = None
    resource: str | None = None
    items: Sequence[Mapping[str, Any]] = ()
    cause: BaseException | None = None


def tell_answer(exchange: Exchange, resource: Resource[..., Any] | None, response: Response | None) -> None:
    """Tell of a request that was not refused.

    Nothing is made where nobody wants to know: neither a receiver, nor the log, nor a developer in debug mode.

    :param response: the answer; ``None`` where the loader or the view has raised an error.
    """
    if ANSWERED_AGAIN in exchange.environ:
        return
    outcome: Outcome | None = exchange.outcome
    is_silent = not (exchange.settings.shows_decisions or (decided.receivers and _is_heard()))
    if outcome is None:
        if is_silent and (exchange.is_read or not log.logger.isEnabledFor(logging.DEBUG)):
            return
        if response is None or response.status_code // 100 != 2:
            outcome = "passed"
        else:
            outcome = "served" if exchange.is_read else "accepted"
    elif is_silent and (exchange.is_read or not log.logger.isEnabledFor(logging.INFO)):
        return
    if exchange.method in _UNCONDITIONAL:
        return
    sent = exchange.sent(outcome)
    _tell(
        exchange,
        resource,
        Decision(
            outcome,
            reason="missing" if outcome == "reported" else None,
            etag=None if response is None else response.headers.get("ETag"),
            sent=None if sent is None else escaped(sent),
            resource=None if resource is None else resource.name,
        ),
    )


def tell_refusal(
    exchange: Exchange, resource: Resource[..., Any] | None, refusal: ConditionalRequestError
) -> None:
    """Note on a refusal which request it is of, and tell of it."""
    if refusal.is_told:
        return
    refusal.is_told = True
    refusal.resource = None if resource is None else resource.name
    refusal.sent = exchange.sent("refused", refusal.reason)
    refusal.raced = exchange.has_passed
    if not (exchange.settings.shows_decisions or log.logger.isEnabledFor(logging.INFO) or _is_heard()):
        return
    etag = refusal.etag if isinstance(refusal, PreconditionFailed) else None
    behind = refusal.__cause__
    _tell(
        exchange,
        resource,
        Decision(
            "refused",
            refusal.reason,
            refusal.raced,
            None if etag is None else str(etag),
            None if refusal.sent is None else escaped(refusal.sent),
            refusal.resource,
            refusal.items,
            behind.__cause__ if isinstance(behind, Refused) else behind,
        ),
    )


def _is_heard() -> bool:
    return decided.has_receivers_for(current_app._get_current_object())  # type: ignore[attr-defined]


def _tell(exchange: Exchange, resource: Resource[..., Any] | None, decision: Decision) -> None:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    _log(decision)
    if exchange.settings.shows_decisions:
        _show(decision, None if resource is None else resource.validator.source)
    for receiver in decided.receivers_for(app):
        try:
            app.ensure_sync(receiver)(app, decision=decision)
        except Exception:
            log.logger.exception("A receiver of flask_etag.decided has failed: %r", receiver)


def _log(decision: Decision) -> None:
    """Record a refusal, or what would have been one, or a write that was done.

    The text has neither tags nor values of the URL. The tags are in the attributes of the record.
    """
    if decision.outcome == "refused":
        level, what = logging.INFO, f"{decision.reason}, raced" if decision.raced else decision.reason
    elif decision.outcome == "reported":
        level, what = logging.INFO, "missing, let pass"
    elif decision.outcome in ("accepted", "replayed"):
        level, what = logging.DEBUG, decision.outcome
    else:
        return
    # Of the error behind a refusal its kind is told, and not its text, which has values.
    errors = [decision.cause, getattr(decision.cause, "orig", None)]
    kinds = ", ".join(type(error).__name__ for error in errors if error is not None)
    log.logger.log(
        level,
        "%s: %s %s%s",
        what,
        request.method,
        request.endpoint,
        f" ({kinds})" if kinds else "",
        extra={
            "etag_outcome": decision.outcome,
            "etag_reason": decision.reason,
            "etag_raced": decision.raced,
            "etag_sent": decision.sent,
            "etag_current": decision.etag,
            "etag_resource": decision.resource,
        },
    )


def _show(decision: Decision, source: str | None) -> None:
    """Put a decision on the answer, whoever makes that: in debug mode only, since it tells how the house is built.

    :param source: where the resource's tag comes from.
    """
    words: list[str] = [decision.outcome]
    if decision.reason is not None:
        words.append(f"reason={decision.reason}")
    if decision.raced:
        words.append("raced")
    if decision.outcome == "served":
        words.append("unconditional" if decision.sent is None else "changed")
    words.append(f"by={_item(source or 'body')}")

    @after_this_request
    def show(response: Response) -> Response:
        response.headers["ETag-Decision"] = "; ".join(words)
        return response


def _item(text: str) -> str:
    """Return a text as a token or a string of a structured field (RFC 9651 section 3.3)."""
    if _IS_TOKEN(text):
        return text
    quoted = escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'


def escaped(text: str, most: int | None = MAX_SENT) -> str:
    """Return a stranger's text as it can be shown: cut, and with escapes for what is not printable ASCII.

    :param most: how many characters of it are told; ``None`` for all.
    """
    cut = text[:most]
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(each if " " <= each <= "~" else f"\\x{ord(each):02x}" for each in cut)[:most]
