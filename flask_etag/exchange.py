"""Both ends of an exchange: the conditions that a request sets, and what an answer says of its resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, current_app, request
from werkzeug.http import http_date

from flask_etag import log
from flask_etag.entity_tags import EntityTag
from flask_etag.errors import PreconditionFailed, WriteConflict
from flask_etag.guards import refused
from flask_etag.preconditions import Preconditions, Representation
from flask_etag.settings import settings

_SHARED = frozenset({"cache-control", "content-location", "expires", "vary"})
"""What a 304 has to have if the 200 has it (RFC 9110 section 15.4.5); Date and ETag come by themselves."""


def load(loader: Callable[[dict[str, Any]], Any], url_arguments: dict[str, Any]) -> Any:
    """Load the target, unless its store is held by another writer for longer than it waits."""
    try:
        return loader(url_arguments)
    except Exception as error:
        if refused(error):
            raise WriteConflict from error
        raise


def asked() -> Preconditions:
    """Return the conditions of the request, as they came: Werkzeug's own reading of them loses some."""
    fields = request.environ
    return Preconditions(
        if_match=fields.get("HTTP_IF_MATCH"),
        if_none_match=fields.get("HTTP_IF_NONE_MATCH"),
        if_modified_since=fields.get("HTTP_IF_MODIFIED_SINCE"),
        if_unmodified_since=fields.get("HTTP_IF_UNMODIFIED_SINCE"),
    )


def is_unchanged(preconditions: Preconditions, current: Representation | None) -> bool:
    """Judge the request: tell whether its sender has the current representation already.

    :raises PreconditionFailed: if a condition does not hold; it carries the current tag.
    """
    verdict = preconditions.evaluate(request.method, current, accept_weakened=settings().accept_weakened)
    if verdict in ("proceed", "not modified"):
        return verdict == "not modified"
    raise PreconditionFailed(verdict, None if current is None else current.etag)


def not_modified(current: Representation, fields: Mapping[str, str]) -> Response:
    """Answer 304, with the fields that its 200 would have and without content (RFC 9110 section 15.4.5)."""
    response = current_app.response_class(status=304)
    del response.headers["Content-Type"]
    describe(response, current, fields)
    return response


def describe(response: Response, current: Representation, fields: Mapping[str, str]) -> None:
    """Put on the answer to a read what is known of its resource: validators, and the fields that 304 shares."""
    declared = {name.lower() for name in fields}
    for name in {name.lower() for name, _ in response.headers} - declared:
        if name in _SHARED:
            log.once(
                f"the view sets {name.title()}, which its 304 will not have; name it in @resource(headers=...), "
                "so that both have it."
            )
    for name, value in fields.items():
        if name.lower() == "vary":
            response.vary.update(part.strip() for part in value.split(","))
        else:
            response.headers[name] = value
    if current.last_modified is not None and current.shows_last_modified:
        response.headers["Last-Modified"] = http_date(current.last_modified)
    tag(response, current.etag)


def is_success(response: Response) -> bool:
    """Tell whether an answer is a 2xx."""
    return 200 <= response.status_code < 300


def tag(response: Response, etag: EntityTag | None) -> None:
    """Put an entity tag on an answer, and on a 200 or a 304 the Cache-Control that goes with it."""
    if etag is None:
        return
    given = response.headers.get("ETag")
    if given is not None and given != str(etag):
        log.once("the view sets an ETag of its own; the one of its resource replaces it.")
    response.headers["ETag"] = str(etag)
    cache_control = settings().cache_control
    if cache_control is not None and response.status_code in (200, 304):
        response.headers.setdefault("Cache-Control", cache_control)
