"""What becomes of JSON that several people change: three-way merges, merge patches, and what a server respells.

Sources: RFC 6901 (JSON pointers), RFC 7396 (merge patch).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

JSON = Any

Key = Callable[[str], str | None]
"""Tells, for the JSON pointer of a list, which member identifies its items; ``None`` where the list is a whole."""


class _Missing:
    """The value of a member that is not there."""


MISSING = _Missing()
"""What stands for a member, or a content, that is not there: ``None`` is JSON's ``null``."""


_Members = dict[Any, JSON]


def merge(base: JSON, mine: JSON, theirs: JSON, key: Key | None = None) -> tuple[JSON, list[str]]:
    """Merge three ways: what only one side has changed, added or left out is taken from that side.

    Objects are merged member by member, at any depth; lists and everything else as a whole, unless ``key`` says by
    which member the items of a list are told apart.

    :param base: what both began with.
    :param mine: what one side has made of it.
    :param theirs: what the other side has made of it.
    :param key: for the JSON pointer of a list, the member that identifies its items, such as
        ``{"/lines": "id"}.get``.
    :return: the merged content, with mine of what has clashed; and the JSON pointers of what has, as
        :class:`Clash` has them.
    """
    merging = _Merging(key)
    return merging.of(base, mine, theirs, ""), merging.clashes


class _Merging:
    def __init__(self, key: Key | None) -> None:
        self._key = key
        self.clashes: list[str] = []

    def of(self, base: JSON, mine: JSON, theirs: JSON, at: str) -> JSON:
        if same(mine, base):
            return theirs
        if same(theirs, base) or same(mine, theirs):
            return mine
        if isinstance(mine, dict) and isinstance(theirs, dict):
            before = base if isinstance(base, dict) else {}
            return self._members(before, mine, theirs, lambda name: f"{at}/{_escaped(name)}")
        if isinstance(mine, list) and isinstance(theirs, list):
            member = None if self._key is None else self._key(at)
            first, second, third = (_by_key(side, member) for side in (base, mine, theirs))
            if first is not None and second is not None and third is not None:
                return self._items(first, second, third, at)
        self.clashes.append(at)
        return mine

    def _members(
        self, base: _Members, mine: _Members, theirs: _Members, pointer: Callable[[Any], str]
    ) -> _Members:
        merged = {}
        for name in dict.fromkeys([*base, *theirs, *mine]):
            before, ours, others = (side.get(name, MISSING) for side in (base, mine, theirs))
            value = self.of(before, ours, others, pointer(name))
            if value is not MISSING:
                merged[name] = value
        return merged

    def _items(self, base: _Members, mine: _Members, theirs: _Members, at: str) -> list[JSON]:
        """Merge lists item by item, in the order of whoever has changed it; what the other has added is last."""
        indexes = {name: index for side in (theirs, mine) for index, name in enumerate(side)}
        merged = self._members(base, mine, theirs, lambda name: f"{at}/{indexes.get(name)}")
        kept = [name for name in base if name in mine and name in theirs]
        ours, others = ([name for name in side if name in kept] for side in (mine, theirs))
        if ours != kept and others not in (kept, ours):
            self.clashes.append(at)
        first, second = (theirs, mine) if ours == kept else (mine, theirs)
        return [merged[name] for name in dict.fromkeys([*first, *second]) if name in merged]


def _by_key(items: JSON, member: str | None) -> _Members | None:
    """Return the items of a list by what identifies them; ``None`` if one has nothing, or two have the same."""
    if member is None:
        return None
    found: dict[Any, JSON] = {}
    for item in items if isinstance(items, list) else ():
        name = item.get(member) if isinstance(item, dict) else None
        if not isinstance(name, str | int) or name in found:
            return None
        found[name] = item
    return found


def _escaped(name: str) -> str:
    """Return a member's name as JSON pointers have it (RFC 6901 section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


def patched(content: JSON, changes: JSON) -> JSON:
    """Return what a merge patch makes of a content (RFC 7396 section 2)."""
    if not isinstance(changes, dict):
        return changes
    members = dict(content) if isinstance(content, dict) else {}
    for name, value in changes.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = patched(members.get(name), value)
    return members


def changes_between(before: JSON, after: JSON) -> JSON:
    """Return the merge patch that makes one content of another (RFC 7396)."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    changes: dict[str, JSON] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before or not same(before[name], value):
            changes[name] = changes_between(before.get(name), value)
    return changes


def same(one: JSON, other: JSON) -> bool:
    """Tell whether two values are the same JSON: in Python, ``True`` is 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def is_there(base: JSON, mine: JSON, theirs: JSON) -> bool:
    """Tell whether what is there shows all that mine has changed of the base, as a server may have respelt it."""
    if same(mine, base) or same(mine, theirs):
        return True
    if isinstance(base, dict) and isinstance(mine, dict) and isinstance(theirs, dict):
        return all(
            is_there(*(side.get(name, MISSING) for side in (base, mine, theirs))) for name in {**base, **mine}
        )
    lists = [side for side in (base, mine, theirs) if isinstance(side, list)]
    if len(lists) == 3 and len({*map(len, lists)}) == 1:
        return all(map(is_there, *lists))
    return not reads_as(base, mine) and reads_as(theirs, mine)


def reads_as(stored: JSON, sent: JSON) -> bool:
    """Tell whether a server may have stored what was sent like this.

    A number or a time may be spelt otherwise, a text trimmed, and members added.
    """
    if isinstance(stored, dict) and isinstance(sent, dict):
        return all(name in stored and reads_as(stored[name], value) for name, value in sent.items())
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(map(reads_as, stored, sent))
    return same(stored, sent) or (_value(stored) == _value(sent) is not None)


def _value(scalar: JSON) -> object:
    """Return what a number or a text stands for; ``None`` for what only stands for itself."""
    if isinstance(scalar, bool) or not isinstance(scalar, str | int | float):
        return None
    text = str(scalar).strip()
    try:
        number = Decimal(text)
        if number.is_finite():
            return number
    except InvalidOperation:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def shows_mark(mine: JSON, again: JSON, theirs: JSON) -> bool | None:
    """Tell whether what is there shows what a change makes anew each time that it runs, such as an id.

    :param mine: what the change has made of the base.
    :param again: what it makes of the base when it runs once more.
    :return: ``None`` if it makes nothing anew; or only values that whoever writes later overwrites.
    """
    found: list[bool | None] = []
    if isinstance(mine, dict) and isinstance(again, dict):
        others = theirs if isinstance(theirs, dict) else {}
        for name, value in mine.items():
            there = others.get(name, MISSING)
            found.append(shows_mark(value, again[name], there) if name in again else reads_as(there, value))
    elif isinstance(mine, list) and isinstance(again, list):
        others_items = theirs if isinstance(theirs, list) else []
        own = [item for item in mine if not any(same(item, other) for other in again)]
        found += [any(reads_as(there, item) for there in others_items) for item in own]
    elif not same(mine, again) and reads_as(theirs, mine):
        return True
    return True if True in found else False if False in found else None


def has_members_of(content: JSON, sent: JSON) -> bool:
    """Tell whether an answer may be what was sent, as it is stored, and not a word on it."""
    if isinstance(content, dict) and isinstance(sent, dict):
        return sent.keys() <= content.keys()
    return isinstance(content, list) and isinstance(sent, list)
