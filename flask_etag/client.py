"""A client that loses nobody's work, for any JSON API with entity tags.

    from flask_etag.client import update

    update(requests.Session(), "https://shop.example/api/products/teapot", sell_one)

It brings no HTTP library. ``client`` is a session of ``requests``, a client of ``httpx`` or ``httpx2``, with or
without the cache of ``hishel``, or Flask's test client: whatever has ``request(method, url, headers=, json=)``,
and answers with ``status_code``, ``headers`` and ``content``. The functions that begin with an ``a`` take one
whose ``request`` is awaited, under asyncio.

What becomes of a write whose answer is lost, or does not tell, is one rule:

* What is there shows it: it was saved. It shows all that was to be saved, whoever has done it; or, of what only
  one can have done, an id that nobody else can know.
* The tag is still the one that it was sent for: it was not saved, and is sent again. A tag that may come back
  proves nothing: then this is for what does no harm if it is made twice.
* Something else is there: it may have been saved, and undone. What may be made twice is made again.
* Of all else nothing is claimed: :class:`Unknown`, with what is there.

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
from typing import Any, TypedDict, TypeVar, Unpack

from flask_etag.merging import (
    JSON,
    MISSING,
    WAYS,
    Key,
    as_sent,
    changes_between,
    has_members_of,
    is_same_of_any,
    is_there,
    merge,
    otherwise,
    patched,
    reads_as,
    same,
    uuids_in,
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
more than once, also to find out what it does, so it should do nothing else; what it raises ends the update."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds, of which each pause takes a random part
_PATIENCE = 30.0  # seconds, after which an answer is not waited for, where the client does not say so itself
_LOOKS = 5  # for so many, some two seconds, a replica is waited for that is behind
_LOST = (502, 503, 504, *range(520, 525))  # a proxy's word: the server may have the request. 52x are Cloudflare's
_LATER = (408, 425, 429)  # a proxy may have passed the request on before it said so
_SEVERAL = 207  # statuses of several things, some of which may have failed (RFC 4918 section 13)
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
    :param etag: the value of the field ETag, quotes included; ``None`` if the server gave none, or what was
        saved could not be read any more: then the content is what was sent.
    """

    content: JSON
    etag: str | None


ABSENT = Copy(None, None)
"""What there is at a URL that names nothing: saved on this, content is created."""


class ClientError(Exception):
    """What the functions of this module raise. Nothing was saved, unless it is :class:`Unknown`.

    Or, of what may be made twice, it was saved, the answer was lost, and another has undone it since.
    """


