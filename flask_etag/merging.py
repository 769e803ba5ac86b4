"""What becomes of JSON that several people change: three-way merges, merge patches, and what a server respells.

Sources: RFC 6901 (JSON pointers), RFC 7396 (merge patch), RFC 9562 (UUIDs).
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
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
        ``{"/lines": "id"}.get``: a text or a number, another in each.
    :return: the merged content, with mine of what has clashed; and the JSON pointers of what has: in mine, and
        what that has left out, in theirs.
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
        if not isinstance(name, str | int | float) or isinstance(name, bool) or name in found:
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


def as_sent(content: Any) -> JSON:
    """Return a content as JSON spells it, which is how it comes back: a tuple as a list, each name as a text.

    What :mod:`json` cannot spell is left as it is: some clients have a way of their own.
    """
    try:
        return json.loads(json.dumps(content))
    except (TypeError, ValueError, RecursionError):
        return content


def same(one: JSON, other: JSON) -> bool:
    """Tell whether two values are the same JSON: in Python, ``True`` is 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


# A change is known by what it makes of states that are otherwise just where it has changed something: what sets
# a member does so whatever was there, what counts makes another number, what a condition holds back does nothing.

WAYS = 9
"""In how many ways :func:`otherwise` makes a state another."""

_FEW = 9  # items that were added, of which it is looked how a server has spelt them
_APART = (1, -1, 1_000, -1_000, 10**6, -(10**6), 10**9, -(10**9))


def otherwise(way: int, base: JSON, mine: JSON, state: JSON) -> JSON:
    """Return a state that is otherwise where ``mine`` is not ``base``; at first, as the base is.

    Items of a list may have moved meanwhile: what is changed of some is otherwise in each.
    """
    if same(base, mine):
        return state
    before = _as_before(base, mine)
    if isinstance(before, dict) and isinstance(mine, dict) and isinstance(state, dict):
        members = {
            name: otherwise(way, *(side.get(name, MISSING) for side in (before, mine, state)))
            for name in {**state, **before, **mine}
        }
        return {name: value for name, value in members.items() if value is not MISSING}
    if isinstance(before, list) and isinstance(mine, list) and isinstance(state, list):
        return _items_otherwise(before, mine, state, way)
    return _value_otherwise(base, mine, way)


def is_same_of_any(base: JSON, mine: JSON, before: JSON, after: JSON, made: JSON) -> bool:
    """Tell whether a change makes the same of any state, where ``mine`` is not ``base``.

    :param before: a state that is otherwise there.
    :param after: what the change makes of that.
    :param made: what it makes of the state that is not.
    """
    if same(base, mine):
        return True
    base = _as_before(base, mine)
    if all(isinstance(side, dict) for side in (base, mine, before, after, made)):
        sides = base, mine, before, after, made
        return all(is_same_of_any(*(side.get(name, MISSING) for side in sides)) for name in {**base, **mine})
    if all(isinstance(side, list) for side in (base, mine, before, after)):
        return not same(before, after)  # the other items are otherwise, too
    return same(after, made)


def _as_before(base: JSON, mine: JSON) -> JSON:
    """Return what an object, or a list, began with that was not there."""
    return type(mine)() if base is MISSING and isinstance(mine, dict | list) else base


def _items_otherwise(base: list[JSON], mine: list[JSON], state: list[JSON], way: int) -> list[JSON]:
    if len(base) == len(mine):
        before, after = _as_one([pair for pair in zip(base, mine, strict=True) if not same(*pair)])
        return [otherwise(way, before, after, item) for item in state]
    added, removed = _without(mine, base), _without(base, mine)
    respelt = added[:_FEW]
    kept = [item for item in _without(state, added) if not any(reads_as(item, new) for new in respelt)]
    undone = [*kept, *_without(removed, kept)]
    others = _like(removed[0], way) if removed and way else []
    return [*others, *undone] if way % 2 else [*undone, *others]


