"""SQLAlchemy's objects, as a store that can refuse a stale write."""

from __future__ import annotations

from typing import Any, Literal

from flask import Flask, current_app
from sqlalchemy import Row
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.orm.exc import StaleDataError

from flask_etag.backend import Cause, Terms
from flask_etag.sqlalchemy import databases
from flask_etag.sqlalchemy.models import (
    Versioned,
    attribute_of,
    covered,
    read_parts_anew,
    scope_of,
    uncovered,
    version_of,
)
from flask_etag.sqlalchemy.unit import ReadUnit, SessionUnit, note_what_to_write, refused_by


class SQLAlchemyBackend:
    """SQLAlchemy's objects, as a store that can refuse a stale write."""

    def owns(self, target: object) -> bool:
        """Tell whether an object is mapped."""
        # What inspect() looks for first, without its search for other kinds of subjects.
        state = getattr(target, "_sa_instance_state", None)
        if state is not None:
            return isinstance(state, InstanceState)
        if type(target) is Row and any(map(self.owns, target)):  # isinstance() would ask its metaclass
            raise TypeError(
                "A loader returned a Row with an object in it: let it return the object, by scalars()."
            )
        return False

    def guarding(self, model: type) -> Literal["guarded", "held"] | None:
        """Tell how the objects of a class are guarded; ``None`` for a class that is not mapped."""
        mapper: Mapper[Any] | None = vars(model).get("__mapper__")  # which inspect() looks for longer
        if mapper is None:
            return None
        return "held" if mapper.version_id_col is None else "guarded"

    def cause_of(self, error: Exception) -> Cause | None:
        """Tell why the database refused; ``None`` for an error that is no refusal."""
        return databases.cause_of(error)

    def let_go(self, error: Exception, target: object) -> Cause | None:
        """Tell why the database refused what the view of a read was to write, and roll back its sessions."""
        note_what_to_write(error)
        cause = refused_by(error)
        if cause is not None:
            sessions = {
                _session_of_the_application(),
                instance_state(target).session if self.owns(target) else None,
            }
            for session in sessions - {None}:
                SessionUnit(session).roll_back()
        return cause

    def is_stale(self, error: Exception) -> bool:
        """Tell whether an error says that a row has not the version any more that was loaded."""
        return isinstance(error, StaleDataError)

    def scope_of(self, target: object) -> tuple[object, ...]:
        """Name what a version of an object belongs to: its model, its key."""
        return scope_of(instance_state(target))

    def scoped_version_of(self, target: object) -> tuple[object, ...]:
        """Return the version of an object, after what it belongs to."""
        state = instance_state(target)
        if covered:  # pragma: no branch - the tests' own models cover something
            read_parts_anew(state)
        version = version_of(state)
        return (*scope_of(state), version)

    def takes_versions(self, target: object) -> bool:
        """Tell whether it can be planned which version of an object follows: only of a ``Versioned``."""
        return isinstance(target, Versioned)

    def attribute_of(self, target: object, name: str) -> object:
        """Return an attribute of an object, of the same time as what is loaded of it."""
        return attribute_of(instance_state(target), name)

    def uncovered(self, target: object) -> dict[str, tuple[str, bool]]:
        """Name the relationships of an object that are loaded, and whose rows do not move its version."""
        return uncovered(instance_state(target))

    def unit(self) -> SessionUnit:
        """Return what one request is going to write."""
        return SessionUnit(_session_of_the_application())

    def watch(self, target: object, terms: Terms) -> ReadUnit:
        """Return what a read does to what it was handed, all the same."""
        return ReadUnit(target, terms)


def _session_of_the_application() -> Session | None:
    """Return the session that Flask-SQLAlchemy, or Flask-SQLAlchemy-Lite, has for this request."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    session = getattr(app.extensions.get("sqlalchemy"), "session", None)
    if session is None or isinstance(session, Session):
        return session
    found: Session = session()  # a scoped_session
    return found
