"""What RFC 9110 and RFC 6585 ask of a resource with an entity tag, asked of a server: Flask's or anyone's.

Sources: RFC 9110 sections 5.6.1 (lists), 8.8 (validators), 9.3 (methods), 13 (conditional requests), 14.2 (Range),
15.4.5 (304) and 15.5.13 (412); RFC 6585 section 3 (428).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from flask_etag.merging import reads_as

_TIMEOUT = 30  # seconds
_ETAG = re.compile(r'(W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_OTHER = '"no-state-has-this-tag"'
_LONG_AGO = "Thu, 01 Jan 1998 00:00:00 GMT"
_OF_CONTENT = (400, 403, 409, 413, 415, 422)  # what says no to a content, and to no condition
_SHARED_BY_304 = ("Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary")


@dataclass(frozen=True)
class Case:
    """One thing that a clause asks for, and what came of it.

    :ivar name: what is asked for.
    :ivar clause: of RFC 9110, or ``6585.3``.
    :ivar sent: the request.
    :ivar answered: what came back, and whether something was written.
    :ivar passed: ``None`` if it does not apply: the resource has no date, say.
    """

    name: str
    clause: str
    sent: str
    answered: str
    passed: bool | None

    def __str__(self) -> str:
        verdict = {True: "ok", False: "FAILED", None: "does not apply"}[self.passed]
        return f"{verdict}: {self.clause} {self.name}: {self.sent} -> {self.answered}"


@dataclass
class _Answer:
    status: int
    headers: Mapping[str, str]  # by names in small letters
    content: bytes

    def __getitem__(self, name: str) -> str | None:
        return self.headers.get(name.lower())


Send = Callable[[str, dict[str, str], bytes | None], _Answer]


def conformance(app: Any, url: str, body: Any = None) -> Iterator[Case]:
    """Ask a resource what the RFCs ask of it, case by case. What is there in the end is what was there before.

    It has to answer GET with JSON. If PUT does not take all that GET gave, it is sent those members alone that
    ``body`` has. Where no content is known that PUT takes, what needs one does not apply. What cannot be put back
    is a case that failed, the last one. Do not point it at what you need.

    :param app: a Flask application; or ``None``, and ``url`` is one of any server.
    :param url: of the resource.
    :param body: another content that PUT takes, for the cases that need two states: without it, they do not apply.
        It has what a client decides, and nothing that the server makes, such as the time of the last change.
    :return: the cases, each as soon as it is tried; :class:`Case` says how it ended.
    :raises ValueError: if GET does not answer 200 with an ETag.
    """
    return _conformance(_by_http(url) if app is None else _by_client(app.test_client(), url), body)


def _conformance(send: Send, body: Any) -> Iterator[Case]:
    asked = _Asked(send, body)
    asked.begin()
    try:
        for about in (_reads, _unchanged, _dates, _writes, _states):
            yield from about(asked)
        if not asked.restore():
            told = f"there is {asked.now()[0]}, and there was {asked.before}"
            yield Case("what was there is there again", "9.3.4", "PUT", told, False)
    finally:
        asked.restore()


@dataclass
class _Asked:
    """A resource, and what was there at the beginning.

    :ivar body: another content that PUT takes, if one is known.
    :ivar back: what PUT takes to put back what was there, if that is known.
    """

    send: Send
    body: Any
    before: Any = None
    back: Any = None
    mimetype: str = "application/json"

    def begin(self) -> None:
        answer = self.send("GET", {}, None)
        if answer.status != 200 or answer["ETag"] is None:
            raise ValueError(
                f"GET was answered by {answer.status}, and has to be 200, with an ETag: {answer.content[:80]!r}"
            )
        self.before = json.loads(answer.content)

    def get(self, fields: Mapping[str, str] | None = None) -> _Answer:
        return self.send("GET", dict(fields or {}), None)

    def now(self) -> tuple[Any, str]:
        """Return what is there, and its tag."""
        answer = self.get()
        return json.loads(answer.content), answer["ETag"] or ""

    def put(self, content: Any, fields: Mapping[str, str]) -> _Answer:
        return self.send("PUT", {"Content-Type": self.mimetype, **fields}, json.dumps(content).encode())

    def learn(self) -> None:
        """Learn which contents PUT takes: members that only the server sets may be refused, as by schemas."""
        contents = [self.before]
        if isinstance(self.before, dict) and isinstance(self.body, dict):
            contents.append({name: self.before[name] for name in self.body if name in self.before})
        self.back = next((content for content in contents if self._takes(content)), None)
        if self.body is not None and (self.back is None or not self._takes(self.body)):
            self.body = None
        self.restore()

    def _takes(self, content: Any) -> bool:
        return self.put(content, {"If-Match": self.now()[1]}).status not in _OF_CONTENT

    def other(self) -> Any:
        """Return a content that is not what is there, if one is known."""
        known = self.before if self.back is None else self.back
        return known if self.body is None or reads_as(self.now()[0], self.body) else self.body

    def restore(self) -> bool:
        """Put back what was there; tell whether it is there. What the server alone sets does not count."""
        content, etag = self.now()
        if content != self.before and self.back is not None:
            self.put(self.back, {"If-Match": etag})
            content, _ = self.now()
        if self.body is None or not (isinstance(self.before, dict) and isinstance(content, dict)):
            return self.body is None or reads_as(content, self.before)
        return all(content.get(name) == self.before.get(name) for name in self.body)


def _told(method: str, fields: Mapping[str, str]) -> str:
    return " ".join([method, *(f"{name}: {value}" for name, value in fields.items())])


def _near(tag: str, *, of_state: bool = False) -> list[tuple[str, str]]:
    """Return tags that are nearly a strong one, and how they differ.

    :param of_state: whether only to alter what tells the state. Some have a part for the representation after it,
        behind a dot, and let a write name any representation of the state.
    """
    inner = tag[1:-1]
    first, last = ("x" if inner[place : place + 1] != "x" else "y" for place in (0, -1))
    begun = [
        ("with another beginning", f'"{first}{inner[1:]}"'),
        ("that is only begun", f'"{inner[: len(inner) // 3]}"'),
    ]
    if of_state and "." in inner:
        return [(how, near) for how, near in begun if near != tag]
    ended = [("with another end", f'"{inner[:-1]}{last}"'), ("with a longer end", f'"{inner}x"')]
    return [(how, near) for how, near in [*begun, *ended] if near != tag]


def _reads(asked: _Asked) -> Iterator[Case]:
    """Ask what a read with conditions is answered."""
    first, second = asked.get(), asked.get()
    etag = first["ETag"] or ""
    yield Case("an ETag is an entity tag", "8.8.3", "GET", etag, _ETAG.fullmatch(etag) is not None)
    yield Case("a state keeps its ETag", "8.8.1", "GET, GET", f"{etag}, {second['ETag']}", etag == second["ETag"])
    head = asked.send("HEAD", {}, None)
    yield Case("HEAD has the ETag of GET", "9.3.2", "HEAD", f"{head.status} {head['ETag']}", head["ETag"] == etag)
    weak, strong = f"W/{etag.removeprefix('W/')}", etag.removeprefix("W/")
    is_strong = not etag.startswith("W/")
    table: list[tuple[str, str, str, dict[str, str], int]] = [
        ("the current tag is not modified", "13.1.2", "GET", {"If-None-Match": etag}, 304),
        ("another tag is modified", "13.1.2", "GET", {"If-None-Match": _OTHER}, 200),
        ("one tag of several is enough", "13.1.2", "GET", {"If-None-Match": f"{_OTHER}, {etag}"}, 304),
        ("the first of several as well", "13.1.2", "GET", {"If-None-Match": f'{etag}, {_OTHER}, "nor-this"'}, 304),
        ("and one in the middle", "13.1.2", "GET", {"If-None-Match": f'{_OTHER}, {etag}, "nor-this"'}, 304),
        ("* is any state", "13.1.2", "GET", {"If-None-Match": "*"}, 304),
        ("a tag without quotes names no state", "13.1.2", "GET", {"If-None-Match": _OTHER.strip('"')}, 200),
        ("a tag that does not end names no state", "13.1.2", "GET", {"If-None-Match": _OTHER[:-1]}, 200),
        ("an empty list names no state", "13.1.2", "GET", {"If-None-Match": ","}, 200),
        *(
            (f"a tag {how} is another", "8.8.3.2", "GET", {"If-None-Match": near}, 200)
            for how, near in _near(strong)
        ),
        ("If-None-Match compares weakly", "8.8.3.2", "GET", {"If-None-Match": weak}, 304),
        ("it is the same for HEAD", "13.1.2", "HEAD", {"If-None-Match": etag}, 304),
        ("a comma may be a part of a tag", "8.8.3", "GET", {"If-None-Match": f'"a,b", {etag}'}, 304),
        ("a backslash is a character of a tag", "8.8.3", "GET", {"If-None-Match": f'"a\\", {etag}'}, 304),
        ("the empty tag is a tag", "8.8.3", "GET", {"If-None-Match": f'"", {etag}'}, 304),
        ("a tag may have obs-text", "8.8.3", "GET", {"If-None-Match": f'"\xe9", {etag}'}, 304),
        ("empty members of a list are skipped", "5.6.1", "GET", {"If-None-Match": f", , {etag} ,"}, 304),
        ('"*" in quotes is a tag', "13.1.2", "GET", {"If-None-Match": '"*"'}, 200),
        (
            "a tag is compared by each character",
            "8.8.3.2",
            "GET",
            {"If-None-Match": strong.swapcase() + ', "x"'},
            200,
        ),
        ("If-Match of another tag fails a read too", "13.1.1", "GET", {"If-Match": _OTHER}, 412),
        ("and HEAD", "13.1.1", "HEAD", {"If-Match": _OTHER}, 412),
        ("If-Match: * holds where something is", "13.1.1", "GET", {"If-Match": "*"}, 200),
        ("If-Match is judged first", "13.2.2", "GET", {"If-Match": _OTHER, "If-None-Match": etag}, 412),
        (
            "If-Match that holds leaves If-None-Match",
            "13.2.2",
            "GET",
            {"If-Match": "*", "If-None-Match": etag},
            304,
        ),
        ("another If-Range gives the whole", "13.1.5", "GET", {"Range": "bytes=0-0", "If-Range": _OTHER}, 200),
        ("a date that is none is ignored", "13.1.3", "GET", {"If-Modified-Since": "yesterday"}, 200),
    ]
    if is_strong:
        table += [
            ("If-Match of the current tag holds", "13.1.1", "GET", {"If-Match": etag}, 200),
            ("and that of one of several", "13.1.1", "GET", {"If-Match": f"{etag}, {_OTHER}"}, 200),
            ("If-Match compares strongly", "8.8.3.2", "GET", {"If-Match": weak}, 412),
        ]
    for name, clause, method, fields, status in table:
        answer = asked.send(method, fields, None)
        passed = answer.status == status
        if "each character" in name and strong.swapcase() == strong:
            yield Case(name, clause, _told(method, fields), "the tag has no letters", None)
            continue
        yield Case(name, clause, _told(method, fields), str(answer.status), passed)
    options = asked.send("OPTIONS", {"If-Match": _OTHER}, None)
    yield Case(
        "OPTIONS ignores conditions", "13.2.1", "OPTIONS If-Match", str(options.status), options.status != 412
    )


def _unchanged(asked: _Asked) -> Iterator[Case]:
    """Ask what a 304 has, and has not."""
    whole = asked.get()
    etag = whole["ETag"] or ""
    answer = asked.get({"If-None-Match": etag})
    sent = _told("GET", {"If-None-Match": etag})
    if answer.status != 304:
        yield Case("a 304 has what its 200 has", "15.4.5", sent, str(answer.status), None)
        return
    for name in _SHARED_BY_304:
        value = whole[name]
        is_there = answer[name] is not None if name == "Date" else answer[name] == value
        told = f"{answer[name]}, and 200 has {value}"
        yield Case(f"a 304 has the {name} of its 200", "15.4.5", sent, told, None if value is None else is_there)
    length = answer["Content-Length"]
    yield Case("a 304 has no content", "15.4.5", sent, f"{len(answer.content)} bytes", not answer.content)
    is_right = length is None or length == whole["Content-Length"]
    yield Case("and no other length than its 200", "8.6", sent, f"Content-Length {length}", is_right)


def _dates(asked: _Asked) -> Iterator[Case]:
    """Ask what dates do, where the resource shows one."""
    whole = asked.get()
    modified = whole["Last-Modified"]
    shown = {"If-Modified-Since": modified or ""}
    cases: list[tuple[str, str, dict[str, str], int]] = [
        ("not modified since it was", "13.1.3", shown, 304),
        ("modified since long ago", "13.1.3", {"If-Modified-Since": _LONG_AGO}, 200),
        ("If-None-Match beats If-Modified-Since", "13.1.3", {**shown, "If-None-Match": _OTHER}, 200),
        ("unmodified since it was", "13.1.4", {"If-Unmodified-Since": modified or ""}, 200),
        ("not unmodified since long ago", "13.1.4", {"If-Unmodified-Since": _LONG_AGO}, 412),
        ("If-Match beats If-Unmodified-Since", "13.1.4", {"If-Unmodified-Since": _LONG_AGO, "If-Match": "*"}, 200),
    ]
    for name, clause, fields, status in cases:
        sent = _told("GET", fields)
        if modified is None:
            yield Case(name, clause, sent, "no Last-Modified", None)
            continue
        answer = asked.get(fields)
        yield Case(name, clause, sent, str(answer.status), answer.status == status)
    date = whole["Date"]
    told = f"{modified}, Date {date}"
    if modified is None or date is None:
        yield Case("Last-Modified is not later than Date", "8.8.2.1", "GET", told, None)
    else:
        is_past = parsedate_to_datetime(modified) <= parsedate_to_datetime(date)
        yield Case("Last-Modified is not later than Date", "8.8.2.1", "GET", told, is_past)


def _to_be_refused(etag: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the clause of each write that is refused while a tag is the current one, and its fields."""
    weak, strong = f"W/{etag.removeprefix('W/')}", etag.removeprefix("W/")
    swapped = strong.swapcase()
    table: list[tuple[str, str, dict[str, str]]] = [
        ("of another state is refused", "13.1.1", {"If-Match": _OTHER}),
        ("of several other states is refused", "13.1.1", {"If-Match": f'{_OTHER}, "nor-this"'}),
        ("by a weak tag is refused", "8.8.3.2", {"If-Match": weak}),
        ("by an empty list is refused", "13.1.1", {"If-Match": ""}),
        ('by "*" in quotes is refused', "13.1.1", {"If-Match": '"*"'}),
        (
            "by a tag in other letters is refused",
            "8.8.3.2",
            {"If-Match": swapped if swapped != strong else _OTHER},
        ),
        *(
            (f"by a tag {how} is refused", "8.8.3.2", {"If-Match": near})
            for how, near in _near(strong, of_state=True)
        ),
        ("by If-None-Match: * is refused where something is", "13.1.2", {"If-None-Match": "*"}),
        (
            "by If-None-Match of several is refused",
            "13.1.2",
            {"If-Match": "*", "If-None-Match": f"{etag}, {_OTHER}"},
        ),
        ("by If-None-Match of the current tag is refused", "13.1.2", {"If-None-Match": etag}),
        ("is refused where one of two conditions fails", "13.2.2", {"If-Match": "*", "If-None-Match": etag}),
        (
            "is refused by If-Match though If-None-Match holds",
            "13.2.2",
            {"If-Match": _OTHER, "If-None-Match": _OTHER},
        ),
        ("by a tag without quotes is not done", "13.1.1", {"If-Match": strong.strip('"')}),
        ("by a tag that does not end is not done", "13.1.1", {"If-Match": strong[:-1]}),
        ("by two tags without a comma is not done", "5.6.1", {"If-Match": f"{_OTHER} {_OTHER}"}),
        ("by w/ in small letters is not done", "8.8.3", {"If-Match": f"w/{strong}"}),
        ("by * among tags is not done", "13.1.1", {"If-Match": f"*, {_OTHER}"}),
    ]
    return {name: (clause, fields) for name, clause, fields in table}


