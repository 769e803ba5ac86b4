"""What a test is shown of the statements that an application sends: for :mod:`flask_etag.testing`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Compiled,
    CompoundSelect,
    Connection,
    Engine,
    Insert,
    Select,
    Table,
    TextClause,
    event,
)
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, PassiveFlag, Session
from sqlalchemy.orm.attributes import get_history, instance_state
from sqlalchemy.orm.base import object_mapper

from flask_etag.sqlalchemy.databases import OWN
from flask_etag.sqlalchemy.models import covered_by, versioned
from flask_etag.sqlalchemy.statements import (
    ANY_TABLE,
    statement_of,
    tables_read_by,
    tables_written_by,
    writes_by_its_text,
)
from flask_etag.sqlalchemy.unit import units_in_force
from flask_etag.sqlalchemy.unversioned import changes_what_counts, leaves_version

_IN_MEMORY = (None, "", ":memory:")
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Statement:
    """One statement, just before its database gets it.

    :ivar connection: the driver's.
    :ivar reads: the tables that it reads; :data:`ANY_TABLE` of a text.
    :ivar writes: the tables that it may write to, where no guard is in force; :data:`ANY_TABLE` of a text.
    :ivar is_in_memory: whether the database is one of SQLite's in memory, which ends with its connection.
    """

    connection: object
    text: str
    reads: frozenset[str]
    writes: frozenset[str]
    is_in_memory: bool

    def written_of(self, tables: Set[str]) -> frozenset[str]:
        """Return which of some tables it may write to; a text has to have the name of one in it."""
        if not self.writes <= ANY_TABLE:
            return self.writes if tables >= ANY_TABLE else self.writes & tables
        named = {table for table in tables if self.writes and table.lower() in self.text.lower()}
        return frozenset(named) or (self.writes & tables)


@contextmanager
def every_statement(hear: Callable[[Statement], None]) -> Iterator[None]:
    """Hear of each statement, just before its database does."""

    def before(connection: Connection, _: Any, text: str, __: Any, context: Any, ___: bool) -> None:
        compiled = getattr(context, "compiled", None)
        if compiled is None:
            reads, writes = _read_by_its_text(text), ANY_TABLE if writes_by_its_text(text) else _NONE
        else:
            writes = tables_written_by(compiled) or _NONE
            is_text = isinstance(statement_of(compiled), TextClause)
            reads = _read_by_its_text(text) if is_text else _read_by(compiled)
        url = connection.engine.url
        is_in_memory = url.get_backend_name() == "sqlite" and url.database in _IN_MEMORY
        driver = connection.connection.dbapi_connection
        hear(Statement(driver, text, reads, _NONE if units_in_force() else writes, is_in_memory))

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)


def _read_by(compiled: Compiled) -> frozenset[str]:
    return tables_read_by(compiled) if isinstance(statement_of(compiled), Select | CompoundSelect) else _NONE


def _read_by_its_text(text: str) -> frozenset[str]:
    return ANY_TABLE if re.match(r"\W*(select|with)\b", text, re.IGNORECASE) else _NONE


@contextmanager
def every_unguarded_write(hear: Callable[[str], None]) -> Iterator[None]:
    """Hear of each change of a row that moves its version, or should, where no guard is in force.

    Changes that the ORM flushes are seen, and every ``update()``, ``delete()`` and upsert: of a model, of its
    table, and those that ``bulk_update_mappings()`` and its like send. What is sent as a text is not.
    """

    def before_flush(session: Session, *_: Any) -> None:
        if not units_in_force():
            changed = [each for each in session.dirty if _moves_version(instance_state(each))]
            for target in [*changed, *session.deleted]:
                _tell(object_mapper(target), hear)

    def on_execute(state: ORMExecuteState) -> None:
        mapper: Any = state.bind_mapper
        is_write = (state.is_update or state.is_delete) and mapper is not None
        if is_write and not units_in_force() and not leaves_version(mapper, _compiled(state)):
            _tell(mapper, hear)

    def before_cursor(_: Connection, __: Any, ___: str, ____: Any, context: Any, _____: bool) -> None:
        compiled = getattr(context, "compiled", None)
        if compiled is None or OWN in context.execution_options or units_in_force():
            return
        statement = statement_of(compiled)
        written = () if _only_makes(statement) else tables_written_by(compiled) or ()
        table = getattr(statement, "table", None)
        for mapper in list(versioned):
            own: Any = mapper.local_table
            name = getattr(own, "name", None)
            is_namesake = (
                isinstance(table, Table) and isinstance(own, Table) and table.metadata is not own.metadata
            )
            if name in written and not is_namesake and not leaves_version(mapper, compiled):
                _tell(mapper, hear)

    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "do_orm_execute", on_execute)
    event.listen(Engine, "before_cursor_execute", before_cursor)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", before_flush)
        event.remove(Session, "do_orm_execute", on_execute)
        event.remove(Engine, "before_cursor_execute", before_cursor)


def _only_makes(statement: object) -> bool:
    """Tell whether a statement makes rows, and writes over none: by ON CONFLICT, or SQLite's INSERT OR REPLACE.

    The guard takes any other class than SQLAlchemy's own for one that may; nobody is to be accused of that here.
    """
    if not isinstance(statement, Insert) or getattr(statement, "_post_values_clause", None) is not None:
        return False
    return not any("replace" in str(prefix).lower() for prefix, _ in statement._prefixes)


def _moves_version(state: InstanceState[Any]) -> bool:
    """Tell whether a flush moves the version of an object: one that counts is changed, or what belongs to it."""
    return changes_what_counts(state) or any(
        get_history(state.obj(), name, PassiveFlag.PASSIVE_NO_INITIALIZE).has_changes()
        for name in covered_by(state.mapper)
    )


def _compiled(state: ORMExecuteState) -> Compiled:
    """Return what a statement is going to be, with the columns that are named by its parameters alone."""
    names = list(state.parameters) if isinstance(state.parameters, Mapping) else None
    statement: Any = state.statement
    compiled: Compiled = statement.compile(column_keys=names)
    return compiled


def _tell(mapper: Mapper[Any], hear: Callable[[str], None]) -> None:
    if mapper.version_id_col is not None:
        hear(mapper.base_mapper.class_.__name__)