def _without(items: list[JSON], others: list[JSON]) -> list[JSON]:
    known = {json.dumps(other, sort_keys=True) for other in others}
    return [item for item in items if json.dumps(item, sort_keys=True) not in known]


def _as_one(pairs: list[tuple[JSON, JSON]]) -> tuple[JSON, JSON]:
    """Return one pair of items that differ wherever one of several pairs does."""
    if not all(isinstance(side, dict) for pair in pairs for side in pair):
        return pairs[0]
    before, after = {}, {}
    for one, other in pairs:
        for name in {**one, **other}:
            values = one.get(name, MISSING), other.get(name, MISSING)
            if not same(*values):
                before[name], after[name] = values
    return before, after


def _like(item: JSON, way: int) -> list[JSON]:
    """Return other items that are like one; of an object, each with one member that is otherwise."""
    if not isinstance(item, dict):
        return [_value_otherwise(item, MISSING, way)]
    others = [{**item, name: _value_otherwise(value, MISSING, way)} for name, value in item.items()]
    return [other for other in others if not same(other, item)]


def _value_otherwise(base: JSON, mine: JSON, way: int) -> JSON:
    """Return the base, or a value like it, or, where there was none, one like mine."""
    like = mine if base is MISSING or base is None else base
    if way == 0:
        return base
    if isinstance(like, bool):
        other: JSON = not like
    elif isinstance(like, int | float):
        other = like + _APART[way - 1]
    elif isinstance(like, str):
        other = f"{way}{like}" if way % 2 else f"{like}{way}"  # a number of its own, if it is one
    else:
        other = "" if base is None else base
    return base if same(other, mine) else other


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

    A whole number may have got decimals, a time another zone, an id other letters, a text may be trimmed, and
    members added. An empty object shows nothing of itself where there is another one.
    """
    if isinstance(stored, dict) and isinstance(sent, dict):
        return bool(sent or not stored) and all(
            name in stored and reads_as(stored[name], value) for name, value in sent.items()
        )
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(map(reads_as, stored, sent))
    if isinstance(stored, str) and isinstance(sent, str) and _meant(stored) == _meant(sent):
        return True
    return same(stored, sent) or _is_same_number(stored, sent)


_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.([0-9]+))?")


def _is_same_number(stored: JSON, sent: JSON) -> bool:
    """Tell whether a server that was sent a number may have spelt it like this.

    A text is not known to be a number: "1.1" and "1.10" may be two versions of a program. So in a text only a
    whole number may have got decimals.
    """
    texts = [str(each).strip() for each in (stored, sent) if isinstance(each, str | int | float)]
    found = [match for match in map(_DECIMAL.fullmatch, texts) if match is not None]
    if len(found) < 2 or Decimal(found[0][0]) != Decimal(found[1][0]):
        return False
    is_whole = not (found[1][1] or "").strip("0") if isinstance(sent, float) else found[1][1] is None
    return not isinstance(stored, str) or is_whole


_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:")
_UUID = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")


def _meant(text: str) -> object:
    """Return what a text stands for, however a server spells it: an id, a moment, or itself."""
    text = text.strip()
    if _UUID.fullmatch(text):
        return _plain(text)
    if _MOMENT.match(text):
        with suppress(ValueError, OverflowError):
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo is None else moment.astimezone(UTC)
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n"))


def _plain(uuid: str) -> str:
    return uuid.replace("-", "").lower()


def uuids_in(content: JSON) -> set[str]:
    """Return the UUIDs (RFC 9562) that are anywhere in a content, in small letters and without hyphens."""
    return {*map(_plain, _UUID.findall(json.dumps(content, ensure_ascii=False)))}


def has_members_of(content: JSON, sent: JSON) -> bool:
    """Tell whether an answer may be what was sent, as it is stored, and not a word on it."""
    if isinstance(content, dict) and isinstance(sent, dict):
        return sent.keys() <= content.keys()
    return isinstance(content, list) and isinstance(sent, list)
