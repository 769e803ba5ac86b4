"""A lost answer: a write that was done, and comes again since its answer was lost, is known by what it has left.

Under ``replay=True`` the version that a write makes is no random one: it is a digest of the request that makes it,
and of the row's key. An identical request that comes again finds its own version, and is answered 2xx, as RFC 9110
section 13.1.1 allows, in the place of a 412. It takes no table, and no field of the client's. Whatever else has
written the row since has left another version: then the 412 is right.

That a request was done is never guessed. A version is a digest under ``ETAG_KEY``, so that nobody can make one;
the tag in If-Match is of a version that never comes again, so that the request can have been done only once; and
both come with one commit, the view's only one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from inspect import iscoroutinefunction
from io import BytesIO
from os import urandom
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BuildError

from flask_etag import log
from flask_etag.audit import Unprotected, protection_of
from flask_etag.backend import SeveralCommits, Unit, owner_of
from flask_etag.batches import Batch, Item
from flask_etag.entity_tags import EntityTag, MalformedField, TagList
from flask_etag.errors import PreconditionFailed
from flask_etag.exchange import ANSWERED_AGAIN, Exchange, names_in
from flask_etag.fingerprints import LENGTH, Fingerprint, message_of
from flask_etag.preconditions import Preconditions
from flask_etag.resources import Resource
from flask_etag.writing import Subject, Target, write

Caller = Callable[[], object]
"""Tells who sends the request, as a text, a number or a UUID: it is part of what tells two requests apart."""

MAX_BODY = 2**20
"""How long a body may be, in bytes: it is kept in memory. A request with a longer one is not known again."""

MAX_VERSIONS = 16
"""How often a view may write its row in one request, and the request still be known again."""

_CONDITIONS = ("HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_UNMODIFIED_SINCE")
_OF_CONTENT = ("HTTP_IF_RANGE", "HTTP_RANGE", "HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "CONTENT_TYPE")


class Replay:
    """How the views of a resource answer a write that was done before.

    :param caller: tells who sends a request; ``None`` where that is nothing that tells two requests apart.
    :raises TypeError: if the tag of the resource is of something else than the version that a write makes.
    """

    def __init__(self, resource: Resource[..., Any], caller: Caller | None) -> None:
        if resource.validator.source != "version" or resource.has_lock or resource.swaps:
            raise TypeError(
                "replay= takes a resource whose tag is the version of flask_etag.sqlalchemy.Versioned: "
                f"{resource.name} has etag=, lock= or swaps=."
            )
        self._resource = resource
        self._caller = caller
        self._commits_once = True  # as far as was seen

    def write(self, exchange: Exchange, unprotected: Unprotected, *, create: bool) -> Response:
        """Answer a request that writes, or has written and comes again: the story of a write, and one step more.

        :param unprotected: what becomes of a request that sets no condition on what it overwrites.
        :param create: whether a PUT or POST may find nothing; what it makes then is not known again.
        """
        known_by = self._known_by(exchange)
        target = _Target(known_by, exchange, self._resource, exchange.preconditions(), create=create)
        try:
            return self._written(exchange, target, unprotected)
        except _Replayed as replayed:
            return _answer(exchange, self._resource, replayed.etags[0])

    def write_each(
        self, exchange: Exchange, unprotected: Unprotected, each: Callable[..., Iterable[Item]]
    ) -> Response:
        """Answer a request that writes several resources, or has written them and comes again.

        Then its answer names each item, by its arguments, with its current tag, as a 412 does.
        """
        batch = _Batch(self._known_by(exchange), exchange, self._resource, each)
        try:
            return self._written(exchange, batch, unprotected)
        except _Replayed as replayed:
            exchange.outcome = "replayed"
            return current_app.make_response({"items": batch.named(replayed.etags)})

    def _written(self, exchange: Exchange, subject: Subject, unprotected: Unprotected) -> Response:
        try:
            return write(exchange, subject, unprotected)
        except SeveralCommits:
            self._commits_once = False
            raise

    def _known_by(self, exchange: Exchange) -> _KnownBy:
        """Return what a request is known by, which is nothing once the view was seen to commit more than once.

        It is refused, but at its second commit; should it be cut off before that, nobody is told that it is done.
        """
        return _KnownBy(exchange, self._caller, is_known=self._commits_once)


def replay_of(resource: Resource[..., Any], option: object) -> Replay | None:
    """Return what ``replay=`` asks for; ``None`` where it asks for nothing.

    :raises TypeError: if the option is neither a bool nor a function, or the resource cannot be replayed.
    """
    if option is False:
        return None
    if option is not True and (not callable(option) or iscoroutinefunction(option)):
        raise TypeError(
            f"replay= takes True, or a function that tells who sends the request, and was given {option!r}."
        )
    return Replay(resource, None if option is True else option)


class _Replayed(Exception):
    """The request was done already: what it wrote is as it has left it.

    :param etags: the current tag of its target, or of each item of a batch.
    """

    def __init__(self, etags: list[EntityTag]) -> None:
        super().__init__()
        self.etags = etags


class _KnownBy:
    """What one request is known by when it comes again: the versions that it makes.

    :param is_known: whether it may be; if not, it makes versions that no other makes.
    :raises RuntimeError: if there is no ``ETAG_KEY``.
    """

    def __init__(self, exchange: Exchange, caller: Caller | None, *, is_known: bool) -> None:
        if exchange.settings.key is None:
            raise RuntimeError(
                f"{request.endpoint}: replay= needs ETAG_KEY, a secret: without it, who knows the request, and "
                "guesses what is short in it, could tell from a tag that the guess was right."
            )
        self._key = exchange.settings.key
        self._former_keys = [key for key in exchange.settings.former_keys if key is not None]
        self._caller = caller
        self._nonce = () if is_known else (urandom(16).hex(),)
        self._terms: tuple[object, ...] | None = None
        self._has_read = False

    def versions(self, target: Any, if_match: str | None) -> Sequence[str]:
        """Return the versions that the request makes of an object, one after the other; none if it has to be new.

        :param if_match: the field, or what stands for it in an item of a batch.
        :raises TypeError: if the object is of no model with ``Versioned``.
        """
        owner = owner_of(target)
        if owner is None or not owner.takes_versions(target) or hasattr(type(target), "__etag__"):
            raise TypeError(
                f"{request.endpoint}: replay= needs a model with flask_etag.sqlalchemy.Versioned, whose version "
                f"is its tag, and {type(target).__name__} is none."
            )
        if not self._has_read:
            self._terms, self._has_read = self._read(), True
        if self._terms is None or not _is_one_tag(if_match):
            return ()
        return _versions(self._key, if_match, *self._terms, *owner.scope_of(target))

    def versions_by_former_keys(self, target: Any, if_match: str | None) -> Iterator[Sequence[str]]:
        """Yield the versions that the request has made if it was done under a key of before, key by key."""
        owner = owner_of(target)
        if owner is not None and self._terms is not None:
            for key in self._former_keys:
                yield _versions(key, if_match, *self._terms, *owner.scope_of(target))

    def _read(self) -> tuple[object, ...] | None:
        """Return what tells the request from any other; ``None`` where that cannot be told."""
        body = _body()
        if body is None:
            log.once(
                f"its body is streamed, or longer than {MAX_BODY} bytes: it is not known, should it come again."
            )
            return None
        environ = request.environ
        url = [request.host, *(environ.get(name, "") for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING"))]
        kind = [environ.get(name, "") for name in ("CONTENT_TYPE", "HTTP_CONTENT_ENCODING")]
        caller = () if self._caller is None else self._caller()
        callers = caller if isinstance(caller, tuple) else (caller,)
        named = [f"{type(each).__name__} {each}" for each in callers]  # None is not the text of that name
        return (
            request.method,
            *url,
            *kind,
            sha256(body).digest(),
            type(caller).__name__,
            len(named),
            *named,
            *self._nonce,
        )


def _versions(key: bytes, *terms: object) -> Sequence[str]:
    """Return the versions that a request makes, one after the other.

    :param terms: what tells the request, and the row, from all others.
    """

    def digest(*terms: object) -> str:
        return Fingerprint(message_of("replay", *terms)).digest(key)  # past the cache: nobody asks again

    versions = [digest(*terms)]
    while len(versions) < MAX_VERSIONS:
        versions.append(digest(versions[-1]))
    return versions


class _Item(Target):
    """A resource that a request writes, or has written: one of a batch."""

    def __init__(
        self,
        known_by: _KnownBy,
        exchange: Exchange,
        resource: Resource[..., Any],
        preconditions: Preconditions,
        *,
        create: bool = False,
    ) -> None:
        super().__init__(exchange, resource, preconditions, create=create)
        self._known_by = known_by
        self._versions: Sequence[str] = ()

    def load(self, unit: Unit) -> None:
        """Load the target, claim it, and plan the versions that the request makes of it."""
        super().load(unit)
        conditions = self._preconditions
        others = (conditions.if_none_match, conditions.if_modified_since, conditions.if_unmodified_since)
        self._versions = ()
        if self.handed is not None and others == (None, None, None):
            self._versions = self._known_by.versions(self.handed, conditions.if_match)
            unit.plan(self._versions)

    @property
    def names_one_state(self) -> bool:
        """Whether the request names the state of it that it replaces, by one tag."""
        return bool(self._versions)

    @property
    def was_left_by_request(self) -> bool:
        """Whether the request itself has made the state that was loaded."""
        owner = owner_of(self.handed)
        if owner is None or not self.names_one_state:
            return False
        version = owner.scoped_version_of(self.handed)[-1]
        former = self._known_by.versions_by_former_keys(self.handed, self._preconditions.if_match)
        return version in self._versions or any(version in versions for versions in former)


class _Target(_Item):
    """The one resource that a request writes, or has written."""

    def judge(self) -> None:
        """Judge the request by what was loaded.

        :raises PreconditionFailed: if a condition does not hold.
        :raises _Replayed: if the request itself has left the target as it is.
        """
        try:
            super().judge()
        except PreconditionFailed as failure:
            if failure.etag is None or not self.was_left_by_request:
                raise
            raise _Replayed([failure.etag]) from None


class _Batch(Batch):
    """The resources that one request writes, or has written."""

    def __init__(
        self,
        known_by: _KnownBy,
        exchange: Exchange,
        resource: Resource[..., Any],
        each: Callable[..., Iterable[Item]],
    ) -> None:
        self._known_by = known_by
        self._resource = resource
        super().__init__(exchange, resource, each)

    def _target(self, exchange: Exchange, resource: Resource[..., Any], conditions: Preconditions) -> Target:
        return _Item(self._known_by, exchange, resource, conditions)

    def judge(self) -> None:
        """Judge each item by its own tag.

        All were written by one commit, or none was. So if those that are stale are as the request itself has left
        them, it was done, and it has changed nothing of the others. An item that names no state is never stale, so
        that another may have written it since: then nothing is known.

        :raises PreconditionFailed: if another has written one that is stale; the error names each that is.
        :raises _Replayed: if the request itself has left them as they are.
        """
        try:
            super().judge()
        except PreconditionFailed as failure:
            stale = [self._targets[item["index"]] for item in failure.items]
            if not all(isinstance(target, _Item) and target.names_one_state for target in self._targets):
                raise
            if not all(isinstance(target, _Item) and target.was_left_by_request for target in stale):
                raise
            raise _Replayed([self._resource.etag_of(target.handed) for target in self._targets]) from None

    def named(self, etags: list[EntityTag]) -> list[dict[str, Any]]:
        """Return the items as an answer names them, each with its tag."""
        return [{**self._name(index), "etag": str(etag)} for index, etag in enumerate(etags)]


def _is_one_tag(field: str | None) -> bool:
    """Tell whether an If-Match names one state."""
    try:
        return field is not None and len(TagList.parse(field).members) == 1
    except MalformedField:
        return False


def _body() -> bytes | None:
    """Return the body of the request, which is left as it was found; ``None`` if it is not to be had.

    What the application would refuse to read is not read either: the view may know what it does.
    """
    environ, length, limit = request.environ, request.content_length, request.max_content_length
    if length is None:
        is_empty = environ.get("SERVER_PROTOCOL", "").startswith("HTTP/1")
        return b"" if is_empty and "HTTP_TRANSFER_ENCODING" not in environ else None
    if length > MAX_BODY or (limit is not None and length > limit):
        return None
    if "stream" in vars(request):  # something above has begun to read it, and may have kept it
        body: bytes = vars(request).get("_cached_data") or b""
    else:
        body = b"".join(_read_from(environ["wsgi.input"], length))
        environ["wsgi.input"] = BytesIO(body)
    return body if len(body) == length else None


def _read_from(stream: Any, length: int) -> Iterator[bytes]:
    """Yield what is read from a stream, up to a length: as much as it gives at once, until it gives no more."""
    while length > 0 and (read := stream.read(length)):
        yield read
        length -= len(read)


# The answer.


def _answer(exchange: Exchange, resource: Resource[..., Any], etag: EntityTag) -> Response:
    """Answer a request that was done before: what a GET gives, or else 204 and the tag.

    What a GET gives is not shown if it is something else by now: somebody has written it in this very moment.

    :param etag: the tag of what it has left.
    """
    url = _url_to_read(exchange, resource)
    read = None if url is None else _read(exchange, url)
    if read is None or read[1].opaque[:LENGTH] != etag.opaque[:LENGTH]:
        response = current_app.response_class(status=204, content_type="")
        exchange.tag(response, str(etag), names_in(response.headers))
    else:
        response = read[0]
    response.headers["Content-Location"] = url or _own_url()
    exchange.outcome = "replayed"
    return response


def _own_url() -> str:
    """Return the URL of the request, from its path on."""
    path = (request.environ.get("SCRIPT_NAME", "") + request.environ["PATH_INFO"]).encode("latin-1")
    return quote(path, safe="/:@!$&'()*+,;=") + _query()


def _query() -> str:
    query = quote(request.query_string, safe="/?:@!$&'()*+,;=%")  # as it came, but for what is not ASCII
    return f"?{query}" if query else ""


def _url_to_read(exchange: Exchange, resource: Resource[..., Any]) -> str | None:
    """Return the URL by which what was written is read: the request's own, or another; ``None`` if none is known.

    The loader has to be given what it was given for the request. Where the URL's variables do not tell it what to
    load, the query may.
    """
    adapter: Any = current_app.create_url_adapter(request)
    given = exchange.url_arguments
    try:
        endpoint, arguments = adapter.match(method="GET")
        if _reads(endpoint, resource) and given.items() <= arguments.items():
            return _own_url()
    except HTTPException:
        pass  # the URL is not for GET
    rules = sorted(current_app.url_map.iter_rules(), key=lambda rule: len(given.keys() - rule.arguments))
    for rule in rules:  # those first that leave out the least of it
        if "GET" in (rule.methods or ()) and _reads(rule.endpoint, resource):
            arguments = {name: given[name] for name in rule.arguments if name in given}
            current_app.inject_url_defaults(rule.endpoint, arguments)
            try:
                url = str(adapter.build(rule.endpoint, arguments, "GET"))
            except BuildError:
                continue  # it needs more than the request has
            return url if given else url + _query()
    return None


def _reads(endpoint: str, resource: Resource[..., Any]) -> bool:
    """Tell whether an endpoint answers GET by a view of a resource."""
    view: Any = current_app.view_functions.get(endpoint)
    protection = protection_of(getattr(getattr(view, "view_class", None), "get", view))
    return protection is not None and protection.resource is resource


def _read(exchange: Exchange, url: str) -> tuple[Response, EntityTag] | None:
    """Return what a GET of a URL is answered, and its tag; ``None`` where it has none of a whole content."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    left_out = {*_CONDITIONS, *_OF_CONTENT, "werkzeug.request"}
    environ = {name: value for name, value in exchange.environ.items() if name not in left_out}
    finishing: list[Callable[[Response], Response]] = []
    environ |= {"REQUEST_METHOD": "GET", "CONTENT_LENGTH": "0", "wsgi.input": BytesIO(), ANSWERED_AGAIN: finishing}
    if url != _own_url():
        path, _, query = url.partition("?")
        below = unquote_to_bytes(path).decode("latin-1").removeprefix(environ.get("SCRIPT_NAME", ""))
        environ |= {"PATH_INFO": below, "QUERY_STRING": query}
    endpoint = None
    try:
        with _request_within(app, environ):
            endpoint = request.endpoint
            try:
                response = app.make_response(app.preprocess_request() or app.dispatch_request())
            except HTTPException:
                return None
            for finish in finishing:
                response = finish(response)
    except Exception:
        log.logger.exception(
            "%s has failed to read what a request under replay= has written before: that is answered without "
            "content.",
            endpoint,
        )
        return None
    if response.status_code != 200 or not response.is_sequence or "ETag" not in response.headers:
        return None
    [etag] = TagList.parse(response.headers["ETag"]).members
    return response, etag


@contextmanager
def _request_within(app: Flask, environ: dict[str, Any]) -> Iterator[None]:
    """Enter the context of a request within another's; the other has its ``g`` back afterwards.

    Flask gives both one ``g``. What hooks of the inner request put there in the place of the outer's is undone, or
    they would close the one twice, and the other never. What they only take away is closed.
    """
    outer, replaced = {name: g.get(name) for name in g}, []
    try:
        with app.request_context(environ):
            try:
                yield
            finally:
                replaced = [name for name, value in outer.items() if g.get(name) is not value]
    finally:
        for name in replaced:
            setattr(g, name, outer[name])
