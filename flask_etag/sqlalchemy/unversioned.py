"""Columns that do not count: a write of ``__unversioned__`` columns alone moves no version, and compares none.

SQLAlchemy names the version in the WHERE of every UPDATE of a model that has one. So these columns are sent by a
statement of their own, and the object has no change left for the flush: once in ``Session.before_flush``, so that
other listeners, of a history, say, see no change; and once where the flush comes to the object, for what other
listeners have set since, the keys of relationships, and what may depend on another write of the flush: the last
listener of ``before_update`` takes it, and ``after_update`` sends it. What else is changed is flushed, and
compared, as ever, with these columns along. Rows are written in the order in which a flush writes them, so that of
two that write the same ones, one waits for the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import CheckConstraint, Column, Compiled, Connection, Table, Update, event, update
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


def names_unsent(state: InstanceState[Any]) -> set[str]:
    """Name the columns that count of an object which are changed, and not sent yet."""
    columns, _ = _names_that_count(state.mapper)
    return _unsent(state, columns)


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
    event.listen(mapper, "after_update", _send_the_rest, raw=True)


_SAYS = "__unversioned__ of {} "


@event.listens_for(Session, "before_flush")
def _send(session: Session, _: object, chosen: Sequence[object] | None) -> None:
    """Send what is changed of such columns alone; what else a flush is about to write, it writes."""
    if not _columns:
        return
    session.info.pop(_KEPT, None)  # of a flush that has failed
    written = [instance_state(each) for each in session.dirty if chosen is None or each in chosen]
    of_these_alone = [each for each in written if names_unversioned(each.mapper) and not changes_what_counts(each)]
    has_more = bool(session.new or session.deleted) or len(of_these_alone) < len(written)
    updates = [
        each
        for state in of_these_alone
        for changed in [_unsent(state, names_unversioned(state.mapper))]
        if not (has_more and changed & _names_bound(state.mapper))  # another write may have to come first
        for each in _updates(connection_to_write(session, state.mapper, state.identity_token), state, changed)
    ]
    try:
        updates.sort(key=lambda each: each.place)
    except TypeError:  # keys without an order: the flush says so itself
        return
    for each in updates:
        each.connection.execute(each.statement)
    for each in updates:
        _let_be_sent(session, each)


def _keep_the_rest(mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Keep from the flush what is left, or what others have changed since, if that is of such columns alone."""
    session: Any = state.session
    changed = _unsent(state, names_of_columns(mapper))
    if changed and changed <= names_unversioned(mapper):
        updates = _updates(connection, state, changed)
        session.info.setdefault(_KEPT, {})[state] = updates
        for each in updates:
            _let_be_sent(session, each)


def _send_the_rest(_mapper: Mapper[Any], connection: Connection, state: InstanceState[Any]) -> None:
    """Send that when the flush has written the other rows of the model: one may give up what another takes."""
    session: Any = state.session
    for each in session.info.get(_KEPT, {}).pop(state, ()):
        connection.execute(each.statement)


_KEPT = "flask_etag_unversioned"
"""The key of a session's info where the updates are, by object, that a flush has come to and not sent yet."""


@event.listens_for(Mapper, "before_update", raw=True, retval=True)
def _see_to_order(mapper: Mapper[Any], _connection: Connection, _state: InstanceState[Any]) -> None:
    """Let nobody be told after us of an object that is about to be updated: he might set more of it.

    Listeners are called in the order in which they were added, those of all models before those of one.
    """
    if names_unversioned(mapper) and [*mapper.dispatch.before_update][-1] is not _keep_the_rest:
        event.remove(mapper, "before_update", _keep_the_rest)
        _listen_last(mapper)


def _listen_last(mapper: Mapper[Any]) -> None:
    event.listen(mapper, "before_update", _keep_the_rest, raw=True, retval=True)  # otherwise it would be wrapped


def _unsent(
    state: InstanceState[Any], names: Collection[str], passive: PassiveFlag = PassiveFlag.PASSIVE_OFF
) -> set[str]:
    """Return which of some attributes of an object are changed; that of ``Versioned`` is nobody's to change."""
    ours = {version_key(state.mapper)} if isinstance(state.obj(), Versioned) else set()
    changed = state.committed_state.keys() & set(names) - ours
    return {name for name in changed if get_history(state.obj(), name, passive).has_changes()}