class Clash(ClientError):
    """Both sides have changed the same, and only a person can tell what it is to be.

    :ivar base: the copy that the work began with.
    :ivar mine: the content that was to be saved; of what has not clashed, merged.
    :ivar theirs: what is there now; ``ABSENT`` if it was deleted. Decide, and save on this.
    :ivar pointers: the JSON pointers (RFC 6901) of what both have changed, in the content that was to be saved, as
        the function was given it; what that has left out, in ``theirs``. ``""`` is the whole. In a list that is
        merged by a key, an item of ``mine`` may stand elsewhere than these say.
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

    Somebody else may have made what is there, or have undone what was saved; or nothing could be read any more. A
    change that may be made twice (a member that is set, an item that is added where it is missing) never comes to
    this while there is something to change, and time.

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
        told = detail if isinstance(detail, str) and detail else f"The server answered {answer.status}{without}."
        super().__init__(told + hint)


class GaveUp(ClientError):
    """In every attempt somebody else was first, or the server was busy; nothing was saved.

    :ivar theirs: what was there last, as far as it was read; at first, what the work began with.
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
    :ivar deadline: for how many seconds in all; 60 if it is not given. Then it may take a second more to look
        what became of a write. A client that is not asynchronous waits longer for an answer that comes in pieces:
        it limits the time for each piece.
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
    :raises GaveUp: if the server was busy each time, or asked to wait.
    :raises Unreachable: if no answer comes.
    """
    call = _Call(url, **limits)
    return _run(client, call, call.read(known))


def update(
    client: Any,
    url: str,
    change: Change,
    *,
    known: Copy = ABSENT,
    unique_tags: bool = False,
    **limits: Unpack[Limits],
) -> Copy:
    """Change what a URL names: GET, ``change(content)``, PUT with If-Match; again, if somebody else was first.

    RFC 9110 section 13.1.1.

    What is sent again is always ``change`` of what is there by then, so that nothing of theirs is lost. If an
    answer is lost, the rule is that of this module: a change that may be made twice is made until it is there; any
    other, such as one that a condition holds back, is known by a UUID that it makes anew each time, if what is
    there has that; otherwise it is :class:`Unknown`. To find out, ``change`` is run again: on what it has made,
    and on states that are otherwise where it has changed something.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param change: of the content, see ``Change``.
    :param known: a copy from before, to begin with if it still is what is there.
    :param unique_tags: whether no tag of this resource ever comes back (RFC 9110 section 8.8.1), as those of a
        version do not, and those of the content do. Then one that is still there says that nothing was saved, and
        a change that may not be made twice is sent again, too.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises Refused: if the server says no; 404 where there is nothing to change.
    :raises GaveUp: if somebody else was first each time.
    :raises Unknown: if an answer was lost, and what is there does not tell whether the change was saved, or could
        not be read.
    :raises Unreachable: if no answer comes.
    :raises Untagged: if there is no ETag.
    """
    call = _Call(url, **limits)
    return _run(client, call, _update(call, change, known, unique_tags))


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
    :raises ValueError: if ``mine`` is ``None``: :func:`delete` deletes.
    :raises Clash: if both have changed the same, or it was deleted.
    :raises Unknown: if an answer was lost, and what is there is neither what was to be saved nor what the work
        began with, or could not be read.
    :raises Refused: if the server says no.
    :raises GaveUp: if somebody else was first each time.
    :raises Unreachable: if no answer comes.
    :raises Untagged: if there is no ETag.
    """
    call = _Call(url, **limits)
    return _run(client, call, _save(call, base, mine, key))


def create(client: Any, url: str, content: JSON, **limits: Unpack[Limits]) -> Copy:
    """Create what a URL names: PUT with ``If-None-Match: *``, so that of all who do so one succeeds.

    RFC 9110 section 13.1.2. Somebody else may create the very same. So if an answer is lost, it is known by a
    UUID in the content, which has to be this creation's own. Save on ``ABSENT`` what may be anybody's.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: of the resource, as the client takes it.
    :param content: what it is to be, as JSON can say it.
    :param limits: see :class:`Limits`.
    :return: what is there now.
    :raises ValueError: if ``content`` is ``None``.
    :raises Clash: if it exists already.
    :raises Unknown: if an answer was lost, and what is there is not what was to be created, has no UUID, or could
        not be read.
    :raises GaveUp: if the server was busy each time.
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
    :raises Unknown: if an answer was lost, or was a 200 as anybody may give it, and there is something now, or
        nobody can tell.
    :raises GaveUp: if the server was busy each time.
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
    unique_tags: bool = False,
    **limits: Unpack[Limits],
) -> JSON:
    """Change several resources by one PATCH, all or none; if some were stale, read those, and repeat the whole.

    :param client: what sends requests: ``requests.Session()``, an ``httpx.Client()``, Flask's test client...
    :param url: where the PATCH goes.
    :param urls: of the resources, in the order of the items.
    :param change: of the list of their contents, see ``Change``.
    :param body: makes the request's content of the changed contents and their ETags; if it is not given, each item
        is its content, with its ETag as the member ``etag``.
    :param unique_tags: as of :func:`update`.
    :param limits: see :class:`Limits`.
    :return: what the server answers to the request; the list of contents, if it is only known from what is there.
    :raises ClientError: as :func:`update`.
    :raises TypeError: if a content is no object, and ``body`` is not given.
    """
    call = _Call(url, urls, **limits)
    return _run(client, call, _update_each(call, change, body or _items, unique_tags)).content


async def aread(client: Any, url: str, *, known: Copy = ABSENT, **limits: Unpack[Limits]) -> Copy:
    """Do what :func:`read` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, call.read(known))


