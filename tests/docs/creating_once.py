"""To create once: a table of the keys that clients make up, written in the transaction that creates."""

import json
from hashlib import sha256
from typing import Any

from flask import Flask, abort, request, url_for
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_etag import ETag, etag_resource, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


class Note(Versioned, Base):
    __tablename__ = "note"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLite would give a deleted id to the next note

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(Text)


class Creation(Base):
    """What was created for a key. A nightly job deletes the old ones; say how old, and clients can rely on it."""

    __tablename__ = "creation"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)  # a digest, of the user too
    request: Mapped[str] = mapped_column(String(64))  # the digest of its body: one key is for one request
    note_id: Mapped[int | None] = mapped_column(ForeignKey("note.id", ondelete="SET NULL"))


def create_app(url: str) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    ETag(app)

    @resource
    def find_note(note_id: int) -> Note | None:
        return db.session.get(Note, note_id)

    @app.get("/notes/<int:note_id>")
    @etag_resource(find_note)
    def read_note(note: Note) -> dict[str, Any]:
        return {"body": note.body}

    def create(key: str, digest: str, body: str) -> Note | None:
        """Create what the key is for; return nothing if another request with it was first."""
        creation = Creation(key=key, request=digest)
        db.session.add(creation)
        try:
            db.session.flush()  # whoever comes second waits here, until the first one is done
        except IntegrityError:
            db.session.rollback()
            return None
        note = Note(body=body)
        db.session.add(note)
        db.session.flush()
        creation.note_id = note.id
        return note

    @app.post("/notes")
    def create_note() -> Any:
        name, sent = request.headers.get("Idempotency-Key", ""), request.get_json()
        if not 1 <= len(name) <= 100:
            abort(400, "Idempotency-Key is missing, or too long.")
        if not (isinstance(sent, dict) and isinstance(sent.get("body"), str)):
            abort(400, "A note is an object that has a body, a text.")
        # Of two users, none gets what is the other's. A digest is short, and no collation takes two for one.
        key = sha256(json.dumps([request.headers.get("User", ""), name]).encode()).hexdigest()
        digest = sha256(request.get_data()).hexdigest()
        known, status = db.session.get(Creation, key), 200
        if known is None:
            try:
                note, status = create(key, digest, sent["body"]), 201
            except OperationalError as error:
                if error.connection_invalidated:
                    raise  # there is no database
                db.session.rollback()  # several have waited for one that was rolled back: MariaDB says deadlock
                return (
                    {"message": "The database gave it up, for another with this key, perhaps. Send it again."},
                    409,
                    {"Retry-After": "1"},
                )
            known = None if note else db.session.get_one(Creation, key)
        if known is not None:
            if known.request != digest:
                abort(422, "This Idempotency-Key was sent with another content.")
            note, status = find_note(known.note_id or 0), 200
        if note is None:
            abort(410, "It was created, and deleted since.")
        headers = {"Location": url_for("read_note", note_id=note.id), "ETag": str(find_note.etag_of(note))}
        answer = {"body": note.body}
        db.session.commit()
        return answer, status, headers

    return app
