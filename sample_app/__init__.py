"""The sample app: a small shop whose products and documents two people may edit at once.

Run it with ``flask --app sample_app run``. ``store``, its blueprint, can be registered in any application.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask

from sample_app.api import store
from sample_app.decisions import watch
from sample_app.pages import pages

__all__ = ["create_app", "store"]


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application, on the database that ``DATABASE_URL`` names: by default a file in its instance folder.

    :param config: configuration keys that go before the environment's (``FLASK_ETAG_CACHE_CONTROL`` is
        ``ETAG_CACHE_CONTROL``, and so on).
    """
    app = Flask(__name__, static_folder=None)
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    app.register_blueprint(store, url_prefix="/api")
    app.register_blueprint(pages)
    watch(app)
    if os.environ.get("FLASK_RUN_FROM_CLI") == "true":  # somebody looks at the terminal
        log = logging.getLogger("flask_etag")
        log.setLevel(logging.DEBUG)
        log.addHandler(logging.StreamHandler())
    return app
