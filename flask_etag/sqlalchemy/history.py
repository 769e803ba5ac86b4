"""Tags of the past: what the ETag of a row was when it had a certain version."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import current_app
from sqlalchemy import inspect
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
    :raises TypeError: if the model has no version, or the key has another number of parts.
    :raises RuntimeError: outside of an application context: the configuration says how tags are made.
    """
    return EntityTag.trusted(_fingerprint(model, key, version).digest(settings_of(current_app).key), weak=False)


def is_etag_of_version(etag: str, model: type[Any], key: Any, version: Any) -> bool:
    """Return whether a row had an ETag, as somebody has kept it or sends it, when it had a certain version.

    It is compared as the If-Match of a save is: of whatever representation, made by the key or by one of
    ``ETAG_KEY_FALLBACKS``, in whatever epoch; and altered by a proxy, where ``ETAG_ACCEPT_WEAKENED`` says so.

    :param etag: the value of the field, quotes included; of a list, one is enough. ``*`` is none.
    :param model: a model with a version.
    :param key: the primary key of the row, as of :func:`etag_of_version`.
    :param version: what the history has kept of the column of the version.
    :raises TypeError: if the model has no version, or the key has another number of parts.
    :raises RuntimeError: outside of an application context: the configuration says how tags are made.
    """
    settings, fingerprint = settings_of(current_app), _fingerprint(model, key, version)
    state = fingerprint.digest(settings.key)
    former = tuple(fingerprint.digest(key) for key in settings.former_keys)
    had = Representation(EntityTag.trusted(state, weak=False), state=state, former_states=former)
    conditions = Preconditions(if_match=etag)
    verdict = conditions.evaluate("PUT", had, accept_weakened=settings.accept_weakened)
    return verdict == "proceed" and not conditions.take_any_state


def _fingerprint(model: type[Any], key: Any, version: Any) -> Fingerprint:
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
    return fingerprint_of(mapper.base_mapper.class_.__qualname__, *typed, version)