def _writes(asked: _Asked) -> Iterator[Case]:
    """Ask which writes are refused, and that these change nothing; and which are done."""
    asked.learn()
    content, etag = asked.now()
    is_strong = not etag.startswith("W/")
    for name in _to_be_refused(etag):
        current = _to_be_refused(asked.now()[1])  # it is another one where a write was done that should not be
        if name in current:
            clause, fields = current[name]
            yield from _refused(asked, f"a write {name}", clause, fields, is_malformed="not done" in name)
    told = _told("PUT", {"If-Match": _OTHER}) + " {oops"
    answer = asked.send("PUT", {"Content-Type": asked.mimetype, "If-Match": _OTHER}, b"{oops")
    yield Case(
        "412 comes before the content is looked at", "13.2.1", told, str(answer.status), answer.status == 412
    )
    if asked.get()["Last-Modified"] is None:
        yield Case("a write is refused by its date", "13.1.4", "PUT", "no Last-Modified", None)
    else:
        yield from _refused(asked, "a write is refused by its date", "13.1.4", {"If-Unmodified-Since": _LONG_AGO})
    missing = asked.put(content, {})
    is_428 = missing.status == 428
    told = str(missing.status)
    yield Case("a write without a condition is refused", "6585.3", "PUT", told, True if is_428 else None)
    says = bool(missing.content) if is_428 else None
    yield Case(
        "a 428 says how to repeat the request",
        "6585.3",
        "PUT",
        missing.content[:60].decode("utf-8", "replace"),
        says,
    )
    done: list[tuple[str, str, Callable[[str], dict[str, str]]]] = [
        ("of the current state is done", "13.1.1", lambda tag: {"If-Match": tag}),
        ("of one of several states is done", "13.1.1", lambda tag: {"If-Match": f"{_OTHER}, {tag}"}),
        (
            "of the first of several states is done",
            "13.1.1",
            lambda tag: {"If-Match": f'{tag}, {_OTHER}, "nor-this"'},
        ),
        ("of a list with empty members is done", "5.6.1", lambda tag: {"If-Match": f", {tag} , ,"}),
        ("by If-Match: * is done where something is", "13.1.1", lambda _: {"If-Match": "*"}),
        (
            "of the current state is done, whatever its date",
            "13.1.4",
            lambda tag: {"If-Match": tag, "If-Unmodified-Since": _LONG_AGO},
        ),
    ]
    for name, clause, fields_of in done:
        yield from _done(asked, f"a write {name}", clause, fields_of, applies=is_strong or "*" in name)


