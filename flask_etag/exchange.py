"""Both ends of an exchange: the conditions that a request sets, and what an answer says of its resource."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

from flask import Flask, Request, Response, after_this_request, current_app, request
from flask.views import View
from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response as BaseResponse

from flask_etag import log
from flask_etag.entity_tags import TagList
from flask_etag.errors import ForOneRequest, PreconditionFailed
from flask_etag.preconditions import Preconditions, Representation, keeps_range
from flask_etag.settings import EXTENSION, Settings, settings_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_SHARED = frozenset({"cache-control", "content-location", "expires", "vary"})
"""What a 304 has to have if the 200 has it (RFC 9110 section 15.4.5); Date and ETag come by themselves."""

_SHOWING = (200, 206, 304)

ANSWERED_AGAIN = "flask_etag.answered_again"
"""The key of the environ of a read whose answer is for a write that was done before: nobody is told of it.

There is a list of the functions that finish its response.
"""

TAGGED = "flask_etag.tagged"
"""The key of the environ where the tag of the answer is found, in debug and testing mode."""

UNDECLARED = "flask_etag.undeclared"
"""The key of the environ where, in these modes, the names of those fields are that the log has told of already."""

JUDGED = "flask_etag.judged"
"""The key of the environ of a request that has come to a decorated view, by which it is judged."""

_OF_EVERY_RESPONSE = frozenset({"Content-Length", "Content-Type"})
_NO_NAMES: frozenset[str] = frozenset()

EXPLANATION = "flask_etag.explanation"
"""The key of the environ where a request that is only to be explained has what explains it: see ``explain``."""

_NOT_MODIFIED = ("304 NOT MODIFIED", 304)  # as Werkzeug has it, which would look it up

_NOT_TO_BE_STORED = ("_flask_etag_not_to_be_stored", ForOneRequest())
"""The attribute of a 304, so that no cache above stores it."""

_READS = frozenset({"GET", "HEAD"})

_IN_ORDER = ("HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE")
"""The conditional fields, in the order in which they are judged (RFC 9110 section 13.2.2)."""

_CONDITIONS = frozenset({*_IN_ORDER, "HTTP_IF_RANGE"})
_BY_DATE = frozenset({"HTTP_IF_UNMODIFIED_SINCE", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_RANGE"})

# Looked up once: to find a method of one of Flask's proxies takes longer than to call it.
_current_app: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined]
_current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]


class Exchange:
    """The request that is being answered, and its application; each looked up once.

    :param view: the view, which takes the resource, if it is for one.
    :param url_arguments: the URL's variables, by name.
    :param view_arguments: what the view takes besides.
    :param made_by: the view's class, where that has a ``dispatch_request()`` of its own, which is handed what the
        view returns; ``None`` where Flask makes the response of it.
    :ivar outcome: what became of the request, where its answer does not tell: see ``decisions``.
    :ivar has_passed: whether the conditions of a write held when they were judged first.
    :raises RuntimeError: if the extension was never initialised for the application.
    """

    __slots__ = (
        "_app",
        "_made_by",
        "_view_arguments",
        "environ",
        "has_passed",
        "has_run_view",
        "is_read",
        "method",
        "outcome",
        "settings",
        "url_arguments",
        "view",
    )

    def __init__(
        self,
        view: Callable[..., Any],
        url_arguments: dict[str, Any],
        view_arguments: dict[str, Any],
        made_by: type[View] | None = None,
    ) -> None:
        self.view: Callable[..., Any] = view
        self._made_by = made_by
        self._view_arguments = view_arguments
        self.url_arguments: dict[str, Any] = url_arguments
        self._app = app = _current_app()
        self.settings: Settings = app.extensions.get(EXTENSION) or settings_of(app)
        current = _current_request()
        self.environ: WSGIEnvironment = current.environ
        self.environ[JUDGED] = True
        self.method: str = current.method
        self.is_read: bool = self.method in _READS
        self.has_run_view: bool = False
        self.has_passed: bool = False
        self.outcome: Literal["unchanged", "reported", "replayed"] | None = None

    def preconditions(self) -> Preconditions:
        """Return the conditions of the request, as they came: Werkzeug's own reading of them loses some."""
        return _preconditions_in(self.environ)

    def is_conditional(self) -> bool:
        """Tell whether the request sets any conditions: most set none."""
        fields = self.environ
        return (
            "HTTP_IF_NONE_MATCH" in fields
            or "HTTP_IF_MODIFIED_SINCE" in fields
            or "HTTP_IF_MATCH" in fields
            or "HTTP_IF_UNMODIFIED_SINCE" in fields
            or "HTTP_IF_RANGE" in fields
        )

    @contextmanager
    def conditions_hidden(self, current: Representation) -> Iterator[None]:
        """Hide the conditions, which have been judged, from what would judge them again below, as send_file does.

        What judges reads them in ``request.environ``; ``request.headers`` keeps them. With them goes the Range of
        which If-Range says that it is for another representation: the answer is the whole then. A resource without
        a tag leaves those with tags to whatever gives the answer one below, and without a date those with dates.
        """
        judged, if_range = _CONDITIONS, self.environ.get("HTTP_IF_RANGE")
        if current.etag is None:
            judged = _BY_DATE if current.last_modified is not None else frozenset()
            is_tag = '"' in (if_range or "")
            judged = (judged | {"HTTP_IF_MATCH"}) - ({"HTTP_IF_RANGE"} if is_tag else frozenset())
        hidden = {name: value for name, value in self.environ.items() if name not in judged}
        if "HTTP_IF_RANGE" in judged and not keeps_range(if_range, current):
            hidden.pop("HTTP_RANGE", None)
        request.environ = hidden
        try:
            yield
        finally:
            request.environ = self.environ
            self.environ.update(hidden)  # what the view has put there

    def sent(self, outcome: str, reason: str | None = None) -> str | None:
        """Return the field of the request that a decision rests on, as it came; ``None`` where there is none.

        :param outcome: what became of the request.
        :param reason: why it was refused.
        """
        rests_on_none_match = reason == "exists" or outcome == "unchanged"
        for name in _IN_ORDER[2:] if rests_on_none_match else _IN_ORDER:
            if name in self.environ:
                sent: str = self.environ[name]
                return sent
        return None

    def is_unchanged(self, preconditions: Preconditions, current: Representation | None) -> bool:
        """Judge the request: tell whether its sender has the current representation already.

        :raises PreconditionFailed: if a condition does not hold; it carries the current tag.
        """
        verdict = preconditions.evaluate(self.method, current, accept_weakened=self.settings.accept_weakened)
        if verdict in ("proceed", "not modified"):
            return verdict == "not modified"
        raise PreconditionFailed(verdict, None if current is None else current.etag)

    def serve(self, *target: Any) -> Response:
        """Run the view, on the object that was loaded if it is for one, and make a response of what it returns.

        Where that is for the view's class to do, the response is :class:`Unmade`.
        """
        self.has_run_view = True
        answer = self.view(*target, **self._view_arguments)
        # The view may keep a response that it has made, and answer it to others too.
        if isinstance(answer, self._app.response_class):
            return _copied(answer)
        if isinstance(answer, BaseResponse):
            answer = _copied(answer)  # type: ignore[arg-type]
        elif self._made_by is not None:
            return Unmade(answer)
        elif isinstance(answer, tuple) and answer and isinstance(answer[0], BaseResponse):
            answer = (_copied(answer[0]), *answer[1:])  # type: ignore[arg-type]
        return self._app.make_response(answer)

    def not_modified(self, etag: str | None, fields: Mapping[str, str]) -> Response:
        """Answer 304, with the fields that its 200 would have and without content (RFC 9110 section 15.4.5).

        Werkzeug leaves out the Content-Type that it gives to every response.
        """
        self.outcome = "unchanged"
        response = _empty_304(self._app.response_class)
        self.describe(response, etag, fields)
        return response

    def describe(self, response: Response, etag: str | None, fields: Mapping[str, str]) -> None:
        """Put on the answer to a read what is known of its resource: validators, and fields that a 304 shares.

        One that is neither 2xx nor a 304 does not speak of it.
        """
        if not 200 <= response._status_code < 300 and self.outcome is None:  # status_code is a property, and slow
            return
        if self._made_by is not None and isinstance(response, Unmade):
            response.is_to_get(etag, partial(self.describe, etag=etag, fields=fields))
            return
        given = names_in(response.headers)
        if given and not given.isdisjoint(_SHARED):
            undeclared = given & _SHARED - {name.lower() for name in fields}
            if self.settings.is_watched:
                self.environ[UNDECLARED] = undeclared
            for name in undeclared:
                log.once(
                    f"the view sets {name.title()}, which its 304 will not have; name it in "
                    "@resource(headers=...), so that both have it."
                )
        if fields:
            for name, value in fields.items():
                if name.lower() == "vary":
                    response.vary.update(part.strip() for part in value.split(","))
                else:
                    response.headers[name] = value
            given = given | {name.lower() for name in fields}
        self.tag(response, etag, given)

    def tag(self, response: Response, etag: str | None, given: Container[str]) -> None:
        """Put an entity tag on an answer, and on a 200, 206 or 304 the Cache-Control that goes with it.

        :param etag: the value of the field.
        :param given: the names of the fields that the answer has, as :func:`names_in` gives them.
        """
        if etag is None:
            return
        if self._made_by is not None and isinstance(response, Unmade):
            response.is_to_get(etag, lambda made: self.tag(made, etag, names_in(made.headers)))
            return
        if self.settings.is_watched:
            self.environ[TAGGED] = etag
        headers = response.headers
        added = headers._list  # add() would look for line breaks in values that were looked at before
        if "etag" not in given:
            added.append(("ETag", etag))
        elif headers["ETag"] != etag:
            if not response.direct_passthrough:  # a file, to which send_file gives one
                log.once("the view sets an ETag of its own; the one of its resource replaces it.")
            headers["ETag"] = etag
        cache_control = self.settings.cache_control
        if cache_control is not None and "cache-control" not in given and response._status_code in _SHOWING:
            added.append(("Cache-Control", cache_control))

    def handed_on(self, response: Response) -> Any:
        """Return what the class's own ``dispatch_request()`` is handed, as if the view were not decorated.

        Whatever it makes of that, the response gets what the answer was to get, as soon as there is one. A 304, or
        the answer to a write that was done before, is handed on as a response, and leaves as it is.
        """
        if isinstance(response, Unmade):
            if response.finish is not None:
                self.once_made(response.finished)
            return response.answer
        if self.outcome in ("unchanged", "replayed"):
            vars(response)["__html__"] = str  # jsonify() takes it for an empty text then, and does not fail
            self.once_made(partial(_kept, response, response.status_code))
        return response

    def once_made(self, finish: Callable[[Response], Response]) -> None:
        """Let a function finish the response to the request, as soon as there is one.

        Not where another class of views has called this one: the response is of more than this view then.
        """
        answering = self._app.view_functions.get(request.endpoint or "")
        if getattr(answering, "view_class", self._made_by) is not self._made_by:
            return
        again: list[Callable[[Response], Response]] | None = self.environ.get(ANSWERED_AGAIN)
        if again is None:
            after_this_request(finish)
        else:
            again.append(finish)


