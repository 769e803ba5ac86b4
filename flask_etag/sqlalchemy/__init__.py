"""Mapped objects as a store that can refuse a stale write, and a version for models that have none.

Importing this makes mapped objects known to the decorators; ``ETag`` does it where SQLAlchemy is installed.
"""

from flask_etag.backend import register
from flask_etag.sqlalchemy.backend import SQLAlchemyBackend
from flask_etag.sqlalchemy.covering import covers, touch
from flask_etag.sqlalchemy.history import etag_of_version, is_etag_of_version
from flask_etag.sqlalchemy.models import Versioned
from flask_etag.sqlalchemy.pages import Page

__all__ = ["Versioned", "covers", "touch", "Page", "etag_of_version", "is_etag_of_version"]

register(SQLAlchemyBackend())
