"""The guard for objects in SQLAlchemy sessions, and a version for models that have none.

A model with ``version_id_col`` is guarded by SQLAlchemy itself: each UPDATE and DELETE names the version that
it replaces, and one that finds another version there raises ``StaleDataError``. What this module adds: the
version named is the one that the request was judged by, even where the view commits, rolls back or refreshes
on its way; and the tag of the answer is read inside the transaction that wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Uuid, event, inspect
from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.orm import (
    InstanceState,
    Mapped,
    Mapper,
    Session,
    SessionTransaction,
    declared_attr,
    has_inherited_table,
    mapped_column,
    object_session,
)
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from flask_etag.entity_tags import EntityTag
from flask_etag.guards import Refused, register

_GUARD = "flask_etag.guard"
"""Under this name a session keeps the guard of the write that is going on, in ``Session.info``."""


class Versioned:
    """A mixin that gives a model a column ``version``, which changes with every UPDATE and never repeats.

    Versions are random UUIDs, so that a row that is deleted and made again under the same key does not get
    one that somebody still holds. SQLAlchemy sets and checks them (``version_id_col``).

    A model with a ``__mapper_args__`` of its own has to keep this one's::

        @declared_attr.directive
        def __mapper_args__(cls):
            return {**super().__mapper_args__, "polymorphic_on": "kind"}
    """

    version: Mapped[UUID] = mapped_column(Uuid, nullable=False)

    @declared_attr.directive
    def __mapper_args__(cls: type[Versioned]) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        if has_inherited_table(cls):
            return {}
        return {"version_id_col": cls.version, "version_id_generator": _next_version}


def _next_version(_version: UUID | None) -> UUID:
    return uuid4()


class _Sessions:
    """Objects in SQLAlchemy sessions, as a store that has versions."""

    def owns(self, target: object) -> bool:
        return isinstance(inspect(target, raiseerr=False), InstanceState)

    def refused(self, error: Exception) -> bool:
        return _is_refusal(error)

    def state_of(self, target: object) -> tuple[object, ...]:
        state = instance_state(target)
        version = _version_of(state)
        if state.identity is None or version is None:
            raise ValueError(
                f"This {state.class_.__name__} has no version: flush the session before you ask for the ETag of "
                "a new object; where a table got its version column later, give every row a version."
            )
        return (state.mapper.base_mapper.class_.__qualname__, *state.identity, version)

    def guard(
        self, target: object, etag: EntityTag | None, etag_of: Callable[[object], EntityTag | None]
    ) -> _VersionGuard:
        session = object_session(target)
        if session is None:
            raise RuntimeError(
                f"This {type(target).__name__} is in no session, so that nothing can guard it: "
                "let the loader return an object that is attached to the session that the view commits."
            )
        return _VersionGuard(session, target, etag, etag_of)


class _VersionGuard:
    """The guard of one object with a ``version_id_col``, in one session."""

    def __init__(
        self,
        session: Session,
        target: object,
        etag: EntityTag | None,
        etag_of: Callable[[object], EntityTag | None],
    ) -> None:
        self.etag = etag
        self.committed = False
        self._etag_of = etag_of
        self._session = session
        # Held, since the session would not; a view that expunges it and loads it again writes another object.
        self._target = target
        self._key = instance_state(target).key
        self._replaces = _version_of(
            instance_state(target)
        )  # the version that this write may replace, and no other
        self._writing = False  # whether the flush that is going on writes the target
        self._written_in: SessionTransaction | None = None  # whatever transaction or savepoint locks the row
        self._uncommitted: tuple[EntityTag | None, object] = (etag, self._replaces)

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._session.info[_GUARD] = self
        try:
            with self.judging():
                yield
        finally:
            del self._session.info[_GUARD]

    @contextmanager
    def judging(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, PendingRollbackError) as error:
            self._session.rollback()
            raise Refused(perhaps=error) from error
        except Exception as error:
            if not _is_refusal(error):
                raise
            self._session.rollback()
            raise Refused from error

    def flush(self) -> None:
        if self._session.is_active:
            self._session.flush()
            self._take_tag()
            self.etag = self._uncommitted[0]

    # What follows is called by the events of sessions and mappers.

    def before_flush(self) -> None:
        for target in self._session.deleted:  # of one that is deleted and added again, nothing else tells
            self.before_write(target)

    def before_write(self, target: object) -> None:
        state = instance_state(target)
        if target is not self._target and state.key != self._key:
            return
        self._target = target
        self._writing = True
        if self._written_in is None and _stored_version_of(state) != self._replaces:
            # The view let go of what was judged (a commit, a rollback, a refresh), and another writer's
            # version has been loaded since. SQLAlchemy would replace that one.
            raise StaleDataError("The object has been changed since the request was judged.")

    def after_flush(self) -> None:
        if not self._writing or self._written_in is not None:
            return
        state = instance_state(self._target)
        # Where the database makes the versions, there is none in memory after a flush.
        if not state.persistent or state.dict.get(_version_key(state)) != self._replaces:
            self._written_in = self._session.get_nested_transaction() or self._session.get_transaction()

    def before_commit(self) -> None:
        if not self._session.in_nested_transaction():
            self._session.flush()
            self._take_tag()

    def after_commit(self) -> None:
        savepoint = self._session.get_nested_transaction()
        if savepoint is None:
            self.committed = self.committed or self._written_in is not None
            self.etag, self._replaces = self._uncommitted
        elif savepoint is self._written_in:
            self._written_in = savepoint.parent

    def after_transaction_end(self, ended: SessionTransaction) -> None:
        self._writing = False
        if ended is self._written_in:
            self._written_in = None

    def _take_tag(self) -> None:
        """Read the tag of what is written and flushed, while the row is still locked by it."""
        if self._written_in is None:
            self._uncommitted = (self.etag, self._replaces)
        elif instance_state(self._target).persistent:
            self._uncommitted = (self._etag_of(self._target), _version_of(instance_state(self._target)))
        else:
            self._uncommitted = (None, None)


def _version_key(state: InstanceState[Any]) -> str:
    mapper = state.mapper
    if mapper.version_id_col is None:
        raise TypeError(
            f"{mapper.class_.__name__} has no version, so it has no ETag and nothing guards it: add the mixin "
            "flask_etag.sqlalchemy.Versioned, or name a column as version_id_col in __mapper_args__. Where the "
            "mixin is there, a __mapper_args__ of the model's own hides the mixin's: see its docstring."
        )
    return mapper.get_property_by_column(mapper.version_id_col).key


def _version_of(state: InstanceState[Any]) -> object:
    return getattr(state.obj(), _version_key(state))


def _stored_version_of(state: InstanceState[Any]) -> object:
    """Return the version as it was loaded, even if the view has set the next one itself."""
    history = state.attrs[_version_key(state)].load_history()
    return (history.deleted or history.unchanged or (None,))[0]


def _is_refusal(error: Exception) -> bool:
    """Tell whether a database, or SQLAlchemy for it, refused a write because of another writer."""
    if isinstance(error, DBAPIError):
        sqlstate = getattr(error.orig, "sqlstate", None)
        if sqlstate is not None:
            return str(sqlstate).startswith("40")  # transaction rollback: serialization failure, deadlock
        primary = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        return primary in (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED
    return isinstance(error, StaleDataError | ObjectDeletedError)


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, *_: object) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].before_flush()


@event.listens_for(Session, "after_flush_postexec")
def _after_flush(session: Session, _: object) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].after_flush()


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].before_commit()


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].after_commit()


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(session: Session, ended: SessionTransaction) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].after_transaction_end(ended)


@event.listens_for(Mapper, "before_update")
@event.listens_for(Mapper, "before_delete")
def _before_write(_mapper: Mapper[Any], _connection: Connection, target: object) -> None:
    session = object_session(target)
    if session is not None and _GUARD in session.info:
        session.info[_GUARD].before_write(target)


register(_Sessions())
