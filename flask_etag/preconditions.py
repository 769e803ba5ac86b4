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

from flask_etag.entity_tags import EntityTag, MalformedField, TagList

Reason = Literal["absent", "exists", "malformed", "stale", "unverifiable", "weakened"]
"""Why a precondition fails.

``absent``: If-Match, and there is no current representation. ``exists``: If-None-Match, and there is one.
``malformed``: a field that cannot be read. ``stale``: the representation has changed since.
``unverifiable``: the current representation has no strong tag that could match.
``weakened``: the right tag, but marked weak on its way.
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


@dataclass(frozen=True, slots=True)
class Representation:
    """The current representation of a resource, as far as conditions can tell it from another.

    :param etag: its entity tag, or ``None`` where it has none.
    :param last_modified: when it last changed, or ``None`` where that is not known. A naive one is UTC.
    """

    etag: EntityTag | None = None
    last_modified: datetime | None = None


@dataclass(frozen=True, slots=True)
class Preconditions:
    """The conditional fields of one request, unread: a field's value, or ``None`` where it was not sent.

    If-Range is not among them: it only matters to who serves ranges, and Range is ignored here, as section
    14.2 allows.
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

    def evaluate(self, method: str, current: Representation | None) -> Verdict:
        """Judge a request by its conditions, in the order of RFC 9110 section 13.2.2.

        :param method: the request's method, in capitals.
        :param current: the current representation of its target; ``None`` where there is none.
        """
        if method in _UNCONDITIONAL:
            return "proceed"
        failure: Reason | None = None
        if self.if_match is not None:
            failure = _judge_if_match(self.if_match, current)
        elif self.if_unmodified_since is not None:
            failure = _judge_if_unmodified_since(self.if_unmodified_since, current)
        if failure is not None:
            return failure
        is_read = method in _READS
        if self.if_none_match is not None:
            failure = _judge_if_none_match(self.if_none_match, current)
            if is_read:
                # A read overwrites nothing: what cannot be understood does not keep it from its answer.
                return "not modified" if failure == "exists" else "proceed"
        elif self.if_modified_since is not None and is_read:
            return _judge_if_modified_since(self.if_modified_since, current)
        return failure or "proceed"


def _judge_if_match(field: str, current: Representation | None) -> Reason | None:
    """Section 13.1.1: strong comparison, since what matches is going to be overwritten."""
    try:
        tags = TagList.parse(field)
    except MalformedField:
        return "malformed"
    if current is None:
        return "absent"
    if tags.wildcard:
        return None
    etag = current.etag
    if etag is None or etag.weak:
        return "unverifiable"
    if any(member.strongly_matches(etag) for member in tags.members):
        return None
    return "weakened" if any(member.weakly_matches(etag) for member in tags.members) else "stale"


def _judge_if_none_match(field: str, current: Representation | None) -> Literal["exists", "malformed"] | None:
    """Section 13.1.2: weak comparison, since equivalent content is as good as the same."""
    try:
        tags = TagList.parse(field)
    except MalformedField:
        return "malformed"
    if current is None:
        return None
    if tags.wildcard:
        return "exists"
    etag = current.etag
    if etag is not None and any(member.weakly_matches(etag) for member in tags.members):
        return "exists"
    return None


def _judge_if_unmodified_since(field: str, current: Representation | None) -> Literal["stale"] | None:
    """Section 13.1.4: ignored where the date is invalid, or where there is none to compare it with."""
    return "stale" if _modified_after(field, current) else None


def _judge_if_modified_since(field: str, current: Representation | None) -> Literal["proceed", "not modified"]:
    """Section 13.1.3: ignored where the date is invalid, or where there is none to compare it with."""
    return "not modified" if _modified_after(field, current) is False else "proceed"


def _modified_after(field: str, current: Representation | None) -> bool | None:
    """Compare in whole seconds, which is what an HTTP date has; ``None`` where that is not possible."""
    date = parse_date(field) if _IS_HTTP_DATE(field) else None
    if date is None or current is None or current.last_modified is None:
        return None
    modified = current.last_modified
    if modified.tzinfo is None:
        modified = modified.replace(tzinfo=UTC)
    return modified.replace(microsecond=0) > date
