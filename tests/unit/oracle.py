"""RFC 9110 section 13 once more, read naively: what the evaluator is compared with. It shares nothing with it.

Where the RFC leaves a choice, this has the same one: a field that the grammar does not allow, or that is over the
caps, is a false If-Match, and an If-None-Match that is false for a write and ignored for a read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from string import ascii_letters
from typing import Literal

LONGEST = 8190
MOST = 256

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
LONG_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

Tag = tuple[bool, str]  # whether it is weak, and what stands between the quotes
Answer = Literal["perform", 304, 412]


@dataclass(frozen=True)
class Current:
    """A current representation."""

    tag: Tag | None = None
    modified: datetime | None = None


def read_tags(field: str) -> Literal["*"] | list[Tag] | None:
    """Read ``"*" / #entity-tag`` (sections 5.6.1.2 and 8.8.3); ``None`` where it is neither."""
    if len(field) > LONGEST:
        return None
    rest = field.strip(" \t")
    if rest == "*":
        return "*"
    tags: list[Tag] = []
    comma_is_due = False
    while rest:
        if rest[0] == ",":
            comma_is_due = False
            rest = rest[1:].lstrip(" \t")
            continue
        weak = rest[:2] == "W/"
        opaque, quote, after = rest[3 if weak else 1 :].partition('"')
        if comma_is_due or rest[2 if weak else 0 :][:1] != '"' or not quote or not all(map(_is_etagc, opaque)):
            return None
        tags.append((weak, opaque))
        comma_is_due = True
        rest = after.lstrip(" \t")
    return tags if len(tags) <= MOST else None


def _is_etagc(character: str) -> bool:
    return character == "!" or "#" <= character <= "~" or "\x80" <= character <= "\xff"


def strong_comparison(one: Tag, other: Tag) -> bool:
    """The first column of section 8.8.3.2's table."""
    return not one[0] and not other[0] and one[1] == other[1]


def weak_comparison(one: Tag, other: Tag) -> bool:
    """The second column of that table."""
    return one[1] == other[1]


def written(date: datetime) -> tuple[str, str, str]:
    """Write a date in the three formats of section 5.6.7."""
    day, month = DAYS[date.weekday()], MONTHS[date.month - 1]
    time = f"{date.hour:02}:{date.minute:02}:{date.second:02}"
    return (
        f"{day}, {date.day:02} {month} {date.year:04} {time} GMT",
        f"{LONG_DAYS[date.weekday()]}, {date.day:02}-{month}-{date.year % 100:02} {time} GMT",
        f"{day} {month} {date.day:2} {time} {date.year:04}",
    )


def read_date(field: str) -> datetime | None:
    """Read an HTTP-date, by the pieces it falls into: it is one if writing it gives the same characters.

    The day of the week is not held against the date. A leap second is the first second of the next day.
    """
    if "23:59:60" in field:
        before = read_date(field.replace("23:59:60", "23:59:59"))
        return None if before is None else before + timedelta(seconds=1)
    pieces = field.replace(",", " ").replace("-", " ").replace(":", " ").split()
    for year, month, day, hour in ((3, 2, 1, 4), (6, 1, 2, 3)):
        try:
            minutes_and_seconds = int(pieces[hour + 1]), int(pieces[hour + 2])
            date = datetime(
                _whole(pieces[year]),
                MONTHS.index(pieces[month]) + 1,
                int(pieces[day]),
                int(pieces[hour]),
                *minutes_and_seconds,
                tzinfo=UTC,
            )
        except (ValueError, IndexError, OverflowError):
            continue
        for names, form in zip((DAYS, LONG_DAYS, DAYS), written(date), strict=True):
            if field in [name + form.lstrip(ascii_letters) for name in names]:
                return date
    return None


def _whole(year: str) -> int:
    """Give a year of two digits its century: one more than 50 years ahead is in the past."""
    if len(year) != 2:
        return int(year)
    now = datetime.now(UTC).year
    ahead = now - now % 100 + int(year)
    return ahead - 100 if ahead > now + 50 else ahead


def is_later(current: Current | None, field: str) -> bool | None:
    """Tell whether it was modified after a date, in whole seconds; ``None`` where the field is to be ignored."""
    date = read_date(field)
    if date is None or current is None or current.modified is None:
        return None
    return int(current.modified.timestamp()) > int(date.timestamp())


def respond(method: str, fields: dict[str, str], current: Current | None) -> Answer:
    """Take the numbered steps of section 13.2.2."""
    # 13.2.1: a method that selects or modifies no representation
    if method in ("CONNECT", "OPTIONS", "TRACE"):
        return "perform"
    reading = method in ("GET", "HEAD")
    # 1. When recipient is the origin server and If-Match is present
    if "If-Match" in fields:
        if not if_match(fields["If-Match"], current):
            return 412
    # 2. ... If-Match is not present, and If-Unmodified-Since is present
    elif is_later(current, fields.get("If-Unmodified-Since", "")) is True:
        return 412
    # 3. When If-None-Match is present
    if "If-None-Match" in fields:
        if not if_none_match(fields["If-None-Match"], current, reading=reading):
            return 304 if reading else 412
    # 4. When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present
    elif reading and is_later(current, fields.get("If-Modified-Since", "")) is False:
        return 304
    # 5. Range and If-Range say how much is sent, and no more. 6. Otherwise
    return "perform"


def if_match(field: str, current: Current | None) -> bool:
    tags = read_tags(field)
    if tags is None or current is None:
        return False
    if tags == "*":
        return True
    return current.tag is not None and any(strong_comparison(tag, current.tag) for tag in tags)


def if_none_match(field: str, current: Current | None, *, reading: bool) -> bool:
    tags = read_tags(field)
    if tags is None:
        return reading
    if current is None:
        return True
    if tags == "*":
        return False
    return current.tag is None or not any(weak_comparison(tag, current.tag) for tag in tags)
