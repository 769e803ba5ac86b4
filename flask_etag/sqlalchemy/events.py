"""The events of sessions, mappers and engines, which the guards are told of."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event
from sqlalchemy.orm import Mapper, Session, SessionTransaction

from flask_etag.sqlalchemy.guard import guards_in_force
from flask_etag.sqlalchemy.versions import Versioned


@event.listens_for(Session, "transient_to_pending")
def _transient_to_pending(session: Session, made: object) -> None:
    for guard in guards_in_force.get():
        guard.transient_to_pending(session, made)


@event.listens_for(Session, "after_begin")
def _after_begin(session: Session, *_: object) -> None:
    for guard in guards_in_force.get():
        guard.after_begin(session)


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, *_: object) -> None:
    for guard in guards_in_force.get():
        guard.before_flush(session)


@event.listens_for(Session, "pending_to_persistent")
def _pending_to_persistent(_session: Session, made: object) -> None:
    for guard in guards_in_force.get():
        guard.pending_to_persistent(made)


@event.listens_for(Session, "after_flush_postexec")
def _after_flush_postexec(session: Session, _: object) -> None:
    for guard in guards_in_force.get():
        guard.after_flush_postexec(session)


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    for guard in guards_in_force.get():
        guard.before_commit(session)


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    for guard in guards_in_force.get():
        guard.after_commit(session)


@event.listens_for(Session, "after_transaction_end")
def _after_transaction_end(_session: Session, ended: SessionTransaction) -> None:
    for guard in guards_in_force.get():
        guard.after_transaction_end(ended)


@event.listens_for(Engine, "handle_error")
def _handle_error(context: ExceptionContext) -> None:
    for guard in guards_in_force.get():
        guard.handle_error(context.sqlalchemy_exception)


@event.listens_for(Mapper, "before_update")
@event.listens_for(Mapper, "before_delete")
def _before_write(_mapper: Mapper[Any], connection: Connection, target: object) -> None:
    for guard in guards_in_force.get():
        guard.before_write(connection, target)


@event.listens_for(Mapper, "mapper_configured")
def _mapper_configured(mapper: Mapper[Any], model: type) -> None:
    if issubclass(model, Versioned) and mapper.version_id_col is None:
        raise TypeError(
            f"{model.__name__} has a __mapper_args__ of its own, which hides that of its mixin Versioned, so that "
            "nothing sets its version: keep what super().__mapper_args__ has; see the docstring of Versioned."
        )
