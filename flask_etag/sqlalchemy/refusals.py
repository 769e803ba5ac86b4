"""How databases, and SQLAlchemy for them, say that another writer was first."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

_TRANSACTION_ROLLBACK = "40"  # the class of SQLSTATEs: 40001 serialization failure, 40P01 deadlock
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's lock_timeout
_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_BUSY_SNAPSHOT = 5, 6, 517
_UNIQUE_VIOLATION, _DUPLICATE_KEY, _SQLITE_PRIMARY_KEY, _SQLITE_ROWID = "23505", 1062, 1555, 2579
_RECORD_CHANGED, _LOCK_WAIT_TIMEOUT, _DEADLOCK = 1020, 1205, 1213  # MariaDB and MySQL


def is_refusal(error: BaseException) -> bool:
    """Tell whether an error means that another writer was first, or is at it."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, StaleDataError | ObjectDeletedError)
    sqlstate, code = _codes_of(error)
    return (
        sqlstate.startswith(_TRANSACTION_ROLLBACK)
        or sqlstate == _LOCK_NOT_AVAILABLE
        or code in (_RECORD_CHANGED, _LOCK_WAIT_TIMEOUT, _DEADLOCK)
        or (hasattr(error.orig, "sqlite_errorcode") and code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED))
    )


def is_gone(error: BaseException) -> bool:
    """Tell whether an error means that an object cannot be refreshed; SQLAlchemy says it in words alone."""
    return type(error) is InvalidRequestError and str(error).startswith("Could not refresh instance")


def has_waited(error: BaseException) -> bool:
    """Tell whether the other writer was waited for, as long as the database was told to."""
    sqlstate, code = _codes_of(error) if isinstance(error, DBAPIError) else ("", 0)
    return sqlstate == _LOCK_NOT_AVAILABLE or code in (_LOCK_WAIT_TIMEOUT, _SQLITE_BUSY, _SQLITE_LOCKED)


def is_still_locked(error: BaseException) -> bool:
    """Tell whether the other writer surely was waited for, and still has what it has locked.

    SQLite does not tell whether it has waited or saw that it would be for ever.
    """
    return has_waited(error) and not hasattr(getattr(error, "orig", None), "sqlite_errorcode")


def is_key_taken(error: IntegrityError, mapper: Mapper[Any]) -> bool:
    """Tell whether a constraint is violated since there is, or has just been, a row with the same primary key."""
    table = mapper.primary_key[0].table
    sqlstate, code = _codes_of(error)
    if sqlstate == _UNIQUE_VIOLATION:  # PostgreSQL
        name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        return name == ((getattr(table, "primary_key", None) and table.primary_key.name) or f"{table.name}_pkey")
    if code == _DUPLICATE_KEY:  # MariaDB
        return "PRIMARY'" in str(error.orig)
    return code in (_SQLITE_PRIMARY_KEY, _SQLITE_ROWID) and f"constraint failed: {table.name}." in str(error.orig)


def undoes_everything(error: BaseException) -> bool:
    """Tell whether the database has rolled back the whole transaction, and left its savepoints to be looked for.

    MariaDB and MySQL do; what is written after that would be committed without what was written before.
    """
    return isinstance(error, DBAPIError) and _codes_of(error)[1] in (_RECORD_CHANGED, _DEADLOCK)


def _codes_of(error: DBAPIError) -> tuple[str, int]:
    """Return the SQLSTATE and the database's own number, as far as the driver gives them."""
    orig = error.orig
    sqlstate = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None) or ""
    code = getattr(orig, "sqlite_errorcode", None) or getattr(orig, "errno", None)
    if code is None and orig is not None and orig.args:  # as PyMySQL and mysqlclient have it
        code = orig.args[0]
    return str(sqlstate), code if isinstance(code, int) else 0
