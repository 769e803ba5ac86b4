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

from sqlalchemy import Uuid, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import (
    InstanceState,
    Mapped,
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
        return _VersionGuard(session, instance_state(target), etag, etag_of)


class _VersionGuard:
    """The guard of one object with a ``version_id_col``, in one session.

    It goes by the object's key, since a view may expunge the object and load it again.
    """

    def __init__(
        self,
        session: Session,
        state: InstanceState[Any],
        etag: EntityTag | None,
        etag_of: Callable[[object], EntityTag | None],
    ) -> None:
        self.etag = etag
        self.committed = False
        self._etag_of = etag_of
        self._session = session
        self._key = state.key
        self._replaces = _version_of(state)  # the version that this write may replace, and no other
        self._changing = False
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

    # What follows is called by the session's events.

    def before_flush(self) -> None:
        target = self._target()
        self._changing = target is not None and (
            instance_state(target).modified or target in self._session.deleted
        )
        if not self._changing or self._written_in is not None:
            return
        if _stored_version_of(instance_state(target)) != self._replaces:
            # The view let go of what was judged (a commit, a rollback, a refresh), and another writer's
            # version has been loaded since. SQLAlchemy would replace that one.
            raise StaleDataError("The object has been changed since the request was judged.")

    def after_flush(self) -> None:
        if not self._changing or self._written_in is not None:
            return
        target = self._target()
        if target is None or self._loaded_version(target) != self._replaces:
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
            self._written_in = None
        elif savepoint is self._written_in:
            self._written_in = savepoint.parent

    def after_rollback(self, ended: SessionTransaction) -> None:
        holder = self._written_in
        while holder is not None and holder is not ended:
            holder = holder.parent
        if holder is ended:
            self._written_in = None

    def _take_tag(self) -> None:
        """Read the tag of what is written and flushed, while the row is still locked by it."""
        if self._written_in is None:
            self._uncommitted = (self.etag, self._replaces)
            return
        target = self._target()
        if target is None:
            self._uncommitted = (None, None)
        else:
            self._uncommitted = (self._etag_of(target), _version_of(instance_state(target)))

    def _target(self) -> object | None:
        return None if self._key is None else self._session.identity_map.get(self._key)

    def _loaded_version(self, target: object) -> object:
        """Return the version in memory; ``None`` after a flush where the database makes versions."""
        state = instance_state(target)
        return state.dict.get(_version_key(state))


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


@event.listens_for(Session, "after_soft_rollback")
def _after_rollback(session: Session, ended: SessionTransaction) -> None:
    if _GUARD in session.info:
        session.info[_GUARD].after_rollback(ended)


register(_Sessions())
