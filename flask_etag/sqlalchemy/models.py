"""Mapped objects: their version, the rest of their row, and the mixin that gives a model a version."""

from __future__ import annotations

from collections.abc import Collection
from contextvars import ContextVar
from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from os import urandom
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import (
    CHAR,
    Column,
    ColumnElement,
    Connection,
    Enum,
    Integer,
    Select,
    SelectBase,
    String,
    Uuid,
    event,
    inspect,
)
from sqlalchemy.orm import (
    InstanceState,
    Mapped,
    Mapper,
    PassiveFlag,
    RelationshipDirection,
    Session,
    declared_attr,
    has_inherited_table,
    mapped_column,
)
from sqlalchemy.orm.attributes import get_history, instance_dict, instance_state, set_committed_value
from sqlalchemy.sql.visitors import iterate

from flask_etag.sqlalchemy import statements
from flask_etag.sqlalchemy.databases import Row, read, tables_of

_IMMUTABLE = frozenset({NoneType, bool, int, str, bytes, UUID, float, Decimal, date, datetime})
"""What a row is mostly made of, and need not be copied to be kept."""


class Versioned:
    """A mixin that gives a model a column ``version``, which changes with every UPDATE and never repeats.

    Versions are random texts, of 32 hexadecimal digits, so that a row that is deleted and made again under the
    same key does not get one that somebody still holds. SQLAlchemy sets and checks them (``version_id_col``).
    What a view, a form or a schema puts into the attribute is ignored.

    :cvar __unversioned__: names of columns that do not count: ``{"last_seen", "views"}``. A write of these alone
        moves no version and meets no conflict, in flushes of any view or script. :class:`TypeError` where a name
        is none of a column, or is that of the key.

    A model with a ``__mapper_args__`` of its own has to keep this one's::

        @declared_attr.directive
        def __mapper_args__(cls):
            return {**super().__mapper_args__, "polymorphic_on": "kind"}
    """

    __unversioned__: ClassVar[Collection[str]] = ()

    if TYPE_CHECKING:
        version: Mapped[str]
    else:

        @declared_attr
        def version(cls):  # noqa: D102, N805 - with an annotation, a dataclass would ask for it in its __init__
            # There is room for UUIDs, which databases can give. The default is for INSERTs that are no flush's.
            return mapped_column(String(36), nullable=False, insert_default=_first_version)

    @declared_attr.directive
    def __mapper_args__(cls: type[Versioned]) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        if has_inherited_table(cls):
            return {}
        return {"version_id_col": cls.version, "version_id_generator": _next_version}


Following = dict[str | None, str]
"""The version that follows another, where a request that is to be known again says which."""

following: ContextVar[Following] = ContextVar("flask_etag_following", default={})  # noqa: B039 - it stays empty
is_followed = False
"""Whether any request has said so: until then, no write asks."""


def _first_version() -> str:
    return _next_version(None)


def _next_version(version: str | None) -> str:
    planned = planned_after(version) if is_followed else None
    return random_version() if planned is None else planned


def planned_after(version: Any) -> str | None:
    """Return the version that is to follow another; ``None`` where no request has said which."""
    return following.get().get(version)


def random_version() -> str:
    """Return a version that nobody has planned."""
    return urandom(16).hex()


@event.listens_for(Versioned, "before_update", propagate=True)
def _ignore_what_was_set(_mapper: Mapper[Any], _: Connection, target: object) -> None:
    """SQLAlchemy would store the version that was set, and make none."""
    put_version_back(instance_state(target))


@event.listens_for(Versioned, "before_insert", propagate=True)
def _forget_what_was_set(mapper: Mapper[Any], _: Connection, target: object) -> None:
    """Where the flush also deletes what had the key before, SQLAlchemy makes an UPDATE of both, and stores it."""
    state = instance_state(target)
    for values in (state.dict, state.committed_state):
        values.pop(version_key(mapper), None)


def put_version_back(state: InstanceState[Any]) -> None:
    """Let an object of :class:`Versioned` have the version that was loaded, whatever was set."""
    name = version_key(state.mapper)
    if name in state.committed_state:
        set_committed_value(state.obj(), name, state.committed_state[name])


versioned: WeakSet[Mapper[Any]] = WeakSet()
"""The mappers of all models that have a version and are configured: SQLAlchemy tells of no statement's model."""


@event.listens_for(Mapper, "mapper_configured")
def _remember(mapper: Mapper[Any], _: type) -> None:
    if mapper.version_id_col is not None:
        versioned.add(mapper)


