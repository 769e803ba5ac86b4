"""The sample app: a small shop whose products two people may edit at once.

Run it with ``flask --app sample_app run``.
"""

from collections.abc import Mapping
from typing import Any

from flask import Flask

from flask_etag import ETag
from sample_app.api import store
from sample_app.models import db, prepare_database

__all__ = ["create_app", "store"]

etag = ETag()


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application, on a SQLite file in its instance folder that is filled on the first start.

    :param config: configuration keys that go before the environment's (``FLASK_ETAG_CACHE_CONTROL`` is
        ``ETAG_CACHE_CONTROL``, and so on).
    """
    app = Flask(__name__, instance_relative_config=True)
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///store.db"
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    db.init_app(app)
    etag.init_app(app)
    app.register_blueprint(store, url_prefix="/api")
    with app.app_context():
        prepare_database()
    return app
