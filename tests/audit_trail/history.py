"""An audit trail: SQLAlchemy-Continuum keeps each state of a note, and the signal who has made it of which."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from flask import Flask, abort, g, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, String, Text, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, configure_mappers, mapped_column
from sqlalchemy_continuum import make_versioned, version_class

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.decisions import Decision, decided
from flask_etag.sqlalchemy import Versioned, etag_of_version, is_etag_of_version

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
    """Who has made one state of another, by which request: by versions, which no new key or epoch changes."""

    __tablename__ = "edge"

    version: Mapped[str] = mapped_column(String(36), primary_key=True)
    before: Mapped[str | None] = mapped_column(String(36))
    user: Mapped[str | None] = mapped_column(String(100))
    request: Mapped[str] = mapped_column(String(200))
    at: Mapped[datetime] = mapped_column(DateTime)


configure_mappers()
NoteVersion: Any = version_class(Note)


@resource
def find_note(note_id: int) -> Note | None:
    return db.session.get(Note, note_id)


def dump(note: Any) -> dict[str, Any]:
    return {"title": note.title, "body": note.body}


def states_of(note_id: int) -> list[Any]:
    """Return what the library has kept of each state, the oldest first."""
    kept = select(NoteVersion).filter_by(id=note_id).order_by(NoteVersion.transaction_id)
    return [state for state in db.session.scalars(kept) if state.operation_type != 2]  # not a deletion


def index_of(etag: str, states: list[Any]) -> int:
    """Return which of the states a tag names, as a client has kept it."""
    named = [n for n, state in enumerate(states) if is_etag_of_version(etag, Note, state.id, state.version)]
    return named[-1] if named else abort(404, "No state of it has had this ETag.")


def edges_to(states: list[Any]) -> dict[str, Edge]:
    """Return who has made each of the states, by their versions and in their order, as far as it is known."""
    versions = [state.version for state in states]
    edges = {edge.version: edge for edge in db.session.scalars(select(Edge).where(Edge.version.in_(versions)))}
    return {version: edges[version] for version in versions if version in edges}


def keep_edge(app: Flask, decision: Decision) -> None:
    """Note who has made what of what; in a transaction of its own, since the write is committed already."""
    if decision.outcome != "accepted" or decision.resource != "find_note" or decision.etag is None:
        return
    states = states_of((request.view_args or {})["note_id"])
    made = index_of(decision.etag, states)
    with Session(db.engine) as session:
        if session.get(Edge, states[made].version) is None:  # what was saved as it was has no new author
            edge = Edge(version=states[made].version, user=g.get("user"), at=datetime.now(UTC))
            if made and request.headers.get("If-None-Match") != "*":  # not made anew, nor older than the history
                edge.before = states[made - 1].version
            edge.request = f"{request.method} {request.path}"[:200]
            session.add(edge)
            session.commit()


def create_app(url: str, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(config, SQLALCHEMY_DATABASE_URI=url)
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
        sent = request.get_json()
        if not (isinstance(sent, dict) and all(isinstance(sent.get(name, ""), str) for name in ("title", "body"))):
            abort(400, "A note is an object; its title and its body are texts.")
        note = note or Note(id=note_id)
        db.session.add(note)
        note.title, note.body = sent.get("title", note.title), sent.get("body", note.body)
        db.session.commit()
        return dump(note)

    @app.get("/notes/<int:note_id>/history")
    def read_history(note_id: int) -> list[dict[str, Any]]:
        """Answer each state with its tag, and who has made it."""
        states = states_of(note_id)
        edges = edges_to(states)
        return [
            {
                "etag": str(etag_of_version(Note, note_id, state.version)),
                **dump(state),
                "at": state.transaction.issued_at.isoformat(),
                "by": edges[state.version].user if state.version in edges else None,
                "request": edges[state.version].request if state.version in edges else None,
            }
            for state in states
        ]

    @app.get("/notes/<int:note_id>/as-of")
    def read_as_of(note_id: int) -> dict[str, Any]:
        """Answer the note as it was under a tag."""
        states = states_of(note_id)
        return dump(states[index_of(request.args["etag"], states)])

    @app.get("/notes/<int:note_id>/changes")
    def read_changes(note_id: int) -> dict[str, Any]:
        """Answer what has changed since a tag that was refused, and by whom: all that a three-way merge needs."""
        states = states_of(note_id)
        since = index_of(request.args["since"], states)
        if find_note(note_id) is None:
            abort(410, "It was deleted since.")
        base, theirs = dump(states[since]), dump(states[-1])
        edges = edges_to(states[since + 1 :]).values()
        return {
            "etag": str(etag_of_version(Note, note_id, states[-1].version)),
            "base": base,
            "theirs": theirs,
            "changed": [name for name in base if base[name] != theirs[name]],
            "by": [{"user": edge.user, "at": edge.at.isoformat(), "request": edge.request} for edge in edges],
        }

    return app
