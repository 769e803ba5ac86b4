"""Mapped objects, as a store that can refuse a stale write."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, Select
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import instance_state

from flask_etag.guards import Write
from flask_etag.sqlalchemy.guard import SessionGuard
from flask_etag.sqlalchemy.probes import probe
from flask_etag.sqlalchemy.reading import LockingRead
from flask_etag.sqlalchemy.refusals import is_refusal
from flask_etag.sqlalchemy.versions import attribute_of, covered, read_parts_anew, scope_of, uncovered, version_of


class Sessions:
    """Mapped objects, as a store that can refuse a stale write."""

    def owns(self, target: object) -> bool:
        # What inspect() looks for first, without its search for other kinds of subjects.
        if isinstance(getattr(target, "_sa_instance_state", None), InstanceState):
            return True
        if type(target) is Row and any(map(self.owns, target)):  # isinstance() would ask its metaclass
            raise TypeError(
                "A loader returned a Row with an object in it: let it return the object, by scalars()."
            )
        return False

    def guarding(self, model: type) -> str | None:
        mapper = _mapper_of(model)
        if mapper is None:
            return None
        return "locked: its row" if mapper.version_id_col is None else "guarded: its version"

    def is_asked(self, question: object) -> bool:
        return isinstance(question, Select) or (isinstance(question, type) and _mapper_of(question) is not None)

    def probe(self, question: Any, arguments: Mapping[str, object], attributes: frozenset[str]) -> object | None:
        return probe(question, arguments, attributes)

    def uncovered(self, target: object) -> dict[str, tuple[str, bool]]:
        return uncovered(instance_state(target))

    def locking_read(self, model: type) -> LockingRead | None:
        mapper = _mapper_of(model)
        if mapper is None:
            return None
        return None if mapper.version_id_col is not None else LockingRead(mapper)

    def refused(self, error: Exception) -> bool:
        return is_refusal(error)

    def scope_of(self, target: object) -> tuple[object, ...]:
        return scope_of(instance_state(target))

    def scoped_version_of(self, target: object) -> tuple[object, ...]:
        state = instance_state(target)
        if covered:
            read_parts_anew(state)
        version = version_of(state)
        return (*scope_of(state), version)

    def attribute_of(self, target: object, name: str) -> object:
        return attribute_of(instance_state(target), name)

    def guard(self, write: Write, target: object | None) -> SessionGuard:
        if target is None:
            return SessionGuard(write)
        return SessionGuard(write, target, _session_of(target))


def _mapper_of(model: type) -> Mapper[Any] | None:
    return vars(model).get("__mapper__")  # which inspect() looks for longer


def _session_of(target: object) -> Session:
    """Return the session of an object.

    :raises RuntimeError: if it is in none whose writes can be guarded.
    :raises TypeError: if those of its model cannot be.
    """
    state = instance_state(target)
    name = state.class_.__name__
    session = state.session
    if session is None:
        raise RuntimeError(
            f"This {name} is in no session, so that nothing can guard it: "
            "let the loader return an object that is attached to the session that the view commits."
        )
    asyncio = sys.modules.get("sqlalchemy.ext.asyncio")
    if asyncio is not None and asyncio.async_object_session(target) is not None:
        raise RuntimeError(f"This {name} is in an AsyncSession, whose writes cannot be guarded: use a Session.")
    if not state.mapper.base_mapper.confirm_deleted_rows:  # the only one that SQLAlchemy asks
        raise TypeError(
            f"{name} has confirm_deleted_rows=False, so that a stale DELETE would pass for done: remove that from "
            "its __mapper_args__."
        )
    return session
