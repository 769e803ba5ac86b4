"""Notes in a table, read and saved under their version."""

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///notes.db"
db = SQLAlchemy(app, session_options={"expire_on_commit": False})
ETag(app)


class Note(Versioned, db.Model):  # a column "version", which never repeats
    id = db.Column(db.Integer, primary_key=True)
    body = db.Column(db.Text, nullable=False)


@resource
def find_note(note_id) -> Note:  # what the URL names, and how to load it
    return db.get_or_404(Note, note_id)


@app.get("/notes/<int:note_id>")
@etag_resource(find_note)  # ETag on the answer; 304 before the view runs
def read_note(note):
    return {"body": note.body}


@app.put("/notes/<int:note_id>")
@require_if_match(find_note)  # 428 without If-Match, 412 when another was first
def replace_note(note):
    if not (isinstance(request.json, dict) and isinstance(request.json.get("body"), str)):
        abort(400, "A note is an object that has a body, a text.")
    note.body = request.json["body"]
    db.session.commit()
    return {"body": note.body}


with app.app_context():  # the table and a first note, for the first start
    db.create_all()
    if db.session.get(Note, 1) is None:
        db.session.add(Note(id=1, body="first"))
        db.session.commit()
