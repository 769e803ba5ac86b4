"""The errors that refuse a request, and the problem documents that they become.

Sources: RFC 9110 sections 15.5.10 (409) and 15.5.13 (412), RFC 6585 section 3 (428), RFC 9457 (the document).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from flask import current_app, has_request_context, request
from werkzeug import exceptions

from flask_etag.apis import api_of, has_handler
from flask_etag.entity_tags import MAX_FIELD_LENGTH, MAX_MEMBERS, EntityTag

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

TYPE_PREFIX = "https://flask-etag.readthedocs.io/errors#"
"""The beginning of a problem's ``type``; the reason follows."""

_ADVICE = {
    "missing": (
        "Precondition required",
        "This request has to say which state of the resource it was made for. Fetch the resource with GET, "
        "and repeat the request with If-Match and the ETag that you were given.",
    ),
    "stale": (
        "The resource has changed",
        "It has changed since you fetched it, and nothing was changed now. Fetch it again with GET, merge your "
        "change into what you find, and repeat the request with If-Match and the new ETag.",
    ),
    "exists": (
        "The resource exists",
        "If-None-Match asked for a refusal in that case, so nothing was changed. To change what is there, "
        "fetch it with GET, and repeat the request with If-Match and its ETag.",
    ),
    "absent": (
        "The resource does not exist",
        "If-Match names a state of it, and there is none: perhaps it has been deleted. To create it, repeat "
        "the request with If-None-Match: * in the place of If-Match.",
    ),
    "malformed": (
        "Malformed precondition",
        "If-Match or If-None-Match cannot be read, so nothing was changed. Each takes * or a list of ETags, as "
        'they were given and with their quotes, such as "abc", "def": '
        f"at most {MAX_MEMBERS} of them, and {MAX_FIELD_LENGTH} characters.",
    ),
    "unverifiable": (
        "The resource has no strong ETag",
        "No ETag in If-Match can be compared with its current state, so nothing was changed. "
        "If-Match: * would match any state of it.",
    ),
    "weakened": (
        "The ETag was altered on its way",
        "If-Match has the right ETag, but with W/ before it or a suffix such as -gzip in it: a proxy that "
        "compresses answers does that. Nothing was changed. To go on, repeat the request with If-Match and the "
        "ETag of this answer, which is the same one as it was sent. The service can also be told to accept "
        "altered ones (ETAG_ACCEPT_WEAKENED).",
    ),
    "busy": (
        "The resource is being written",
        "Somebody else is writing it, and was waited for in vain. Nothing of this request was done. Repeat it in "
        "a moment.",
    ),
    "partial": (
        "Only a part was done",
        "Another request changed the same data at the same moment. A part of this request had been done by then, "
        "and the rest was not. Fetch the resource with GET, see what is there, and repeat what is missing.",
    ),
    "conflict": (
        "Another request was first",
        "Another request changed the same data at the same moment, and this one was refused. Fetch the "
        "resource with GET, see whether your change still applies, and repeat it.",
    ),
}

_ADVICE_ON_ITEMS = {
    412: (
        "Nothing was changed. The items of the request that are the reason are named in items, each by its index, "
        "with its own reason and its current ETag. Fetch these again with GET, merge your changes, and repeat the "
        "whole request with the new ETags."
    ),
    428: (
        "Each item of this request has to say which state of its resource it was made for, and those named in "
        "items do not. Fetch these with GET, and repeat the whole request with the ETag of each."
    ),
}


class ForOneRequest:
    """What answers the conditions of one request, and is wrong for any other: a cache cannot store it.

    A cache on the server pickles what it stores; so to pickle it is refused, and then nothing is stored.
    """

    def __reduce__(self) -> NoReturn:
        """Refuse to be stored.

        :raises TypeError: always.
        """
        raise TypeError(
            "A 304, 412, 428 or 409 answers the conditions of one request, and is not to be stored for others. "
            "Let a cache above etag_resource store what is 200 alone: "
            "@cache.cached(response_filter=lambda answer: answer.status_code == 200)."
        )


