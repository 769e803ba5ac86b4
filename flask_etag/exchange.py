"""Both ends of an exchange: the conditions that a request sets, and what an answer says of its resource."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Request, Response, current_app, request
from werkzeug.http import http_date

from flask_etag import log
from flask_etag.entity_tags import EntityTag
from flask_etag.errors import PreconditionFailed, WriteConflict
from flask_etag.guards import refused
from flask_etag.preconditions import Preconditions, Representation
from flask_etag.resources import Resource
from flask_etag.settings import Settings, settings_of

_SHARED = frozenset({"cache-control", "content-location", "expires", "vary"})
"""What a 304 has to have if the 200 has it (RFC 9110 section 15.4.5); Date and ETag come by themselves."""


class Exchange:
    """The request that is being answered, and its application; each looked up once.

    :raises RuntimeError: if the extension was never initialised for the application.
    """

    __slots__ = ("_app", "_request", "method", "settings")

    def __init__(self) -> None:
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._request: Request = request._get_current_object()  # type: ignore[attr-defined]
        self.settings: Settings = settings_of(self._app)
        self.method = self._request.method

    def load(self, loader: Callable[[dict[str, Any]], Any], url_arguments: dict[str, Any]) -> Any:
        """Load the target.

        :raises WriteConflict: if its store is held by another writer, for longer than it waits.
        """
        try:
            return loader(url_arguments)
        except Exception as error:
            if refused(error):
                raise WriteConflict from error
            raise

    def preconditions(self) -> Preconditions:
        """Return the conditions of the request, as they came: Werkzeug's own reading of them loses some."""
        fields = self._request.environ
        return Preconditions(
            fields.get("HTTP_IF_MATCH"),
            fields.get("HTTP_IF_NONE_MATCH"),
            fields.get("HTTP_IF_MODIFIED_SINCE"),
            fields.get("HTTP_IF_UNMODIFIED_SINCE"),
        )

    def representation(self, resource: Resource[..., Any], target: Any) -> Representation:
        """Return what the conditions are compared with."""
        return resource.representation(target, self.settings)

    def is_unchanged(self, preconditions: Preconditions, current: Representation | None) -> bool:
        """Judge the request: tell whether its sender has the current representation already.

        :raises PreconditionFailed: if a condition does not hold; it carries the current tag.
        """
        verdict = preconditions.evaluate(self.method, current, accept_weakened=self.settings.accept_weakened)
        if verdict in ("proceed", "not modified"):
            return verdict == "not modified"
        raise PreconditionFailed(verdict, None if current is None else current.etag)

    def response(self, answer: Any) -> Response:
        """Make a response of what a view returned."""
        return self._app.make_response(answer)

    def run(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return an ``async`` function as one that can be called."""
        return self._app.ensure_sync(function)

    def not_modified(self, current: Representation, fields: Mapping[str, str]) -> Response:
        """Answer 304, with the fields that its 200 would have and without content (RFC 9110 section 15.4.5)."""
        response = self._app.response_class(status=304)
        del response.headers["Content-Type"]
        self.describe(response, current, fields)
        return response

    def describe(self, response: Response, current: Representation, fields: Mapping[str, str]) -> None:
        """Put on the answer to a read what is known of its resource: validators, and fields that a 304 shares."""
        headers = response.headers
        given = {name.lower() for name, _ in headers}
        if fields:
            given.difference_update([name.lower() for name in fields])
            for name, value in fields.items():
                if name.lower() == "vary":
                    response.vary.update(part.strip() for part in value.split(","))
                else:
                    headers[name] = value
        for name in given & _SHARED:
            log.once(
                f"the view sets {name.title()}, which its 304 will not have; name it in @resource(headers=...), "
                "so that both have it."
            )
        if current.last_modified is not None and current.shows_last_modified:
            headers["Last-Modified"] = http_date(current.last_modified)
        self.tag(response, current.etag)

    def tag(self, response: Response, etag: EntityTag | None) -> None:
        """Put an entity tag on an answer, and on a 200 or a 304 the Cache-Control that goes with it."""
        if etag is None:
            return
        headers = response.headers
        value = str(etag)
        given = {name.lower() for name, _ in headers}
        if "etag" not in given:
            headers.add("ETag", value)
        elif headers["ETag"] != value:
            log.once("the view sets an ETag of its own; the one of its resource replaces it.")
            headers["ETag"] = value
        cache_control = self.settings.cache_control
        if cache_control is not None and "cache-control" not in given and response.status_code in (200, 304):
            headers.add("Cache-Control", cache_control)


def is_success(response: Response) -> bool:
    """Tell whether an answer is a 2xx."""
    return 200 <= response.status_code < 300