async def aupdate(
    client: Any,
    url: str,
    change: Change,
    *,
    known: Copy = ABSENT,
    unique_tags: bool = False,
    **limits: Unpack[Limits],
) -> Copy:
    """Do what :func:`update` does, with an asynchronous client."""
    call = _Call(url, **limits)
    return await _arun(client, call, _update(call, change, known, unique_tags))


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
    unique_tags: bool = False,
    **limits: Unpack[Limits],
) -> JSON:
    """Do what :func:`update_each` does, with an asynchronous client."""
    call = _Call(url, urls, **limits)
    return (await _arun(client, call, _update_each(call, change, body or _items, unique_tags))).content


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
    retry_after: float = 0
    is_repeated: bool = False
    cause: Exception | None = None

    @property
    def is_done(self) -> bool:
        is_success = self.status is not None and 200 <= self.status < 300
        return is_success and not self.is_to_be_done and self.status != _SEVERAL

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
        return self.is_to_be_done or status == _SEVERAL or 300 <= status < 400 or status >= 500 or status in _LATER

    @property
    def is_to_repeat(self) -> bool:
        """Whether the same may be asked again later, if that does no harm."""
        return self.is_lost or self.status in _LATER

    @property
    def is_anybodys(self) -> bool:
        """Whether something else than the resource may have answered 200, such as a page that asks to log in."""
        return self.status == 200 and self.etag is None

    @property
    def is_json(self) -> bool:
        return self.content is not MISSING

    @property
    def reason(self) -> str | None:
        reason = self.content.get("reason") if isinstance(self.content, dict) and not self.is_done else None
        return reason if isinstance(reason, str) else None

    @property
    def current(self) -> str | None:
        """The tag of what is there, as a refusal tells it: a proxy that compresses alters the field alone."""
        told = self.content.get("etag") if isinstance(self.content, dict) and not self.is_done else None
        return told if isinstance(told, str) else self.etag

    def is_of_another_state(self, base: Copy) -> bool:
        """Tell whether a write was refused since there is another state than that which it was sent for."""
        return self.status == 412 and self.reason in (None, "stale") and self.current != base.etag

    @property
    def is_busy(self) -> bool:
        """Whether the same request may be sent again without a look: the server says that it was not done."""
        return self.status == 409 and self.reason == "busy"

    @property
    def is_of_the_moment(self) -> bool:
        """Whether the same request may be taken later, though what is there has not changed."""
        return self.status in _LATER or (self.status == 409 and self.reason in ("busy", "conflict", "partial"))


Steps = Generator[_Request | float, _Answer | None, T]


class _Exhausted(Exception):
    """There are no attempts left, or no time."""


class _Sent:
    """A write that was sent, and the rule by which its lost answer is told; this is a ``save``'s."""

    def __init__(self, base: Copy, mine: JSON) -> None:
        self.base = base
        self.mine = mine

    def is_in(self, theirs: Copy) -> bool:
        """Tell whether what is there has all that was written, whoever has written it."""
        return theirs != ABSENT and is_there(self.base.content, self.mine, theirs.content)

    def is_shown_by(self, theirs: Copy) -> bool:
        """Tell whether what is there shows that the write was done."""
        return self.is_in(theirs)

    def is_told_by(self, answer: _Answer) -> bool:
        """Tell whether an answer may show what was written, as it is stored, and is not a word on it."""
        return answer.is_json and has_members_of(answer.content, self.mine)

    def may_be_sent_again(self) -> bool:
        """Tell whether the same request does no harm, though it may have been done and undone."""
        return True

    def told_by(self, theirs: Copy) -> bool | None:
        """Return whether it was done, ``False`` too if it may be made once more; ``None`` if nothing tells."""
        if theirs.etag == self.base.etag and self.may_be_sent_again():
            return False
        return True if self.is_shown_by(theirs) else None


class _Deletion(_Sent):
    def is_in(self, theirs: Copy) -> bool:
        return theirs == ABSENT


class _Creation(_Sent):
    """Of those who create the same, one succeeds: it is known by an id of its own."""

    def is_shown_by(self, theirs: Copy) -> bool:
        return bool(uuids_in(self.mine)) and super().is_shown_by(theirs)

    def may_be_sent_again(self) -> bool:
        return False


