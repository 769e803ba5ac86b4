"""Both ends of an exchange: the conditions that a request sets, and what an answer says of its resource."""

from __future__ import annotations

from flask import Response, current_app, request

from flask_etag.entity_tags import EntityTag
from flask_etag.errors import PreconditionFailed
from flask_etag.preconditions import Preconditions, Representation
from flask_etag.settings import settings_of


def asked() -> Preconditions:
    """Return the conditions of the request, as they came: Werkzeug's own reading of them loses some."""
    fields = request.environ
    return Preconditions(
        if_match=fields.get("HTTP_IF_MATCH"),
        if_none_match=fields.get("HTTP_IF_NONE_MATCH"),
        if_modified_since=fields.get("HTTP_IF_MODIFIED_SINCE"),
        if_unmodified_since=fields.get("HTTP_IF_UNMODIFIED_SINCE"),
    )


def is_unchanged(preconditions: Preconditions, current: Representation) -> bool:
    """Judge the request: tell whether its sender has the current representation already.

    :raises PreconditionFailed: if a condition does not hold; it carries the current tag.
    """
    verdict = preconditions.evaluate(request.method, current)
    if verdict in ("proceed", "not modified"):
        return verdict == "not modified"
    raise PreconditionFailed(verdict, current.etag)


def not_modified(current: Representation) -> Response:
    """Answer 304, with the fields that its 200 would have and without content (RFC 9110 section 15.4.5)."""
    response = current_app.response_class(status=304)
    del response.headers["Content-Type"]
    tag(response, current.etag)
    return response


def is_success(response: Response) -> bool:
    """Tell whether an answer is a 2xx."""
    return 200 <= response.status_code < 300


def tag(response: Response, etag: EntityTag | None) -> None:
    """Put an entity tag on an answer, and on a 200 or a 304 the Cache-Control that goes with it."""
    if etag is None:
        return
    response.headers["ETag"] = str(etag)
    cache_control = settings_of(current_app.extensions).cache_control
    if cache_control is not None and response.status_code in (200, 304):
        response.headers.setdefault("Cache-Control", cache_control)
