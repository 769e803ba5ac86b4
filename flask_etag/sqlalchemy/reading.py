"""Taking a lock with the read that finds its row, so that it costs no statement of its own.

Which rows to lock cannot be told before a loader has run; but what it loads is of the same model every time. So
from the second time on, while it runs for a write, its SELECTs of that model lock what they read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import InstanceState, Mapper, ORMExecuteState, QueryContext, Session, SessionTransaction

from flask_etag.sqlalchemy import locks
from flask_etag.sqlalchemy.refusals import has_waited

_OPTION = "flask_etag_locked"

_reading: ContextVar[LockingRead | None] = ContextVar("flask_etag_reading", default=None)


class LockingRead:
    """One load of an object of a model whose rows are to be locked.

    :param mapper: that model's.
    """

    def __init__(self, mapper: Mapper[Any]) -> None:
        self._mapper = mapper
        self._locked: set[Any] = set()
        self._locked_in: SessionTransaction | None = None
        self._session: Session | None = None  # the one whose transaction it began
        self.has_waited = False

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Have SELECTs lock what they read."""
        _listen(self._mapper)
        token = _reading.set(self)
        try:
            yield
        finally:
            _reading.reset(token)

    def has_locked(self, state: InstanceState[Any]) -> bool:
        """Tell whether an object was read under its lock, in a transaction that is still going on."""
        return state.key in self._locked and self._locked_in is not None and self._locked_in.is_active

    def give_up(self, error: Exception) -> bool:
        """End the transaction that a locking SELECT began and that failed; tell whether there was one."""
        if self._session is None:
            return False
        self.has_waited = has_waited(error)
        self._session.rollback()
        self._locked.clear()
        return True

    def before_select(self, state: ORMExecuteState) -> None:
        """Make a SELECT of the model a locking one."""
        mapper = state.bind_mapper
        selected: list[Any] = getattr(state.statement, "column_descriptions", [])
        if mapper is None or not mapper.isa(self._mapper):
            return
        if len(selected) != 1 or selected[0]["expr"] is not mapper.class_:
            return
        if not state.session.in_transaction():
            self._session = state.session
        lock = locks.lock_before_reading(state.session, mapper)
        if lock is not None:
            self._locked_in = state.session.get_transaction()
            self._locked = set()  # without what another transaction had locked
            if lock == "row":
                state.statement = state.statement.with_for_update(of=mapper.class_)  # type: ignore[attr-defined]
            state.update_execution_options(populate_existing=True, **{_OPTION: True})

    def after_load(self, state: InstanceState[Any]) -> None:
        """Note what such a SELECT has read."""
        self._locked.add(state.key)


_current: ContextVar[tuple[SessionTransaction | None, Mapper[Any] | None]] = ContextVar(
    "flask_etag_current", default=(None, None)
)


def read_current(transaction: SessionTransaction | None, mapper: Mapper[Any] | None = None) -> None:
    """Let the SELECTs of a transaction read what is committed by now, and not what was when it first read.

    For MariaDB and MySQL, where a row that is locked later may be newer than what is read again, or beside it.

    :param transaction: the one that has the lock; ``None`` ends it.
    :param mapper: whose rows alone; ``None`` for those of all.
    """
    if not event.contains(Session, "do_orm_execute", _before_current):
        event.listen(Session, "do_orm_execute", _before_current)
    _current.set((transaction, mapper))


def _before_current(state: ORMExecuteState) -> None:
    transaction, mapper = _current.get()
    if transaction is None or state.session.get_transaction() is not transaction:
        return
    is_of_it = mapper is None or (state.bind_mapper is not None and state.bind_mapper.isa(mapper))
    if is_of_it and state.is_select and hasattr(state.statement, "with_for_update"):
        state.statement = state.statement.with_for_update(read=True)


_listened: set[Mapper[Any]] = set()


def _listen(mapper: Mapper[Any]) -> None:
    """Listen to what is only of interest where there are models to be locked: it would cost every SELECT."""
    if not _listened:
        event.listen(Session, "do_orm_execute", _before_execute)
    if mapper not in _listened:
        _listened.add(mapper)
        event.listen(mapper, "load", _after_load, raw=True, propagate=True)
        event.listen(mapper, "refresh", _after_load, raw=True, propagate=True)


def _before_execute(state: ORMExecuteState) -> None:
    reading = _reading.get()
    if reading is not None and state.is_select and not (state.is_column_load or state.is_relationship_load):
        reading.before_select(state)


def _after_load(state: InstanceState[Any], context: QueryContext | None, *_: object) -> None:
    reading = _reading.get()
    if reading is not None and context is not None and context.execution_options.get(_OPTION):
        reading.after_load(state)


def is_told_of_refreshes(state: InstanceState[Any]) -> bool:
    """Tell whether anybody else is told when an object is read anew, and may change something of it then."""
    events = state.manager.dispatch
    return any(listener is not _after_load for listener in (*events.refresh, *events.expire))
