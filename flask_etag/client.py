"""A client that loses nobody's work, for any JSON API with entity tags.

    from flask_etag.client import update

    update(requests.Session(), "https://shop.example/api/products/teapot", sell_one)

It brings no HTTP library. ``client`` is a session of ``requests``, a client of ``httpx`` or ``httpx2``, with or
without the cache of ``hishel``, or Flask's test client: whatever has ``request(method, url, headers=, json=)``,
and answers with ``status_code``, ``headers`` and ``content``. The functions that begin with an ``a`` take one
whose ``request`` is awaited, under asyncio.

Sources: RFC 9110 sections 9.3.4, 10.2.3 and 13 (conditional requests), RFC 6901 (JSON pointers), RFC 7396 (merge
patch), RFC 9111 section 5.2.1.4 (reads that no cache may answer).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypedDict, TypeVar, Unpack, cast

from flask_etag.merging import (
    JSON,
    MISSING,
    Key,
    changes_between,
    has_members_of,
    is_there,
    merge,
    patched,
    same,
    shows_mark,
)

__all__ = [
    "Copy",
    "ABSENT",
    "read",
    "update",
    "save",
    "create",
    "delete",
    "patch",
    "update_each",
    "aread",
    "aupdate",
    "asave",
    "acreate",
    "adelete",
    "apatch",
    "aupdate_each",
    "merge",
    "Limits",
    "ClientError",
    "Clash",
    "Unknown",
    "GaveUp",
    "Unreachable",
    "Refused",
    "Untagged",
]

T = TypeVar("T")

Change = Callable[[Any], Any]
"""Makes of the content what it is to be: returns it, or changes what it is given and returns ``None``. It may run
more than once, each time on what is there by then; what it raises ends the update."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds, of which each pause takes a random part
_PATIENCE = 30.0  # seconds, after which an answer is not waited for, where the client does not say so itself
_LOST = (502, 503, 504, *range(520, 525))  # a proxy's word: the server may have the request. 52x are Cloudflare's
_LATER = (408, 425, 429)  # not looked at: the same request may be sent again
_ABSENT = (404, 410)
_OVERTAKEN = (404, 409, 410, 412)  # what there is has to be looked at

