"""The version of a mapped object: SQLAlchemy's ``version_id_col``, and a mixin for models that have none."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from secrets import token_hex
from typing import Any

from sqlalchemy import Select, String, inspect
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
from sqlalchemy.orm.attributes import get_history, instance_state

from flask_etag.sqlalchemy.rows import loaded_keys


class Versioned:
    """A mixin that gives a model a column ``version``, which changes with every UPDATE and never repeats.

    Versions are random texts, of 32 hexadecimal digits, so that a row that is deleted and made again under the
    same key does not get one that somebody still holds. SQLAlchemy sets and checks them (``version_id_col``). Who
    sets one by hand has to give a text that no row had before, as ``str(uuid4())`` is.

    A model with a ``__mapper_args__`` of its own has to keep this one's::

        @declared_attr.directive
        def __mapper_args__(cls):
            return {**super().__mapper_args__, "polymorphic_on": "kind"}
    """

    version: Mapped[str] = mapped_column(String(36), nullable=False)  # room for UUIDs, which databases can give

    @declared_attr.directive
    def __mapper_args__(cls: type[Versioned]) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        if has_inherited_table(cls):
            return {}
        return {"version_id_col": cls.version, "version_id_generator": _next_version}


def _next_version(_version: str | None) -> str:
    return token_hex(16)


_PARTS_READ_AT = "flask_etag_parts_read_at"

covered: defaultdict[type, set[str]] = defaultdict(set)
"""By model, the relationships whose rows are part of its objects: their changes move its version, too."""


def covered_by(mapper: Mapper[Any]) -> set[str]:
    """Return the names of the relationships that a model covers, or a model that it inherits from."""
    return set().union(*(covered.get(base.class_, ()) for base in mapper.iterate_to_root()))


def expire_parts(session: Session, whole: object) -> None:
    """Let what belongs to an object be read anew: its covered relationships, and what was loaded by them.

    What has unsent changes is left as it is.
    """
    state = instance_state(whole)
    for name in covered_by(state.mapper) & state.dict.keys():
        history = get_history(whole, name, PassiveFlag.PASSIVE_NO_INITIALIZE)
        for part in [part for part in history.unchanged if part is not None]:
            expire_parts(session, part)
            if not instance_state(part).modified:
                session.expire(part)
        if not history.has_changes():
            session.expire(whole, [name])


def uncovered(state: InstanceState[Any]) -> dict[str, tuple[str, bool]]:
    """Name the relationships of an object that are loaded, and whose rows do not move its version.

    With what to write against that, and whether those rows name the object, and not the other way round.
    """
    found = {}
    for relationship in state.mapper.relationships:
        if relationship.key in state.dict and relationship.key not in covered_by(state.mapper):
            is_content = relationship.direction is RelationshipDirection.ONETOMANY
            advice = _COVER_IT if is_content else _TOUCH_IT
            found[str(relationship)] = (advice.format(relationship), is_content)
    return found


_COVER_IT = "write covers({}) beside the model"
_TOUCH_IT = "call touch() where they change, or let the tag depend on {}, by @resource(etag=...)"


def mapper_of(statement: Select[Any]) -> Mapper[Any] | None:
    """Return the mapper of the one model that a statement selects; ``None`` where it selects anything else."""
    selected = statement.column_descriptions
    mapper: object = inspect(selected[0]["type"], raiseerr=False) if len(selected) == 1 else None
    return mapper if isinstance(mapper, Mapper) else None


def scope_of(state: InstanceState[Any]) -> tuple[object, ...]:
    """Name what a version belongs to: a model, and a key.

    :raises ValueError: if the object has no key yet.
    """
    if state.key is None:
        raise ValueError(_NONE_YET.format(state.class_.__name__))
    return (state.mapper.base_mapper.class_.__qualname__, *state.key[1])


def is_versioned(state: InstanceState[Any]) -> bool:
    """Tell whether SQLAlchemy checks the version of an object with each UPDATE and DELETE."""
    return state.mapper.version_id_col is not None


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


def version_of(state: InstanceState[Any]) -> object:
    """Return the version of an object.

    :raises TypeError: if its model has none.
    :raises ValueError: if the object has none yet.
    """
    key = version_key(state.mapper)
    version = state.dict.get(key)
    if version is None:  # perhaps since it is expired
        version = attribute_of(state, key)
    if version is None:
        raise ValueError(_NONE_YET.format(state.class_.__name__))
    return version


def attribute_of(state: InstanceState[Any], key: str) -> object:
    """Return what an object has in an attribute that tells its state.

    One that a select has left for later, as ``load_only()`` does, may be of later content than what it has loaded:
    so that is read anew with it.
    """
    if key in state.dict:
        return state.dict[key]
    target = state.obj()
    is_left = key in state.mapper.column_attrs and key not in state.expired_attributes
    if is_left and state.session is not None and not state.modified:
        state.session.expire(target, [*loaded_keys(state), key])
    return getattr(target, key)


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


def stored_version_of(state: InstanceState[Any]) -> object:
    """Return the version as it was loaded, even if the view has set the next one itself."""
    key = version_key(state.mapper)
    if key in state.committed_state:
        return state.committed_state[key]
    return getattr(state.obj(), key)


_NONE_YET = (
    "This {} has no version: flush the session before you ask for the ETag of a new object; where a table got its "
    "version column later, give every row a version."
)
