from pathlib import Path

from flask import Blueprint, Flask
from pydantic import BaseModel
from spectree import Response, SpecTree

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

blueprint = Blueprint("notes", __name__, url_prefix="/notes")
spec = SpecTree("flask")


class NoteBody(BaseModel):
    body: str


# [views]
@blueprint.get("/<int:note_id>")
@etag_resource(find_note)
@spec.validate(resp=Response(HTTP_200=NoteBody))
def read_note(note):
    return {"body": note.body}


@blueprint.put("/<int:note_id>")
@require_if_match(find_note)
@spec.validate(resp=Response(HTTP_200=NoteBody))
def replace_note(note, json: NoteBody):
    return {"body": save(note, json.body).body}


# [end]


@blueprint.delete("/<int:note_id>")
@require_if_match(find_note)
@spec.validate(resp=Response("HTTP_204"))
def delete_note(note: Note) -> tuple[str, int]:
    remove(note)
    return "", 204


@blueprint.post("")
@spec.validate(resp=Response(HTTP_201=NoteBody))
def make_note(json: NoteBody):
    note, fields = make(json.body)
    return {"body": note.body}, 201, fields


def create_app(folder: Path) -> Flask:
    app = Flask("spectree")
    prepare(app, folder)
    app.register_blueprint(blueprint)
    spec.register(app)
    # [openapi]
    with app.app_context():
        describe(spec.spec)
    # [end]
    return app
