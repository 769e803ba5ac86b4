"""The story of a conditional read."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from flask import Response, current_app, request

from flask_etag import log
from flask_etag.audit import serve_watched
from flask_etag.backend import Terms, backend, owner_of
from flask_etag.decisions import tell_answer, tell_refusal
from flask_etag.entity_tags import TagList, field_of
from flask_etag.errors import ConditionalRequestError, WriteConflict
from flask_etag.exchange import Exchange, Unmade, names_in, without_content
from flask_etag.fingerprints import LENGTH, digest_of_body
from flask_etag.preconditions import Representation
from flask_etag.resources import HASHED, Resource
from flask_etag.settings import Settings

_NO_FIELDS: Mapping[str, str] = {}


def read(exchange: Exchange, resource: Resource[..., Any]) -> Response:
    """Answer GET or HEAD: 304 where the sender has the current representation, or else the view's answer.

    :raises PreconditionFailed: if a condition of the request does not hold.
    :raises WriteConflict: if the view writes something all the same, and the store refuses that.
    """
    target = resource.load(exchange.url_arguments)
    store = owner_of(target)
    settings = exchange.settings
    fingerprint = resource.validator.fingerprint(target, store)
    etag = None
    if fingerprint is not None:
        etag = resource.field(target, fingerprint, settings)
        if fingerprint.content is not None:
            exchange.environ[HASHED] = resource, target, fingerprint.content
    fields = _NO_FIELDS
    judged: Representation | None = None
    is_unchanged = False
    to_judge = exchange.preconditions() if exchange.is_conditional() else None
    if to_judge is not None and to_judge.at_a_glance(exchange.method, etag) is not None:
        to_judge, is_unchanged = None, True
    if resource.has_fields or to_judge is not None:
        current = resource.representation(target, fingerprint, settings, etag)
        fields = resource.fields(target, current)
        if to_judge is not None:
            is_unchanged = exchange.is_unchanged(to_judge, current)
            judged = current
    if is_unchanged:
        return exchange.not_modified(etag, fields)
    serve = partial(serve_watched, exchange, resource) if settings.is_watched else exchange.serve
    watch = None if store is None else store.watch(target, _terms_of(resource, settings))
    try:
        if watch is None and judged is None:
            response = serve(target)
        else:
            hidden = _NOTHING if judged is None else exchange.conditions_hidden(judged)
            with hidden, watch or _NOTHING:
                response = serve(target)
    except Exception as error:
        _refuse_behind(error, target, is_part_done=watch is not None and watch.has_committed)
        raise
    if watch is not None:
        etag = watch.etag_after(etag)
    if fingerprint is None and response.status_code == 304:  # by the tag that what answers below gives it
        exchange.outcome = "unchanged"
    exchange.describe(response, etag, fields)
    return response


def _terms_of(resource: Resource[..., Any], settings: Settings) -> Terms:
    """Return the terms of a read: its view may write all the same, as one does that counts its readers."""
    return Terms(
        _nothing,
        partial(resource.etag_field, settings=settings),
        is_reported=True,
        depends_on_more=resource.validator.depends_on_more,
        shows_more=resource.shows_more,
    )


def _refuse_behind(error: Exception, target: object, *, is_part_done: bool = False) -> None:
    """Refuse a read whose view has written something, and met another writer; what it was about to write is lost.

    An error that the application has a handler for is the application's.

    :param is_part_done: whether the view has committed a change of its target before that.
    :raises WriteConflict: if the store says so by an error that leaves the view.
    """
    store = backend()
    cause = None if store is None or _is_handled(error) else store.let_go(error, target)
    if store is None or cause is None:
        return
    if store.is_stale(error):
        log.once(
            "a read that writes a row which has a version has met another writer there, so that it was answered "
            "409. Name the columns that it writes in __unversioned__, if they do not count. See the docs, 'Beside "
            "code that is not decorated'."
        )
    raise WriteConflict("partial" if is_part_done else cause) from error


def _is_handled(error: Exception) -> bool:
    """Tell whether the application has a handler for an error, and not only for each ``Exception``."""
    kinds = [kind for kind in type(error).__mro__ if kind not in Exception.__mro__]
    handlers = [current_app.error_handler_spec[name][None] for name in (None, *request.blueprints)]
    return any(kind in each for each in handlers for kind in kinds)


_NOTHING = nullcontext()


def _nothing() -> None:
    """Find nothing: a read creates nothing, so that nobody looks for what it made."""


def read_body(exchange: Exchange) -> Response:
    """Answer GET or HEAD of a view without a resource: its tag is the digest of the body that it answers.

    This saves the bytes and not the work. Streams and files are left as they are, and so is every answer but
    a 200.

    :raises PreconditionFailed: if a condition of the request does not hold.
    :raises WriteConflict: as :func:`read`.
    """
    try:
        response = exchange.serve()
    except Exception as error:
        _refuse_behind(error, None)
        raise
    if isinstance(response, Unmade):
        exchange.once_made(partial(_once_made, exchange))
        return response
    return _tagged_by_body(exchange, response)


def _once_made(exchange: Exchange, response: Response) -> Response:
    """Tag a response that the view's class has made; a refusal is handled here, as Flask would."""
    try:
        tagged = _tagged_by_body(exchange, response)
        tell_answer(exchange, None, tagged)
        return tagged
    except ConditionalRequestError as refusal:
        tell_refusal(exchange, None, refusal)
        return current_app.make_response(current_app.handle_user_exception(refusal))


def _tagged_by_body(exchange: Exchange, response: Response) -> Response:
    if response.status_code != 200 or response.direct_passthrough or not response.is_sequence:
        return response
    given = names_in(response.headers)
    etag = _etag_given(response) if "etag" in given else _etag_of_body(response, exchange)
    if exchange.is_conditional() and _is_body_unchanged(exchange, response, given, etag):
        exchange.outcome = "unchanged"
        response = without_content(response, given)
    exchange.tag(response, etag, given)
    return response


def _etag_given(response: Response) -> str | None:
    """Return the view's own ETag; if that is malformed, there is none."""
    try:
        [etag] = TagList.parse(response.headers["ETag"]).members
    except ValueError:
        return None
    return str(etag)


def _etag_of_body(response: Response, exchange: Exchange) -> str | None:
    """Return the digest of the body, in quotes; one that HEAD left out has none."""
    try:
        body = b"".join(response.response)  # type: ignore[arg-type]
    except TypeError:  # it has texts among its bytes
        body = response.get_data()
    if not body and exchange.method == "HEAD":
        return None
    return field_of(digest_of_body(body, exchange.settings.key, exchange.settings.epoch))


def _is_body_unchanged(exchange: Exchange, response: Response, given: Container[str], etag: str | None) -> bool:
    preconditions = exchange.preconditions()
    if preconditions.at_a_glance(exchange.method, etag) is not None:
        return True
    current = None if etag is None else TagList.parse(etag).members[0]
    modified = response.last_modified if "last-modified" in given else None
    state_half = None if current is None or "etag" in given else current.opaque[:LENGTH]
    return exchange.is_unchanged(preconditions, Representation(current, modified, state_half))
