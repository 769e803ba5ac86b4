"""The story of a conditional read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Response

from flask_etag.entity_tags import TagList
from flask_etag.errors import WriteConflict
from flask_etag.exchange import Exchange, is_success, names_in
from flask_etag.guards import refused
from flask_etag.preconditions import Representation
from flask_etag.probing import Probe
from flask_etag.resources import Resource
from flask_etag.validators import Body

_BODY = Resource(lambda body: body, validator=Body())
"""What a view without a resource answers, as one."""


def read(exchange: Exchange, resource: Resource[..., Any]) -> Response:
    """Answer GET or HEAD: 304 where the sender has the current representation, or else the view's answer.

    :raises PreconditionFailed: if a condition of the request does not hold.
    """
    if resource.probe is not None:
        unchanged = _answer_by_probe(exchange, resource, resource.probe)
        if unchanged is not None:
            return unchanged
    target = exchange.load(resource)
    current = exchange.representation(resource, target)
    fields = resource.fields(target)
    if exchange.is_unchanged(exchange.preconditions(), current):
        return exchange.not_modified(current, fields)
    response = exchange.serve(target)
    if is_success(response):
        exchange.describe(response, current, fields)
    return response


def _answer_by_probe(exchange: Exchange, resource: Resource[..., Any], probe: Probe) -> Response | None:
    """Answer 304 without the loader. Anything else is for that, so that tag and content come from one read."""
    preconditions = exchange.preconditions()
    if preconditions.if_none_match is None and preconditions.if_modified_since is None:
        return None
    try:
        target = probe(exchange.url_arguments)
    except Exception as error:
        if refused(error):
            raise WriteConflict from error
        raise
    if target is None:
        return None
    with probe.explained(resource.name):
        current = exchange.representation(resource, target)
        fields = resource.fields(target)
    verdict = preconditions.evaluate(exchange.method, current, accept_weakened=exchange.settings.accept_weakened)
    return exchange.not_modified(current, fields) if verdict == "not modified" else None


def read_body(exchange: Exchange) -> Response:
    """Answer GET or HEAD of a view without a resource: its tag is the digest of the body that it answers.

    This saves the bytes and not the work. Streams and files are left as they are, and so is every answer but
    a 200.

    :raises PreconditionFailed: if a condition of the request does not hold.
    """
    response = exchange.serve()
    if response.status_code != 200 or response.direct_passthrough or not response.is_sequence:
        return response
    given = names_in(response.headers)
    current = _representation_of(response, given, exchange)
    if exchange.is_unchanged(exchange.preconditions(), current):
        response.status_code = 304
        response.response = []  # Werkzeug leaves out what describes it
    exchange.tag(response, current.etag, given)
    return response


def _representation_of(response: Response, given: set[str], exchange: Exchange) -> Representation:
    """Take the view's own ETag, or else the digest of the body; a body that HEAD left out has none."""
    modified = response.last_modified if "last-modified" in given else None
    if "etag" in given:
        try:
            [etag] = TagList.parse(response.headers["ETag"]).members
        except ValueError:  # there is none, or it is malformed
            return Representation(None, modified)
        return Representation(etag, modified)
    body = response.get_data()
    if not body and exchange.method == "HEAD":
        return Representation(None, modified)
    current = exchange.representation(_BODY, body)
    return current if modified is None else replace(current, last_modified=modified, shows_last_modified=True)
