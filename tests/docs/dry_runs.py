"""A dry run: the client asks by ``Prefer: tx=rollback`` what its save would come to, and nothing is saved."""

from typing import Any

from flask import Flask, Response, abort, g, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, Text, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.http import parse_list_header

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(Text)


def is_dry_run() -> bool:
    """Tell whether nothing is to be saved; names may be in capitals, and the first of two counts (RFC 7240)."""
    for preference in parse_list_header(request.headers.get("Prefer", "")):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "tx":
            return request.method not in ("GET", "HEAD") and value.strip(' "') == "rollback"
    return False


def commit_unless_dry() -> None:
    """End the transaction; what the view is going to answer has to be made before, since this may undo it."""
    if is_dry_run():
        db.session.rollback()
        g.is_tried_out = True
    else:
        db.session.commit()


@event.listens_for(Engine, "commit")
def refuse_to_save(connection: Connection) -> None:
    """Let nobody commit by whatever session or connection: such a view was never made to be tried out."""
    if has_request_context() and is_dry_run():
        connection.connection.rollback()  # SQLAlchemy does not, if this event raises
        g.is_refused = True
        abort(501)


def tell_of_dry_run(response: Response) -> Response:
    if "is_refused" in g and "is_tried_out" not in g:  # whatever the view has made of that
        return Response("This cannot be tried out, since it commits by itself.", 501)
    if is_dry_run() and response.status_code < 500 and ("is_tried_out" in g or response.status_code >= 400):
        response.headers["Preference-Applied"] = "tx=rollback"
        response.headers["Cache-Control"] = "no-store"
        if response.status_code < 300:
            response.headers.pop("ETag", None)  # the state that it speaks of is nowhere
    return response


def create_app(url: str) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    ETag(app)
    app.after_request(tell_of_dry_run)

    @resource
    def find_note(note_id: int) -> Note | None:
        return db.session.get(Note, note_id)

    @app.get("/notes/<int:note_id>")
    @etag_resource(find_note)
    def read_note(note: Note) -> dict[str, Any]:
        return {"body": note.body}

    @app.put("/notes/<int:note_id>")
    @require_if_match(find_note, create=True)
    def replace_note(note: Note | None, note_id: int) -> tuple[dict[str, Any], int]:
        sent = request.get_json()
        if not (isinstance(sent, dict) and isinstance(sent.get("body"), str)):
            abort(400, "A note is an object that has a body, a text.")
        status = 200 if note else 201
        if note is None:
            note = Note(id=note_id)
            db.session.add(note)
        note.body = sent["body"]
        db.session.flush()  # here the database refuses what is stale
        answer = {"body": note.body}
        commit_unless_dry()
        return answer, status

    @app.delete("/notes/<int:note_id>")
    @require_if_match(find_note)
    def delete_note(note: Note) -> tuple[str, int]:
        db.session.delete(note)
        db.session.flush()
        commit_unless_dry()
        return "", 204

    return app