@event.listens_for(Mapper, "mapper_configured")
def _refuse_hidden_version(mapper: Mapper[Any], model: type) -> None:
    if issubclass(model, Versioned) and mapper.version_id_col is None:
        raise TypeError(
            f"{model.__name__} has a __mapper_args__ of its own, which hides that of its mixin Versioned, so that "
            "nothing sets its version: keep what super().__mapper_args__ has; see the docstring of Versioned."
        )
    column: Any = mapper.version_id_col
    if issubclass(model, Versioned) and not mapper.persist_selectable.c.contains_column(column):
        raise TypeError(
            f"{model.__name__} has a table of its own, and no version in it: it inherits from a class that has "
            "one in another. Let both inherit from a class with __abstract__ = True that is Versioned."
        )


_PARTS_READ_AT = "flask_etag_parts_read_at"

covered: WeakKeyDictionary[type, set[str]] = WeakKeyDictionary()
"""By model, the relationships whose rows are part of its objects: their changes move its version, too."""


def covered_by(mapper: Mapper[Any]) -> set[str]:
    """Return the names of the relationships that a model covers, or a model that it inherits from."""
    return set().union(*(covered.get(base.class_, ()) for base in mapper.iterate_to_root()))


def tables_covered_by(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the tables of what belongs to a model, by the relationships that it covers."""
    names: frozenset[str] = frozenset()
    for relationship in (mapper.relationships[name] for name in covered_by(mapper)):
        names |= tables_of(relationship.mapper)
        if relationship.secondary is not None:
            names |= {statements.name_of_table(relationship.secondary)}
    return names


def expire_parts(session: Session, whole: object) -> None:
    """Let what belongs to an object be read anew: its covered relationships, and what was loaded by them.

    What has unsent changes is left as it is.
    """
    state = instance_state(whole)
    for name in covered_by(state.mapper) & state.dict.keys():
        history = get_history(whole, name, PassiveFlag.PASSIVE_NO_INITIALIZE)
        for part in [part for part in history.unchanged if part is not None]:
            expire_parts(session, part)
            if instance_state(part).persistent and not instance_state(part).modified:
                session.expire(part)
        if not history.has_changes():
            session.expire(whole, [name])


def expire_relationships(session: Session, target: object) -> None:
    """Let the rows that belong with an object be looked for anew: a foreign key may name another one by now.

    What has unsent changes is left as it is.
    """
    state = instance_state(target)
    for name in state.mapper.relationships.keys() & state.dict.keys():
        if not get_history(target, name, PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes():
            session.expire(target, [name])


def uncovered(state: InstanceState[Any]) -> dict[str, tuple[str, bool]]:
    """Name the relationships of an object that are loaded, and whose rows do not move its version.

    With what to write against that, and whether those rows name the object, and not the other way round.
    """
    found = {}
    for relationship in state.mapper.relationships:
        if relationship.key in state.dict and relationship.key not in covered_by(state.mapper):
            is_content = relationship.direction is RelationshipDirection.ONETOMANY
            advice = _TOUCH_IT if relationship.direction is RelationshipDirection.MANYTOONE else _COVER_IT
            found[str(relationship)] = (advice.format(relationship), is_content)
    return found


_COVER_IT = (
    "write covers({}) beside the model, if these rows are edited together with it; if only a part of them is "
    "shown, such as their number, name that by @resource(variant=content_hash(...))"
)
_TOUCH_IT = "name what is shown of {}, by @resource(variant=content_hash(...)), or call touch() where they change"


def mapper_of(statement: Select[Any]) -> Mapper[Any] | None:
    """Return the mapper of the one model that a statement selects; ``None`` where it selects anything else."""
    selected = statement.column_descriptions
    mapper: object = inspect(selected[0]["type"], raiseerr=False) if len(selected) == 1 else None
    return mapper if isinstance(mapper, Mapper) else None


def is_versioned(mapper: Mapper[Any]) -> bool:
    """Tell whether SQLAlchemy checks the version of the objects of a model with each UPDATE and DELETE."""
    return mapper.version_id_col is not None


@lru_cache(maxsize=256)
def version_key(mapper: Mapper[Any]) -> str:
    """Return the name of the attribute that is the version of the objects of a model.

    :raises TypeError: if it has none.
    """
    if mapper.version_id_col is None:
        raise TypeError(
            f"{mapper.class_.__name__} has no version, so nothing says what its ETag is: add the mixin "
            "flask_etag.sqlalchemy.Versioned, name a column as version_id_col in __mapper_args__, or tell its "
            'resource: @resource(etag=content_hash(schema)) or @resource(etag=version_column("revision")).'
        )
    return mapper.get_property_by_column(mapper.version_id_col).key


@lru_cache(maxsize=256)
def says_its_etag(mapper: Mapper[Any]) -> bool:
    """Tell whether the objects of a model say themselves what their ETag is."""
    return hasattr(mapper.class_, "__etag__")


def version_of(state: InstanceState[Any]) -> object:
    """Return the version of an object.

    :raises TypeError: if its model has none.
    :raises ValueError: if the object has none yet.
    """
    key = version_key(state.mapper)
    version = instance_dict(state.obj()).get(key)
    if version is None:  # perhaps since it is expired
        version = attribute_of(state, key)
    if version is None:
        raise ValueError(_NONE_YET.format(state.class_.__name__))
    return version


def has_loaded_version(state: InstanceState[Any]) -> bool:
    """Tell whether an object has its version, and has not let go of it."""
    key = version_key(state.mapper)
    return key in state.committed_state or key in state.dict


def loaded_version_of(state: InstanceState[Any]) -> object:
    """Return the version that SQLAlchemy is going to name in its WHERE, whatever the view has set."""
    key = version_key(state.mapper)
    if key in state.committed_state:
        return state.committed_state[key]
    target = state.obj()
    loaded = instance_dict(target)
    return loaded[key] if key in loaded else getattr(target, key)


def let_loaded_version_be(state: InstanceState[Any], version: object) -> None:
    """Let SQLAlchemy name a version in its WHERE, and keep the one that the view has set for the next."""
    key, committed = version_key(state.mapper), state.committed_state
    if key in committed and committed[key] != state.dict.get(key):
        committed[key] = version
    else:
        set_committed_value(state.obj(), key, version)


def next_version(mapper: Mapper[Any], version: Any) -> object:
    """Return the version that follows another; ``None`` where the database makes them."""
    column, generator = mapper.version_id_col, mapper.version_id_generator
    if column is None or not callable(generator):
        return None
    return generator(version)


_COUNTING = (int, datetime)
"""The types of versions that count up."""


def is_newer(version: Any, than: Any) -> bool:
    """Tell whether a version can follow another: numbers and times count up, others only have to differ."""
    counts = type(version) is type(than) and isinstance(version, _COUNTING)
    return bool(version > than if counts else version != than)


def attribute_of(state: InstanceState[Any], key: str) -> object:
    """Return what an object has in an attribute that tells its state.

    One that a select has left for later, as ``load_only()`` does, may be of later content than what it has loaded:
    so that is read anew with it.
    """
    if key in state.dict:
        return state.dict[key]
    target = state.obj()
    is_left = key in state.mapper.column_attrs and key not in state.expired_attributes
    if is_left and state.persistent and state.session is not None:
        names = [
            name for name in loaded_names(state) if name not in state.committed_state
        ]  # an unsent change stays
        state.session.expire(target, [*names, key])
    return getattr(target, key)


def is_stored_as_sent(column: ColumnElement[Any], value: object) -> bool:
    """Tell whether a database has in a column just what it was sent, so that it need not be read to be known."""
    return type(value) is _kind_kept(column)


@lru_cache(maxsize=512)
def _kind_kept(column: ColumnElement[Any]) -> type | None:
    """Return the type whose values a database has in a column just as they were sent; ``None`` for no type."""
    if isinstance(column.type, String) and not isinstance(column.type, CHAR | Enum):
        return str
    if isinstance(column.type, Uuid):
        return UUID if column.type.as_uuid else str
    return int if isinstance(column.type, Integer) else None


def is_just(value: object, other: object) -> bool:
    """Tell whether two values are the same, and show as the same: a Decimal 5 is equal to 5.00, and does not."""
    kind = type(value)
    if kind is not type(other) or kind not in _IMMUTABLE or value != other:
        return False
    return kind is str or repr(value) == repr(other)


def key_of(state: InstanceState[Any]) -> tuple[Any, ...]:
    """Return the primary key of an object as its database has it: a text that was given for a UUID is read as one.

    :raises ValueError: if the object has no key yet.
    """
    if state.key is None:
        raise ValueError(_NONE_YET.format(state.class_.__name__))
    mapper, key = state.mapper, state.key[1]
    if has_keys_as_sent(mapper, key):
        return key
    names = names_of_key(mapper)
    if state.runid is None and state.session is not None:  # it was inserted, and nothing of it has been read since
        shard = {} if state.identity_token is None else {"shard_id": state.identity_token}
        connection = state.session.connection(bind_arguments={"mapper": mapper, **shard})
        for name, value in (read(connection, Row(mapper, key), names) or {}).items():
            set_committed_value(state.obj(), name, value)
    return tuple(state.dict.get(name, given) for name, given in zip(names, key, strict=True))


def has_keys_as_sent(mapper: Mapper[Any], key: tuple[Any, ...]) -> bool:
    """Tell whether a table has just what it was sent in its primary key, for such a key."""
    kinds = _kinds_of_key_kept(mapper)
    if len(key) == 1:  # as most have
        return type(key[0]) is kinds[0]
    return tuple(map(type, key)) == kinds


@lru_cache(maxsize=256)
def _kinds_of_key_kept(mapper: Mapper[Any]) -> tuple[type | None, ...]:
    """Return the type of each part of a primary key whose values the table of a model has as they were sent."""
    return tuple(map(_kind_kept, mapper.primary_key))


def scope_of(state: InstanceState[Any]) -> tuple[object, ...]:
    """Name what a version belongs to: a model, and a key.

    :raises ValueError: if the object has no key yet.
    """
    return (state.mapper.base_mapper.class_.__qualname__, *key_of(state))


@lru_cache(maxsize=256)
def names_of_key(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Name the attributes that are the primary key of a model."""
    return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)


