"""What is special about each database: how it locks a row, how it says that another writer was first, its traps.

SQLite
    It has one lock for writing, of the whole file, and ignores FOR UPDATE: whoever wants to hold a row writes
    nothing first (an UPDATE that finds no row), and reads then. In WAL mode a transaction that has read what
    another has changed since can never write: ``database is locked``, at once. Its driver sends no BEGIN before a
    SAVEPOINT.
PostgreSQL
    FOR NO KEY UPDATE keeps other writers out and lets foreign keys be checked. After any error a transaction does
    nothing any more, and its COMMIT is a ROLLBACK that says nothing. At REPEATABLE READ a locking SELECT of what
    another has changed is refused (40001).
MariaDB, MySQL
    A locking SELECT reads what is committed; a plain one what was there when the transaction first read. So a lock
    that is to be followed by a plain SELECT comes first in its transaction. A deadlock (1213), a changed record
    (1020) and, if so configured, a lock timeout (1205) roll the whole transaction back, which SQLAlchemy does not
    know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Literal

from sqlalchemy import (
    Compiled,
    Connection,
    Dialect,
    PoolProxiedConnection,
    Select,
    bindparam,
    event,
    false,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError, PendingRollbackError
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from flask_etag.sqlalchemy import statements

OWN = "flask_etag"
"""The execution option of the statements that Flask-ETag itself sends."""

Cause = Literal["conflict", "busy"]
"""Why a database refuses: another writer was first; or a lock was waited for in vain."""

Lock = Literal["exclusive", "shared"]

_OWN: Mapping[str, Any] = {OWN: True}
_MYSQL = ("mysql", "mariadb")
_WITH_ROW_LOCKS = ("postgresql", *_MYSQL)

_IN_FAILED_TRANSACTION = "25P02"  # PostgreSQL
_TRANSACTION_ROLLBACK = "40"  # the class of SQLSTATEs: 40001 serialization failure, 40P01 deadlock
_LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL's lock_timeout
_QUERY_CANCELED = "57014"  # its statement_timeout, among others
_SQLITE_BUSY, _SQLITE_LOCKED, _SQLITE_BUSY_SNAPSHOT = 5, 6, 517
_UNIQUE_VIOLATION, _DUPLICATE_KEY, _SQLITE_PRIMARY_KEY, _SQLITE_ROWID = "23505", 1062, 1555, 2579
_RECORD_CHANGED, _LOCK_WAIT_TIMEOUT, _DEADLOCK = 1020, 1205, 1213  # MariaDB and MySQL
_STATEMENT_TIMEOUT = 1969  # MariaDB's max_statement_time


# How a row is named, read and locked.


@dataclass(slots=True)  # not frozen: each write makes one, and that would double its cost
class Row:
    """A row, named as the database names it: by its table and its primary key; it is not changed.

    :param mapper: that of the object which was loaded from it.
    :param key: its primary key.
    :param shard: in which of several databases it is, where the session chooses one for each object.
    """

    mapper: Mapper[Any]
    key: tuple[Any, ...]
    shard: Any = field(default=None, compare=False)

    def is_named_by(self, mapper: Mapper[Any], key: Sequence[Any] | None) -> bool:
        """Tell whether another mapper and a key name the same row: whichever class is mapped to its table."""
        return key is not None and self.table == table_of(mapper) and self.key == tuple(key)

    @property
    def table(self) -> str:
        """The name of the table that has its primary key."""
        return table_of(self.mapper)

    @property
    def tables(self) -> frozenset[str]:
        """The names of the tables that it is spread over, where its model inherits from another."""
        return tables_of(self.mapper)

    def is_among(self, table: Any, parameters: Iterable[Mapping[str, Any]]) -> bool:
        """Tell whether it is one of the rows that a statement of a flush writes, by its sets of parameters.

        :param table: the table that is written to: its own, or one of those that it is spread over.
        """
        names = _names_of_key_in_parameters(table, len(self.key))
        for each in parameters:
            for number, label, key in names:
                if each.get(label) != self.key[number] and each.get(key) != self.key[number]:
                    break
            else:
                return True
        return False

    def is_referred_to(self, table: Any, parameters: Iterable[Mapping[str, Any]]) -> bool:
        """Tell whether a foreign key of what a statement makes or changes names it, by its sets of parameters.

        :param table: the table that is written to.
        """
        references = _references(table, self.tables)
        return any(
            all(each.get(name, self) == self.key[position] for name, position in reference.items())
            for each in parameters
            for reference in references
        )

    def where(self) -> list[Any]:
        """Return the conditions that find it."""
        return [column == value for column, value in zip(self.mapper.primary_key, self.key, strict=True)]


@lru_cache(maxsize=256)
def _names_of_key_in_parameters(table: Any, parts: int) -> list[tuple[int, str, str]]:
    """Return by which parameters a flush names a row: a label in a WHERE, or the key of a column to be set.

    :param parts: how many parts the key has that is looked for.
    :return: both, after the number of the part that they are for.
    """
    columns = list(table.primary_key.columns)[:parts]
    return [(number, str(column._label), str(column.key)) for number, column in enumerate(columns)]


@lru_cache(maxsize=256)
def _references(table: Any, tables: frozenset[str]) -> list[dict[str, int]]:
    """Return the foreign keys of a table to others: by the key of each column, its place in their primary key."""
    found = []
    for foreign in table.foreign_key_constraints:
        if statements.name_of_table(foreign.referred_table) in tables:
            key = list(foreign.referred_table.primary_key.columns)
            if all(element.column in key for element in foreign.elements):
                found.append({element.parent.key: key.index(element.column) for element in foreign.elements})
    return found


def table_of(mapper: Mapper[Any]) -> str:
    """Return the name of the table that has the primary key of a model."""
    return statements.name_of_table(mapper.primary_key[0].table)


@lru_cache(maxsize=256)
def tables_of(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the tables that a row of a model is spread over."""
    return frozenset(map(statements.name_of_table, mapper.tables))


