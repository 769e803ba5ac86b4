"""The guard of one object in SQLAlchemy sessions.

A model with ``version_id_col`` is guarded by SQLAlchemy itself: each UPDATE and DELETE names the version that
it replaces, and one that finds another version there raises ``StaleDataError``. Any other model is guarded by
a lock on its row. What this adds: what is replaced is the state that the request was judged by, even where the
view commits, rolls back or refreshes on its way, and whatever session it writes through; and the tag of the
answer is read inside the transaction that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from time import sleep
from types import TracebackType
from typing import Any

from flask import current_app
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import InstanceState, Mapper, Session, SessionTransaction
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import log
from flask_etag.guards import Guard, Refused, Write
from flask_etag.sqlalchemy import locks
from flask_etag.sqlalchemy.reading import LockingRead, is_told_of_refreshes, read_current
from flask_etag.sqlalchemy.refusals import (
    is_gone,
    is_key_taken,
    is_refusal,
    is_still_locked,
    undoes_everything,
)
from flask_etag.sqlalchemy.rows import keys_of_other_rows, read_anew, row_of
from flask_etag.sqlalchemy.versions import (
    covered_by,
    expire_parts,
    is_versioned,
    stored_version_of,
    version_key,
    version_of,
)
from flask_etag.sqlalchemy.winner import PAUSES, Winner

guards_in_force: ContextVar[tuple[SessionGuard, ...]] = ContextVar("flask_etag_guards", default=())
"""The guards of the writes that are going on: several, in a batch, or where one view calls another."""


class SessionGuard(Guard):
    """The guard of one object, whose row is there already or is going to be made."""

    _token: Token[tuple[SessionGuard, ...]]  # as long as it is in force
    _key: Any = None
    _mapper: Mapper[Any] | None = None  # the target's, or that of the first object that is made
    _replaces: object = None  # the state that this write may replace, and no other
    _writing = False  # whether the flush that is going on writes the target
    _written_in: SessionTransaction | None = None  # the transaction or savepoint that has written the row
    _locked_in: SessionTransaction | None = None  # the one that has locked it
    _uncommitted: tuple[str | None, object] = (None, None)
    _has_failed = False  # whether the last try to write the target has
    _reads_current = False  # whether it is read anew what others may have committed since

    def __init__(self, write: Write, target: object | None = None, session: Session | None = None) -> None:
        self._write = write
        # Held, since the session would not; a view that expunges it and loads it again writes another object.
        self._target = target
        self._sessions: list[Session] = [] if session is None else [session]
        self._begun: list[Session] = []  # others, in which the view may have left something unsent
        self._made: list[object] = []  # what was inserted: one of these may be what the URL names from now on
        self._overwritten: list[object] = []  # what was there in the last flush, while the URL named nothing
        self._winner = Winner()

    @property
    def pending(self) -> bool:  # type: ignore[override]
        return self._written_in is not None

    def __enter__(self) -> None:
        self._token = guards_in_force.set((self, *guards_in_force.get()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                self._refuse_after(error)
        finally:
            guards_in_force.reset(self._token)
            if self._reads_current:
                read_current(None)

    def lock(self) -> bool:
        if self._target is None:
            return False
        state = instance_state(self._target)
        if is_versioned(state) and not self._write.rereads:
            return False
        session = self._sessions[0]
        session.flush()  # what was done before this, which reading anew would lose
        if isinstance(self._write.read, LockingRead) and self._write.read.has_waited:
            self._winner.was_waited_for = True
            self._rollback()
            raise Refused
        is_to_lock = not (is_versioned(state) or self._is_locked(state))
        if is_to_lock:
            locks.lock(session, state)
            expire_parts(session, self._target)
            if session.get_bind(state.mapper).dialect.name in ("mysql", "mariadb"):
                self._reads_current = True
                read_current(session.get_transaction(), None if covered_by(state.mapper) else state.mapper)
        if not is_versioned(state):
            self._locked_in = session.get_transaction()
        if self._write.rereads and self._write.column is None:
            self._refuse_what_moves_no_row(session, state)
        return is_to_lock

    def hold(self, target: Any, etag: str | None) -> None:
        if self._reads_current:
            read_current(None)
        if target is not None:
            state = instance_state(target)
            self._key, self._replaces = state.key, _replaced_by_a_write_of(state)
            self._mapper = state.mapper
        self._target, self.etag = target, etag

    def flush(self) -> None:
        for session in self._begun:
            if any(self.is_target(instance_state(each).key) for each in (*session.dirty, *session.deleted)):
                self._note_session(session)
        for session in self._sessions:
            if session.is_active:
                session.flush()
                self._take_tag(session)
        if self._written_in is not None:
            self.etag = self._uncommitted[0]
        elif self._has_failed and not self.committed:
            raise Refused(swallowed=True)

    def after_the_winner(self, judge: Callable[[], object]) -> None:
        is_judged = False
        for pause in PAUSES:
            sleep(pause)
            self._wait()
            try:
                judge()
            except Exception as error:
                if not is_refusal(error):
                    raise
            else:
                is_judged = True
                if not self._winner.is_unknown:
                    break
            finally:
                self._rollback()
        if not is_judged:
            raise Refused

    def is_target(self, key: object) -> bool:
        """Tell whether an identity key is, or was, that of the object that is guarded, in whatever session."""
        if self._key is None:  # nothing has been judged yet, or it is still to be made
            return False
        return key in (self._key, instance_state(self._target).key)

    # What follows is called by the events of sessions and mappers.

    def transient_to_pending(self, session: Session, made: object) -> None:
        self._note_session(session)
        self._mapper = self._mapper or inspect(made).mapper

    def after_begin(self, session: Session) -> None:
        if session not in self._sessions and session not in self._begun:
            self._begun.append(session)

    def before_flush(self, session: Session) -> None:
        self._note_session(session)
        for target in session.deleted:  # of one that is deleted and added again, nothing else tells
            self._note_overwritten(target)
            if self.is_target(instance_state(target).key):
                connection = session.connection(bind_arguments={"mapper": inspect(target).mapper})
                self.before_write(connection, target)

    def before_write(self, connection: Connection, target: object) -> None:
        state = instance_state(target)
        self._note_overwritten(target)
        if not self.is_target(state.key):
            return
        is_held = self._is_held()
        self._target = target
        self._writing = self._has_failed = True
        # Otherwise the view let go of what was judged (a commit, a rollback, a refresh), or writes through another
        # session; another writer's state may have been loaded since, and would be what is replaced.
        if not is_held and (self._replaces is None or self._stored(connection, state) != self._replaces):
            raise StaleDataError("The object has been changed since the request was judged.")

    def pending_to_persistent(self, made: object) -> None:
        self._made.append(made)
        if self._key is not None and self._key == instance_state(made).key:
            has_deleted_it = self._replaces is None or instance_state(self._target).was_deleted
            if not (has_deleted_it or self._is_held()):
                raise StaleDataError("The object has been deleted since the request was judged.")
            self._target, self._writing = made, True

    def after_flush_postexec(self, session: Session) -> None:
        if self._key is None:
            self._find_what_was_made(session)
        self._has_failed = self._has_failed and not self._writing
        if not self._writing or self._written_in is not None:
            return
        state = instance_state(self._target)
        # Where the database makes the versions, there is none in memory after a flush.
        is_as_it_was = is_versioned(state) and state.dict.get(version_key(state.mapper)) == self._replaces
        if not is_as_it_was or not state.persistent:
            self._written_in = _innermost_transaction(session)

    def handle_error(self, error: BaseException | None) -> None:
        self._winner.note(error)

    def before_commit(self, session: Session) -> None:
        if self._winner.has_undone:
            raise StaleDataError("The database has rolled this transaction back.")
        if not session.in_nested_transaction():
            session.flush()
            self._take_tag(session)

    def after_commit(self, session: Session) -> None:
        savepoint = session.get_nested_transaction()
        if savepoint is not None:
            if savepoint is self._written_in:
                self._written_in = savepoint.parent
        elif self._is_written_in(session):
            self.committed = True
            self.etag, self._replaces = self._uncommitted

    def after_transaction_end(self, ended: SessionTransaction) -> None:
        self._writing = False
        if ended.parent is None:
            self._winner.has_undone = False
        if ended is self._written_in:
            self._written_in = None
        if ended is self._locked_in:
            self._locked_in = None

    # How it does it.

    def _refuse_after(self, error: Exception) -> None:
        """Raise :class:`Refused` where an error means, or may mean, that another writer was first."""
        is_perhaps = isinstance(error, IntegrityError | PendingRollbackError)
        if is_perhaps or (is_gone(error) and not self.committed):
            self._rollback()
            key_was_taken = isinstance(error, IntegrityError) and self._has_met_a_rival_in_making(error)
            raise Refused(perhaps=None if key_was_taken else error) from error
        if self._winner.is_behind(error):
            for guard in guards_in_force.get():  # of a batch, none has to wait again
                guard._winner.was_waited_for = is_still_locked(error)
            self._winner.is_unknown = self._key is None and undoes_everything(error)
            self._rollback()
            raise Refused from error

    def _is_held(self) -> bool:
        """Tell whether a transaction that is going on keeps others from the row of the target."""
        return self._writing or self._written_in is not None or self._locked_in is not None

    def _note_overwritten(self, target: object) -> None:
        """Take note of what is there while the URL names nothing, and was not made by this write."""
        if self._target is None and not any(target is made for made in self._made):
            self._overwritten.append(target)

    def _stored(self, connection: Connection, state: InstanceState[Any]) -> object:
        """Return what the row of the target has, as :func:`_replaced_by_a_write_of` has it."""
        if is_versioned(state):
            return stored_version_of(state)
        return locks.read_under_lock(connection, state, list(self._replaces))  # type: ignore[call-overload]

    def _note_session(self, session: Session | None) -> None:
        if session is not None and session not in self._sessions:
            self._sessions.append(session)

    def _rollback(self) -> None:
        for session in self._sessions or filter(None, [session_of_the_application()]):
            session.rollback()
            session.expire_all()  # which it does by itself only where a transaction has begun

    def _has_met_a_rival_in_making(self, error: IntegrityError) -> bool:
        return self._key is None and self._mapper is not None and is_key_taken(error, self._mapper)

    def _wait(self) -> None:
        if self._sessions and self._mapper is not None:
            try:
                self._winner.wait_for(self._sessions[0], self._mapper, self._key and self._key[1])
            except DBAPIError:
                self._rollback()

    def _is_locked(self, state: InstanceState[Any]) -> bool:
        return isinstance(self._write.read, LockingRead) and self._write.read.has_locked(state)

    def _is_written_in(self, session: Session) -> bool:
        return self._written_in is not None and self._written_in.session is session

    def _is_locked_in(self, session: Session) -> bool:
        return self._locked_in is not None and self._locked_in.session is session

    def _find_what_was_made(self, session: Session) -> None:
        """See whether the URL names one of the objects that were inserted, and guard it from now on."""
        overwritten, self._overwritten = self._overwritten, []
        if not any(instance_state(each).session is session for each in (*self._made, *overwritten)):
            return
        target = self._write.load()
        state = inspect(target, raiseerr=False)
        if state is not None and state.key in [instance_state(each).key for each in overwritten]:
            log.once(_OVERWRITTEN)
            raise StaleDataError("The object has been made since the request was judged.")
        if any(target is made for made in self._made):
            self._target = target
            self._key = instance_state(target).key
            self._writing = True

    def _take_tag(self, session: Session) -> None:
        """Read the tag of what is written and flushed, while the row is still locked by it."""
        if not (self._is_written_in(session) or self._is_locked_in(session)):
            return
        state = instance_state(self._target)
        if self._written_in is None and state.detached:
            return  # the view has let go of it, and may load it again
        is_there = state.persistent
        if is_there and self._rereads(state):
            is_there = read_anew(session, state, in_full=is_told_of_refreshes(state))
            if is_there:
                expire_parts(session, self._target)
        if not is_there:
            self._written_in = self._written_in or _innermost_transaction(session)
            self._uncommitted = (None, None)
            return
        etag, replaces = self._write.etag_of(self._target), _replaced_by_a_write_of(state)
        if self._write.column is not None and etag == self.etag and replaces != self._replaces:
            log.logger.warning(
                "%s.%s did not change with a write, so it cannot tell the states before and after it; the "
                "write is rolled back, with 409. Use a version that changes each time.",
                state.class_.__name__,
                self._write.column,
            )
            self._has_failed = True
            raise StaleDataError("The version column has not changed.")
        if self._written_in is None and replaces != self._replaces:
            self._written_in = _innermost_transaction(session)  # by a statement of the view's own, under the lock
        self._uncommitted = (etag, replaces)

    def _rereads(self, state: InstanceState[Any]) -> bool:
        return self._write.rereads or not is_versioned(state) or hasattr(state.class_, "__etag__")

    def _refuse_what_moves_no_row(self, session: Session, state: InstanceState[Any]) -> None:
        """Refuse a tag that depends on other rows than the one that is guarded."""
        mapper = state.mapper
        others = keys_of_other_rows(mapper).union(mapper.relationships.keys()) - covered_by(mapper)
        if not others:
            return
        session.expire(self._target, others)
        self._write.etag_of(self._target)
        read = sorted(name for name in others if name in state.dict)
        if read:
            raise TypeError(
                f"The ETag of {state.class_.__name__} depends on its {', '.join(read)}, whose rows can change "
                "without it, and nothing would guard them. Leave them out of what is hashed; or give the model a "
                "version, and let that cover them: flask_etag.sqlalchemy.covers()."
            )


_OVERWRITTEN = (
    "refused, since it changed what its loader did not find before, and finds now. If nobody else made that "
    "meanwhile, let the loader return it, or let the view add() a new object."
)


def _replaced_by_a_write_of(state: InstanceState[Any]) -> object:
    """Return what tells the stored state of an object from any other: its version, or else its whole row."""
    if is_versioned(state):
        return version_of(state)
    return row_of(state)


def _innermost_transaction(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def session_of_the_application() -> Session | None:
    """Return the session that Flask-SQLAlchemy, or Flask-SQLAlchemy-Lite, has for this request."""
    session = getattr(current_app.extensions.get("sqlalchemy"), "session", None)
    if session is None or isinstance(session, Session):
        return session
    found: Session = session()  # a scoped_session
    return found