@lru_cache(maxsize=256)
def names_of_columns(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Name the attributes of a model that are columns, and not made of them by ``column_property()``."""
    return tuple(each.key for each in mapper.column_attrs if isinstance(each.columns[0], Column))


@lru_cache(maxsize=256)
def names_of_other_rows(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the attributes of a model that are made of other rows than the object's: by a subquery."""
    return frozenset(
        each.key
        for each in mapper.column_attrs
        if not isinstance(each.columns[0], Column)
        and any(isinstance(part, SelectBase) for part in iterate(each.columns[0]))
    )


def loaded_names(state: InstanceState[Any]) -> list[str]:
    """Name the attributes of an object that are columns, or made of them, and are loaded, or were and expired."""
    loaded, expired = state.dict, state.expired_attributes
    return [each.key for each in state.mapper.column_attrs if each.key in loaded or each.key in expired]


def state_in_session(target: object) -> InstanceState[Any] | None:
    """Return the state of an object that a session has loaded, or sent; ``None`` for whatever is none."""
    state = instance_state(target) if hasattr(target, "_sa_instance_state") else None
    return None if state is None or state.key is None or state.session is None else state


def columns_of(state: InstanceState[Any], besides: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what an object has loaded of its columns, to be kept: a later change in place does not change it.

    :param besides: what was kept of it before, which stays as it is.
    """
    row = dict(besides or {})
    loaded = state.dict
    expired = state.expired_attributes
    for name in names_of_columns(state.mapper):
        if name not in row and (name in loaded or name in expired):
            value = state.committed_state.get(name, _NOT_CHANGED)
            if value is _NOT_CHANGED:
                value = loaded[name] if name in loaded else getattr(state.obj(), name)
            row[name] = value if type(value) in _IMMUTABLE else deepcopy(value)
    return row


_NOT_CHANGED = object()


def read_parts_anew(state: InstanceState[Any]) -> None:
    """Let what an object covers be read anew where it was read before it: its version may be one of later rows.

    What was read in the same query, or after it, is no older.
    """
    session, read_at = state.session, state.runid  # the number of the query
    if session is None or read_at is None:
        return
    looked_at = session.info.setdefault(_PARTS_READ_AT, {})
    if looked_at.get(state.mapper, 0) >= read_at:
        return
    looked_at[state.mapper] = read_at
    parts = _parts_of(state.mapper)
    for held in session.identity_map.values() if parts else ():
        part = instance_state(held)
        if (part.runid or 0) < read_at and not part.modified and any(part.mapper.isa(each) for each in parts):
            session.expire(held, part.mapper.column_attrs.keys())


def _parts_of(mapper: Mapper[Any]) -> set[Mapper[Any]]:
    """Return the mappers of what a model covers, and of what that covers in its turn."""
    parts: set[Mapper[Any]] = set()
    to_see = {mapper}
    while to_see:
        whole = to_see.pop()
        to_see |= {whole.relationships[name].mapper for name in covered_by(whole)} - parts
        parts |= to_see
    return parts


_NONE_YET = (
    "This {} has no version: flush the session before you ask for the ETag of a new object; where a table got its "
    "version column later, give every row a version."
)
