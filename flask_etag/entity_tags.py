"""Entity tags: what they are, how they compare, and how the lists of them are read that requests carry.

Source: RFC 9110, sections 8.8.3, 13.1.1 and 13.1.2. This module imports the standard library only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_FIELD_LENGTH = 8190
"""The length of the longest If-Match or If-None-Match that is read, in characters; a longer one is malformed."""

MAX_MEMBERS = 256
"""The number of entity tags that are read from one field at most; a field with more is malformed."""

_OPAQUE = r"[\x21\x23-\x7e\x80-\xff]"
_IS_OPAQUE = re.compile(rf"{_OPAQUE}{{0,{MAX_FIELD_LENGTH - 2}}}").fullmatch
_GAP = " \t,"  # what may stand before, between and behind the members of a list: empty members count for nothing
_MEMBER = re.compile(rf'(W/)?"({_OPAQUE}*)"[ \t]*(?:,[{_GAP}]*|\Z)').match
_set = object.__setattr__  # how a frozen dataclass sets its own attributes


class MalformedField(ValueError):
    """An If-Match or If-None-Match cannot be read: the grammar forbids its value, or it is too long."""


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An opaque validator for one representation of a resource (RFC 9110 section 8.8.3).

    ``str(tag)`` is the value of the field ETag: ``"abc"``, or ``W/"abc"`` for a weak tag.

    :param opaque: the characters between the quotes: visible ASCII without ``"``, and U+0080 to U+00FF.
    :param weak: whether representations of equivalent content may share the tag; a strong one stands for bytes.
    :raises TypeError: if ``opaque`` is no text.
    :raises ValueError: if ``opaque`` has a character that no entity tag may have, or is too long to be read again.
    """

    opaque: str
    weak: bool = False

    def __post_init__(self) -> None:
        try:
            if _IS_OPAQUE(self.opaque):
                return
        except TypeError:
            raise TypeError(f"An entity tag is made of a text, and was given {self.opaque!r}.") from None
        if len(self.opaque) > MAX_FIELD_LENGTH - 2:
            raise ValueError(f"An entity tag of {len(self.opaque)} characters is longer than any that is read.")
        raise ValueError(
            f"{self.opaque!r} cannot be an entity tag: between the quotes there is room for visible characters "
            'of Latin 1 only, without spaces and without ". Leave the quotes out; they are added.'
        )

    @classmethod
    def trusted(cls, opaque: str, weak: bool) -> EntityTag:
        """Return the tag of a text that is known to be opaque, unchecked: that is quicker."""
        tag = object.__new__(cls)
        _set(tag, "opaque", opaque)
        _set(tag, "weak", weak)
        return tag

    def __str__(self) -> str:
        return field_of(self.opaque, self.weak)

    def strongly_matches(self, other: EntityTag) -> bool:
        """Compare strongly: tell whether both tags are strong and the same (RFC 9110 section 8.8.3.2)."""
        return not self.weak and not other.weak and self.opaque == other.opaque

    def weakly_matches(self, other: EntityTag) -> bool:
        """Compare weakly: tell whether both tags are the same, weak or strong (RFC 9110 section 8.8.3.2)."""
        return self.opaque == other.opaque


def field_of(opaque: str, weak: bool = False) -> str:
    """Return the value of the field ETag: the opaque text in quotes, after ``W/`` if the tag is weak."""
    return f'W/"{opaque}"' if weak else f'"{opaque}"'


def opaque_of(field: str) -> str:
    """Return the opaque text of a value that :func:`field_of` has made."""
    return field[field.index('"') + 1 : -1]


@dataclass(frozen=True, slots=True)
class TagList:
    """The content of an If-Match or If-None-Match field (RFC 9110 sections 13.1.1 and 13.1.2).

    :param members: the entity tags that the field lists, in order.
    :param wildcard: whether the field is ``*``, which stands for any current representation and lists no tag.
    """

    members: tuple[EntityTag, ...] = ()
    wildcard: bool = False

    @classmethod
    def parse(cls, field: str) -> TagList:
        """Read the value of a field, in time that is linear in its length.

        The server has joined several field lines with commas: they are one list (section 5.3). Empty members are
        skipped (section 5.6.1.2), so an empty field is a list without members.

        :param field: the value as WSGI hands it over: one character for each byte.
        :raises MalformedField: if the value is neither ``*`` nor a list of entity tags, or is too long.
        """
        if len(field) > MAX_FIELD_LENGTH:
            raise MalformedField(f"longer than {MAX_FIELD_LENGTH} characters")
        if field.strip(" \t") == "*":
            return cls(wildcard=True)
        if field.count('"') > 2 * MAX_MEMBERS:  # each member has two quotes, and a list has none elsewhere
            raise MalformedField(f"more than {MAX_MEMBERS} entity tags")
        members: list[EntityTag] = []
        position = len(field) - len(field.lstrip(_GAP))
        while position < len(field):
            member = _MEMBER(field, position)
            if member is None:
                raise MalformedField(f"no entity tag at character {position + 1}")
            members.append(EntityTag.trusted(member[2], weak=member[1] is not None))
            position = member.end()
        return cls(tuple(members))
