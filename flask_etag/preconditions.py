"""The conditions that a request sets, and their evaluation.

Source: RFC 9110, section 13. The rules are written once, here, in the order of section 13.2.2, one small
function for each field. There is neither a framework nor a database in this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from werkzeug.http import parse_date

from flask_etag.entity_tags import EntityTag, MalformedField, TagList, field_of

Reason = Literal["absent", "exists", "malformed", "stale", "unverifiable", "weakened"]
"""Why a precondition fails.

``absent``: If-Match, and there is no current representation. ``exists``: If-None-Match, and there is one.
``malformed``: a field that cannot be read. ``stale``: the representation has changed since.
``unverifiable``: the current representation has no strong tag that could match.
``weakened``: the right tag, but marked weak, or with a suffix, by a proxy on its way.
"""

Verdict = Literal["proceed", "not modified"] | Reason
"""What is to be done: proceed, answer 304, or answer 412 for the reason given."""

_READS = frozenset({"GET", "HEAD"})
_UNCONDITIONAL = frozenset({"CONNECT", "OPTIONS", "TRACE"})

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = r"\d\d:\d\d:\d\d"
_IS_HTTP_DATE = re.compile(  # section 5.6.7: IMF-fixdate, and the two obsolete forms
    rf"{_DAY}, \d\d {_MONTH} \d{{4}} {_TIME} GMT"
    rf"|{_LONG_DAY}, \d\d-{_MONTH}-\d\d {_TIME} GMT"
    rf"|{_DAY} {_MONTH} [ \d]\d {_TIME} \d{{4}}",
    re.ASCII,
).fullmatch


_SUFFIX = r"(?:--?|:)[a-z]{2,8}"  # -gzip, --gzip, :gzip, -br: what proxies that compress put behind a tag
_IS_SUFFIX = re.compile(_SUFFIX).fullmatch
_VARIANT_AND_SUFFIX = re.compile(rf"(\.[A-Za-z0-9_-]{{32}})?({_SUFFIX})?").fullmatch

_IS_ANCIENT = re.compile(r"\b00\d\d\b", re.ASCII).search


@dataclass(slots=True)  # not frozen: each request makes one, and that would double its cost
class Representation:
    """The current representation of a resource, as far as conditions can tell it from another.

    One state of a resource may have several representations: media types, languages, selections of its members.
    Each has a tag of its own, ``"<state>.<variant>"``, and they share the first half. Reads compare the whole
    tag, writes its state alone: what is overwritten is the state.

    :param etag: its entity tag, or ``None`` where it has none.
    :param last_modified: when it last changed, or ``None`` where that is not known. A naive one is UTC.
    :param state: the half that the tags of all representations of this state share: 32 hexadecimal digits, of
        which nothing else can be the beginning. Without it, tags are compared whole.
    :param verbatim: another opaque text that names the same state in a write.
    :param former_states: what the state was by the keys of before: only writes compare them.
    :param shows_last_modified: whether answers carry the date. One that is younger than a second may still
        stand for two states, so it is not shown, and nobody can have it.
    """

    etag: EntityTag | None = None
    last_modified: datetime | None = None
    state: str | None = None
    verbatim: str | None = None
    shows_last_modified: bool = True
    former_states: tuple[str, ...] = ()

    @property
    def field(self) -> str | None:
        """The value of the field ETag; ``None`` where there is no tag."""
        return None if self.etag is None else field_of(self.etag.opaque, self.etag.weak)

    def named_by(self, opaque: str, *, whole: bool) -> Literal["exactly", "with a suffix"] | None:
        """Tell whether an opaque tag names this representation; or, where not ``whole``, its state."""
        if self.etag is None:
            return None
        own = self.etag.opaque
        if opaque == own or (not whole and opaque == self.verbatim):
            return "exactly"
        states = (self.state,) if whole else (self.state, *self.former_states)
        state = next((each for each in states if each is not None and opaque.startswith(each)), None)
        if state is None:
            return None
        if whole:
            ours = own.startswith(state) and opaque.startswith(own) and _IS_SUFFIX(opaque, len(own))
            return "with a suffix" if ours else None
        rest = _VARIANT_AND_SUFFIX(opaque, len(state))
        if rest is None or (rest[1] is None and self.verbatim is not None):
            return None  # a state that has a text of its own is sent by that, or with a second half
        return "exactly" if rest[2] is None else "with a suffix"


@dataclass(slots=True)  # not frozen, as above
class Preconditions:
    """The conditional fields of one request, unread: a field's value, or ``None`` where it was not sent.

    If-Range is not among them: it decides what of the representation is sent, see
    :func:`~flask_etag.preconditions.keeps_range`.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None

    @property
    def protect(self) -> bool:
        """Whether they keep a write from overwriting a state that its sender has not seen.

        Only If-Match does, and ``If-None-Match: *``, which lets nothing be overwritten.
        """
        return self.if_match is not None or (
            self.if_none_match is not None and self.if_none_match.strip(" \t") == "*"
        )

    @property
    def take_any_state(self) -> bool:
        """Whether they let any state be replaced that is there: ``If-Match: *``."""
        return self.if_match is not None and self.if_match.strip(" \t") == "*"

    def at_a_glance(self, method: str, field: str | None) -> Literal["proceed", "not modified"] | None:
        """Answer the usual request, whose one condition is the current tag as it was sent.

        :param method: the request's method, in capitals.
        :param field: the value of the field ETag, if there is one.
        :return: ``None`` for any other, which has to be evaluated.
        """
        if field is None:
            return None
        if method in _READS:
            is_usual = self.if_none_match == field and self.if_match is None and self.if_unmodified_since is None
            return "not modified" if is_usual else None
        is_usual = self.if_match == field and self.if_none_match is None and not field.startswith("W/")
        return "proceed" if is_usual else None

    def evaluate(self, method: str, current: Representation | None, *, accept_weakened: bool = False) -> Verdict:
        """Judge a request by its conditions, in the order of RFC 9110 section 13.2.2.

        :param method: the request's method, in capitals.
        :param current: the current representation of its target; ``None`` where there is none.
        :param accept_weakened: whether one of our own tags is as good as ever after a proxy has marked it weak
            or put a suffix behind it.
        """
        if method in _UNCONDITIONAL:
            return "proceed"
        failure: Reason | None = None
        is_read = method in _READS
        if current is not None and (usual := self.at_a_glance(method, current.field)) is not None:
            return usual
        if self.if_match is not None:
            failure = _judge_if_match(self.if_match, current, is_read, accept_weakened)
        elif self.if_unmodified_since is not None:
            failure = _judge_if_unmodified_since(self.if_unmodified_since, current)
        if failure is not None:
            return failure
        if self.if_none_match is not None:
            failure = _judge_if_none_match(self.if_none_match, current, is_read, accept_weakened)
            if is_read:
                # A read overwrites nothing: what cannot be understood does not keep it from its answer.
                return "not modified" if failure == "exists" else "proceed"
        elif self.if_modified_since is not None and is_read:
            return _judge_if_modified_since(self.if_modified_since, current)
        return failure or "proceed"


