"""What a test is shown of the statements that an application sends: for :mod:`flask_etag.testing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Compiled, Connection, Engine, event
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, PassiveFlag, Session
from sqlalchemy.orm.attributes import get_history, instance_state
from sqlalchemy.orm.base import object_mapper

from flask_etag.sqlalchemy.models import covered_by
from flask_etag.sqlalchemy.statements import tables_written_by, writes_by_its_text
from flask_etag.sqlalchemy.unit import units_in_force
from flask_etag.sqlalchemy.unversioned import changes_what_counts, leaves_version

_IN_MEMORY = (None, "", ":memory:")


@contextmanager
def every_statement(hear: Callable[[object, bool, bool], None]) -> Iterator[None]:
    """Hear of each statement, just before its database does.

    :param hear: is told the driver's connection; whether the statement may write, and no guard is in force; and
        whether the database is one of SQLite's in memory, which ends with its connection.
    """

    def before(connection: Connection, _: Any, text: str, __: Any, context: Any, ___: bool) -> None:
        compiled = getattr(context, "compiled", None)
        writes = writes_by_its_text(text) if compiled is None else bool(tables_written_by(compiled))
        url = connection.engine.url
        is_in_memory = url.get_backend_name() == "sqlite" and url.database in _IN_MEMORY
        hear(connection.connection.dbapi_connection, writes and not units_in_force(), is_in_memory)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)


@contextmanager
def every_unguarded_write(hear: Callable[[str], None]) -> Iterator[None]:
    """Hear of each change of a row that moves its version, or should, where no guard is in force.

    Changes that the ORM flushes are seen, and bulk ``update()`` and ``delete()`` of a model.
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

    event.listen(Session, "before_flush", before_flush)
    event.listen(Session, "do_orm_execute", on_execute)
    try:
        yield
    finally:
        event.remove(Session, "before_flush", before_flush)
        event.remove(Session, "do_orm_execute", on_execute)


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
        hear(mapper.class_.__name__)
