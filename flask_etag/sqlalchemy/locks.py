"""Locks, for models without a version: what they are on each database, and how to read under them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal, NoReturn

from sqlalchemy import Connection, false, select, update
from sqlalchemy.exc import InvalidRequestError, OperationalError
from sqlalchemy.orm import InstanceState, Mapper, Session

from flask_etag.sqlalchemy.rows import loaded_keys, stored_row

_WITH_ROW_LOCKS = ("postgresql", "mysql", "mariadb")


def lock(session: Session, state: InstanceState[Any]) -> None:
    """Lock the row of an object until the transaction ends, and read it anew.

    :raises RuntimeError: where no lock can be had.
    """
    connection = session.connection(bind_arguments={"mapper": state.mapper})
    if connection.dialect.name == "sqlite":
        _lock_file(session, connection, state.mapper)
    else:
        _refuse_without_locks(connection, state.mapper)
    with suppress(InvalidRequestError):  # where the row is gone: the loader will say so
        session.refresh(state.obj(), loaded_keys(state), with_for_update={"of": state.class_})


def lock_before_reading(session: Session, mapper: Mapper[Any]) -> Literal["file", "row"] | None:
    """Prepare a session for a SELECT that locks what it reads; tell what is locked, if it can have one.

    A file is locked by then, a row has to be by the SELECT. Only at the beginning of a transaction can it: should
    the lock not be given, nothing is lost with it; and what is read is not older than the lock.
    """
    if session.in_transaction():
        return None
    connection = session.connection(bind_arguments={"mapper": mapper})
    if connection.dialect.name != "sqlite":
        can_lock = connection.dialect.name in _WITH_ROW_LOCKS and not _commits_by_itself(connection)
        return "row" if can_lock else None
    if _commits_by_itself(connection):
        return None
    _begin_immediate(connection)
    return "file"


def read_under_lock(connection: Connection, state: InstanceState[Any], keys: list[str]) -> dict[str, Any]:
    """Lock a row in the middle of a flush, and return what it has in the columns of some attributes."""
    if connection.dialect.name == "sqlite":
        _write_nothing(connection, state.mapper)
    return stored_row(connection, state, keys, locked=True) or {}


def wait_for_the_winner(session: Session, mapper: Mapper[Any], key: tuple[Any, ...] | None) -> None:
    """At the start of a transaction, wait until nobody else is writing a row.

    :param key: its primary key; ``None`` where that is not known.
    """
    connection = session.connection(bind_arguments={"mapper": mapper})
    if connection.dialect.name == "sqlite":
        _begin_immediate(connection)
    elif key is not None and connection.dialect.name in _WITH_ROW_LOCKS:
        where = (column == value for column, value in zip(mapper.primary_key, key, strict=True))
        session.execute(select(*mapper.primary_key).where(*where).with_for_update())


def _lock_file(session: Session, connection: Connection, mapper: Mapper[Any]) -> None:
    """Take SQLite's lock of the whole file for writing; it has no smaller one."""
    if _commits_by_itself(connection):
        _refuse(mapper, "its connection commits by itself, so that no lock would last")
    if not _is_in_transaction(connection):
        _begin_immediate(connection)
        return
    try:
        _write_nothing(connection, mapper)
    except OperationalError:
        # The transaction has read what is no longer current, so that it can never write; and it has written
        # nothing, or the lock would be its own. Begin it anew.
        session.rollback()
        _begin_immediate(session.connection(bind_arguments={"mapper": mapper}))


def _begin_immediate(connection: Connection) -> None:
    """Begin with the lock, in a transaction that has done nothing so far."""
    if _is_in_transaction(connection):
        connection.exec_driver_sql("ROLLBACK")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _write_nothing(connection: Connection, mapper: Mapper[Any]) -> None:
    """Get the lock that a write gets, for the transaction that is going on."""
    [column, *_] = mapper.primary_key
    connection.execute(update(column.table).values({column: column}).where(false()))


def _is_in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def _refuse_without_locks(connection: Connection, mapper: Mapper[Any]) -> None:
    if connection.dialect.name not in _WITH_ROW_LOCKS:
        _refuse(mapper, f"how to lock its rows on {connection.dialect.name} is not known")
    if _commits_by_itself(connection):
        _refuse(mapper, "its connection commits by itself, so that no lock would last")


def _refuse(mapper: Mapper[Any], reason: str) -> NoReturn:
    raise RuntimeError(
        f"{mapper.class_.__name__} has no version, and {reason}. Give the model a version, with the mixin "
        "flask_etag.sqlalchemy.Versioned."
    )


def _commits_by_itself(connection: Connection) -> bool:
    """Tell whether nothing holds statements together; on SQLite, an application's own BEGIN may do that."""
    dbapi_connection = connection.connection.dbapi_connection
    if dbapi_connection is None or not connection.dialect.detect_autocommit_setting(dbapi_connection):
        return False
    return not _is_in_transaction(connection)
