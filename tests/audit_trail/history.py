"""An audit trail: SQLAlchemy-Continuum keeps each state of a note, and the signal who has made it of which."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Flask, abort, g, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, String, Text, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    configure_mappers,
    make_transient_to_detached,
    mapped_column,
)
from sqlalchemy_continuum import make_versioned, version_class

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.decisions import Decision, decided
from flask_etag.sqlalchemy import Versioned

make_versioned(user_cls=None)


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


class Note(Versioned, Base):
    __tablename__ = "note"
    __versioned__: ClassVar[dict[str, Any]] = {}  # Continuum keeps each state in note_version, with its version

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(String(100), default="")
    body: Mapped[str] = mapped_column(Text, default="")


class Edge(Base):
    """Who has made one state of another, by which request."""

    __tablename__ = "edge"

    id: Mapped[int] = mapped_column(primary_key=True)
    before: Mapped[str | None] = mapped_column(String(100))  # If-Match, as it came
    after: Mapped[str] = mapped_column(String(100), index=True)
    user: Mapped[str | None] = mapped_column(String(100))
    request: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(DateTime)


configure_mappers()
NoteVersion: Any = version_class(Note)


@resource
def find_note(note_id: int) -> Note | None:
    return db.session.get(Note, note_id)


def dump(note: Note) -> dict[str, Any]:
    return {"title": note.title, "body": note.body}


def states_of(note_id: int) -> Iterator[tuple[str, Note, datetime]]:
    """Yield the tag, the note as it was, and since when, of each state, the oldest first."""
    kept = select(NoteVersion).filter_by(id=note_id).order_by(NoteVersion.transaction_id)
    for row in db.session.scalars(kept):
        if row.operation_type != 2:  # not a deletion
            past = Note(id=row.id, title=row.title, body=row.body, version=row.version)
            make_transient_to_detached(past)  # as one that was loaded: it has its key, and so a tag
            yield str(find_note.etag_of(past)), past, row.transaction.issued_at


def state_named(note_id: int, etag: str) -> Note:
    """Return the note as it was under a tag, of whatever representation: the first half is the state's."""
    named = [past for tag, past, _ in states_of(note_id) if tag[:33] == etag[:33]]
    return named[-1] if named else abort(404, "No state of it has had this ETag.")


def keep_edge(app: Flask, decision: Decision) -> None:
    """Note who has made what of what; in a transaction of its own, since the write is committed already."""
    has_changed = decision.etag not in (None, decision.sent)  # what was saved as it was has no new author
    if decision.outcome == "accepted" and has_changed and decision.resource == "find_note":
        with Session(db.engine) as session:
            edge = Edge(before=decision.sent, after=decision.etag, user=g.get("user"), at=datetime.now(UTC))
            edge.request = f"{request.method} {request.path}"
            session.add(edge)
            session.commit()


def create_app(url: str) -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    ETag(app)
    decided.connect(keep_edge, app)

    @app.before_request
    def note_user() -> None:
        g.user = request.headers.get("User")

    @app.get("/notes/<int:note_id>")
    @etag_resource(find_note)
    def read_note(note: Note) -> dict[str, Any]:
        return dump(note)

    @app.put("/notes/<int:note_id>")
    @require_if_match(find_note, create=True)
    def replace_note(note: Note | None, note_id: int) -> dict[str, Any]:
        note = note or Note(id=note_id)
        db.session.add(note)
        for name, value in request.get_json().items():
            setattr(note, name, value)
        db.session.commit()
        return dump(note)

    @app.get("/notes/<int:note_id>/history")
    def read_history(note_id: int) -> list[dict[str, Any]]:
        """Answer each state with its tag, and who has made it."""
        edges = {edge.after: edge for edge in db.session.scalars(select(Edge))}
        return [
            {
                "etag": tag,
                **dump(past),
                "at": since.isoformat(),
                "by": edges[tag].user if tag in edges else None,
                "request": edges[tag].request if tag in edges else None,
            }
            for tag, past, since in states_of(note_id)
        ]

    @app.get("/notes/<int:note_id>/as-of")
    def read_as_of(note_id: int) -> dict[str, Any]:
        """Answer the note as it was under a tag."""
        return dump(state_named(note_id, request.args["etag"]))

    @app.get("/notes/<int:note_id>/changes")
    def read_changes(note_id: int) -> dict[str, Any]:
        """Answer what has changed since a tag that was refused, and by whom: all that a three-way merge needs."""
        states = list(states_of(note_id))
        tags = [tag[:33] for tag, _, _ in states]
        since = request.args["since"][:33]
        if since not in tags:
            abort(404, "No state of it has had this ETag.")
        later = [tag for tag, _, _ in states[tags.index(since) + 1 :]]
        base, (etag, now, _) = dump(states[tags.index(since)][1]), states[-1]
        theirs = dump(now)
        edges = db.session.scalars(select(Edge).where(Edge.after.in_(later)).order_by(Edge.id))
        return {
            "etag": etag,
            "base": base,
            "theirs": theirs,
            "changed": [name for name in base if base[name] != theirs[name]],
            "by": [{"user": edge.user, "at": edge.at.isoformat(), "request": edge.request} for edge in edges],
        }

    return app
