"""Columns that do not count: a write of ``__unversioned__`` columns alone moves no version, and compares none.

SQLAlchemy names the version in the WHERE of every UPDATE of a model that has one. So these columns are sent by a
statement of their own, and the object has no change left for the flush: once in ``Session.before_flush``, so that
other listeners, of a history, say, see no change; and once as the last listener of ``before_update``, for what
other listeners have set since, and the keys of relationships. What else is changed is flushed, and compared, as
ever, with these columns along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Compiled, Connection, Table, event, update
from sqlalchemy.orm import InstanceState, Mapper, PassiveFlag, RelationshipDirection, Session
from sqlalchemy.orm.attributes import get_history, instance_state, set_committed_value
from sqlalchemy.sql.elements import ClauseElement

from flask_etag.sqlalchemy import statements
from flask_etag.sqlalchemy.databases import connection_to_write
from flask_etag.sqlalchemy.models import Versioned, names_of_columns, names_of_key, version_key

_columns: set[tuple[str, str]] = set()
"""All columns of models that do not count, each after its table: where there are none, nothing is looked at."""


@lru_cache(maxsize=256)
def names_unversioned(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the attributes of a model that do not count: its own, and those of what it inherits from."""
    return frozenset[str]().union(*(declared for _, declared in _declared_by(mapper.class_)))


def _declared_by(model: type) -> list[tuple[type, Collection[str]]]:
    """Return what a class says of itself, and what each does that it inherits from."""
    return [(each, vars(each)["__unversioned__"]) for each in model.__mro__ if vars(each).get("__unversioned__")]


def changes_what_counts(state: InstanceState[Any]) -> bool:
    """Tell whether anything is changed of the row of an object, and not sent yet, that moves its version."""
    columns, ways = _names_that_count(state.mapper)
    return bool(_unsent(state, columns) or _unsent(state, ways, PassiveFlag.PASSIVE_NO_INITIALIZE))


