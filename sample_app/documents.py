"""Documents: they have no version column, so that their tag is the hash of their content."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from flask_etag import content_hash, etag_resource, require_if_match, resource
from sample_app.content import read_object
from sample_app.models import Document, session
from sample_app.schemas import document_schema, is_key

documents = Blueprint("documents", __name__, url_prefix="/documents")


@resource(etag=content_hash(document_schema))
def find_document(name: str) -> Document | None:
    """Load the document that a URL names."""
    return session().get(Document, name) if is_key(name) else None


@documents.get("/<name>")
@etag_resource(find_document)
def read_document(document: Document) -> Response:
    """Show a document, by the text that was hashed for its tag."""
    return Response(find_document.content_of(document), mimetype="application/json")


@documents.put("/<name>")
@require_if_match(find_document, create=True)
def put_document(document: Document | None, name: str) -> tuple[dict[str, Any], int]:
    """Replace a document, if it still is what the client has seen; or create it."""
    members = document_schema.load({**read_object(), "name": name})
    status = 201 if document is None else 200
    document = document or Document()
    for member, value in members.items():
        setattr(document, member, value)
    session().add(document)
    session().commit()
    return document_schema.dump(document), status


@documents.delete("/<name>")
@require_if_match(find_document)
def delete_document(document: Document) -> tuple[str, int]:
    """Delete a document."""
    session().delete(document)
    session().commit()
    return "", 204
