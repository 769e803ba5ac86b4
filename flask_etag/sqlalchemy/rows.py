"""What an object has in its columns, and what its row has there, which need not be the same."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from types import NoneType
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Connection, Select, SelectBase, bindparam, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.sql.visitors import iterate

_OF_ONE_TEXT = frozenset({NoneType, bool, int, str, bytes, UUID})
"""Of these, what is equal looks the same, too."""

_IMMUTABLE = _OF_ONE_TEXT | {float, Decimal, date, datetime}
"""What a row is mostly made of, and need not be copied to be kept."""

_KEY = "flask_etag_key_{}"
"""The name of a parameter, for each part of a primary key."""

_SHOWN_BY_REPR = _IMMUTABLE | {dict, list}
"""Of these, what repr() shows alike, nobody can tell apart; in JSON, too."""


def loaded_keys(state: InstanceState[Any]) -> list[str]:
    """Name the attributes of an object that are columns, or made of them, and are loaded, or were and expired."""
    loaded, expired = state.dict, state.expired_attributes
    return [key for key in _all_keys(state.mapper) if key in loaded or key in expired]


@lru_cache(maxsize=256)
def _all_keys(mapper: Mapper[Any]) -> list[str]:
    return [each.key for each in mapper.column_attrs]


@lru_cache(maxsize=256)
def _expressions(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the attributes that are no columns, but made of them: by ``column_property()``."""
    return frozenset(each.key for each in mapper.column_attrs if not isinstance(each.columns[0], Column))


@lru_cache(maxsize=256)
def keys_of_other_rows(mapper: Mapper[Any]) -> frozenset[str]:
    """Name the attributes that are made of other rows than the object's: by a subquery."""
    return frozenset(
        key
        for key in _expressions(mapper)
        if any(isinstance(part, SelectBase) for part in iterate(mapper.column_attrs[key].columns[0]))
    )


def row_of(state: InstanceState[Any]) -> dict[str, Any]:
    """Return what an object has in its columns, to be kept: what changes later does not change it."""
    loaded, row, expressions = state.dict, {}, _expressions(state.mapper)
    for key in loaded_keys(state):
        if key in expressions:
            continue
        value = loaded[key] if key in loaded else getattr(state.obj(), key)
        row[key] = value if type(value) in _IMMUTABLE else deepcopy(value)
    return row


def stored_row(
    connection: Connection, state: InstanceState[Any], keys: list[str], *, locked: bool = False
) -> dict[str, Any] | None:
    """Return what the row of an object has in the columns of some attributes; ``None`` where it is gone.

    :param locked: whether to lock the row, too.
    """
    identity = state.identity or ()
    key = {_KEY.format(number): value for number, value in enumerate(identity)}
    is_null = tuple(value is None for value in identity)
    row = connection.execute(_select(state.mapper, tuple(keys), is_null, locked), key).one_or_none()
    return None if row is None else dict(zip(keys, row, strict=True))


def read_anew(session: Session, state: InstanceState[Any], *, in_full: bool) -> bool:
    """Let an object have what its row has; tell whether there is one.

    That is mostly what it has already, and to see that takes a third of what ``Session.refresh()`` does.

    :param in_full: whether to refresh it all the same.
    """
    keys, loaded = loaded_keys(state), state.dict
    in_full = in_full or state.identity_token is not None or not _expressions(state.mapper).isdisjoint(keys)
    if not in_full and all(key in loaded for key in keys):
        stored = stored_row(session.connection(bind_arguments={"mapper": state.mapper}), state, keys)
        if stored is None:
            return False
        if all(_looks_the_same(loaded[key], value) for key, value in stored.items()):
            return True
    try:
        session.refresh(state.obj(), keys)
    except InvalidRequestError:
        return False  # a statement that the session knows nothing of has deleted it, or it is of another class
    return True


def _looks_the_same(one: object, stored: object) -> bool:
    """Tell whether nobody can tell two values apart: 5 and 5.00 are equal, and have two texts."""
    if one is stored or type(one) is not type(stored):
        return one is stored
    if type(one) in _OF_ONE_TEXT:
        return one == stored
    return type(one) in _SHOWN_BY_REPR and repr(one) == repr(stored)


@lru_cache(maxsize=256)
def _select(mapper: Mapper[Any], keys: tuple[str, ...], is_null: tuple[bool, ...], locked: bool) -> Select[Any]:
    """Return the statement that reads some columns of one row; made once, it is compiled once.

    :param is_null: of each part of its key, whether that is NULL.
    """
    columns = [mapper.column_attrs[key].columns[0] for key in keys]
    where = [
        column.is_(None) if null else column == bindparam(_KEY.format(number))
        for number, (column, null) in enumerate(zip(mapper.primary_key, is_null, strict=True))
    ]
    statement = select(*columns).select_from(mapper.persist_selectable).where(*where)
    return statement.with_for_update() if locked else statement
