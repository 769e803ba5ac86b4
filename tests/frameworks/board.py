"""What the applications of this folder have in common: a board of notes, and a place where two writers meet."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_etag import ETag, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

two_writers = Barrier(2, timeout=20)
"""Where two requests that say ``Meet`` wait for each other: both are judged by then, and neither has written."""


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@resource
def find_note(note_id: int) -> Note:
    return db.get_or_404(Note, note_id)


def prepare(app: Flask, folder: Path) -> None:
    """Bring a database with one note to an application."""
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'board.db'}"
    db.init_app(app)
    ETag(app)
    with app.app_context():
        db.create_all()
        db.session.add(Note(id=1, body="first"))
        db.session.commit()


def save(note: Note, body: str) -> Note:
    if "Meet" in request.headers:
        two_writers.wait()
    note.body = body
    db.session.commit()
    return note


def make(body: str) -> tuple[Note, dict[str, str]]:
    """Make a note; return it, and the fields of the 201, whose tag is taken before anybody else can change it."""
    note = Note(body=body)
    db.session.add(note)
    db.session.flush()
    fields = {"Location": f"/notes/{note.id}", "ETag": str(find_note.etag_of(note))}
    db.session.commit()
    return note, fields


def remove(note: Note) -> None:
    db.session.delete(note)
    db.session.commit()