def is_answered_by_304(environ: WSGIEnvironment, response: BaseResponse) -> bool:
    """Tell whether a 304 can be the answer to a request: whether that has the representation which the 304 names.

    By a date, it names one with Last-Modified, as ours do (RFC 9110 section 15.4.5).
    """
    try:
        [named] = TagList.parse(response.headers.get("ETag", "")).members
    except ValueError:
        named = None
    current = Representation(named, response.last_modified)
    accept_weakened = settings_of(current_app).accept_weakened
    verdict = _preconditions_in(environ).evaluate("GET", current, accept_weakened=accept_weakened)
    return verdict == "not modified"


def _preconditions_in(fields: WSGIEnvironment) -> Preconditions:
    return Preconditions(
        fields.get("HTTP_IF_MATCH"),
        fields.get("HTTP_IF_NONE_MATCH"),
        fields.get("HTTP_IF_MODIFIED_SINCE"),
        fields.get("HTTP_IF_UNMODIFIED_SINCE"),
    )


class Unmade(Response):
    """An answer that others are still to make a response of, which it stands for: status and fields, no content.

    Flask-RESTful and Flask-RESTX have representations for other media types, and for ``None, 204``. A class of the
    application's own may call ``jsonify()`` on what its methods return.

    :param answer: what the view has returned: data, or a tuple of data, and a status, fields, or both.
    :ivar finish: what is to be done with the response; ``None`` for nothing.
    """

    default_mimetype: str | None = None

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.finish: Callable[[Response], None] | None = None
        super().__init__(**_told_by(answer))

    def is_to_get(self, etag: str | None, finish: Callable[[Response], None]) -> None:
        """Note the tag of the response, and what is to be done with that."""
        if etag is not None:
            self.headers["ETag"] = etag
        self.finish = finish

    def finished(self, made: Response) -> Response:
        """Return the response that was made, finished; one of another status, as of an error, as it is."""
        if self.finish is None or made.status_code != self.status_code:
            return made
        made = _copied(made)
        self.finish(made)
        return made