class _Changed(_Sent):
    """What a change has made of a content. It may leave an id of its own there, or may be made twice."""

    def __init__(self, base: Copy, mine: JSON, change: Change, unique_tags: bool) -> None:
        super().__init__(base, mine)
        self._change = change
        self._unique_tags = unique_tags

    def is_shown_by(self, theirs: Copy) -> bool:
        if theirs == ABSENT:
            return False
        own = uuids_in(self.mine) - uuids_in(self.base.content)
        if own & uuids_in(theirs.content) - uuids_in(_changed(self._change, self.base.content)):
            return True
        is_done = super().is_shown_by(theirs) or same(_changed(self._change, theirs.content), theirs.content)
        return is_done and self._may_be_made_again(theirs)

    def may_be_sent_again(self) -> bool:
        return self._unique_tags or self._is_idempotent_on(self.base.content)

    def told_by(self, theirs: Copy) -> bool | None:
        told = super().told_by(theirs)
        return False if told is None and self._may_be_made_again(theirs) else told

    def _may_be_made_again(self, theirs: Copy) -> bool:
        return theirs != ABSENT and all(
            self._is_idempotent_on(content) for content in (self.base.content, theirs.content)
        )

    def _is_idempotent_on(self, content: JSON) -> bool:
        """Tell whether the change does nothing to its own result, and the same whatever it finds.

        On one state alone, it may do nothing for want of stock, say, or since somebody else was first.
        """
        made = _changed(self._change, content)
        if not same(_changed(self._change, made), made):
            return False
        for way in range(WAYS):
            before = otherwise(way, self.base.content, self.mine, content)
            after = _changed(self._change, before)
            if not is_same_of_any(self.base.content, self.mine, before, after, made):
                return False
            if not same(_changed(self._change, after), after):
                return False
        return True


class _ChangedEach(_Changed):
    """What a change has made of the contents of several resources."""

    def __init__(self, base: Copy, mine: JSON, change: Change, unique_tags: bool, copies: Sequence[Copy]) -> None:
        super().__init__(base, mine, change, unique_tags)
        self._copies = copies

    def is_told_by(self, answer: _Answer) -> bool:
        """Tell whether an answer has the members of each resource, or a tag of each, and not just the old ones."""
        named = answer.content.get("items") if isinstance(answer.content, dict) else answer.content
        items = named if isinstance(named, list) else []
        if len(items) != len(self._copies):
            return False
        tags = [item.get("etag") if isinstance(item, dict) else None for item in items]
        is_tagged = None not in tags and tags != [copy.etag for copy in self._copies]
        return is_tagged or all(has_members_of(*both) for both in zip(items, self.mine, strict=True))


