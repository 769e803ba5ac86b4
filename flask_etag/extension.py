"""The Flask extension: it reads the settings, and registers the handler that answers refusals."""

from __future__ import annotations

from importlib.util import find_spec

from flask import Flask

from flask_etag import doctor, explain, openapi  # noqa: F401 - each adds a command to flask etag
from flask_etag.audit import audit
from flask_etag.errors import ConditionalRequestError
from flask_etag.settings import EXTENSION, Settings


class ETag:
    """Flask-ETag, for any number of applications: what it knows of one is kept in ``app.extensions``.

    :param app: an application to initialise at once; without it, call :meth:`init_app`.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read an application's configuration, and register the handler that answers 412, 428 and 409.

        :raises RuntimeError: if the application is initialised already.
        :raises TypeError: if ``app`` is no Flask application.
        :raises ValueError: if a configuration value has the wrong type.
        """
        if not isinstance(app, Flask):
            raise TypeError(
                f"ETag() takes the Flask application, and was given {app!r}. An entity tag is EntityTag(...)."
            )
        if EXTENSION in app.extensions:
            raise RuntimeError("Flask-ETag is initialised for this application already: do it once.")
        app.extensions[EXTENSION] = Settings.read(app.config)
        # Flask looks for handlers of a status code first. The base class has none: so an application's own handler
        # for 412, 428 or 409 comes before this one, and this one before a handler for every HTTPException.
        if ConditionalRequestError not in app.error_handler_spec[None][None]:
            app.register_error_handler(ConditionalRequestError, ConditionalRequestError.get_response)
        audit(app)
        if (
            find_spec("sqlalchemy") is not None
        ):  # pragma: no branch - held by tests/package/test_package.py, without SQLAlchemy
            import flask_etag.sqlalchemy  # noqa: F401, PLC0415 - importing it registers the backend