_CACHE_HINT = (
    " But the state that was read again is the old one: a cache has answered that does not ask the server, though "
    "it was told to (Cache-Control: no-cache). Have it obey HTTP; hishel does with rfc=CacheOptions(shared=False)."
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """What was read, and its entity tag: they belong together.

    :param content: the JSON, as Python's ``json`` reads it; do not change it, ``save`` compares with it.
    :param etag: the value of the field ETag, quotes included; ``None`` if the server gave none.
    """

    content: JSON
    etag: str | None


ABSENT = Copy(None, None)
"""What there is at a URL that names nothing: saved on this, content is created."""


class ClientError(Exception):
    """What the functions of this module raise. Nothing was saved, unless it is :class:`Unknown`."""


class Clash(ClientError):
    """Both sides have changed the same, and only a person can tell what it is to be.

    :ivar base: the copy that the work began with.
    :ivar mine: the content that was to be saved; of what has not clashed, merged.
    :ivar theirs: what is there now; ``ABSENT`` if it was deleted. Decide, and save on this.
    :ivar pointers: the JSON pointers (RFC 6901) of what both have changed. ``""`` is the whole. An item of a list
        that is merged by a key is named by its index in ``mine``, or, if it is not there, in ``theirs``.
    """

    def __init__(self, base: Copy, mine: JSON, theirs: Copy, pointers: Sequence[str]) -> None:
        self.base: Copy = base
        self.mine: JSON = mine
        self.theirs: Copy = theirs
        self.pointers: list[str] = list(pointers)
        if theirs == ABSENT:
            told = "It has been deleted meanwhile. Save on ABSENT to create it anew."
        elif base == ABSENT:
            told = "It exists already. Read it, and save on what is there."
        else:
            named = ", ".join(pointer or "the whole" for pointer in pointers)
            told = f"Somebody else has changed the same: {named}. Decide, and save on what is there now (.theirs)."
        super().__init__(f"Not saved. {told}")


class Unknown(ClientError):
    """An answer was lost, and what is there does not tell whether the change was saved.

    Somebody else may have made what is there, or nothing could be read any more. A change that leaves what it
    finds done (an item with an id of its own, added where it is missing) never comes to this while the server can
    be read.

    :ivar mine: the content that was to be saved.
    :ivar theirs: what is there now; ``None`` if nothing could be read.
    """

    def __init__(self, mine: JSON, theirs: Copy | None) -> None:
        self.mine: JSON = mine
        self.theirs: Copy | None = theirs
        super().__init__(
            "It is not known whether this was saved: the answer was lost or did not tell, and "
            + ("nothing could be read." if theirs is None else "somebody else may have made what is there.")
            + " Look before you repeat it."
        )


class Refused(ClientError):
    """The server has answered, and it was no: the same request would be refused again.

    :ivar status: of the answer.
    :ivar reason: ``reason`` of the problem document, such as ``malformed``; ``None`` if there is none.
    :ivar problem: the JSON of the answer (RFC 9457); ``None`` if it has none.
    """

    def __init__(self, answer: _Answer, hint: str = "") -> None:
        self.status: int | None = answer.status
        self.reason: str | None = answer.reason
        self.problem: JSON | None = None if answer.content is MISSING else answer.content
        detail = self.problem.get("detail") if isinstance(self.problem, dict) else None
        without = "" if answer.is_json else ", without JSON"
        super().__init__((detail or f"The server answered {answer.status}{without}.") + hint)


class GaveUp(ClientError):
    """In every attempt somebody else was first, or the server was busy; nothing was saved.

    :ivar theirs: what was there last.
    """

    def __init__(self, attempts: int, theirs: Copy) -> None:
        self.theirs = theirs
        super().__init__(
            f"Not saved in {attempts} attempts: each time somebody else was first, or the server was busy, or "
            "asked to wait for longer than there was time. Try again later."
        )


class Unreachable(ClientError):
    """No answer came, also not after several attempts; nothing was saved."""


class Untagged(ClientError):
    """The server gives no ETag, so that nobody could tell whether somebody else's work would be lost."""


# What is done with a server, each as one request after the other; who sends them is at the end of this module.


class Limits(TypedDict, total=False):
    """How long a function tries.

    :ivar attempts: how often, at most; 20 if it is not given.
    :ivar deadline: for how many seconds in all; 60 if it is not given.
    """

    attempts: int
    deadline: float


def read(client: Any, url: str, *, known: Copy = ABSENT, **limits: Unpack[Limits]) -> Copy:
    """Read what a URL names: GET, with If-None-Match where a copy is known (RFC 9110 section 13.1.2).

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param known: a copy from before. It is returned itself if it still is what is there: a 304, without a body.
    :param limits: see :class:`Limits`.
    :return: what is there; ``ABSENT`` where there is nothing.
    :raises Refused: if the server says no, or answers no JSON.
    :raises Unreachable: if no answer comes.
    """
    call = _Call(url, **limits)
    return _run(client, call, call.read(known))


def update(client: Any, url: str, change: Change, *, known: Copy = ABSENT, **limits: Unpack[Limits]) -> Copy:
    """Change what a URL names: GET, ``change(content)``, PUT with If-Match; again, if somebody else was first.

    RFC 9110 section 13.1.1.

    What is sent again is always ``change`` of what is there by then, so that nothing of theirs is lost. If an
    answer is lost, what is there tells whether the change was saved: the change finds nothing left to do, or what
    it makes anew each time, such as an id. A plain increment leaves no such trace, since another client may have
    made the very same one: then it is :class:`Unknown`, unless the server knows the request again, and whose it
    is (``replay=``).

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param change: of the content, see ``Change``.
    :param known: a copy from before, to begin with if it still is what is there.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises Refused: if the server says no; 404 where there is nothing to change.
    :raises GaveUp: if somebody else was first each time.
    :raises Unknown: if an answer was lost, and what is there does not tell whether the change was saved.
    :raises Unreachable: if no answer comes.
    :raises Untagged: if there is no ETag.
    """
    call = _Call(url, **limits)
    return _run(client, call, _update(call, change, known))


def save(
    client: Any, url: str, base: Copy, mine: JSON, *, key: Key | None = None, **limits: Unpack[Limits]
) -> Copy:
    """Save what somebody has made of a copy: PUT with If-Match. If somebody else was first, merge, and try again.

    RFC 9110 section 13.1.1.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param base: the copy that the work began with; ``ABSENT`` to create.
    :param mine: the content as it is to be, all of it: a member that is left out is deleted.
    :param key: for lists that are merged item by item, as in :func:`merge`.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises Clash: if both have changed the same, or it was deleted.
    :raises Unknown: if an answer was lost, and both have changed the same, or so it seems.
    :raises Refused: if the server says no.
    :raises GaveUp: if somebody else was first each time.
    :raises Unreachable: if no answer comes.
    :raises Untagged: if there is no ETag.
    """
    call = _Call(url, **limits)
    return _run(client, call, _save(call, base, mine, key))


def create(client: Any, url: str, content: JSON, **limits: Unpack[Limits]) -> Copy:
    """Create what a URL names: PUT with ``If-None-Match: *``, so that of all who do so one succeeds.

    RFC 9110 section 13.1.2.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param content: what it is to be, as JSON can say it.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises Clash: if it exists already.
    :raises Unknown: if an answer was lost, and what is there is not what was to be created.
    :raises Refused: if the server says no.
    :raises Unreachable: if no answer comes.
    """
    call = _Call(url, **limits)
    return _run(client, call, _create(call, content))


def delete(client: Any, url: str, base: Copy, **limits: Unpack[Limits]) -> None:
    """Delete what was read, unless somebody has changed it since. What is gone already is no error.

    DELETE with If-Match, RFC 9110 section 13.1.1.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param base: the copy that is to be deleted, and no later state.
    :param limits: see :class:`Limits`.
    :raises Clash: if somebody has changed it.
    :raises Unknown: if an answer was lost, and there is something else now.
    :raises Refused: if the server says no.
    :raises Unreachable: if no answer comes.
    :raises Untagged: if there is no ETag.
    """
    call = _Call(url, **limits)
    _run(client, call, _delete(call, base))


def patch(
    client: Any, url: str, base: Copy, changes: JSON, *, key: Key | None = None, **limits: Unpack[Limits]
) -> Copy:
    """Send some members, as a merge patch (RFC 7396): PATCH with If-Match. If somebody was first, as :func:`save`.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param base: the copy that the work began with.
    :param changes: the members that are to be otherwise; ``None`` deletes one.
    :param key: for lists that are merged item by item, as in :func:`merge`.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises ClientError: as :func:`save`.
    """
    call = _Call(url, **limits)
    return _run(client, call, _save(call, base, MISSING, key, changes))


def update_each(
    client: Any,
    url: str,
    urls: Sequence[str],
    change: Change,
    *,
    body: Callable[[list[Copy]], JSON] | None = None,
    **limits: Unpack[Limits],
) -> JSON:
    """Change several resources by one PATCH, all or none; if some were stale, read those, and repeat the whole.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: where the PATCH goes.
    :param urls: of the resources, in the order of the items.
    :param change: of the list of their contents, see ``Change``.
    :param body: makes the request's content of the changed contents and their ETags; if it is not given, each item
        is its content, with its ETag as the member ``etag``.
    :param limits: see :class:`Limits`.
    :return: what the server answers to the request; the list of contents, if it is only known from what is there.
    :raises ClientError: as :func:`update`.
    """
    call = _Call(url, **limits)
    return _run(client, call, _update_each(call, urls, change, body or _items))


async def aread(client: Any, url: str, *, known: Copy = ABSENT, **limits: Unpack[Limits]) -> Copy:
    """Do what :func:`read` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, call.read(known))


async def aupdate(
    client: Any, url: str, change: Change, *, known: Copy = ABSENT, **limits: Unpack[Limits]
) -> Copy:
    """Do what :func:`update` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _update(call, change, known))