@dataclass(slots=True)
class _Call:
    """What one call of a function has left, and what it has met.

    :ivar urls: of the several resources that are read, if it is not the one of ``url``.
    :ivar sent: what was sent last.
    :ivar lost: whether that may have been done, or may yet be, and its answer did not come.
    :ivar unclear: whether that may have been done, and its answer does not tell.
    :ivar theirs: what was read last.
    """

    url: str
    urls: Sequence[str] = ()
    attempts: int = 20
    deadline: float = 60.0
    ends: float = field(init=False)
    tries: int = 0
    sent: _Sent = field(default_factory=lambda: _Sent(ABSENT, None))
    lost: bool = False
    unclear: bool = False
    theirs: Copy = ABSENT
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
        left = max(self.ends - time.monotonic(), 1)
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
            if not (answer.is_lost or answer.is_of_the_moment):
                raise Refused(answer)
            yield from self.pause()

    def look(self) -> Steps[Copy]:
        """Read what there is, from the server itself; of several resources, each."""
        if not self.urls:
            return (yield from self.read(fresh=True))
        return _joined((yield from self.read_each(fresh=True)))

    def read_each(
        self, known: Sequence[Copy] = (), named: Mapping[int, str | None] | None = None, *, fresh: bool = False
    ) -> Steps[list[Copy]]:
        """Read the several resources; of those that are known, the named ones, or all where none is named."""
        copies = list(known)
        for index, url in enumerate(self.urls):
            if not known:
                copies.append((yield from self.read(url=url, fresh=fresh)))
            elif not named or (index in named and named[index] is None):
                copies[index] = yield from self.read(url=url, fresh=True)
            elif index in named:
                copies[index] = Copy(known[index].content, named[index])
        return copies

    def write(
        self,
        method: str,
        sent: _Sent,
        condition: dict[str, str],
        content: JSON = MISSING,
        type_: str | None = None,
    ) -> Steps[_Answer]:
        """Send a write until its answer says more than to try again.

        :param sent: the same, as the rule has it by which a lost answer is told.
        :param condition: the field that says which state it is made for; none where the content says it.
        :param type_: of the content, if it is not ``application/json``.
        :raises Refused: if what is there does not matter.
        :raises ValueError: if the content is ``None``: libraries send nothing for that, and here it is nothing.
        """
        if content is None:
            raise ValueError("None is no content that can be saved. delete() deletes what is there.")
        self.sent = sent
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
            if answer.reason == "weakened" and answer.current and condition and not is_restored:
                is_restored, headers["If-Match"] = True, answer.current
                _log.warning(
                    "%s: a proxy alters ETags on their way, as those that compress do. The ETag of the refusal "
                    "was sent in the place of the one that was read. ETAG_ACCEPT_WEAKENED spares that.",
                    self.url,
                )
            elif answer.is_busy or (answer.is_to_repeat and self._may_be_sent_again()):
                yield from self.pause()
            elif answer.is_done or answer.is_lost or answer.is_unclear or answer.status in _OVERTAKEN:
                return answer
            else:
                raise Refused(answer)

    def look_after(self, answer: _Answer) -> Steps[Copy]:
        """Read what there is, after a pause; again, if it is still what the server says that it is not.

        So a replica is waited for that is behind.
        """
        for _ in range(_LOOKS):
            yield from self.pause()
            self.theirs = yield from self.look()
            if not (answer.is_of_another_state(self.sent.base) and self.theirs.etag == self.sent.base.etag):
                break
        return self.theirs

    def is_made(self, theirs: Copy) -> bool:
        """Tell whether a write whose answer did not tell is in what is there. If not, it may be made again.

        :raises Unknown: if it was perhaps done, and what is there does not tell.
        """
        if not self.is_open:
            return False
        try:
            told = self.sent.told_by(theirs)
        except Exception as error:
            raise Unknown(self.sent.mine, theirs) from error
        if told is None:
            raise Unknown(self.sent.mine, theirs)
        if theirs.etag != self.sent.base.etag:  # what was sent for a state that is gone comes to nothing
            self.lost = self.unclear = False
        return told

    def _may_be_sent_again(self) -> bool:
        try:
            return self.sent.may_be_sent_again()
        except Exception:  # the change's own; it is raised where it is run on what is there
            return False

    def require_moment(self, answer: _Answer) -> None:
        """Raise what was answered to a write, unless it was refused for what happened at that moment alone.

        What is there is still what was written on: the same request would be refused again.
        """
        self.unclear = False
        if not answer.is_of_the_moment:
            is_cached = answer.is_of_another_state(self.sent.base) and answer.current is not None
            raise Refused(answer, _CACHE_HINT if is_cached else "")

    def written(self, answer: _Answer) -> Steps[Copy]:
        """Return what is there after a write that was done.

        Its answer may lack the content, or the tag, or speak of something else (RFC 9110 sections 9.3.4, 15.3.1).
        """
        is_told = self.sent.is_told_by(answer)
        if is_told and answer.etag is not None:
            return Copy(answer.content, answer.etag)
        try:
            copy = yield from self.look()
            for _ in range(_LOOKS):
                if copy != self.sent.base:
                    break
                yield from self.pause()  # a replica is behind
                copy = yield from self.look()
        except (ClientError, _Exhausted) as error:
            if answer.is_anybodys:
                raise Unknown(self.sent.mine, None) from error
            return Copy(self.sent.mine, None)  # it is saved, whatever has come since
        is_doubtful = copy == self.sent.base or (answer.is_anybodys and not is_told)
        if is_doubtful and not (self.sent.is_in(copy) or reads_as(copy.content, self.sent.mine)):
            raise Unknown(self.sent.mine, copy)
        return copy


def _still(url: str, base: Copy) -> dict[str, str]:
    """Return the field that lets a write pass only while a copy is what is there (RFC 9110 section 13.1)."""
    if base == ABSENT:
        return {"If-None-Match": "*"}
    if base.etag is None:
        raise Untagged(f"There is no ETag of {url}: nobody could tell whether it has changed.")
    return {"If-Match": base.etag}