def _told_by(answer: Any) -> dict[str, Any]:
    """Return the status and the fields that an answer has, as Flask reads them; any other tuple is data alone."""
    if not isinstance(answer, tuple) or len(answer) not in (2, 3):
        return {}
    told: dict[str, Any] = {}
    rest = list(answer[1:])
    if isinstance(rest[0], int | str) and re.match(r"[1-5]\d\d(\s|$)", str(rest[0])):
        told["status"] = rest.pop(0)
    if len(rest) == 1 and isinstance(rest[0], Mapping | list | tuple | Headers):
        with suppress(TypeError, ValueError):
            told["headers"] = Headers(rest[0])
    return told


def _kept(response: Response, status: int, made: Response) -> Response:
    """Return the response that Flask-ETag has made, whatever else was made of it, with fields that came to it.

    :param status: which it had.
    :param made: what has become of it; an error stays one.
    """
    if made.status_code >= 400:
        return made
    response.status_code = status
    known = names_in(response.headers) | {name.lower() for name in _OF_EVERY_RESPONSE}
    for name, value in made.headers:
        if name.lower() not in known:
            response.headers.add(name, value)
    return response


def without_content(response: Response, given: Container[str]) -> Response:
    """Turn a 200 into the 304 in its place.

    Of its fields, Werkzeug leaves out those that describe the content.

    :param given: the names of the fields that it has, as :func:`names_in` gives them.
    """
    if not given:
        response.headers._list = []
    response._status, response._status_code = _NOT_MODIFIED
    response.response = []
    setattr(response, *_NOT_TO_BE_STORED)
    return response


