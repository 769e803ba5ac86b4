"""Tags of the past: what the ETag of a row was when it had a certain version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import inspect
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
    :raises TypeError: if the model has no version, or the key has another number of parts.
    :raises RuntimeError: outside of an application context: the configuration says how tags are made.
    """
    mapper: Mapper[Any] = inspect(model)
    version_key(mapper)  # or there is none
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(mapper.primary_key):
        raise TypeError(f"The key of {model.__name__} has {len(mapper.primary_key)} parts, and {key!r} was given.")
    kinds = [getattr(column.type, "as_uuid", False) for column in mapper.primary_key]
    typed = [
        UUID(part) if is_uuid and isinstance(part, str) else part
        for is_uuid, part in zip(kinds, parts, strict=True)
    ]
    scope = (mapper.base_mapper.class_.__qualname__, *typed)
    return EntityTag.trusted(fingerprint_of(*scope, version).digest(settings_of(current_app).key), weak=False)
