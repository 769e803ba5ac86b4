from pathlib import Path

from apiflask import APIBlueprint, APIFlask, HTTPError, Schema
from apiflask.fields import String

from flask_etag import ConditionalRequestError, etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

blueprint = APIBlueprint("notes", __name__, url_prefix="/notes")


class NoteSchema(Schema):
    body = String(required=True)


# [views]
@blueprint.get("/<int:note_id>")
@etag_resource(find_note)
@blueprint.output(NoteSchema)
def read_note(note):
    return note


@blueprint.put("/<int:note_id>")
@require_if_match(find_note)
@blueprint.input(NoteSchema)
@blueprint.output(NoteSchema)
def replace_note(note, json_data):
    return save(note, json_data["body"])


# [end]


@blueprint.delete("/<int:note_id>")
@require_if_match(find_note)
@blueprint.output({}, status_code=204)
def delete_note(note: Note) -> str:
    remove(note)
    return ""


@blueprint.post("")
@blueprint.input(NoteSchema)
@blueprint.output(NoteSchema, status_code=201)
def make_note(json_data):
    note, fields = make(json_data["body"])
    return note, 201, fields


def create_app(folder: Path) -> APIFlask:
    app = APIFlask("apiflask")
    prepare(app, folder)
    app.register_blueprint(blueprint)
    # [openapi]
    app.spec_processor(describe)
    # [end]
    return app


def answer_in_its_format(app: APIFlask) -> None:
    # [errors]
    @app.errorhandler(ConditionalRequestError)
    def answer_refusal(error):
        members = {name: error.problem().get(name) for name in ("reason", "etag", "items")}
        fields = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return app.error_callback(HTTPError(error.code, error.name, error.description, fields, members))

    # [end]