def connection_to_write(session: Session, mapper: Mapper[Any], shard: Any) -> Connection:
    """Return the connection by which a session writes the rows of a model: it may read them by another.

    :param shard: in which of several databases the row is, as the identity of its object says; mostly ``None``.
    """
    arguments = {"mapper": mapper, "clause": _write_to(mapper)}
    return session.connection(bind_arguments=arguments if shard is None else {**arguments, "shard_id": shard})


def connection_begun(transaction: SessionTransaction, mapper: Mapper[Any], shard: Any) -> Connection:
    """Return the connection by which a transaction writes the rows of a model.

    A savepoint that is open, and has had no statement yet, is not sent by that.

    :param shard: as above.
    """
    arguments = {} if shard is None else {"shard_id": shard}
    return transaction.connection(mapper, clause=_write_to(mapper), **arguments)


@lru_cache(maxsize=256)
def _write_to(mapper: Mapper[Any]) -> Any:
    return update(mapper.primary_key[0].table)


def read(
    connection: Connection, row: Row, names: Sequence[str], lock: Lock | None = None
) -> dict[str, Any] | None:
    """Return what a row has in the columns of some attributes; ``None`` where there is no such row.

    :param lock: how to keep other writers from the row until the transaction, or the savepoint, ends; and then
        what is read is what is committed, whatever the transaction has read before.
    """
    if lock is not None and connection.dialect.name == "sqlite":
        lock_file(connection, row.mapper.primary_key[0].table)
    is_null = tuple([value is None for value in row.key])
    statement = _select(row.mapper, tuple(names), is_null, None if connection.dialect.name == "sqlite" else lock)
    key = dict(zip(_names_of_parameters(len(row.key)), row.key, strict=True))
    rows = connection.execute(statement, key, execution_options=_OWN).all()
    if len(rows) > 1:  # see is_seen_twice()
        rows = connection.execute(statement.order_by(_AGE), key, execution_options=_OWN).all()
    return dict(zip(names, rows[0], strict=bool(names))) if rows else None


