from pathlib import Path

from apispec import APISpec
from apispec_webframeworks.flask import FlaskPlugin
from flask import Flask, abort, request

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save


# [views]
@etag_resource(find_note)
def read_note(note):
    """---
    get:
      parameters: [{name: note_id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: The note.}}
    """
    return {"body": note.body}


# [end]


@require_if_match(find_note)
def replace_note(note: Note) -> dict[str, str]:
    """---
    put:
      parameters: [{name: note_id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: The note.}}
    """
    body = request.get_json().get("body")
    if not isinstance(body, str):
        abort(422, "The member body is missing.")
    return {"body": save(note, body).body}


@require_if_match(find_note)
def delete_note(note: Note) -> tuple[str, int]:
    """---
    delete:
      parameters: [{name: note_id, in: path, required: true, schema: {type: integer}}]
      responses: {"204": {description: Deleted.}}
    """
    remove(note)
    return "", 204


def make_note():
    note, fields = make(request.get_json()["body"])
    return {"body": note.body}, 201, fields


def create_app(folder: Path) -> Flask:
    app = Flask("apispec")
    prepare(app, folder)
    rule = "/notes/<int:note_id>"
    spec = APISpec("Notes", "1", "3.1.0", plugins=[FlaskPlugin()])
    with app.test_request_context():
        for method, view in (("GET", read_note), ("PUT", replace_note), ("DELETE", delete_note)):
            app.add_url_rule(rule, view_func=view, methods=[method])
            spec.path(view=view, app=app)
    # [openapi]
    document = describe(spec.to_dict(), app)
    # [end]
    app.add_url_rule("/notes", view_func=make_note, methods=["POST"])
    app.add_url_rule("/openapi.json", "document", lambda: document)
    return app
