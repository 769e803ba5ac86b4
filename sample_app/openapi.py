"""The API's own OpenAPI document: what the views do is written here; Flask-ETag adds what its decorators do."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, request
from marshmallow import fields

from flask_etag import etag_resource
from flask_etag.openapi import describe
from sample_app.schemas import (
    KEY,
    ChangeSchema,
    DocumentSchema,
    ListingSchema,
    ProductSchema,
    document_schema,
    product_schema,
)

openapi = Blueprint("openapi", __name__)

_PATH = "/openapi.json"
_WRITING = ("400", "404", "413", "415", "422")

_WRONG = {
    "400": "The content cannot be read.",
    "404": "There is no such thing.",
    "409": "There is one by this name already.",
    "413": "The content is too large.",
    "415": "The content is of another type.",
    "422": "The content, or the query, is not what it has to be: `errors` says by member what is wrong.",
}


@openapi.get(_PATH)
@etag_resource
def read_openapi() -> dict[str, Any]:
    """Show the document, for the place where the store is registered."""
    document = deepcopy(_spec.to_dict())
    document["servers"] = [{"url": request.script_root + request.path.removesuffix(_PATH) or "/"}]
    return describe(document)


def _ref(name: str, kind: str = "schemas") -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}


def _content(schema: object, *media_types: str) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type in media_types or ("application/json",)}


def _body(schema: str, *media_types: str) -> dict[str, Any]:
    return {"required": True, "content": _content(_ref(schema), *media_types)}


def _answers(wrong: tuple[str, ...], **good: dict[str, Any]) -> dict[str, Any]:
    """Return the answers of an operation.

    :param wrong: the statuses of those that refuse, besides Flask-ETag's.
    :param good: the others, each by its status, as ``_200``.
    """
    refused = {status: _ref(f"Wrong{status}", "responses") for status in wrong}
    return {**{status.removeprefix("_"): answer for status, answer in good.items()}, **refused}


def _answer(description: str, schema: object = None, **more: Any) -> dict[str, Any]:
    return {"description": description, **({} if schema is None else {"content": _content(schema)}), **more}


def _described() -> APISpec:
    """Return the document without what Flask-ETag adds."""
    spec = APISpec(
        "Flask-ETag's sample shop",
        "1",
        "3.1.0",
        info={
            "description": "Products and documents that two people may edit at once. "
            "A field `User` names who changes a product, for its history."
        },
        plugins=[MarshmallowPlugin()],
    )
    _describe_schemas(spec)
    _describe_products(spec)
    _describe_documents(spec)
    return spec


def _describe_schemas(spec: APISpec) -> None:
    add = spec.components.schema
    add("Product", schema=product_schema)
    add("ProductToPut", schema=ProductSchema(partial=["sku"]))
    add("PartOfProduct", schema=ProductSchema(partial=True))
    add("Change", schema=ChangeSchema(partial=["name", "description", "price", "stock"]))
    add("Changes", {"type": "array", "maxItems": 100, "items": _ref("Change")})
    add("ListedProduct", schema=ProductSchema.from_dict({"etag": fields.String(required=True)}))
    add("ListedProducts", {"type": "array", "items": _ref("ListedProduct")})
    add("Document", schema=document_schema)
    add("DocumentToPut", schema=DocumentSchema(partial=["name"]))
    text, perhaps, value = (
        {"type": kind} for kind in ("string", ["string", "null"], ["string", "integer", "null"])
    )
    change = {
        "etag": {**perhaps, "description": "Of the state that it has made; null for a deletion."},
        "who": {**perhaps, "description": "Has made it; null if nobody has said."},
        "at": {**text, "format": "date-time"},
        "members": {
            "type": "object",
            "description": "By member, what it was and what it became.",
            "additionalProperties": {"type": "array", "minItems": 2, "maxItems": 2, "items": value},
        },
    }
    listed = {"type": "object", "required": list(change), "properties": change}
    add("ProductChanges", {"type": "array", "items": listed})
    members = {"type": text, "title": text, "status": {"type": "integer"}, "detail": text}
    problem = {**members, "errors": {"description": "By member, what is wrong."}}
    add("Problem", {"type": "object", "required": list(members), "properties": problem})
    for status, says in _WRONG.items():
        refused = {"description": says, "content": _content(_ref("Problem"), "application/problem+json")}
        spec.components.response(f"Wrong{status}", refused)


def _links_to_product(sku: str) -> dict[str, Any]:
    return {"readProduct": {"operationId": "readProduct", "parameters": {"path.sku": sku}}}


def _describe_products(spec: APISpec) -> None:
    listed = _ref("ListedProducts")
    spec.path(
        "/products",
        operations={
            "get": {
                "operationId": "listProducts",
                "summary": "Show products, each with the ETag that a save of it takes.",
                "parameters": [{"in": "query", "schema": ListingSchema}],
                "responses": _answers(
                    ("422",),
                    _200=_answer("The products.", listed, links=_links_to_product("$response.body#/0/sku")),
                ),
            },
            "post": {
                "operationId": "createProduct",
                "summary": "Create a product under a new sku.",
                "requestBody": _body("Product"),
                "responses": _answers(
                    ("400", "409", "413", "415", "422"),
                    _201=_answer(
                        "The product.",
                        _ref("Product"),
                        headers={name: {"schema": {"type": "string"}} for name in ("Location", "ETag")},
                        links=_links_to_product("$response.body#/sku"),
                    ),
                ),
            },
            "patch": {
                "operationId": "changeProducts",
                "summary": "Change several products, if all of them still are what the client has seen; or none.",
                "requestBody": _body("Changes"),
                "responses": _answers(_WRITING, _200=_answer("The changed products.", listed)),
            },
        },
    )
    sku = {"name": "sku", "in": "path", "required": True, "schema": {"type": "string", **KEY}}
    shape = {
        "name": "fields",
        "in": "query",
        "description": "Which members to show, with commas between; all, without it.",
        "style": "form",
        "explode": False,
        "schema": {"type": "array", "minItems": 1, "items": {"enum": list(product_schema.fields)}},
    }
    part = {**_content(_ref("PartOfProduct")), **_content({"type": "string"}, "text/csv")}
    spec.path(
        "/products/{sku}",
        parameters=[sku],
        operations={
            "get": {
                "operationId": "readProduct",
                "summary": "Show a product, in the shape that is asked for.",
                "parameters": [shape],
                "responses": _answers(("404", "422"), _200={"description": "The product.", "content": part}),
            },
            "put": {
                "operationId": "putProduct",
                "summary": "Replace a product, if it still is what the client has seen; or create it.",
                "requestBody": _body("ProductToPut"),
                "responses": _answers(
                    _WRITING,
                    _200=_answer("The product.", _ref("Product")),
                    _201=_answer("The product, which is new.", _ref("Product")),
                ),
            },
            "patch": {
                "operationId": "patchProduct",
                "summary": "Replace some members, by a JSON merge patch (RFC 7396).",
                "requestBody": _body("PartOfProduct", "application/merge-patch+json", "application/json"),
                "responses": _answers(_WRITING, _200=_answer("The product.", _ref("Product"))),
            },
            "delete": {
                "operationId": "deleteProduct",
                "summary": "Delete a product.",
                "responses": _answers(("404",), _204=_answer("It is gone.")),
            },
        },
    )

    since = {
        "name": "since",
        "in": "query",
        "schema": {"type": "string"},
        "description": "An ETag of the product.",
    }
    spec.path(
        "/products/{sku}/changes",
        parameters=[sku],
        operations={
            "get": {
                "operationId": "listChanges",
                "summary": "Show who has changed what of a product, and when, since it had an ETag.",
                "parameters": [since],
                "responses": _answers(("404",), _200=_answer("The changes.", _ref("ProductChanges"))),
            }
        },
    )


def _describe_documents(spec: APISpec) -> None:
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", **KEY}}
    spec.path(
        "/documents/{name}",
        parameters=[name],
        operations={
            "get": {
                "operationId": "readDocument",
                "summary": "Show a document.",
                "responses": _answers(("404",), _200=_answer("The document.", _ref("Document"))),
            },
            "put": {
                "operationId": "putDocument",
                "summary": "Replace a document, if it still is what the client has seen; or create it.",
                "requestBody": _body("DocumentToPut"),
                "responses": _answers(
                    _WRITING,
                    _200=_answer("The document.", _ref("Document")),
                    _201=_answer("The document, which is new.", _ref("Document")),
                ),
            },
            "delete": {
                "operationId": "deleteDocument",
                "summary": "Delete a document.",
                "responses": _answers(("404",), _204=_answer("It is gone.")),
            },
        },
    )


_spec = _described()