async def asave(
    client: Any, url: str, base: Copy, mine: JSON, *, key: Key | None = None, **limits: Unpack[Limits]
) -> Copy:
    """Do what :func:`save` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _save(call, base, mine, key))


async def acreate(client: Any, url: str, content: JSON, **limits: Unpack[Limits]) -> Copy:
    """Do what :func:`create` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _create(call, content))


async def adelete(client: Any, url: str, base: Copy, **limits: Unpack[Limits]) -> None:
    """Do what :func:`delete` does, with an asynchronous client."""
    call = _Call(url, **limits)
    await _arun(client, call, _delete(call, base))


async def apatch(
    client: Any, url: str, base: Copy, changes: JSON, *, key: Key | None = None, **limits: Unpack[Limits]
) -> Copy:
    """Do what :func:`patch` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _save(call, base, MISSING, key, changes))


async def aupdate_each(
    client: Any,
    url: str,
    urls: Sequence[str],
    change: Change,
    *,
    body: Callable[[list[Copy]], JSON] | None = None,
    **limits: Unpack[Limits],
) -> JSON:
    """Do what :func:`update_each` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _update_each(call, urls, change, body or _items))


# The stories. Each is a generator: it yields requests and pauses, and is sent the answers.


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]
    content: JSON
    timeout: float


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back.

    :param status: ``None`` if nothing did; ``cause`` says why.
    :param content: ``MISSING`` if it is no JSON.
    :param is_repeated: whether the library has sent the request more than once, after an answer that was lost.
    """

    status: int | None = None
    etag: str | None = None
    content: JSON = MISSING
    has_body: bool = False
    retry_after: float = 0
    is_repeated: bool = False
    cause: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.status is not None and 200 <= self.status < 300 and not self.is_to_be_done

    @property
    def is_to_be_done(self) -> bool:
        """Whether the request is to be done later, or perhaps not (RFC 9110 section 15.3.3)."""
        return self.status == 202

    @property
    def is_lost(self) -> bool:
        """Whether nobody knows what became of the request."""
        return self.status is None or self.status in _LOST

    @property
    def is_unclear(self) -> bool:
        """Whether the server may have done what it was asked to, though it does not say so.

        A write may be done when its view fails (500). One that was redirected to a page was done by some, who show
        the result there, and refused by others, who ask to log in.
        """
        status = self.status
        if status is None or self.is_lost:
            return False
        return self.is_to_be_done or 300 <= status < 400 or status >= 500

    @property
    def is_json(self) -> bool:
        return self.content is not MISSING

    @property
    def reason(self) -> str | None:
        reason = self.content.get("reason") if isinstance(self.content, dict) and not self.is_done else None
        return reason if isinstance(reason, str) else None

    @property
    def is_for_now(self) -> bool:
        """Whether the same request may be sent again without looking at what is there."""
        return self.status in _LATER or (self.status == 409 and self.reason == "busy")

    @property
    def is_of_the_moment(self) -> bool:
        """Whether two requests have met, though what is there may not have changed."""
        return self.status == 409 and self.reason in ("busy", "conflict", "partial")


Steps = Generator[_Request | float, _Answer | None, T]


class _Exhausted(Exception):
    """There are no attempts left, or no time."""


@dataclass(slots=True)
class _Call:
    """What one call of a function has left, and what it has met.

    :ivar lost: whether a write may have been done, or may yet be, whose answer did not come, and nothing has told
        since.
    :ivar unclear: the same of a write whose answer does not tell, and which is over.
    :ivar base: the copy that was sent for last, and ``mine`` the content; ``theirs`` is what was read last.
    :ivar made: tells whether what was sent is in what is there.
    """

    url: str
    attempts: int = 20
    deadline: float = 60.0
    ends: float = field(init=False)
    tries: int = 0
    lost: bool = False
    unclear: bool = False
    base: Copy = ABSENT
    mine: JSON = None
    theirs: Copy = ABSENT
    made: Callable[[Copy], bool] = field(default=lambda _: False)
    last: _Answer = field(default_factory=_Answer)

    @property
    def is_open(self) -> bool:
        """Whether a write may have been done, and nothing has told since."""
        return self.lost or self.unclear

    def __post_init__(self) -> None:
        self.ends = time.monotonic() + self.deadline

    def send(
        self, method: str, headers: dict[str, str], content: JSON = MISSING, url: str | None = None
    ) -> Steps[_Answer]:
        left = min(max(self.ends - time.monotonic(), 1), _PATIENCE)
        answer = yield _Request(method, url or self.url, headers, content, left)
        assert answer is not None  # noqa: S101 - a request is answered, if only by nothing
        self.last = answer
        return answer

    def pause(self) -> Steps[None]:
        """Wait a random time, longer with each attempt, so that those who have collided do not do so again."""
        self.tries += 1
        longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**self.tries)
        wait = self.last.retry_after + random.uniform(0, longest)  # noqa: S311 - this is no secret
        if self.tries >= self.attempts or time.monotonic() + wait > self.ends:
            raise _Exhausted
        yield wait

    def read(self, known: Copy = ABSENT, *, url: str | None = None, fresh: bool = False) -> Steps[Copy]:
        """Read what is there; return ``known`` itself if it still is that.

        :param fresh: whether no cache may answer without asking the server.
        """
        headers = {} if known.etag is None else {"If-None-Match": known.etag}
        if fresh:
            headers["Cache-Control"] = "no-cache"
        while True:
            answer = yield from self.send("GET", headers, url=url)
            if answer.status == 304 and known.etag is not None:
                return known
            if answer.status in _ABSENT:
                return ABSENT
            if answer.is_done and answer.is_json:
                return Copy(answer.content, answer.etag)
            if not (answer.is_lost or answer.status in _LATER):
                raise Refused(answer)
            yield from self.pause()

    def read_each(
        self, urls: Sequence[str], known: Sequence[Copy] = (), named: Mapping[int, str | None] | None = None
    ) -> Steps[list[Copy]]:
        """Read several resources; of those that are known, the named ones, or all where none is named."""
        copies = list(known)
        for index, url in enumerate(urls):
            if not known:
                copies.append((yield from self.read(url=url)))
            elif not named or (index in named and named[index] is None):
                copies[index] = yield from self.read(url=url, fresh=True)
            elif index in named:
                copies[index] = Copy(known[index].content, named[index])
        return copies

    def look(self) -> Steps[Copy]:
        """Read what there is, after a pause, from the server itself."""
        yield from self.pause()
        self.theirs = yield from self.read(fresh=True)
        return self.theirs

    def write(
        self, method: str, condition: dict[str, str], content: JSON = MISSING, type_: str | None = None
    ) -> Steps[_Answer]:
        """Send a write until its answer says more than to try again. It cannot be done twice.

        :param condition: the field that says which state it is made for; none where the content says it.
        :param type_: of the content, if it is not ``application/json``.
        """
        headers = {**condition, **({} if type_ is None else {"Content-Type": type_})}
        is_restored = False
        while True:
            answer = yield from self.send(method, headers, content)
            if answer.is_lost or answer.is_to_be_done or answer.is_repeated or answer.reason == "partial":
                self.lost = True
            if answer.is_unclear:
                self.unclear = True
            if answer.is_done:
                self.lost = self.unclear = False
            if answer.reason == "weakened" and answer.etag and condition and not is_restored:
                is_restored, headers["If-Match"] = True, answer.etag
                _log.warning(
                    "%s: a proxy alters ETags on their way, as those that compress do. The ETag of the refusal "
                    "was sent in the place of the one that was read. ETAG_ACCEPT_WEAKENED spares that.",
                    self.url,
                )
            elif answer.is_lost or answer.is_for_now:
                yield from self.pause()
            else:
                return answer

    def require_moment(self, answer: _Answer) -> None:
        """Raise what was answered to a write, unless it was refused for what happened at that moment alone.

        What is there is still what was written on: the same request would be refused again.
        """
        self.unclear = False
        if answer.is_of_the_moment:
            return
        is_cached = answer.status == 412 and answer.etag not in (None, self.base.etag)
        raise Refused(answer, _CACHE_HINT if is_cached and answer.reason != "weakened" else "")

    def written(self, answer: _Answer, mine: JSON) -> Steps[Copy]:
        """Return what is there after a write that was done.

        Its answer may lack the content, or the tag, or speak of something else (RFC 9110 sections 9.3.4, 15.3.1).
        """
        if answer.etag is not None and not answer.has_body:
            return Copy(mine, answer.etag)
        if answer.etag is not None and answer.is_json and has_members_of(answer.content, mine):
            return Copy(answer.content, answer.etag)
        try:
            return (yield from self.read(fresh=True))
        except (ClientError, _Exhausted):
            return Copy(mine, None)  # it is saved, whatever has come since


def _still(url: str, base: Copy) -> dict[str, str]:
    """Return the field that lets a write pass only while a copy is what is there (RFC 9110 section 13.1)."""
    if base == ABSENT:
        return {"If-None-Match": "*"}
    if base.etag is None:
        raise Untagged(f"There is no ETag of {url}: nobody could tell whether it has changed.")
    return {"If-Match": base.etag}


def _bounded(call: _Call, steps: Steps[T]) -> Steps[T]:
    """Go through a story; where it ends in vain, tell what is known of what was sent."""
    try:
        return (yield from steps)
    except (Refused, Untagged, _Exhausted) as error:
        cause = call.last.cause if isinstance(error, _Exhausted) else error
        if call.is_open:
            answer = yield from call.send("GET", {"Cache-Control": "no-cache"})
            if not (answer.is_done and answer.is_json) and answer.status not in _ABSENT:
                raise Unknown(call.mine, None) from cause
            theirs = Copy(answer.content, answer.etag) if answer.is_done else ABSENT
            if theirs.etag != call.base.etag and call.made(theirs):
                return cast(T, theirs)  # a story that says when it is made returns a copy
            raise Unknown(call.mine, theirs) from cause
        if not isinstance(error, _Exhausted):
            raise
        if call.last.is_lost:
            raise Unreachable(f"No answer came from {call.url}, in {call.tries} attempts.") from cause
        raise GaveUp(call.tries, call.theirs) from None


def _update(call: _Call, change: Change, known: Copy) -> Steps[Copy]:
    copy = yield from call.read(known)
    while True:
        if copy == ABSENT:
            raise Refused(call.last)
        call.base, call.mine = copy, (mine := _changed(change, copy.content))
        call.made = partial(_was_made, call, change, copy)
        if same(mine, copy.content):
            return copy
        answer = yield from call.write("PUT", _still(call.url, copy), mine)
        if answer.is_done:
            return (yield from call.written(answer, mine))
        if answer.status not in _OVERTAKEN and not answer.is_unclear:
            raise Refused(answer)
        theirs = yield from call.look()
        if theirs.etag == copy.etag:
            call.require_moment(answer)
        elif call.is_open and call.made(theirs):
            return theirs
        copy = theirs


def _was_made(call: _Call, change: Change, base: Copy, theirs: Copy) -> bool:
    """Tell whether a change whose answer was lost is in what is there now; if not, it may be made again.

    A change that can be made twice is known by all that it has changed, whoever has made it so. One that makes
    something of its own each time that it runs is known by that. Of any other, an increment say, the very state
    that was sent is no proof: another client may have made the same of the same.

    :raises Unknown: if it was perhaps made, and what is there does not tell.
    """
    mine = call.mine
    if theirs != ABSENT:
        try:
            if same(_changed(change, theirs.content), theirs.content):
                return True
            again = _changed(change, base.content)
            is_repeatable = same(_changed(change, mine), mine)
        except Exception as error:
            raise Unknown(mine, theirs) from error
        shown = shows_mark(mine, again, theirs.content)
        is_told_apart = is_repeatable or not same(mine, again)
        if shown or (is_told_apart and is_there(base.content, mine, theirs.content)):
            return True
        if is_repeatable or shown is False:
            call.lost = call.unclear = False
            return False
    raise Unknown(mine, theirs)


def _save(call: _Call, base: Copy, mine: JSON, key: Key | None, changes: JSON = MISSING) -> Steps[Copy]:
    """Save by PUT; or send changes by PATCH, and then ``mine`` is what they make of the base."""
    is_patch = changes is not MISSING
    if is_patch:
        mine = patched(base.content, changes)
    while True:
        call.base, call.mine = base, mine
        call.made = partial(_is_saved, base.content, mine)
        if is_patch:
            answer = yield from call.write(
                "PATCH", _still(call.url, base), changes, "application/merge-patch+json"
            )
        else:
            answer = yield from call.write("PUT", _still(call.url, base), mine)
        if answer.is_done:
            return (yield from call.written(answer, mine))
        if answer.status not in _OVERTAKEN and not answer.is_unclear:
            raise Refused(answer)
        theirs = yield from call.look()
        if theirs == ABSENT and base != ABSENT:
            raise Unknown(mine, theirs) if call.is_open else Clash(base, mine, theirs, [""])
        if call.is_open and call.made(theirs):
            return theirs
        merged, pointers = merge(base.content, mine, theirs.content, key)
        if theirs != ABSENT and same(merged, theirs.content):
            return theirs
        if theirs.etag == base.etag:
            call.require_moment(answer)
        if pointers:
            raise Unknown(mine, theirs) if call.is_open else Clash(base, merged, theirs, pointers)
        if theirs.etag != base.etag:  # what was sent for a state that is gone comes to nothing
            call.lost = call.unclear = False
        base, mine = theirs, merged
        changes = changes_between(theirs.content, merged)  # at first it may hold what only others have changed


def _is_saved(base: JSON, mine: JSON, theirs: Copy) -> bool:
    return theirs != ABSENT and is_there(base, mine, theirs.content)


def _create(call: _Call, content: JSON) -> Steps[Copy]:
    call.mine = content
    call.made = partial(_is_saved, None, content)
    while True:
        answer = yield from call.write("PUT", _still(call.url, ABSENT), content)
        if answer.is_done:
            return (yield from call.written(answer, content))
        if answer.status not in _OVERTAKEN and not answer.is_unclear:
            raise Refused(answer)
        theirs = yield from call.look()
        if theirs != ABSENT:
            if call.is_open and call.made(theirs):
                return theirs
            raise Unknown(content, theirs) if call.is_open else Clash(ABSENT, content, theirs, [""])
        call.unclear = False
        if not (answer.is_of_the_moment or (answer.status == 412 and answer.reason in (None, "exists"))):
            raise Refused(answer)


def _delete(call: _Call, base: Copy) -> Steps[Copy]:
    call.base, call.made = base, lambda theirs: theirs == ABSENT
    while True:
        answer = yield from call.write("DELETE", _still(call.url, base))
        if answer.is_done or answer.status in _ABSENT:
            return ABSENT
        if answer.status not in _OVERTAKEN and not answer.is_unclear:
            raise Refused(answer)
        theirs = yield from call.look()
        if theirs == ABSENT:
            return ABSENT
        if theirs.etag != base.etag:
            raise Unknown(None, theirs) if call.is_open else Clash(base, None, theirs, [""])
        call.require_moment(answer)


def _items(copies: list[Copy]) -> JSON:
    """Return the content of a request that writes several resources, as it is if nobody says otherwise."""
    return [{**copy.content, "etag": copy.etag} for copy in copies]


def _update_each(
    call: _Call, urls: Sequence[str], change: Change, body: Callable[[list[Copy]], JSON]
) -> Steps[JSON]:
    copies = yield from call.read_each(urls)
    while True:
        for url, copy in zip(urls, copies, strict=True):
            if copy == ABSENT:
                raise Refused(call.last)
            _still(url, copy)
        contents = [copy.content for copy in copies]
        call.mine = mine = _changed(change, contents)
        if same(mine, contents):
            return mine
        content = body([Copy(new, copy.etag) for new, copy in zip(mine, copies, strict=True)])
        answer = yield from call.write("PATCH", {}, content)
        if answer.is_done:
            return answer.content if answer.is_json else mine
        if answer.status not in _OVERTAKEN and not answer.is_unclear:
            raise Refused(answer)
        yield from call.pause()
        theirs = yield from call.read_each(urls, copies, _refused_items(answer))
        now = Copy([copy.content for copy in theirs], None)
        if theirs == copies:
            call.require_moment(answer)
        elif call.is_open and _was_made(call, change, Copy(contents, None), now):
            return now.content
        copies = theirs


def _refused_items(answer: _Answer) -> dict[int, str | None]:
    """Return the index of each item that a refusal names; with a tag, where only that was altered on its way."""
    named = answer.content.get("items") if isinstance(answer.content, dict) else None
    items = [item for item in named or () if isinstance(item, dict) and "index" in item]
    return {item["index"]: item.get("etag") if item.get("reason") == "weakened" else None for item in items}


def _changed(change: Change, content: JSON) -> JSON:
    """Return what a change makes of a content, which stays as it is."""
    copy = deepcopy(content)
    changed = change(copy)
    return copy if changed is None else changed


# Who sends the requests of a story.


def _run(client: Any, call: _Call, story: Steps[T]) -> T:
    steps, answer = _bounded(call, story), None
    try:
        while True:
            step = steps.send(answer)
            if isinstance(step, float):
                time.sleep(step)
                answer = None
                continue
            send, more = _sender(client, step)
            try:
                answer = _answer_of(send(**more), step.method)
            except Exception as error:
                answer = _no_answer(error, step.method)
    except StopIteration as end:
        result: T = end.value
        return result


async def _arun(client: Any, call: _Call, story: Steps[T]) -> T:
    steps, answer = _bounded(call, story), None
    try:
        while True:
            step = steps.send(answer)
            if isinstance(step, float):
                await asyncio.sleep(step)
                answer = None
                continue
            send, more = _sender(client, step)
            try:
                answer = _answer_of(await send(**more), step.method)
            except Exception as error:
                answer = _no_answer(error, step.method)
    except StopIteration as end:
        result: T = end.value
        return result


def _sender(client: Any, request: _Request) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what sends a request, and the arguments to give it."""
    more: dict[str, Any] = {"method": request.method, "headers": request.headers}
    if request.content is not MISSING:
        more["json"] = request.content
    if not hasattr(client, "request"):  # Flask's test client
        return client.open, {"path": request.url, **more}
    if not hasattr(client, "timeout"):  # requests would wait for ever
        more["timeout"] = request.timeout
    return client.request, {"url": request.url, **more}


