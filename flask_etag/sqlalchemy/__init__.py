"""Mapped objects as a store that can refuse a stale write, and a version for models that have none.

Importing this makes mapped objects known to the decorators; ``ETag`` does it where SQLAlchemy is installed.
"""

from flask_etag.guards import register
from flask_etag.sqlalchemy import events  # noqa: F401 - it listens
from flask_etag.sqlalchemy.covering import covers, touch
from flask_etag.sqlalchemy.pages import Page
from flask_etag.sqlalchemy.store import Sessions
from flask_etag.sqlalchemy.versions import Versioned

__all__ = ["Versioned", "covers", "touch", "Page"]

register(Sessions())
