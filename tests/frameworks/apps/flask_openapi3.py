from pathlib import Path

from flask_openapi3 import APIBlueprint, OpenAPI
from pydantic import BaseModel

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

blueprint = APIBlueprint("notes", __name__, url_prefix="/notes")


class NotePath(BaseModel):
    note_id: int


class NoteBody(BaseModel):
    body: str


# [views]
@blueprint.get("/<int:note_id>", responses={200: NoteBody})
@etag_resource(find_note)
def read_note(note, path: NotePath):
    return {"body": note.body}


@blueprint.put("/<int:note_id>", responses={200: NoteBody})
@require_if_match(find_note)
def replace_note(note, path: NotePath, body: NoteBody):
    return {"body": save(note, body.body).body}


# [end]


@blueprint.delete("/<int:note_id>", responses={204: None})
@require_if_match(find_note)
def delete_note(note: Note, path: NotePath) -> tuple[str, int]:
    remove(note)
    return "", 204


@blueprint.post("", responses={201: NoteBody})
def make_note(body: NoteBody):
    note, fields = make(body.body)
    return {"body": note.body}, 201, fields


def create_app(folder: Path) -> OpenAPI:
    app = OpenAPI("flask_openapi3", security_schemes={})
    prepare(app, folder)
    app.register_api(blueprint)
    # [openapi]
    describe(app.api_doc, app)
    # [end]
    return app