def _answer_of(response: Any, method: str) -> _Answer:
    """Return what came back; of a write that was redirected, and then read, that it was redirected."""
    if getattr(response, "history", ()) and response.request.method != method:
        response = response.history[0]
    body = response.content if hasattr(response, "content") else response.get_data()
    headers = response.headers
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = MISSING
    retries = getattr(getattr(response, "raw", None), "retries", None)  # of urllib3, if requests is told to retry
    return _Answer(
        response.status_code,
        headers.get("ETag"),
        content,
        bool(body),
        _seconds(headers.get("Retry-After")),
        bool(getattr(retries, "history", ())),
    )


def _seconds(retry_after: str | None) -> float:
    """Return how long a server asks to wait (RFC 9110 section 10.2.3)."""
    if retry_after is None:
        return 0
    try:
        if retry_after.strip().isdecimal():
            return float(retry_after)
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0


_NO_ANSWER = {"TransportError", "DecodingError", "ClientConnectionError", "ClientPayloadError", "HTTPException"}


def _no_answer(error: Exception, method: str) -> _Answer:
    """Return that no answer came; or the one that a client raises, as one does that is told to raise for a status.

    What a client raises otherwise is a mistake in the call, and raised again.
    """
    response = getattr(error, "response", None)
    if response is not None:
        return _answer_of(response, method)
    names = {each.__name__ for each in type(error).__mro__}
    is_mistake = isinstance(error, ValueError) or "InvalidJSONError" in names  # which is an OSError of requests
    if (isinstance(error, OSError) and not is_mistake) or names & _NO_ANSWER:
        return _Answer(cause=error)
    raise error
