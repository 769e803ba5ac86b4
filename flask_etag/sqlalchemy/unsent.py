"""What a session has not sent yet, or not committed: whether it has any, and how a loader leaves it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import ref

from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_dirty, instance_state

_FLUSHED_IN = "flask_etag_flushed_in"
"""The key of a session's info where its last transaction is that it has flushed in."""


@event.listens_for(Session, "after_flush")
def _note_flush(session: Session, _: object) -> None:
    session.info[_FLUSHED_IN] = ref(session.get_transaction())


def has_changes(session: Session) -> bool:
    """Tell whether a session has changed objects that it has not sent yet, or not committed."""
    if not session._is_clean():
        return True
    transaction, flushed_in = session.get_transaction(), session.info.get(_FLUSHED_IN)
    return transaction is not None and flushed_in is not None and flushed_in() is transaction


@contextmanager
def leaving_unsent(session: Session) -> Iterator[None]:
    """Let a loader that is asked again neither send what a session has unsent, nor lose it, by loading it anew.

    Not where it ends the transaction, which has sent that, or dropped it.
    """
    transaction, added = session.get_transaction(), session.new
    changed = [_Unsent(each) for each in session.dirty]
    try:
        with session.no_autoflush:
            yield
    finally:
        if session.get_transaction() is transaction:
            session.add_all(each for each in added if instance_state(each).session is None)
            for each in changed:
                if instance_state(each.target).session is session and not each.is_there():
                    each.put_back()


class _Unsent:
    """What an object has that has unsent changes."""

    def __init__(self, target: object) -> None:
        self.target, self._state = target, instance_state(target)
        self._values, self._before = dict(self._state.dict), dict(self._state.committed_state)
        self._is_expired = self._state.expired

    def is_there(self) -> bool:
        """Tell whether the object has it still."""
        values, before = self._state.dict, self._state.committed_state
        has_values = all(values.get(name, _NOT_THERE) is value for name, value in self._values.items())
        return has_values and before.keys() >= self._before.keys()

    def put_back(self) -> None:
        """Let the object have it again."""
        state = self._state
        state.dict.update(self._values)
        state.committed_state.update(self._before)
        state.expired_attributes.difference_update(self._values)
        state.expired = self._is_expired
        for value in self._values.values():
            if hasattr(value, "_sa_adapter"):  # a list
                value._sa_adapter.invalidated = False
        flag_dirty(self.target)


_NOT_THERE = object()
