"""Flask-ETag: lost updates become impossible and unchanged reads become free, by decorating views."""

from flask_etag.backend import Stale
from flask_etag.decisions import Decision, decided
from flask_etag.decorators import etag_resource, exempt, require_if_match
from flask_etag.entity_tags import EntityTag
from flask_etag.errors import (
    ConditionalRequestError,
    PreconditionFailed,
    PreconditionRequired,
    WriteConflict,
)
from flask_etag.extension import ETag
from flask_etag.resources import Resource, resource
from flask_etag.validators import content_hash, version_column

__all__ = [
    "ETag",
    "resource",
    "etag_resource",
    "require_if_match",
    "exempt",
    "version_column",
    "content_hash",
    "EntityTag",
    "Resource",
    "ConditionalRequestError",
    "PreconditionFailed",
    "PreconditionRequired",
    "WriteConflict",
    "Stale",
    "decided",
    "Decision",
]