def keeps_range(if_range: str | None, current: Representation) -> bool:
    """Tell whether a Range may be served: whether If-Range names the current representation (section 13.1.5).

    Strong comparison of a tag; a date has to be the very one that answers carry.

    :param if_range: the value of the field; ``None`` where it was not sent.
    :param current: the current representation.
    :return: whether it may; otherwise the whole representation is the answer.
    """
    if if_range is None:
        return True
    date = http_date(if_range)
    if date is not None:
        modified = current.last_modified if current.shows_last_modified else None
        return modified is not None and _in_whole_seconds(modified) == date
    return current.field == if_range.strip(" \t") and current.etag is not None and not current.etag.weak


def _judge_if_match(
    field: str, current: Representation | None, whole: bool, accept_weakened: bool
) -> Reason | None:
    """Section 13.1.1: strong comparison, since what matches is going to be overwritten."""
    try:
        tags = TagList.parse(field)
    except MalformedField:
        return "malformed"
    if current is None:
        return "absent"
    if tags.wildcard:
        return None
    return _judge_members(tags.members, current, whole, accept_weakened)


def _judge_members(
    members: tuple[EntityTag, ...], current: Representation, whole: bool, accept_weakened: bool
) -> Reason | None:
    if current.etag is None or current.etag.weak:
        return "unverifiable"
    weakened = False
    for member in members:
        named = current.named_by(member.opaque, whole=whole)
        if named == "exactly" and not member.weak:
            return None
        weakened = weakened or named is not None
    if weakened and accept_weakened:
        return None
    return "weakened" if weakened else "stale"


def _judge_if_none_match(
    field: str, current: Representation | None, whole: bool, accept_weakened: bool
) -> Literal["exists", "malformed"] | None:
    """Section 13.1.2: weak comparison, since equivalent content is as good as the same."""
    try:
        tags = TagList.parse(field)
    except MalformedField:
        return "malformed"
    if current is None:
        return None
    if tags.wildcard:
        return "exists"
    for member in tags.members:
        named = current.named_by(member.opaque, whole=whole)
        if named == "exactly" or (named is not None and accept_weakened):
            return "exists"
    return None


def _judge_if_unmodified_since(field: str, current: Representation | None) -> Literal["stale"] | None:
    """Section 13.1.4: ignored where the date is invalid, or where there is none to compare it with."""
    return "stale" if _modified_after(field, current) else None


def _judge_if_modified_since(field: str, current: Representation | None) -> Literal["proceed", "not modified"]:
    """Section 13.1.3: ignored where the date is invalid, or where there is none to compare it with."""
    if current is not None and not current.shows_last_modified:
        return "proceed"
    return "not modified" if _modified_after(field, current) is False else "proceed"


def _modified_after(field: str, current: Representation | None) -> bool | None:
    """Compare in whole seconds, which is what an HTTP date has; ``None`` where that is not possible."""
    date = http_date(field)
    if date is None or current is None or current.last_modified is None:
        return None
    return _in_whole_seconds(current.last_modified) > date


def _in_whole_seconds(modified: datetime) -> datetime:
    return modified.replace(microsecond=0, tzinfo=modified.tzinfo or UTC)


def http_date(field: str) -> datetime | None:
    """Read an HTTP date (section 5.6.7); ``None`` for what is none.

    Werkzeug reads years below 100 as recent ones, and knows no leap second, which is here the one before it.
    """
    if not _IS_HTTP_DATE(field):
        return None
    if _IS_ANCIENT(field):
        return datetime.min.replace(tzinfo=UTC)
    return parse_date(field.replace(":60", ":59"))
