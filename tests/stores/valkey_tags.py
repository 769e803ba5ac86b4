"""Notes in a database, and the versions of those read lately in Valkey or Redis: a 304 asks no database."""

import os
from datetime import timedelta
from typing import Any

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from redis import Redis, RedisError
from sqlalchemy.orm import DeclarativeBase, Mapped, make_transient_to_detached, mapped_column

from flask_etag import ETag, decided, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

SLOWEST = timedelta(
    seconds=float(os.environ.get("SLOWEST", "2"))
)  # that a read may take, with all that a replica may be behind
KEPT = timedelta(seconds=60)  # the bound of last resort
PATIENCE = 0.1  # seconds, after which Valkey is left alone
CHANGED = b""  # in the place of a version: nobody may keep one yet


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(default=0)


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()  # FLASK_ETAG_KEY, say
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE"]
    db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
    ETag(app)
    address = os.environ["STORE"]
    versions: Any = Redis.from_url(address, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE)

    @resource
    def find_note(note_id: int) -> Note | None:  # for writes, and nothing else knows what is current
        return db.session.get(Note, note_id)

    @resource
    def find_note_to_read(note_id: int) -> Note | None:
        key = f"note:{note_id}"
        try:
            version = versions.get(key)
        except RedisError:  # it is away
            return find_note(note_id)
        if version:
            known = Note(id=note_id, version=version.decode())  # all that its tag is made of
            make_transient_to_detached(known)
            tag = str(find_note.etag_of(known))
            if request.headers.get("If-None-Match") in (tag, f"W/{tag}"):
                return known  # 304: the view, which would need the rest, does not run
        note = find_note(note_id)
        if note is not None and version is None:
            try:
                versions.set(key, note.version, nx=True, px=KEPT)
            except RedisError:
                app.logger.warning("The version of %s is not kept", key)
        return note

    @app.get("/notes/<int:note_id>")
    @etag_resource(find_note_to_read)
    def read_note(note: Note) -> Any:
        return {"number": note.number}

    @app.put("/notes/<int:note_id>")
    @require_if_match(find_note)
    def replace_note(note: Note) -> Any:
        sent = request.get_json()
        if not (isinstance(sent, dict) and type(sent.get("number")) is int and abs(sent["number"]) < 2**31):
            abort(400, "A note is an object that has a number.")
        note.number = sent["number"]
        db.session.commit()
        return {"number": note.number}

    @app.delete("/notes/<int:note_id>")
    @require_if_match(find_note)
    def delete_note(note: Note) -> tuple[str, int]:
        db.session.delete(note)
        db.session.commit()
        return "", 204

    @decided.connect_via(app)
    def forget(app: Flask, decision: Any) -> None:
        nothing_is_done = decision.outcome == "refused" and decision.reason != "partial"
        if request.method not in ("GET", "HEAD") and not nothing_is_done:
            versions.set(f"note:{(request.view_args or {})['note_id']}", CHANGED, px=SLOWEST)

    return app
