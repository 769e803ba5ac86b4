from pathlib import Path

from flask import Flask, request
from flask_restx import Api, Resource, fields

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

api = Api()
shape = api.model("Note", {"body": fields.String(required=True)})


# [views]
@api.route("/notes/<int:note_id>")
class NoteView(Resource):
    @etag_resource(find_note)
    @api.marshal_with(shape)
    def get(self, note):
        return note

    @require_if_match(find_note)
    @api.expect(shape, validate=True)
    @api.marshal_with(shape)
    def put(self, note):
        return save(note, request.json["body"])

    # [end]

    @require_if_match(find_note)
    @api.response(204, "Deleted")
    def delete(self, note: Note) -> tuple[None, int]:
        remove(note)
        return None, 204


@api.route("/notes")
class NotesView(Resource):
    @api.expect(shape, validate=True)
    @api.marshal_with(shape, code=201)
    def post(self):
        note, fields = make(request.json["body"])
        return note, 201, fields


def create_app(folder: Path) -> Flask:
    app = Flask("flask_restx")
    prepare(app, folder)
    api.init_app(app)
    # [openapi]
    with app.test_request_context():
        describe(api.__schema__)
    # [end]
    return app