class ConditionalRequestError(ForOneRequest, exceptions.HTTPException):
    """A request was refused: for the state of its target that it names, or because it names none.

    The base of :class:`PreconditionFailed`, :class:`PreconditionRequired` and :class:`WriteConflict`.

    :param reason: why it was refused: ``missing``, ``conflict``, ``busy``, ``partial``, or one of
        :data:`flask_etag.preconditions.Reason`. Of several items, the reason of the first one that was refused.
    :param items: the items that were refused, where one request writes several resources: the ``index`` of each in
        the request, its ``reason``, on a 412 its current ``etag``, and the loader's arguments.
    :ivar resource: the name of the resource, once a decorated view has raised the error; ``None`` without one.
    :ivar sent: the field of the request that was judged, as it came: a stranger's text, of any length.
    :ivar raced: whether the first judgement had passed, so that the store refused and not the check.
    :ivar is_told: whether it was told already: a view that calls another has the other's refusal pass through.
    """

    resource: str | None = None
    sent: str | None = None
    raced: bool = False
    is_told: bool = False

    def __init__(self, reason: str, items: Sequence[Mapping[str, Any]] = ()) -> None:
        self.reason = reason
        self.items = items
        self.title: str
        self.title, detail = _ADVICE[reason]
        super().__init__(_ADVICE_ON_ITEMS[self.code or 0] if items else detail)

    def problem(self) -> dict[str, Any]:
        """Return the members of the problem document (RFC 9457 section 3)."""
        problem = {
            "type": TYPE_PREFIX + self.reason,
            "title": self.title,
            "status": self.code,
            "detail": self.description,
            "reason": self.reason,
        }
        return {**problem, "items": list(self.items)} if self.items else problem

    @property
    def data(self) -> dict[str, Any]:
        """What Flask-RESTful and Flask-RESTX answer: a ``message``, as of every error, and the members.

        :raises AttributeError: where the application has registered a handler for it in RESTX, which would answer
            these all the same, in the place of what the handler has made.
        """
        if has_request_context() and has_handler(api_of(current_app, request.endpoint or ""), type(self)):
            raise AttributeError("The application has a handler of its own: problem() has the members.")
        return {"message": self.description, **self.problem()}

    def get_body(self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None) -> str:
        """Return the problem document as JSON, for Werkzeug, which makes the response."""
        del environ, scope
        return json.dumps(self.problem()) + "\n"

    def get_headers(
        self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        """Return the fields of the response: no cache may store it (RFC 6585 section 3)."""
        del environ, scope
        return [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]


class PreconditionFailed(ConditionalRequestError, exceptions.PreconditionFailed):
    """412: a condition of the request does not hold (RFC 9110 section 15.5.13).

    :param reason: one of :data:`flask_etag.preconditions.Reason`.
    :param etag: the current entity tag of the target, where it has one: ``str()`` of it is the text for a field or
        for JSON, which :meth:`problem` has already.
    :param items: as of :class:`ConditionalRequestError`.
    """

    def __init__(
        self, reason: str, etag: EntityTag | None = None, items: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(reason, items)
        self.etag = etag

    def problem(self) -> dict[str, Any]:
        """Add ``etag``, the current one, quotes included; ``None`` where there is none."""
        return {**super().problem(), "etag": None if self.etag is None else str(self.etag)}

    def get_headers(
        self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        """Add the current ETag."""
        headers = super().get_headers(environ, scope)
        return headers if self.etag is None else [*headers, ("ETag", str(self.etag))]


class PreconditionRequired(ConditionalRequestError, exceptions.PreconditionRequired):
    """428: the request sets no condition that would protect what others wrote (RFC 6585 section 3).

    :param items: as of :class:`ConditionalRequestError`.
    """

    def __init__(self, items: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__("missing", items)


class WriteConflict(ConditionalRequestError, exceptions.Conflict):
    """409: the database refused the write, although the request's conditions may hold (RFC 9110 section 15.5.10).

    :param reason: ``conflict``: another request was first. ``busy``: this one has waited for a lock in vain, and
        changed nothing. ``partial``: the view had committed a part before the rest was refused.
    """

    def __init__(self, reason: str = "conflict") -> None:
        super().__init__(reason)

    def get_headers(
        self, environ: WSGIEnvironment | None = None, scope: dict[str, Any] | None = None
    ) -> list[tuple[str, str]]:
        """Add Retry-After to a ``busy``, which the client can simply repeat (RFC 9110 section 10.2.3)."""
        headers = super().get_headers(environ, scope)
        return [*headers, ("Retry-After", "1")] if self.reason == "busy" else headers