def _bounded(call: _Call, steps: Steps[Copy]) -> Steps[Copy]:
    """Go through a story; where it ends in vain, tell what is known of what was sent."""
    try:
        return (yield from steps)
    except (Refused, Untagged, _Exhausted) as error:
        last = call.last
        cause = last.cause if isinstance(error, _Exhausted) else error
        if call.is_open:
            try:
                theirs = yield from call.look()
            except (ClientError, _Exhausted):
                raise Unknown(call.sent.mine, None) from cause
            is_as_before = theirs.etag == call.sent.base.etag
            may_come_yet = is_as_before and call.lost
            try:
                if not may_come_yet and call.is_made(theirs):
                    return theirs
            except Unknown as unknown:
                raise unknown from (unknown.__cause__ or cause)
            if may_come_yet or not is_as_before:
                raise Unknown(call.sent.mine, theirs) from cause
        if not isinstance(error, _Exhausted):
            raise
        if last.is_lost:
            raise Unreachable(f"No answer came from {call.url}, in {call.tries} attempts.") from cause
        raise GaveUp(call.tries, call.theirs) from None


def _update(call: _Call, change: Change, known: Copy, unique_tags: bool) -> Steps[Copy]:
    call.theirs = yield from call.read(known)
    while True:
        base = call.theirs
        if base == ABSENT:
            raise Refused(call.last)
        mine = _changed(change, base.content)
        if same(mine, base.content):
            return base
        sent = _Changed(base, mine, change, unique_tags)
        answer = yield from call.write("PUT", sent, _still(call.url, base), mine)
        if answer.is_done:
            return (yield from call.written(answer))
        theirs = yield from call.look_after(answer)
        if call.is_made(theirs):
            return theirs
        if theirs.etag == base.etag:
            call.require_moment(answer)


def _save(call: _Call, base: Copy, mine: JSON, key: Key | None, changes: JSON = MISSING) -> Steps[Copy]:
    """Save by PUT; or send changes by PATCH, and then ``mine`` is what they make of the base."""
    is_patch = changes is not MISSING
    if is_patch:
        changes = as_sent(changes)
    mine = patched(base.content, changes) if is_patch else as_sent(mine)
    call.theirs = base
    while True:
        sent, condition = _Sent(base, mine), _still(call.url, base)
        if is_patch:
            answer = yield from call.write("PATCH", sent, condition, changes, "application/merge-patch+json")
        else:
            answer = yield from call.write("PUT", sent, condition, mine)
        if answer.is_done:
            return (yield from call.written(answer))
        theirs = yield from call.look_after(answer)
        if call.is_made(theirs):
            return theirs
        if theirs == ABSENT and base != ABSENT:
            raise Clash(base, mine, theirs, [""])
        merged, pointers = merge(base.content, mine, theirs.content, key)
        if theirs != ABSENT and same(merged, theirs.content):
            return theirs
        if theirs.etag == base.etag:
            call.require_moment(answer)
        if pointers:
            raise Clash(base, merged, theirs, pointers)
        base, mine = theirs, merged
        changes = changes_between(theirs.content, merged)  # at first it may hold what only others have changed


def _create(call: _Call, content: JSON) -> Steps[Copy]:
    content = as_sent(content)
    while True:
        answer = yield from call.write("PUT", _Creation(ABSENT, content), _still(call.url, ABSENT), content)
        if answer.is_done:
            return (yield from call.written(answer))
        theirs = yield from call.look_after(answer)
        if call.is_made(theirs):
            return theirs
        if theirs != ABSENT:
            raise Clash(ABSENT, content, theirs, [""])
        if not (answer.is_of_the_moment or (answer.status == 412 and answer.reason in (None, "exists"))):
            raise Refused(answer)


def _delete(call: _Call, base: Copy) -> Steps[Copy]:
    call.theirs = base
    while True:
        answer = yield from call.write("DELETE", _Deletion(base, None), _still(call.url, base))
        if answer.is_done and answer.status == 200:
            yield from call.written(answer)
        if answer.is_done or answer.status in _ABSENT:
            return ABSENT
        theirs = yield from call.look_after(answer)
        if theirs == ABSENT or call.is_made(theirs):
            return ABSENT
        if theirs.etag != base.etag:
            raise Clash(base, None, theirs, [""])
        call.require_moment(answer)


def _items(copies: list[Copy]) -> JSON:
    """Return the content of a request that writes several resources, as it is if nobody says otherwise.

    :raises TypeError: if a content is no object.
    """
    if not all(isinstance(copy.content, dict) for copy in copies):
        raise TypeError("The ETag of each content is sent as a member of it, and one is no object: give body=.")
    return [{**copy.content, "etag": copy.etag} for copy in copies]


