"""Validators: where the tag of an object comes from. Each makes the fingerprint of what a loader returned."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from inspect import iscoroutinefunction
from operator import attrgetter, itemgetter
from typing import Any, Protocol
from uuid import UUID

from flask_etag.backend import Backend, owner_of
from flask_etag.entity_tags import EntityTag
from flask_etag.fingerprints import Fingerprint, fingerprint_after, fingerprint_of, message_of

_HAS_TWO_HALVES = re.compile(r"[A-Za-z0-9_-]{32}\.[A-Za-z0-9_-]{32}").match
"""Tell whether an opaque text begins as one of ours does that has a variant or an epoch: two digests and a dot."""


class Validator(ABC):
    """Make the fingerprint of the state that an object is in."""

    source: str
    """Where the tag comes from, in a word or two: ``flask etag routes`` shows it."""

    depends_on_more = True
    """Whether the tag depends on more than the version that SQLAlchemy checks. Then the object is read back after
    a write, before its tag is taken: the database may have stored "5" as "5.00", or a trigger set a column."""

    column: str | None = None
    """The one attribute that the tag depends on, which each write has to change; ``None`` for any other tag."""

    def __call__(self, target: Any, /) -> Fingerprint | None:
        """Return the fingerprint of an object; ``None`` where the object has no tag."""
        return self.fingerprint(target, owner_of(target))

    @abstractmethod
    def fingerprint(self, target: Any, store: Backend | None) -> Fingerprint | None:
        """Return the fingerprint of an object; ``None`` where the object has no tag.

        :param store: the store that keeps the object, if one does.
        """


class Found(Validator):
    """Take what an object says of itself: its ``__etag__()``, or the version that SQLAlchemy keeps of it."""

    depends_on_more = False
    source = "version"

    def fingerprint(self, target: Any, store: Backend | None) -> Fingerprint | None:
        """Return the fingerprint of the object's own tag, of its version, or of a sequence's members."""
        own = getattr(type(target), "__etag__", None)
        if own is not None:
            return _given(own(target), type(target), ".__etag__()")
        if store is not None:
            return fingerprint_of(*store.scoped_version_of(target))
        if _kind_of(type(target)) is Sequence:  # type: ignore[arg-type]
            return _sequence(target, self)
        if _is_query(type(target)):
            raise TypeError(
                f"A loader returned a {type(target).__name__}, which has no rows yet, or reads them by itself: "
                "let it return Page(session, select(Note).order_by(Note.id), page=page, per_page=50), of "
                "flask_etag.sqlalchemy, or a list of the objects."
            )
        raise TypeError(
            f"{type(target).__name__} does not say what its ETag is: give it a method __etag__() that "
            "returns a str, serve a SQLAlchemy object whose model has a version, or tell its resource: "
            '@resource(etag=version_column("revision")) or @resource(etag=content_hash(schema)).'
        )


def _is_query(kind: type) -> bool:
    """Tell whether a class is one of SQLAlchemy's queries or results, or of Flask-SQLAlchemy's paginations."""
    return any(each.__name__ in _QUERIES for each in kind.__mro__)


_QUERIES = {"Pagination", "Query", "Select", "CompoundSelect", "ResultInternal"}


class VersionColumn(Validator):
    """Take the value of one attribute: see :func:`version_column`."""

    def __init__(self, column: str) -> None:
        self.column: str = column
        self.source: str = f"column {column}"

    def fingerprint(self, target: Any, store: Backend | None) -> Fingerprint | None:
        """Return the fingerprint of the attribute's value; it is an error if that is ``None``."""
        kind: type = type(target)
        value_of, message = _column_of(kind, self.column)
        if value_of is None:
            return _sequence(target, self)
        try:
            version = value_of(target) if store is None else store.attribute_of(target, self.column)
        except (AttributeError, KeyError):
            raise TypeError(f"{kind.__name__} has no {self.column!r}, which version_column() names.") from None
        if version is None:
            raise ValueError(
                f"The {self.column!r} of this {kind.__name__} is None, so it has no ETag: flush the "
                "session before you ask for the ETag of a new object; where a table got the column later, give "
                "every row a value."
            )
        if store is None:
            return fingerprint_after(message, version)
        return fingerprint_of(*store.scope_of(target), self.column, version)


@lru_cache(maxsize=256)
def _column_of(cls: type, column: str) -> tuple[Callable[[Any], Any] | None, str]:
    """Return what gives the value of one column of an object of a class, and the message that comes before that.

    A sequence has no such value: its members have.
    """
    kind = _kind_of(cls)
    value_of = None if kind is Sequence else (itemgetter if kind is Mapping else attrgetter)(column)
    return value_of, message_of(cls.__qualname__, column)


class ContentHash(Validator):
    """Take the JSON that a schema dumps: see :func:`content_hash`."""

    source = "content"

    def __init__(self, dump: Callable[[Any], Any]) -> None:
        self.dump = dump

    def fingerprint(self, target: Any, store: Backend | None) -> Fingerprint | None:
        """Return the fingerprint of what the schema makes of the object."""
        message = _CONTENT if store is None else message_of(*store.scope_of(target), "content")
        return Fingerprint(message, content=canonical_json(self.dump(target)))


class Custom(Validator):
    """Take what a function of the application's own returns: ``@resource(etag=function)``."""

    def __init__(self, function: Callable[[Any], str | EntityTag | None]) -> None:
        self._function = function
        self.source: str = getattr(function, "__name__", type(function).__name__)

    def fingerprint(self, target: Any, store: Backend | None) -> Fingerprint | None:
        """Return the fingerprint of what the function returns; ``None`` where that is ``None``."""
        del store
        return _given(self._function(target), self._function)


