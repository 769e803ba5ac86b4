"""Tags of the past: what the ETag of a row was when it had a certain version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import Column, Enum, Integer, String, Uuid, inspect
from sqlalchemy.orm import Mapper

from flask_etag.entity_tags import EntityTag
from flask_etag.fingerprints import Fingerprint, fingerprint_of
from flask_etag.preconditions import Preconditions, Representation
from flask_etag.settings import settings_of
from flask_etag.sqlalchemy.models import version_key


def etag_of_version(model: type[Any], key: Any, version: Any) -> EntityTag:
    """Return the entity tag that a row had when it had a certain version: for an audit trail, say.

    It is that of resources whose tag is the version. Where a ``variant=`` or ``ETAG_EPOCH`` adds a second half to
    their tags, it is the first half, which is what saves compare.

    :param model: a model with a version.
    :param key: the primary key of the row; a tuple of its parts, where it has several.
    :param version: what the history has kept of the column of the version.
    :raises TypeError: if the model has no version, the key has another number of parts, or one of these or the
        version is of another type than its column: the tag would be no row's.
    :raises ValueError: if the version or a part of the key is ``None``: then there was no tag.
    :raises RuntimeError: outside of an application context: the configuration says how tags are made.
    """
    return EntityTag.trusted(_fingerprint(model, key, version).digest(settings_of(current_app).key), weak=False)


def is_etag_of_version(etag: str | EntityTag | None, model: type[Any], key: Any, version: Any) -> bool:
    """Return whether a row had an ETag, as somebody has kept it or sends it, when it had a certain version.

    It is compared as the If-Match of a save is: of whatever representation, made by the key or by one of
    ``ETAG_KEY_FALLBACKS``, in whatever epoch; and altered by a proxy, where ``ETAG_ACCEPT_WEAKENED`` says so.

    :param etag: the value of the field, quotes included; of a list, one is enough. ``*`` is none, and so is
        ``None``, of a field that was not sent.
    :param model: a model with a version.
    :param key: the primary key of the row, as of :func:`etag_of_version`.
    :param version: what the history has kept of the column of the version; with ``None``, there was no ETag.
    :raises TypeError: as :func:`etag_of_version`.
    :raises RuntimeError: outside of an application context: the configuration says how tags are made.
    """
    if etag is None or version is None:
        return False
    settings, fingerprint = settings_of(current_app), _fingerprint(model, key, version)
    state = fingerprint.digest(settings.key)
    former = tuple(fingerprint.digest(key) for key in settings.former_keys)
    had = Representation(EntityTag.trusted(state, weak=False), state=state, former_states=former)
    conditions = Preconditions(if_match=str(etag))
    verdict = conditions.evaluate("PUT", had, accept_weakened=settings.accept_weakened)
    return verdict == "proceed" and not conditions.take_any_state


def _fingerprint(model: type[Any], key: Any, version: Any) -> Fingerprint:
    mapper: Mapper[Any] = inspect(model)
    version_key(mapper)  # or there is none
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(mapper.primary_key):
        raise TypeError(f"The key of {model.__name__} has {len(mapper.primary_key)} parts, and {key!r} was given.")
    columns: list[Any] = [*mapper.primary_key, mapper.version_id_col]
    *typed, version = [_as_loaded(*each) for each in zip(columns, (*parts, version), strict=True)]
    return fingerprint_of(mapper.base_mapper.class_.__qualname__, *typed, version)


def _as_loaded(column: Column[Any], value: Any) -> Any:
    """Return a value as an object has it that is loaded: a tag is made of that, and 1 is another than "1"."""
    if value is None:
        raise ValueError(
            f"The {column.name} is None, so that there was no ETag: of a history's entry of before the table had "
            "a version, say. Leave such an entry without one."
        )
    if isinstance(column.type, Uuid) and column.type.as_uuid and isinstance(value, str):
        return UUID(value)
    kind: Any = next((each for sort, each in _KINDS if isinstance(column.type, sort)), object)
    if not isinstance(value, kind):
        raise TypeError(f"The {column.name} is of type {kind.__name__}, and {value!r} was given.")
    return value


_KINDS = ((Integer, int), (Enum, object), (String, str))
"""What is loaded of a column, for types of which that is known; to SQLAlchemy, an ``Enum`` is a ``String``."""
