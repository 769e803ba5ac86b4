"""What an object has in its columns, and what its row has there, which need not be the same."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Select, bindparam, select
from sqlalchemy.orm import InstanceState, Mapper, Session

_OF_ONE_TEXT = frozenset({NoneType, bool, int, str, bytes, UUID})
"""Of these, what is equal looks the same, too."""

_IMMUTABLE = _OF_ONE_TEXT | {float, Decimal, date, datetime}
"""What a row is mostly made of, and need not be copied to be kept."""

_SHOWN_BY_REPR = _IMMUTABLE | {dict, list}
"""Of these, what repr() shows alike, nobody can tell apart; in JSON, too."""


def column_keys(state: InstanceState[Any]) -> list[str]:
    """Name the attributes of an object that are columns and are loaded, or were before they expired."""
    loaded, expired = state.dict, state.expired_attributes
    return [key for key in _all_column_keys(state.mapper) if key in loaded or key in expired]


@lru_cache(maxsize=256)
def _all_column_keys(mapper: Mapper[Any]) -> list[str]:
    return [each.key for each in mapper.column_attrs if isinstance(each.columns[0], Column)]


def row_of(state: InstanceState[Any]) -> dict[str, Any]:
    """Return what an object has in its columns, to be kept: what changes later does not change it."""
    loaded, row = state.dict, {}
    for key in column_keys(state):
        value = loaded[key] if key in loaded else getattr(state.obj(), key)
        row[key] = value if type(value) in _IMMUTABLE else deepcopy(value)
    return row


def stored_row(
    connection: Connection, state: InstanceState[Any], keys: list[str], *, locked: bool = False
) -> dict[str, Any] | None:
    """Return what the row of an object has in the columns of some attributes; ``None`` where it is gone.

    :param locked: whether to lock the row, too.
    """
    names = _names_of_key(state.mapper)
    key = dict(zip(names, state.mapper.primary_key_from_instance(state.obj()), strict=True))
    row = connection.execute(_select(state.mapper, tuple(keys), locked), key).one_or_none()
    return None if row is None else dict(zip(keys, row, strict=True))


def read_anew(session: Session, state: InstanceState[Any]) -> bool:
    """Let an object have what its row has; tell whether there is one.

    That is mostly what it has already, and to see that takes a third of what ``Session.refresh()`` does.
    """
    keys = column_keys(state)
    stored = stored_row(session.connection(bind_arguments={"mapper": state.mapper}), state, keys)
    if stored is None:
        return False
    loaded = state.dict
    if not all(key in loaded and _looks_the_same(loaded[key], value) for key, value in stored.items()):
        session.refresh(state.obj(), keys)
    return True


def _looks_the_same(one: object, stored: object) -> bool:
    """Tell whether nobody can tell two values apart: 5 and 5.00 are equal, and have two texts.

    A dictionary or a list of the session's may be one that tracks its changes.
    """
    if one is stored:
        return True
    if type(one) is type(stored) and type(one) in _OF_ONE_TEXT:
        return one == stored
    return isinstance(one, type(stored)) and type(stored) in _SHOWN_BY_REPR and repr(one) == repr(stored)


@lru_cache(maxsize=256)
def _select(mapper: Mapper[Any], keys: tuple[str, ...], locked: bool) -> Select[Any]:
    """Return the statement that reads some columns of one row; made once, it is compiled once."""
    columns = [mapper.column_attrs[key].columns[0] for key in keys]
    names = zip(mapper.primary_key, _names_of_key(mapper), strict=True)
    where = [column == bindparam(name) for column, name in names]
    statement = select(*columns).select_from(mapper.persist_selectable).where(*where)
    return statement.with_for_update() if locked else statement


def _names_of_key(mapper: Mapper[Any]) -> list[str]:
    return [f"key_{number}" for number in range(len(mapper.primary_key))]
