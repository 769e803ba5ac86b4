from pathlib import Path
from typing import Any

from flask import Flask
from flask_restful import Api, Resource, fields, marshal_with, reqparse

from flask_etag import etag_resource, require_if_match
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

arguments = reqparse.RequestParser()
arguments.add_argument("body", required=True, location="json")
shape = {"body": fields.String}


# [views]
class NoteView(Resource):
    @etag_resource(find_note)
    @marshal_with(shape)
    def get(self, note):
        return note

    @require_if_match(find_note)
    @marshal_with(shape)
    def put(self, note):
        return save(note, arguments.parse_args()["body"])

    # [end]

    @require_if_match(find_note)
    def delete(self, note: Note) -> tuple[None, int]:
        remove(note)
        return None, 204


class NotesView(Resource):
    @marshal_with(shape)
    def post(self):
        note, fields = make(arguments.parse_args()["body"])
        return note, 201, fields


def create_app(folder: Path, errors: dict[str, Any] | None = None) -> Flask:
    app = Flask("flask_restful")
    prepare(app, folder)
    api = Api(app, errors=errors)
    api.add_resource(NoteView, "/notes/<int:note_id>")
    api.add_resource(NotesView, "/notes")
    return app
