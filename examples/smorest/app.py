"""Notes by flask-smorest: schemas, a class of views, an OpenAPI document; the table is made by Alembic."""

from flask import Flask
from flask.views import MethodView
from flask_smorest import Api, Blueprint
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema, fields

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.openapi import describe
from flask_etag.sqlalchemy import Versioned

app = Flask(__name__)
app.config.update(
    SQLALCHEMY_DATABASE_URI="sqlite:///notes.db",
    API_TITLE="Notes",
    API_VERSION="1",
    OPENAPI_VERSION="3.1.0",
    OPENAPI_URL_PREFIX="/",  # the document is /openapi.json
)
db = SQLAlchemy(app, session_options={"expire_on_commit": False})
ETag(app)
api = Api(app)
notes = Blueprint("notes", __name__, url_prefix="/notes")


class Note(Versioned, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    body = db.Column(db.Text, nullable=False)


class NoteSchema(Schema):
    id = fields.Integer(dump_only=True)
    body = fields.String(required=True)


@resource
def find_note(note_id) -> Note:
    return db.session.get(Note, note_id)


@notes.route("/<int:note_id>")
class NoteView(MethodView):
    @etag_resource(find_note)  # above what parses and serialises
    @notes.response(200, NoteSchema)
    def get(self, note):
        return note

    @require_if_match(find_note)
    @notes.arguments(NoteSchema)
    @notes.response(200, NoteSchema)
    def put(self, note, changes):
        note.body = changes["body"]
        db.session.commit()
        return note

    @require_if_match(find_note)
    @notes.response(204)
    def delete(self, note):
        db.session.delete(note)
        db.session.commit()


@notes.route("/")
class NotesView(MethodView):
    @notes.arguments(NoteSchema)
    @notes.response(201, NoteSchema)
    def post(self, content):  # overwrites nothing, so it needs no condition
        note = Note(**content)
        db.session.add(note)
        db.session.flush()
        headers = {"Location": f"/notes/{note.id}", "ETag": str(find_note.etag_of(note))}
        db.session.commit()
        return note, headers


api.register_blueprint(notes)
finished = api.spec.to_dict
api.spec.to_dict = lambda: describe(finished(), app)  # and the document says what Flask-ETag adds
