"""The store's JSON API, as one blueprint that brings what it needs to the application that registers it."""

from __future__ import annotations

import os
from typing import cast

from flask import Blueprint, Flask, Response, request
from flask.blueprints import BlueprintSetupState
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from flask_etag import ConditionalRequestError, ETag
from sample_app.content import check_content
from sample_app.documents import documents
from sample_app.history import history
from sample_app.models import db
from sample_app.openapi import openapi
from sample_app.problems import answer_error, answer_invalid
from sample_app.products import products
from sample_app.seeds import prepare_database

store = Blueprint("store", __name__)
store.register_blueprint(products)
store.register_blueprint(history)
store.register_blueprint(documents)
store.register_blueprint(openapi)

store.before_request(check_content)

store.register_error_handler(ValidationError, answer_invalid)
store.register_error_handler(HTTPException, answer_error)
store.register_error_handler(ConditionalRequestError, ConditionalRequestError.get_response)


@store.record_once
def prepare(state: BlueprintSetupState) -> None:
    """Bring to an application a database and an ``ETag``, where it has none of its own, and fill the store.

    An application with a Flask-SQLAlchemy (or Flask-SQLAlchemy-Lite) or an ``ETag`` of its own initialises them
    before it registers the store, which then uses these.
    """
    app = cast(Flask, state.app)
    if "sqlalchemy" not in app.extensions:
        url = os.environ.get("DATABASE_URL") or "sqlite:///store.db"
        app.config.setdefault("SQLALCHEMY_DATABASE_URI", url)
        db.init_app(app)
    if "etag" not in app.extensions:
        ETag(app)
    with app.app_context():
        prepare_database()


@store.record
def answer_what_has_no_route(state: BlueprintSetupState) -> None:
    """Answer with a problem document below the store's prefix too where no route leads: 404 and 405."""
    app = cast(Flask, state.app)
    prefix = (state.url_prefix or "").rstrip("/")

    @app.before_request
    def answer() -> Response | None:
        error = request.routing_exception
        if not (prefix and request.path.startswith(f"{prefix}/")):
            return None
        return answer_error(error) if isinstance(error, NotFound | MethodNotAllowed) else None
