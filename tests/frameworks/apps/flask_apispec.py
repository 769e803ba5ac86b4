from pathlib import Path

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from flask_apispec import FlaskApiSpec, MethodResource, marshal_with, use_kwargs
from marshmallow import Schema, fields

from flask_etag import etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save


class NoteSchema(Schema):
    body = fields.String(required=True)


# [views]
class NoteView(MethodResource):
    @etag_resource(find_note)
    @marshal_with(NoteSchema, code=200)
    def get(self, note):
        return note

    @require_if_match(find_note)
    @use_kwargs(NoteSchema)
    @marshal_with(NoteSchema, code=200)
    def put(self, note, **content):
        return save(note, content["body"])

    # [end]

    @require_if_match(find_note)
    def delete(self, note: Note) -> tuple[str, int]:
        remove(note)
        return "", 204


class NotesView(MethodResource):
    @use_kwargs(NoteSchema)
    @marshal_with(NoteSchema, code=201)
    def post(self, **content):
        note, fields = make(content["body"])
        return note, 201, fields


def create_app(folder: Path) -> Flask:
    app = Flask("flask_apispec")
    app.config["APISPEC_SPEC"] = APISpec("Notes", "1", "2.0", plugins=[MarshmallowPlugin()])
    app.config["APISPEC_SWAGGER_URL"] = "/openapi.json"
    prepare(app, folder)
    docs = FlaskApiSpec(app)
    app.add_url_rule("/notes/<int:note_id>", view_func=NoteView.as_view("note"))
    docs.register(NoteView, endpoint="note")
    app.add_url_rule("/notes", view_func=NotesView.as_view("notes"))
    # [openapi]
    finished = docs.spec.to_dict
    docs.spec.to_dict = lambda: describe(finished())
    # [end]
    return app
