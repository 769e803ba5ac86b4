"""The store's JSON API, as a blueprint."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, json, request
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, NotFound, UnsupportedMediaType

from flask_etag import etag_resource, require_if_match, resource
from sample_app.models import Product, db
from sample_app.schemas import product_schema

store = Blueprint("store", __name__)


@resource
def find_product(sku: str) -> Product | None:
    """Load the product that a URL names."""
    return db.session.get(Product, sku)


@store.get("/products/<sku>")
@etag_resource(find_product)
def read_product(product: Product) -> dict[str, Any]:
    """Show a product."""
    return dict(product_schema.dump(product))


@store.put("/products/<sku>")
@require_if_match(find_product)
def replace_product(product: Product) -> dict[str, Any]:
    """Replace a product, if it still is what the client has seen."""
    for member, value in product_schema.load(request.get_json()).items():
        setattr(product, member, value)
    db.session.commit()
    return dict(product_schema.dump(product))


@store.errorhandler(NotFound)
@store.errorhandler(BadRequest)
@store.errorhandler(UnsupportedMediaType)
def answer_error(error: HTTPException) -> Response:
    """Answer an error as a problem document (RFC 9457)."""
    return _problem(error.code or 500, error.name, error.description or "")


@store.errorhandler(RecursionError)
def answer_too_deep(_: RecursionError) -> Response:
    """Answer JSON that is nested deeper than it can be read."""
    return _problem(400, "Bad Request", "The JSON is nested too deeply.")


@store.errorhandler(ValidationError)
def answer_invalid(error: ValidationError) -> Response:
    """Answer a product that cannot be accepted; ``errors`` names its members."""
    return _problem(422, "Unprocessable Content", "The members named in errors are wrong.", errors=error.messages)


def _problem(status: int, title: str, detail: str, **more: Any) -> Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Response(json.dumps(problem) + "\n", status, content_type="application/problem+json")
