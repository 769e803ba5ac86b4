"""Products: each has a version column, and their collection the versions of all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, g, request, url_for
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Conflict

from flask_etag import etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Page
from sample_app.content import read_object, read_objects
from sample_app.models import Product, session
from sample_app.schemas import is_key, listing_schema, load_changes, product_schema
from sample_app.shapes import shape_asked_for

products = Blueprint("products", __name__, url_prefix="/products")

Answer = tuple[dict[str, Any], int]


@resource
def find_products() -> Page[Product]:
    """Find the products that the URL's query asks for: ``?page=``, ``?per_page=``, ``?sort=`` and ``?q=``."""
    asked = listing_schema.load(request.args)
    found = select(Product).order_by(getattr(Product, asked["sort"]), Product.sku)
    if asked["q"]:
        found = found.where(Product.name.icontains(asked["q"], autoescape=True))
    return Page(session(), found, page=asked["page"], per_page=asked["per_page"])


@resource
def find_plain_product(sku: str) -> Product | None:
    """Load a product without a shape, for its tag beside others."""
    return session().get(Product, sku) if is_key(sku) else None


@resource(variant=lambda _: shape_asked_for().name, headers={"Vary": "Accept"})
def find_product(sku: str) -> Product | None:
    """Load the product that a URL names."""
    return find_plain_product(sku)


@products.get("")
@etag_resource(find_products)
def read_products(found: Page[Product]) -> list[dict[str, Any]]:
    """Show products, each with the ETag that a save of it takes."""
    return _listed(found)


def read_changes() -> list[tuple[Any, dict[str, str]]]:
    """Read a list of changes: of each, the ETag that came with it, and the product that it is for."""
    g.changes = load_changes(read_objects())
    return [(change.pop("etag"), {"sku": change["sku"]}) for change in g.changes]


@products.patch("")
@require_if_match(find_plain_product, each=read_changes)
def patch_products(found: list[Product]) -> list[dict[str, Any]]:
    """Change several products, if all of them still are what the client has seen; or none."""
    for product, change in zip(found, g.changes, strict=True):
        for member, value in change.items():
            setattr(product, member, value)
    session().flush()
    changed = _listed(found)
    session().commit()
    return changed


@products.post("")
@etag_resource(find_products)
def create_product(_: Page[Product]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Create a product under a new sku. Conditions that the request sets are for the collection."""
    members = product_schema.load(read_object())
    try:
        if session().get(Product, members["sku"]) is not None:
            raise Conflict("There is a product with this sku.")
        product = Product(**members)
        session().add(product)
        session().flush()
    except IntegrityError as error:  # another request has just created it
        raise Conflict("There is a product with this sku.") from error
    body = product_schema.dump(product)
    location = url_for(".read_product", sku=product.sku)
    headers = {"Location": location, "ETag": str(find_plain_product.etag_of(product))}
    session().commit()
    return body, 201, headers


@products.get("/<sku>")
@etag_resource(find_product)
def read_product(product: Product) -> Response:
    """Show a product, in the shape that is asked for."""
    return shape_asked_for().show(product)


@products.put("/<sku>")
@require_if_match(find_product, create=True)
def put_product(product: Product | None, sku: str) -> Answer:
    """Replace a product, if it still is what the client has seen; or create it."""
    return _save(product, product_schema.load({**read_object(), "sku": sku}))


@products.patch("/<sku>")
@require_if_match(find_product)
def patch_product(product: Product, sku: str) -> Answer:
    """Replace some members, by a JSON merge patch (RFC 7396); as none may be missing, a null is refused."""
    return _save(product, product_schema.load({**read_object(), "sku": sku}, partial=True))


@products.delete("/<sku>")
@require_if_match(find_product)
def delete_product(product: Product) -> tuple[str, int]:
    """Delete a product."""
    session().delete(product)
    session().commit()
    return "", 204


def _listed(found: Iterable[Product]) -> list[dict[str, Any]]:
    return [
        {**product_schema.dump(product), "etag": str(find_plain_product.etag_of(product))} for product in found
    ]


def _save(product: Product | None, members: dict[str, Any]) -> Answer:
    status = 201 if product is None else 200
    product = product or Product()
    for member, value in members.items():
        setattr(product, member, value)
    session().add(product)
    session().commit()
    return product_schema.dump(product), status