def read_held(connection: Connection, row: Row, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the same of a row that a statement of the transaction's own has locked, and may have left as it was.

    Of such a row, MariaDB's snapshot still shows what was there before another committed.
    """
    return read(connection, row, names, "exclusive" if connection.dialect.name in _MYSQL else None)


_AGE: Any = literal_column("age(xmin)")
"""How many transactions ago PostgreSQL's row was made: 0 for what this one has made, less for its savepoints."""


def is_seen_twice(connection: Connection, row: Row) -> bool:
    """Tell whether a transaction that has made a row also sees the one in whose place it is.

    PostgreSQL's snapshots show at REPEATABLE READ what another session has deleted since, of the same request say.
    """
    if connection.dialect.name != "postgresql":
        return False
    look = select(_AGE).select_from(row.mapper.primary_key[0].table).where(*row.where())
    return len(connection.execute(look, execution_options=_OWN).all()) > 1


def is_made_here() -> Any:
    """Return the condition that finds, of two such rows, the one that the transaction has made."""
    return _AGE <= 0


@lru_cache(maxsize=32)
def _names_of_parameters(parts: int) -> list[str]:
    """Name a parameter for each part of a primary key."""
    return [f"flask_etag_key_{number}" for number in range(parts)]


@lru_cache(maxsize=512)
def _select(
    mapper: Mapper[Any], names: tuple[str, ...], is_null: tuple[bool, ...], lock: Lock | None
) -> Select[Any]:
    """Return the statement that reads some columns of one row; made once, it is compiled once.

    :param is_null: of each part of its key, whether that is NULL.
    """
    columns = [mapper.column_attrs[name].columns[0] for name in names] or mapper.primary_key
    tables = {column.table for column in (*columns, *mapper.primary_key)}
    source = mapper.persist_selectable if len(tables) > 1 else mapper.primary_key[0].table
    parameters = _names_of_parameters(len(is_null))
    where = [
        column.is_(None) if null else column == bindparam(name)
        for column, null, name in zip(mapper.primary_key, is_null, parameters, strict=True)
    ]
    statement = select(*columns).select_from(source).where(*where)
    if lock is None:
        return statement
    return statement.with_for_update(read=lock == "shared", key_share=lock == "exclusive")


def lock_file(connection: Connection, table: Any) -> None:
    """Get SQLite's lock for writing, in the transaction that is going on, or that begins by this: write nothing.

    :param table: any table of the file.
    """
    connection.execute(_write_nothing_to(table), execution_options=_OWN)


@lru_cache(maxsize=256)
def _write_nothing_to(table: Any) -> Any:
    """Return the UPDATE that finds no row; made once, it is compiled once."""
    column = next(iter(table.columns))
    return update(table).values({column: column}).where(false())


def is_same(mapper: Mapper[Any], one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two readings of a row are the same in what the first has read, as the columns compare."""
    return all(
        value is other[name]
        or mapper.column_attrs[name].columns[0].type.compare_values(value, other[name])
        or (value != value and other[name] != other[name])  # noqa: PLR0124 - not a number
        for name, value in one.items()
    )


# Whether it can be guarded at all.


def refuse_what_cannot_hold(connection: Connection, mapper: Mapper[Any], *, needs_lock: bool) -> None:
    """Refuse a connection on which nothing holds the statements of a write together.

    :param needs_lock: whether a row has to be locked, of which not every database is known.
    :raises RuntimeError: if it commits by itself; or if a lock is needed, and how to lock is not known.
    """
    name = mapper.class_.__name__
    refuse_autocommit(connection, name)
    if needs_lock and connection.dialect.name not in ("sqlite", *_WITH_ROW_LOCKS):
        raise RuntimeError(
            f"{name} has no version, and how to lock its rows on {connection.dialect.name} is not known. Give the "
            "model a version, with the mixin flask_etag.sqlalchemy.Versioned."
        )


def refuse_autocommit(connection: Connection, name: str) -> None:
    """Refuse a connection that commits by itself.

    :param name: of what is written.
    :raises RuntimeError: if it does.
    """
    if commits_by_itself(connection):
        raise RuntimeError(
            f"{name} is written through a connection that commits by itself (AUTOCOMMIT), so that nothing could "
            'keep other writers away until a write is done. Leave isolation_level="AUTOCOMMIT" out of the options '
            "of its engine."
        )


def commits_by_itself(connection: Connection) -> bool:
    """Tell whether nothing holds statements together; on SQLite, an application's own BEGIN may do that."""
    dbapi_connection = connection.connection.dbapi_connection
    if dbapi_connection is None or not connection.dialect.detect_autocommit_setting(dbapi_connection):
        return False
    return not _has_begun(connection)


def _has_begun(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def begin_before_savepoint(connection: Connection) -> None:
    """Send the BEGIN that SQLite's driver leaves out: without it, RELEASE commits what was written."""
    if connection.dialect.name == "sqlite" and not _has_begun(connection):
        connection.exec_driver_sql("BEGIN")


def would_wait(connection: Connection, holding: Connection, *, is_row: bool) -> bool:
    """Tell whether a write of a request would wait for what the same request holds on another connection.

    :param is_row: whether it may write the very row that is held.
    """
    if holding.closed or connection.connection.dbapi_connection is holding.connection.dbapi_connection:
        return False
    return is_row or (connection.dialect.name == "sqlite" and connection.engine.url == holding.engine.url)


def checks_by_lock(connection: Connection) -> bool:
    """Tell whether the check of a foreign key waits for who holds the row that it names."""
    return connection.dialect.name in _MYSQL


def waits_for_who_makes(connection: Connection) -> bool:
    """Tell whether a refused INSERT has waited for who makes the same row: he has made it, or has given up.

    MariaDB ends one of two as a deadlock while the other's INSERT waits, so that there is no row yet to be locked.
    """
    return connection.dialect.name not in _MYSQL


def locks_what_it_reads(connection: Connection) -> bool:
    """Tell whether any SELECT of a connection locks what it reads."""
    return connection.dialect.name in _MYSQL and connection.get_isolation_level() == "SERIALIZABLE"


def tables_locked_by(connection: Connection, compiled: Compiled) -> frozenset[str]:
    """Name the tables whose rows a SELECT locks, and waits for.

    SQLite ignores FOR UPDATE, MariaDB its OF; at SERIALIZABLE any SELECT of MariaDB's locks.
    """
    name = connection.dialect.name
    if name not in _WITH_ROW_LOCKS:
        return frozenset()
    if locks_what_it_reads(connection):
        return statements.tables_read_by(compiled)
    return statements.tables_locked_by(statements.statement_of(compiled), may_choose=name == "postgresql")


# What a database says when another writer was first.


def cause_of(error: BaseException) -> Cause | None:
    """Tell why a database, or SQLAlchemy for it, refused; ``None`` for an error that is no refusal."""
    if not isinstance(error, DBAPIError):
        return "conflict" if isinstance(error, StaleDataError | ObjectDeletedError) else None
    sqlstate, code = _codes_of(error.orig)
    if hasattr(error.orig, "sqlite_errorcode"):
        if code == _SQLITE_BUSY_SNAPSHOT:
            return "conflict"
        return "busy" if code & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED) else None
    if sqlstate == _LOCK_NOT_AVAILABLE or code == _LOCK_WAIT_TIMEOUT or _has_waited_until_canceled(error):
        return "busy"
    if sqlstate.startswith(_TRANSACTION_ROLLBACK) or code in (_RECORD_CHANGED, _DEADLOCK):
        return "conflict"
    return None


def _has_waited_until_canceled(error: DBAPIError) -> bool:
    """Tell whether the time that a statement may take has passed while it waited for a lock.

    PostgreSQL names the place of the row that it waited for. MariaDB does not: a statement that locks is meant.
    """
    sqlstate, code = _codes_of(error.orig)
    if sqlstate == _QUERY_CANCELED:
        context = getattr(getattr(error.orig, "diag", None), "context", None)
        return _PLACE_OF_ROW.search(context or "") is not None
    return code == _STATEMENT_TIMEOUT and _LOCKS.search(error.statement or "") is not None


_PLACE_OF_ROW = re.compile(r"\(\d+,\d+\)")
_LOCKS = re.compile(
    r"^\s*(?:insert|replace|update|delete)\b|\bfor\s+update\b|\bin\s+share\s+mode\b", re.IGNORECASE
)


def cause_of_break(session: Session) -> Cause | None:
    """Tell why a session can only be rolled back: a flush has found that a row is gone, which no database says."""
    broken = session.get_nested_transaction() or session.get_transaction()
    error = getattr(broken, "_rollback_exception", None)
    return None if error is None else cause_of(error)


def is_gone(error: InvalidRequestError) -> bool:
    """Tell whether an error means that the row of an object is gone; SQLAlchemy says it in words alone."""
    return str(error).startswith("Could not refresh instance")


def is_begun_already(error: InvalidRequestError) -> bool:
    """Tell whether ``session.begin()`` was called in a transaction; in words alone."""
    return "transaction is already begun" in str(error)


def is_of_merge(error: StaleDataError) -> bool:
    """Tell whether ``Session.merge()`` was given an object of another version; in words alone."""
    return "on merged state" in str(error)


def has_waited(error: BaseException) -> bool:
    """Tell whether a lock was waited for as long as the database was told to.

    SQLite does not tell whether it has waited, or saw that it would be for ever.
    """
    return cause_of(error) == "busy" and not hasattr(getattr(error, "orig", None), "sqlite_errorcode")


def is_key_taken(error: IntegrityError, mapper: Mapper[Any]) -> bool:
    """Tell whether a constraint is violated since there is, or has just been, a row with the same primary key."""
    table = mapper.primary_key[0].table
    sqlstate, code = _codes_of(error.orig)
    if sqlstate == _UNIQUE_VIOLATION:  # PostgreSQL
        name = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        return name == ((getattr(table, "primary_key", None) and table.primary_key.name) or f"{table.name}_pkey")
    if code == _DUPLICATE_KEY:  # MariaDB
        return "PRIMARY'" in str(error.orig)
    return code in (_SQLITE_PRIMARY_KEY, _SQLITE_ROWID) and f"constraint failed: {table.name}." in str(error.orig)


def has_ended_transaction(connection: Connection, error: BaseException) -> bool:
    """Tell whether an error has ended the whole transaction, savepoints included: SQLAlchemy does not know."""
    if connection.dialect.name not in _MYSQL or not isinstance(error, DBAPIError):
        return False
    _, code = _codes_of(error.orig)
    if code != _LOCK_WAIT_TIMEOUT:
        return code in (_RECORD_CHANGED, _DEADLOCK)
    with suppress(DBAPIError):
        return bool(connection.exec_driver_sql("SELECT @@innodb_rollback_on_timeout").scalar())
    return True


def leaves_transaction_open(connection: Connection) -> bool:
    """Tell whether a COMMIT that has failed leaves the driver in a transaction, which another would commit."""
    return connection.dialect.name == "sqlite" and _has_begun(connection)


def roll_back_by_hand(connection: Connection) -> None:
    """Roll back what a connection is not to commit: SQLAlchemy sends no ROLLBACK where its event "commit" raises.

    The pool would have the connection back with everything that was written, for its next user to commit.
    """
    let_rollback_pass(connection.dialect)
    connection.dialect.do_rollback(connection.connection)


def let_rollback_pass(dialect: Dialect, *_: object) -> None:
    """Let a ROLLBACK that fails be done: where the server is gone, it is; a node of a cluster has done it.

    Otherwise the error would come from wherever a request ends, with no handler to see it: an error of the server,
    whatever was answered.
    """
    if not isinstance(dialect.do_rollback, partial):
        dialect.do_rollback = partial(_roll_back_or_give_up, dialect.do_rollback)  # type: ignore[method-assign]


def _roll_back_or_give_up(
    roll_back: Callable[[PoolProxiedConnection], None], connection: PoolProxiedConnection
) -> None:
    """Roll back; where that fails, close the connection, which ends what is open in it; the pool opens another."""
    try:
        roll_back(connection)
    except Exception as error:  # of whatever driver
        if _codes_of(error)[1] != _DEADLOCK:
            connection.invalidate(error, soft=True)
            driver: Any = connection.driver_connection
            with suppress(Exception):
                driver.close()


def has_broken_transaction(connection: Connection, error: BaseException) -> bool:
    """Tell whether an error leaves nothing to do but to roll back, to a savepoint at least."""
    return connection.dialect.name == "postgresql" and isinstance(error, DBAPIError)


def follows_another(error: BaseException) -> bool:
    """Tell whether an error says no more than that there was one before it, in the same transaction."""
    if isinstance(error, DBAPIError):
        return _codes_of(error.orig)[0] == _IN_FAILED_TRANSACTION
    return isinstance(error, PendingRollbackError)


@contextmanager
def as_far_as_it_can_be_asked() -> Iterator[None]:
    """Let what is asked find nothing, where its session can load nothing: as a loader's does while it commits.

    Nor where it answers from a cache, by merge(), and what it has there is older than what the request has left.
    """
    try:
        yield
    except InvalidRequestError:
        pass
    except StaleDataError as error:
        if not is_of_merge(error):
            raise
    except DBAPIError as error:
        if not follows_another(error):  # otherwise nothing can be committed, either
            raise


def _codes_of(orig: BaseException | None) -> tuple[str, int]:
    """Return the SQLSTATE and the database's own number, as far as the driver gives them."""
    sqlstate = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None) or ""
    code = getattr(orig, "sqlite_errorcode", None) or getattr(orig, "errno", None)
    if code is None and orig is not None and orig.args:  # as PyMySQL and mysqlclient have it
        code = orig.args[0]
    return str(sqlstate), code if isinstance(code, int) else 0


def sees_what_is_committed(connection: Connection) -> bool:
    """Tell whether a transaction that has written sees what others have committed since it began.

    On SQLite nobody else can have written since.
    """
    return connection.dialect.name == "sqlite" or _is_read_committed(connection)


def sees_each_commit(connection: Connection) -> bool:
    """Tell whether each statement of a transaction sees what others have committed by then."""
    if connection.dialect.name == "sqlite":
        return not _has_begun(connection)
    return _is_read_committed(connection)


def _is_read_committed(connection: Connection) -> bool:
    """Tell whether a transaction is at READ COMMITTED; one that PostgreSQL has aborted sees nothing any more."""
    with as_far_as_it_can_be_asked():
        return connection.get_isolation_level() == "READ COMMITTED"
    return False


@contextmanager
def reading_what_is_committed(session: Session | None, connection: Connection) -> Iterator[None]:
    """Let a session read what is committed, whatever its transaction has read before: by locking what it reads.

    Only MariaDB's transactions may overwrite what they do not see.
    """
    if session is None or connection.dialect.name not in _MYSQL:
        yield
        return

    def lock(execution: ORMExecuteState) -> None:
        if isinstance(execution.statement, Select):
            execution.statement = execution.statement.with_for_update(read=True)

    event.listen(session, "do_orm_execute", lock)
    try:
        yield
    finally:
        event.remove(session, "do_orm_execute", lock)


# What an upsert has done.


def found_before_upsert(
    connection: Connection, table: Any, keys: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Return which rows an upsert is going to find, of those whose keys it names; lock them.

    MariaDB has to be asked before: of what an upsert leaves as it was, it counts one row, as of an INSERT.
    """
    if connection.dialect.name not in _MYSQL:
        return []
    look = _keys_among(table, keys).with_for_update(read=True)
    return [tuple(key) for key in connection.execute(look, execution_options=_OWN)]


def found_by_upsert(connection: Connection, table: Any, keys: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return which rows an upsert has found, of those whose keys it names.

    PostgreSQL has to be asked right after it: ON CONFLICT locks what it finds, which leaves a mark on the row, and
    so does whoever locks the row later.
    """
    if connection.dialect.name != "postgresql":
        return []
    look = _keys_among(table, keys).where(literal_column("xmax <> 0"))
    return [tuple(key) for key in connection.execute(look, execution_options=_OWN)]


def _keys_among(table: Any, keys: Sequence[tuple[Any, ...]]) -> Select[Any]:
    columns = list(table.primary_key.columns)
    return select(*columns).where(tuple_(*columns).in_(keys))


def has_replaced(connection: Connection, row: Row, rowcount: int, rows: int, *, is_known: bool) -> bool:
    """Tell whether an upsert has found a row, and not made it.

    SQLite cannot tell; there the write lock is taken before the upsert, and the loader asked.

    :param rowcount: what the database has answered to the upsert.
    :param rows: of how many rows that was.
    :param is_known: whether the rows that it was about were looked for, by their keys.
    """
    if connection.dialect.name == "postgresql":
        if rowcount < rows or is_known:  # it has left rows as they were, which leaves no mark
            return rowcount < rows
        statement: Select[Any] = select(literal_column("xmax <> 0")).select_from(row.mapper.primary_key[0].table)
        return bool(connection.scalar(statement.where(*row.where()), execution_options=_OWN))
    return connection.dialect.name in _MYSQL and rowcount != rows  # it counts a row that it has changed twice
