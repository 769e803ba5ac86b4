"""The story of a conditional read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from flask_etag.entity_tags import EntityTag, MalformedField, TagList
from flask_etag.exchange import asked, describe, is_success, is_unchanged, load, not_modified, tag
from flask_etag.preconditions import Representation
from flask_etag.resources import Resource
from flask_etag.settings import settings
from flask_etag.validators import digest


def read(
    resource: Resource[..., Any], url_arguments: dict[str, Any], serve: Callable[[Any], Response]
) -> Response:
    """Answer GET or HEAD: 304 where the sender has the current representation, or else the view's answer.

    :param serve: runs the view on the object that was loaded.
    :raises PreconditionFailed: if a condition of the request does not hold.
    """
    target = load(resource.load_existing, url_arguments)
    current = resource.representation(target)
    fields = resource.fields(target)
    if is_unchanged(asked(), current):
        return not_modified(current, fields)
    response = serve(target)
    if is_success(response):
        describe(response, current, fields)
    return response


def read_body(serve: Callable[[], Response]) -> Response:
    """Answer GET or HEAD of a view without a resource: its tag is the digest of the body that it answers.

    This saves the bytes and not the work. Streams and files are left as they are, and so is every answer but
    a 200.

    :param serve: runs the view.
    :raises PreconditionFailed: if a condition of the request does not hold.
    """
    response = serve()
    if response.status_code != 200 or response.direct_passthrough or not response.is_sequence:
        return response
    current = _representation_of(response)
    if is_unchanged(asked(), current):
        response.status_code = 304
        response.response = []
        del response.headers["Content-Type"]
        response.headers.pop("Content-Length", None)
    tag(response, current.etag)
    return response


def _representation_of(response: Response) -> Representation:
    """Take the view's own ETag, or else the digest of the body; a body that HEAD left out has none."""
    given = response.headers.get("ETag")
    if given is not None:
        try:
            [etag] = TagList.parse(given).members
        except (MalformedField, ValueError):
            etag = None
        return Representation(etag, response.last_modified)
    body = response.get_data()
    if request.method == "HEAD" and not body:
        return Representation(None, response.last_modified)
    configured = settings()
    state = opaque = digest(("body", body), configured.key)
    if configured.epoch:
        opaque = f"{state}.{digest(('epoch', configured.epoch), configured.key)}"
    return Representation(EntityTag(opaque), response.last_modified, state)
