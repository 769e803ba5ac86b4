from pathlib import Path

from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint
from marshmallow import Schema, fields

from flask_etag import ConditionalRequestError, etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, make, prepare, remove, save

blueprint = Blueprint("notes", "notes", url_prefix="/notes")


class NoteSchema(Schema):
    body = fields.String(required=True)


# [views]
@blueprint.route("/<int:note_id>")
class NoteView(MethodView):
    @etag_resource(find_note)
    @blueprint.response(200, NoteSchema)
    def get(self, note):
        return note

    @require_if_match(find_note)
    @blueprint.arguments(NoteSchema)
    @blueprint.response(200, NoteSchema)
    def put(self, note, content):
        return save(note, content["body"])

    # [end]

    @require_if_match(find_note)
    @blueprint.response(204)
    def delete(self, note: Note) -> None:
        remove(note)


@blueprint.route("", methods=["POST"])
@blueprint.arguments(NoteSchema)
@blueprint.response(201, NoteSchema)
def make_note(content):
    note, fields = make(content["body"])
    return note, fields


def create_app(folder: Path) -> Flask:
    app = Flask("flask_smorest")
    app.config.update(API_TITLE="Notes", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    app.config.update(OPENAPI_URL_PREFIX="/", OPENAPI_JSON_PATH="openapi.json")
    prepare(app, folder)
    api = Api(app)
    api.register_blueprint(blueprint)
    # [openapi]
    finished = api.spec.to_dict
    api.spec.to_dict = lambda: describe(finished())
    # [end]
    app.extensions["api"] = api
    return app


def answer_in_its_format(app: Flask) -> None:
    api = app.extensions["api"]

    # [errors]
    @app.errorhandler(ConditionalRequestError)
    def answer_refusal(error):
        body, status, _ = api.handle_http_exception(error)
        members = {name: error.problem().get(name) for name in ("reason", "etag", "items")}
        fields = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return body | members, status, fields

    # [end]