@dataclass(frozen=True, slots=True)
class _Update:
    """What is written of one row of one table.

    :param place: what a flush sorts its writes by: model, table, key.
    :param names: the attributes whose columns it sets.
    """

    place: tuple[Any, ...]
    connection: Connection
    statement: Update
    state: InstanceState[Any]
    table: Table
    names: frozenset[str]


def _updates(connection: Connection, state: InstanceState[Any], changed: Collection[str]) -> list[_Update]:
    """Return what writes such columns, whatever the row's version is, and no ``onupdate`` of another."""
    mapper = state.mapper
    names, attributes = names_unversioned(mapper), _names_by_column(mapper)
    key = dict(zip(names_of_key(mapper), state.key[1], strict=True))  # type: ignore[index]
    model = mapper.base_mapper.class_
    values: defaultdict[Table, dict[Column[Any], Any]] = defaultdict(dict)
    for name in changed:
        columns: list[Any] = mapper.column_attrs[name].columns
        for column in columns:
            values[column.table][column] = state.dict.get(name)
    return [
        _Update(
            (model.__module__, model.__qualname__, mapper.tables.index(table), table.fullname, _sortable(state)),
            connection,
            update(table)
            .values(
                {**{kept: kept for kept in _kept(table, connection) if attributes.get(kept) not in names}, **given}
            )
            .where(*(column == key[attributes[column]] for column in table.primary_key)),
            state,
            table,
            frozenset(attributes[column] for column in given),
        )
        for table, given in sorted(values.items(), key=lambda each: mapper.tables.index(each[0]))
    ]


def _kept(table: Table, connection: Connection) -> Iterator[Column[Any]]:
    """Give the columns of a table that an UPDATE sets by itself, unless it says what they are to be."""
    may_be_said = connection.dialect.name in _WITH_ON_UPDATE
    for column in table.columns:
        if column.onupdate or (may_be_said and column.server_onupdate and column.computed is None):
            yield column


_WITH_ON_UPDATE = frozenset({"mysql", "mariadb"})
"""The databases that have ON UPDATE. On the others a trigger is meant, which sets whatever it is given."""


def _let_be_sent(session: Session, sent: _Update) -> None:
    """Let an object have no change left of what is sent, and read anew what the database has set with it."""
    state, names = sent.state, names_unversioned(sent.state.mapper)
    for column, name in _names_by_column(state.mapper).items():
        if column.table is not sent.table or name not in state.dict:
            continue
        if name in sent.names and not isinstance(state.dict[name], ClauseElement):
            set_committed_value(state.obj(), name, state.dict[name])
        elif (
            name in sent.names
            or column.computed is not None
            or (name in names and (column.onupdate or column.server_onupdate))
        ):
            session.expire(state.obj(), [name])


def _sortable(state: InstanceState[Any]) -> list[Any]:
    """Return the key of a row as what a flush sorts it by: a type may say what, as that of an Enum does."""
    order = [getattr(column.type, "sort_key_function", None) for column in state.mapper.primary_key]
    return [by(each) if by else each for by, each in zip(order, state.key[1], strict=True)]  # type: ignore[index]


@lru_cache(maxsize=256)
def _names_bound(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the attributes that do not count whose values other rows allow or forbid: foreign keys, unique ones."""
    bound: set[Any] = set()
    tables: Sequence[Any] = mapper.tables
    for table in tables:
        for each in (*table.constraints, *(index for index in table.indexes if index.unique)):
            if not isinstance(each, CheckConstraint):
                bound.update(each.columns)
    attributes = _names_by_column(mapper)
    return names_unversioned(mapper) & {attributes.get(column) for column in bound}


@lru_cache(maxsize=256)
def _names_by_column(mapper: Mapper[Any]) -> dict[Any, str]:
    """Return the name of the attribute for each column of a model that has one."""
    return {column: each.key for each in mapper.column_attrs for column in each.columns}
