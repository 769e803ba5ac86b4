"""The pages: the catalogue, an editor, and two people at one product. What they do, they do by the JSON API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, render_template, request
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, NotFound

from sample_app.decisions import decisions
from sample_app.history import MOST, changes_of
from sample_app.models import Product
from sample_app.products import find_plain_product, find_products
from sample_app.schemas import is_key, product_schema
from sample_app.unprotected import DEMO, unprotected

pages = Blueprint(
    "pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
)
pages.register_blueprint(unprotected)
pages.register_blueprint(decisions)

_HEADERS = {
    # Pico has its icons in data: URLs. With trusted types, no text can become markup, and so none a script.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

# Swagger UI writes styles into its elements, and has no trusted types.
_POLICY_OF_OPENAPI = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_SEED = {
    "name": "Teapot for two",
    "description": "Stoneware, with two spouts. Whoever pours last wins, unless somebody looks.",
    "price": "34.50",
    "stock": 12,
}


@pages.after_app_request
def restrict(response: Response) -> Response:
    """Tell browsers to run the pages' own scripts alone, to show the pages in no frame, and to keep no old one.

    That goes for where no route leads too: the answer is a page.
    """
    if not request.blueprints or pages.name in request.blueprints:
        for name, value in {**_HEADERS, "Cache-Control": "no-store"}.items():
            response.headers.setdefault(name, value)  # static files have a Cache-Control of theirs, and an ETag
    return response


@pages.errorhandler(ValidationError)
def answer_wrong_query(_: ValidationError) -> HTTPException:
    """Answer a query that no page of the catalogue has."""
    return NotFound("The catalogue has no such page.")


@pages.get("/")
def show_catalogue() -> str:
    """Show the products, and have one edited by two people."""
    found = find_products()
    return render_template("catalogue.html", found=found, page=found.page, demo=DEMO, seed=_SEED)


@pages.get("/products/<sku>")
def show_product(sku: str) -> tuple[str, int]:
    """Show an editor of a product, with the tag that a save takes; or of what is none yet, to create it."""
    if not is_key(sku):
        raise NotFound("No product can have this sku.")
    product = find_plain_product(sku)
    return render_template("product.html", sku=sku, copy=_copy_of(product)), 404 if product is None else 200


@pages.get("/products/<sku>/history")
def show_history(sku: str) -> str:
    """Show who has changed what of a product, and when; also of one that was deleted."""
    changes = changes_of(sku)
    return render_template("history.html", sku=sku, changes=changes[::-1], most=MOST)


@pages.get("/openapi")
def show_openapi() -> tuple[str, dict[str, str]]:
    """Show the API's OpenAPI document, with a form for each request."""
    return render_template("openapi.html"), {"Content-Security-Policy": _POLICY_OF_OPENAPI}


def _copy_of(product: Product | None) -> dict[str, Any]:
    if product is None:
        return {"content": None, "etag": None}
    return {"content": product_schema.dump(product), "etag": str(find_plain_product.etag_of(product))}