def _refused(
    asked: _Asked, name: str, clause: str, fields: dict[str, str], *, is_malformed: bool = False
) -> Iterator[Case]:
    before, _ = asked.now()
    answer = asked.put(asked.other(), fields)
    after, etag = asked.now()
    is_same = before == after
    if not is_same:
        asked.put(asked.other(), {"If-Match": etag})
    # One that names no state to be written may be refused for that alone (RFC 6585 section 3).
    is_right = answer.status == 412 or (answer.status == 428 and "If-Match" not in fields)
    if is_malformed:
        is_right = 400 <= answer.status < 500
    told = f"{answer.status}{'' if is_same else ', and it was written'}"
    yield Case(name, clause, _told("PUT", fields), told, is_right and is_same)


def _done(
    asked: _Asked, name: str, clause: str, fields_of: Callable[[str], dict[str, str]], *, applies: bool
) -> Iterator[Case]:
    before, etag = asked.now()
    fields = fields_of(etag)
    if not applies or asked.back is None:
        why = "no content is known that PUT takes" if applies else "the tag is weak"
        yield Case(name, clause, _told("PUT", fields), why, None)
        return
    other = asked.other()
    answer = asked.put(other, fields)
    is_done = 200 <= answer.status < 300
    is_nothing = is_done and answer.status != 202 and not reads_as(before, other) and asked.now()[0] == before
    told = f"{answer.status}{', and it was not written' if is_nothing else ''}"
    yield Case(name, clause, _told("PUT", fields), told, is_done and not is_nothing)