def _update_each(
    call: _Call, change: Change, body: Callable[[list[Copy]], JSON], unique_tags: bool
) -> Steps[Copy]:
    """Do it; return the content alone, in a copy without a tag."""
    copies = yield from call.read_each()
    while True:
        for url, copy in zip(call.urls, copies, strict=True):
            if copy == ABSENT:
                raise Refused(call.last)
            _still(url, copy)
        base = call.theirs = _joined(copies)
        mine = _changed(change, base.content)
        if same(mine, base.content):
            return base
        content = body([Copy(new, copy.etag) for new, copy in zip(mine, copies, strict=True)])
        sent = _ChangedEach(base, mine, change, unique_tags, copies)
        answer = yield from call.write("PATCH", sent, {}, content)
        if answer.is_done:
            if answer.is_anybodys and not sent.is_told_by(answer):
                mine = (yield from call.written(answer)).content
            return Copy(answer.content if answer.is_json else mine, None)
        yield from call.pause()
        copies = yield from call.read_each(copies, _refused_items(answer))
        theirs = _joined(copies)
        if call.is_made(theirs):
            return theirs
        if theirs.etag == base.etag:
            call.require_moment(answer)


def _joined(copies: Sequence[Copy]) -> Copy:
    """Return several copies as one, which changes if one of them does; ``ABSENT`` if one is."""
    if ABSENT in copies:
        return ABSENT
    return Copy([copy.content for copy in copies], ", ".join(str(copy.etag) for copy in copies))


def _refused_items(answer: _Answer) -> dict[int, str | None]:
    """Return the index of each item that a refusal names; with a tag, where only that was altered on its way."""
    named = answer.content.get("items") if isinstance(answer.content, dict) else None
    tags: dict[int, str | None] = {}
    for item in named if isinstance(named, list) else []:
        if isinstance(item, dict) and isinstance(item.get("index"), int):
            etag = item.get("etag") if item.get("reason") == "weakened" else None
            tags[item["index"]] = etag if isinstance(etag, str) else None
    return tags


def _changed(change: Change, content: JSON) -> JSON:
    """Return what a change makes of a content, which stays as it is."""
    copy = deepcopy(content)
    changed = change(copy)
    return as_sent(copy if changed is None else changed)


# Who sends the requests of a story.


def _run(client: Any, call: _Call, story: Steps[Copy]) -> Copy:
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
        result: Copy = end.value
        return result


async def _arun(client: Any, call: _Call, story: Steps[Copy]) -> Copy:
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
                async with asyncio.timeout(step.timeout):  # an answer that trickles in is given up then
                    answer = _answer_of(await send(**more), step.method)
            except Exception as error:
                answer = _no_answer(error, step.method)
    except StopIteration as end:
        result: Copy = end.value
        return result


def _sender(client: Any, request: _Request) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return what sends a request, and the arguments to give it."""
    headers = {
        name: value if value.isascii() else value.encode("latin-1") for name, value in request.headers.items()
    }
    more: dict[str, Any] = {"method": request.method, "headers": headers}
    if request.content is not MISSING:
        more["json"] = request.content
    if not hasattr(client, "request"):  # Flask's test client
        return client.open, {"path": request.url, **more, "headers": request.headers}
    own = getattr(getattr(client, "timeout", None), "read", None)  # httpx has one; requests would wait for ever
    if own is None or own > request.timeout:
        more["timeout"] = min(request.timeout, own or _PATIENCE)
    return client.request, {"url": request.url, **more}


def _answer_of(response: Any, method: str) -> _Answer:
    """Return what came back; of a write that was redirected, and then read, that it was redirected."""
    if getattr(response, "history", ()) and response.request.method != method:
        response = response.history[0]
    body = response.content if hasattr(response, "content") else response.get_data()
    headers = response.headers
    if hasattr(
        headers, "encoding"
    ):  # httpx guesses; a tag is bytes, which come back as they were (RFC 9110 8.8.3)
        headers.encoding = "latin-1"
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = MISSING
    retries = getattr(getattr(response, "raw", None), "retries", None)  # of urllib3, if requests is told to retry
    return _Answer(
        response.status_code,
        headers.get("ETag"),
        content,
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