def shared_fields(response: Response) -> dict[str, AbstractSet[str]]:
    """Return what an answer says in the fields that a 200 and its 304 share, so that the two can be compared.

    Of Vary, the fields that it names; of Cache-Control, all its directives as one, without their values; of the
    others, that they are there: their values may be those of the moment.
    """
    says: dict[str, AbstractSet[str]] = {name: {name} for name in _SHARED & names_in(response.headers)}
    if "vary" in says:
        says["vary"] = {part.lower() for part in response.vary}
    if "cache-control" in says:
        says["cache-control"] = {" ".join(sorted(response.cache_control))}
    return says


def _empty_304(response_class: type[Response]) -> Response:
    """Return a 304 without content: a copy of the first one, which takes a third of what making it anew does.

    An ``__init__()`` of the application's own makes each, since it may look at the request.
    """
    if response_class.__init__ is not BaseResponse.__init__:
        response = response_class(status=304, content_type="")
    else:
        response = _copied(_first_304(response_class))  # type: ignore[arg-type]
        response.response, response._on_close = [], []
    setattr(response, *_NOT_TO_BE_STORED)
    return response


@lru_cache(maxsize=8)
def _first_304(response_class: type[Response]) -> Response:
    return response_class(status=304, content_type="")


_new = object.__new__  # looked up once, which takes as long as what it does


def _copied(response: Response) -> Response:
    """Return a response that can be changed without the other being changed; its content is shared.

    What every response has is copied by name: copy.copy() takes ten times as long, and what Werkzeug does with a
    copy whose attributes came all at once, twice as long as with this one.
    """
    copied: Response = _new(type(response))
    copied.headers = headers = _new(Headers)
    headers._list = response.headers._list[:]  # to make it anew, each field is looked at
    copied._status = response._status
    copied._status_code = response._status_code
    copied.direct_passthrough = response.direct_passthrough
    copied._on_close = response._on_close
    copied.response = response.response
    attributes = vars(response)
    if len(attributes) > _ATTRIBUTES:
        vars(copied).update({name: value for name, value in attributes.items() if name != "headers"})
    return copied


_ATTRIBUTES = len(vars(Response()))  # of every response: any more are the application's own


def names_in(headers: Headers) -> AbstractSet[str]:
    """Return the names of the fields, in small letters; none where there are only those of every response.

    That is quick to see of most, and to ask Werkzeug for a field that is not there is slow.
    """
    for name, _ in headers._list:
        if name not in _OF_EVERY_RESPONSE:
            return {name.lower() for name, _ in headers}
    return _NO_NAMES
