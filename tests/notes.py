"""An application with one versioned model, whose views can be held between their check and their commit."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.test import TestResponse

from flask_etag import ETag, Resource, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

WAIT = 20  # seconds, after which a test that is stuck fails


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(200))
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))


class Shelf(Base):
    """Something that holds notes, of which these do not know in Python."""

    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    notes: Mapped[list[Note]] = relationship(cascade="all, delete-orphan")


class Comment(Base):
    __tablename__ = "comment"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(200), unique=True)


class Hold:
    """A place in a view where a request waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = Event()
        self.released = Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.released.wait(WAIT)


class Racer(Thread):
    """A request in a thread, and so on a connection, of its own."""

    def __init__(self, send: Callable[[], TestResponse]) -> None:
        super().__init__(daemon=True)
        self._send = send
        self.response: TestResponse | None = None
        self.start()

    def run(self) -> None:
        self.response = self._send()

    def answer(self) -> TestResponse:
        self.join(WAIT)
        assert self.response is not None
        return self.response


class Notes:
    """The application, and note 1 in it."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        self.db = db = SQLAlchemy(model_class=Base)
        self.app = Flask("notes")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options
        db.init_app(self.app)
        ETag(self.app)
        self.holds: dict[str, Hold] = {}

        @resource
        def find_note(note_id: int) -> Note | None:
            return db.session.get(Note, note_id)

        self.find_note: Resource[[int], Any] = find_note  # a test may set another

        @self.app.get("/notes/<int:note_id>")
        @etag_resource(find_note)
        def read_note(note: Note) -> dict[str, str]:
            return {"body": note.body}

        @self.app.put("/notes/<int:note_id>")
        @require_if_match(find_note)
        def replace_note(note: Note) -> dict[str, str]:
            self.hold("before commit")
            note.body = request.get_data(as_text=True)
            db.session.commit()
            self.hold("after commit")
            return {"body": note.body}

        @self.app.delete("/notes/<int:note_id>")
        @require_if_match(find_note)
        def delete_note(note: Note) -> tuple[str, int]:
            self.hold("before commit")
            db.session.delete(note)
            db.session.commit()
            return "", 204

        with self.app.app_context():
            Base.metadata.create_all(db.engine)
            db.session.add(Note(id=1, body="first"))
            db.session.commit()

    @property
    def engine(self) -> Engine:
        with self.app.app_context():
            return self.db.engine

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()

    def hold(self, place: str) -> None:
        """Wait, where the request asks for it with a field ``Hold``."""
        name = request.headers.get("Hold")
        if name == place:
            self.holds[name].wait()

    def put_view(self, view: Any) -> None:
        """Serve PUT /other/1 by another view."""
        self.app.put("/other/<int:note_id>")(require_if_match(self.find_note)(view))

    def get(self, **headers: str) -> TestResponse:
        return self.app.test_client().get("/notes/1", headers=named(headers))

    def put(self, body: str, path: str = "/notes/1", **headers: str) -> TestResponse:
        return self.app.test_client().put(path, data=body, headers=named(headers))

    def delete(self, **headers: str) -> TestResponse:
        return self.app.test_client().delete("/notes/1", headers=named(headers))

    def etag(self) -> str:
        return self.get().headers["ETag"]

    def body(self) -> str:
        answer = self.get()
        return str(answer.json["body"]) if answer.json else ""

    def held(self, place: str, send: Callable[[], TestResponse]) -> tuple[Racer, Hold]:
        """Send a request in its own thread, and return once it waits in its view."""
        hold = self.holds[place] = Hold()
        racer = Racer(send)
        assert hold.reached.wait(WAIT)
        return racer, hold

    def overtaken(self) -> tuple[TestResponse, TestResponse]:
        """Hold PUT /other/1 in its view while another PUT commits with the same tag; return both answers."""
        etag = self.etag()
        slow, hold = self.held(
            "before commit", lambda: self.put("", "/other/1", if_match=etag, hold="before commit")
        )
        fast = self.put("fast", if_match=etag)
        assert fast.status_code == 200
        hold.released.set()
        return slow.answer(), fast


def named(headers: dict[str, str]) -> dict[str, str]:
    """Spell fields as HTTP does: ``if_match`` is ``If-Match``."""
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