@lru_cache(maxsize=256)
def _names_that_count(mapper: Mapper[Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Name the columns of a model that count, and the relationships that set some of these."""
    names = names_unversioned(mapper)
    left_out = {column for name in names for column in mapper.column_attrs[name].columns}
    ways = [each for each in mapper.relationships if each.direction is RelationshipDirection.MANYTOONE]
    setting = frozenset(way.key for way in ways if not way.local_columns <= left_out)
    return frozenset(names_of_columns(mapper)) - names, setting


def leaves_every_version(compiled: Compiled) -> bool:
    """Tell whether a statement sets nothing but columns that do not count, of whichever model."""
    columns = statements.columns_set_by(compiled) if _columns else None
    return columns is not None and columns <= _columns


def leaves_version(mapper: Mapper[Any], compiled: Compiled) -> bool:
    """Tell whether a statement sets nothing of a model but columns that do not count."""
    names = names_unversioned(mapper)
    columns = statements.columns_set_by(compiled) if names else None
    return columns is not None and columns <= _columns_of(mapper, names)


@lru_cache(maxsize=256)
def _columns_of(mapper: Mapper[Any], names: frozenset[str]) -> frozenset[tuple[str, str]]:
    columns: list[Any] = [column for name in names for column in mapper.column_attrs[name].columns]
    return frozenset((str(column.table.name), str(column.name)) for column in columns)


@event.listens_for(Mapper, "mapper_configured")
def _check(mapper: Mapper[Any], model: type) -> None:
    """Refuse a declaration that could not be kept."""
    declarations = _declared_by(model)
    if not declarations:
        return
    for each, declared in declarations:
        if isinstance(declared, str):
            raise TypeError(_SAYS.format(each.__name__) + f'is a set of names, such as {{"{declared}"}}.')
    if not callable(mapper.version_id_generator) or mapper.version_id_col is None:
        raise TypeError(
            _SAYS.format(model.__name__) + "takes a version that SQLAlchemy makes: that of the mixin "
            "flask_etag.sqlalchemy.Versioned, say. One that the database makes moves with every UPDATE."
        )
    counting = {*names_of_key(mapper), version_key(mapper)}
    names = names_unversioned(mapper)
    wrong = sorted(name for name in names if name in counting or name not in names_of_columns(mapper))
    if wrong:
        raise TypeError(
            _SAYS.format(model.__name__) + f"names {', '.join(wrong)}: it takes names of attributes that are "
            "columns, and neither the version nor the primary key."
        )
    _columns.update(_columns_of(mapper, names))
    _listen_last(mapper)


_SAYS = "__unversioned__ of {} "


@event.listens_for(Session, "before_flush")
def _send(session: Session, _: object, chosen: Sequence[object] | None) -> None:
    """Send what is changed of such columns alone; what else a flush is about to write, it writes."""
    if not _columns:
        return
    for target in list(session.dirty):
        state = instance_state(target)
        names = names_unversioned(state.mapper)
        if names and (chosen is None or target in chosen) and not changes_what_counts(state):
            connection = connection_to_write(session, state.mapper, state.identity_token)
            _update(session, connection, state, _unsent(state, names))


def _send_the_rest(mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Send what other listeners, or the flush itself, have changed since, if that is of such columns alone."""
    if state.session is not None and state.key is not None:
        changed = _unsent(state, names_of_columns(mapper))
        if changed <= names_unversioned(mapper):
            _update(state.session, connection, state, changed)


@event.listens_for(Mapper, "before_update", raw=True, retval=True)
def _see_to_order(mapper: Mapper[Any], _connection: Connection, _state: InstanceState[Any]) -> None:
    """Let nobody be told after us of an object that is about to be updated: he might set more of it.

    Listeners are called in the order in which they were added, those of all models before those of one.
    """
    if names_unversioned(mapper) and [*mapper.dispatch.before_update][-1] is not _send_the_rest:
        event.remove(mapper, "before_update", _send_the_rest)
        _listen_last(mapper)


def _listen_last(mapper: Mapper[Any]) -> None:
    event.listen(mapper, "before_update", _send_the_rest, raw=True, retval=True)  # otherwise it would be wrapped


def _unsent(
    state: InstanceState[Any], names: Collection[str], passive: PassiveFlag = PassiveFlag.PASSIVE_OFF
) -> set[str]:
    """Return which of some attributes of an object are changed; that of ``Versioned`` is nobody's to change."""
    ours = {version_key(state.mapper)} if isinstance(state.obj(), Versioned) else set()
    changed = state.committed_state.keys() & set(names) - ours
    return {name for name in changed if get_history(state.obj(), name, passive).has_changes()}


def _update(session: Session, connection: Connection, state: InstanceState[Any], changed: set[str]) -> None:
    """Write such columns of a row, whatever its version is, and nothing besides: no ``onupdate`` of another."""
    mapper, target = state.mapper, state.obj()
    names, attributes = names_unversioned(mapper), _names_by_column(mapper)
    key = dict(zip(names_of_key(mapper), state.key[1], strict=True))  # type: ignore[index]
    values: defaultdict[Table, dict[Column[Any], Any]] = defaultdict(dict)
    for name in changed:
        columns: list[Any] = mapper.column_attrs[name].columns
        for column in columns:
            values[column.table][column] = state.dict.get(name)
    for table, given in values.items():
        kept = {
            column: column
            for column in table.columns
            if (column.onupdate or column.server_onupdate) and attributes.get(column) not in names
        }
        where = [column == key[attributes[column]] for column in table.primary_key]
        connection.execute(update(table).values({**kept, **given}).where(*where))
    for name in names & state.dict.keys() if changed else ():
        [column, *_] = mapper.column_attrs[name].columns
        if name in changed and not isinstance(state.dict[name], ClauseElement):
            set_committed_value(target, name, state.dict[name])
        elif name in changed or column.onupdate or column.server_onupdate:
            session.expire(target, [name])


@lru_cache(maxsize=256)
def _names_by_column(mapper: Mapper[Any]) -> dict[Any, str]:
    """Return the name of the attribute for each column of a model that has one."""
    return {column: each.key for each in mapper.column_attrs for column in each.columns}