def _states(asked: _Asked) -> Iterator[Case]:
    """Ask what becomes of the tag when the state changes."""
    content, old = asked.now()
    answer = asked.put(asked.other(), {"If-Match": old})
    after, new = asked.now()
    sent = _told("PUT", {"If-Match": old})
    if answer["ETag"] is None or not 200 <= answer.status < 300:
        yield Case(
            "the ETag of a write is that of the next read", "8.8.3", sent, f"{answer.status}, no ETag", None
        )
    else:
        told = f"{answer['ETag']}, then {new}"
        yield Case("the ETag of a write is that of the next read", "8.8.3", sent, told, answer["ETag"] == new)
    if after == content:
        for name in ("a new state has a new ETag", "a read by the old tag is 200"):
            yield Case(name, "8.8.1", sent, "there is no other content", None)
        return
    yield Case("a new state has a new ETag", "8.8.1", sent, f"{old}, then {new}", old != new)
    again = asked.get({"If-None-Match": old})
    is_new = again.status == 200 and json.loads(again.content) == after
    yield Case(
        "a read by the old tag is 200", "13.1.2", _told("GET", {"If-None-Match": old}), str(again.status), is_new
    )
    yield from _refused(asked, "a write of a state that is past is refused", "13.1.1", {"If-Match": old})


