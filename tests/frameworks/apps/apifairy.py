from pathlib import Path

from apifairy import APIFairy, body, response
from flask import Blueprint, Flask
from flask_marshmallow import Marshmallow
from marshmallow import fields

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

blueprint = Blueprint("notes", __name__, url_prefix="/notes")


marshmallow = Marshmallow()


class NoteSchema(marshmallow.Schema):
    body = fields.String(required=True)


# [views]
@blueprint.get("/<int:note_id>")
@etag_resource(find_note)
@response(NoteSchema)
def read_note(note):
    return note


@blueprint.put("/<int:note_id>")
@require_if_match(find_note)
@body(NoteSchema)
@response(NoteSchema)
def replace_note(note, content):
    return save(note, content["body"])


# [end]


@blueprint.delete("/<int:note_id>")
@require_if_match(find_note)
def delete_note(note: Note) -> tuple[str, int]:
    remove(note)
    return "", 204


@blueprint.post("")
@body(NoteSchema)
@response(NoteSchema, 201)
def make_note(content):
    note, fields = make(content["body"])
    return note, 201, fields


def create_app(folder: Path) -> Flask:
    app = Flask("apifairy")
    app.config.update(APIFAIRY_TITLE="Notes", APIFAIRY_VERSION="1", APIFAIRY_APISPEC_PATH="/openapi.json")
    prepare(app, folder)
    app.register_blueprint(blueprint)
    # [openapi]
    APIFairy(app).process_apispec(describe)
    # [end]
    return app