def version_column(name: str) -> VersionColumn:
    """Take the tag from an attribute that changes with each write: ``@resource(etag=version_column("revision"))``.

    :param name: an attribute, or the member of a mapping: an integer, a UUID, a ``rowversion``, bytes, a datetime.
        An integer that begins again, where a row is deleted and made again under the same key, lets an old tag
        match again. A time that two writes share makes the second one a 409.
    :return: what ``etag=`` takes.
    :raises TypeError: if ``name`` is not the name of an attribute.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise TypeError(
            f'version_column() takes the name of an attribute, such as "revision", and was given {name!r}.'
        )
    return VersionColumn(name)


class Schema(Protocol):
    """Anything with a method ``dump``: marshmallow's schemas have it."""

    def dump(self, obj: Any, /) -> Any:
        """Return an object as dicts, lists and scalars, which JSON can say."""


def content_hash(schema: Schema | Callable[[Any], Any]) -> ContentHash:
    """Take the tag from the content: ``@resource(etag=content_hash(NoteSchema()))``.

    The tag is the SHA-256 digest of the canonical JSON (keys in order, no blanks) of what the schema makes of the
    object. It depends on nothing else: so let the schema dump all that a write can change, whichever members a
    request asked for.

    :param schema: an object with a method ``dump``, as marshmallow's schemas have; or a function that takes the
        object and returns what JSON can say, including dates, decimals and UUIDs.
    :return: what ``etag=`` takes.
    :raises TypeError: if ``schema`` is neither, or the class of a schema.
    """
    if isinstance(schema, type) and hasattr(schema, "dump"):
        raise TypeError(f"content_hash() takes a schema, and was given its class: write {schema.__name__}().")
    dump = getattr(schema, "dump", schema)
    if not callable(dump):
        raise TypeError(f"content_hash() takes an object with dump(), or a function, and was given {schema!r}.")
    return ContentHash(dump)


def validator(etag: object) -> Validator:
    """Return the validator that the option ``etag=`` of a resource asks for.

    :raises TypeError: if the option is of any other type.
    """
    if etag is None:
        return _FOUND
    if isinstance(etag, Validator):
        return etag
    if isinstance(etag, str):
        raise TypeError(f'etag={etag!r} is not enough to tell: write etag=version_column("{etag}").')
    if not callable(etag) or isinstance(etag, type) or iscoroutinefunction(etag) or etag in _FACTORIES:
        raise TypeError(
            'etag= takes version_column("revision"), content_hash(schema), or a function of the object that '
            f"returns the opaque text of its ETag, not async; and was given {etag!r}."
        )
    return Custom(etag)


_FOUND = Found()
_FACTORIES = (version_column, content_hash)


def canonical_json(content: object) -> str:
    """Return the one JSON text of some content: keys in order, no blanks, ASCII.

    :raises TypeError: if the content holds itself, a value that JSON cannot say, or keys that cannot be ordered.
    """
    try:
        return _canonical(content)
    except TypeError as error:
        raise TypeError(f"content_hash() needs what JSON can say, with keys of one type: {error}") from error
    except ValueError as error:
        raise TypeError("content_hash() needs what JSON can say, and was given what has itself in it.") from error


def _jsonable(value: object) -> str:
    """Return as a text a value that JSON has no type for; ``json`` puts the TypeError of others into its own."""
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    raise TypeError(f"it has no way to say {type(value).__name__}; let the schema dump it as a text")


_CONTENT = message_of("content")  # of an object that belongs to no backend, which has no key to go before it

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_jsonable).encode


def _given(etag: object, giver: object, method: str = "") -> Fingerprint | None:
    """Return the fingerprint of what the application's own code gave for a tag.

    :param giver: the function that gave it, or the class whose ``method`` did: named if the type is wrong.
    """
    if etag is None or isinstance(etag, Fingerprint):
        return etag
    if isinstance(etag, str):
        return _verbatim(etag)
    if not isinstance(etag, EntityTag):
        name = getattr(giver, "__name__", type(giver).__name__) + method
        raise TypeError(f"{name} gave {type(etag).__name__} for an ETag: it takes a str, an EntityTag or None.")
    return _verbatim(etag.opaque, etag.weak)


@lru_cache(maxsize=1024)
def _verbatim(text: str, weak: bool = False) -> Fingerprint:
    """Return the fingerprint of a text that the application itself gave for a tag.

    The text is sent as it is, unless it looks like one of our tags with a variant: then it is hashed, or it could
    be taken for a variant of another state.
    """
    text = str.__str__(text)  # str() of a member of a StrEnum, or of an Enum that is a str, may be overridden
    EntityTag(text, weak)  # raises ValueError for a text that no tag can have
    return Fingerprint(message_of("verbatim", text), weak, None if _HAS_TWO_HALVES(text) else text)


def _sequence(members: Sequence[Any], validator: Validator) -> Fingerprint | None:
    """Return the fingerprint of a sequence, made of its members'; ``None`` if one of these has none."""
    of_members = [validator(member) for member in members]
    known = [fingerprint for fingerprint in of_members if fingerprint is not None]
    if len(known) < len(of_members):
        return None
    message = message_of("sequence", *(fingerprint.digest() for fingerprint in known))
    return Fingerprint(message, any(fingerprint.weak for fingerprint in known))


@lru_cache(maxsize=256)
def _kind_of(cls: type) -> object:
    """Tell what the objects of a class are: Mapping, Sequence, or object for neither; a text is neither."""
    if issubclass(cls, Mapping):
        return Mapping
    is_sequence = issubclass(cls, Sequence) and not issubclass(cls, str | bytes | bytearray | memoryview)
    return Sequence if is_sequence else object
