"""Tags of the past: what the ETag of a row was when it had a certain version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import Column, Enum, Integer, String, Uuid, inspect
from sqlalchemy.orm import Mapper

from flask_etag.entity_tags import EntityTag
from flask_etag.fingerprints import fingerprint_of
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
    mapper: Mapper[Any] = inspect(model)
    version_key(mapper)  # or there is none
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(mapper.primary_key):
        raise TypeError(f"The key of {model.__name__} has {len(mapper.primary_key)} parts, and {key!r} was given.")
    columns: list[Any] = [*mapper.primary_key, mapper.version_id_col]
    *typed, version = [_as_loaded(*each) for each in zip(columns, (*parts, version), strict=True)]
    scope = (mapper.base_mapper.class_.__qualname__, *typed)
    return EntityTag.trusted(fingerprint_of(*scope, version).digest(settings_of(current_app).key), weak=False)


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