# How requests are sent.


def _by_client(client: Any, url: str) -> Send:
    def send(method: str, headers: dict[str, str], content: bytes | None) -> _Answer:
        answer = client.open(url, method=method, headers=headers, data=content)
        return _Answer(
            answer.status_code, {name.lower(): value for name, value in answer.headers}, answer.get_data()
        )

    return send


def _by_http(url: str, headers: Mapping[str, str] = {}) -> Send:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    always = dict(headers)

    def send(method: str, headers: dict[str, str], content: bytes | None) -> _Answer:
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, content, {**always, **headers})
            answer = connection.getresponse()
            return _Answer(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        finally:
            connection.close()

    return send


def main(arguments: list[str] | None = None) -> int:
    """Check a URL; print the cases that failed, and return 1 if one did."""
    parser = argparse.ArgumentParser(
        prog="python -m flask_etag.testing",
        description="Ask a resource what RFC 9110 and RFC 6585 ask of one that has an ETag. GET has to give JSON, "
        "which PUT has to take. Do not point it at what you need.",
    )
    parser.add_argument("url", metavar="URL")
    parser.add_argument("--body", type=json.loads, metavar="JSON", help="another content that PUT takes")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE", help="sent each time")
    parser.add_argument("--all", action="store_true", help="print what passed, too")
    given = parser.parse_args(arguments)
    fields = {name.strip(): value.strip() for name, _, value in (text.partition(":") for text in given.header)}
    counts = {True: 0, False: 0, None: 0}
    try:
        for case in _conformance(_by_http(given.url, fields), given.body):
            counts[case.passed] += 1
            if given.all or case.passed is False:
                print(case)
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        parser.error(f"{given.url}: {error}")
    print(f"{counts[True]} passed, {counts[False]} failed, {counts[None]} do not apply")
    return 1 if counts[False] else 0
