"""An application with notes and papers, whose views can be held between their check and their commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from flask_etag import ETag, Resource, content_hash, etag_resource, require_if_match, resource, version_column
from tests.world.models import Base, Note, Paper
from tests.world.racing import WAIT, Hold, Racer, in_thread, named


def dump(paper: Paper) -> dict[str, Any]:
    return {"name": paper.name, "body": paper.body, "price": paper.price, "made_at": paper.made_at}


class World:
    """The application, with note 1 and the paper "plan" in it; the tags of papers are hashes of their content.

    :param url: of a database with the tables and no rows: the fixtures ``world_url`` and ``world_on`` give one.
    :param recipe: SQLAlchemy's recipe for SQLite is followed, so that its transactions have their own BEGIN.
    """

    isolation_level: str | None = None
    in_savepoint = False

    def __init__(
        self, url: str, recipe: bool = False, config: dict[str, Any] | None = None, **engine_options: Any
    ) -> None:
        self.db = db = SQLAlchemy(model_class=Base)
        self.app = Flask("world", static_folder=None)
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options
        self.app.config.update(config or {})
        db.init_app(self.app)
        ETag(self.app)
        self.holds: dict[str, Hold] = {}
        self._racers: list[tuple[Racer, Hold]] = []
        if recipe:
            begin_for_real(self.engine)
        self._serve_notes()
        self._serve_papers()
        with self.app.app_context():
            db.session.add_all([Note(id=1, body="first"), Paper(name="plan", body="first")])
            db.session.commit()

    def _serve_notes(self) -> None:
        db = self.db

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

    def _serve_papers(self) -> None:
        db = self.db

        @resource(etag=content_hash(dump))
        def find_paper(name: str) -> Paper | None:
            return db.session.get(Paper, name)

        @resource(etag=version_column("revision"))
        def find_revision(name: str) -> Paper | None:
            return db.session.get(Paper, name)

        self.find_paper = find_paper
        self.find_revision = find_revision

        @self.app.get("/papers/<name>")
        @etag_resource(find_paper)
        def read_paper(paper: Paper) -> dict[str, str]:
            return {"body": paper.body}

        @self.app.put("/papers/<name>")
        @require_if_match(find_paper, create=True)
        def replace_paper(paper: Paper | None, name: str) -> tuple[str, int]:
            status = 201 if paper is None else 200
            if paper is None:
                paper = Paper(name=name)
                db.session.add(paper)
            self.hold("before commit")
            paper.body = request.get_data(as_text=True)
            db.session.commit()
            return "", status

        @self.app.delete("/papers/<name>")
        @require_if_match(find_paper)
        def delete_paper(paper: Paper) -> tuple[str, int]:
            self.hold("before commit")
            db.session.delete(paper)
            db.session.commit()
            return "", 204

    @property
    def engine(self) -> Engine:
        with self.app.app_context():
            return self.db.engine

    def close(self) -> None:
        for racer, hold in self._racers:  # of a test that failed
            hold.released.set()
            racer.join(WAIT)
        with self.app.app_context():
            self.db.session.remove()
            self.db.engine.dispose()

    # Requests that are held.

    def hold(self, place: str) -> None:
        """Wait, where the request asks for it with a field ``Hold``."""
        name = request.headers.get("Hold")
        if name == place:
            self.holds[name].wait()

    def held(self, place: str, send: Callable[[], TestResponse]) -> tuple[Racer, Hold]:
        """Send a request in its own thread, and return once it waits in its view."""
        hold = self.holds[place] = Hold()
        racer = Racer(send)
        self._racers.append((racer, hold))
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

    # Note 1.

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

    # The paper "plan", and others.

    def put_paper_view(self, view: Any, found: Any = None) -> None:
        """Serve PUT /other/<name> by another view."""
        self.app.put("/other/<string:name>", endpoint="other")(require_if_match(found or self.find_paper)(view))

    def get_paper(self, name: str = "plan", **headers: str) -> TestResponse:
        return self.app.test_client().get(f"/papers/{name}", headers=named(headers))

    def put_paper(self, body: str, name: str = "plan", **headers: str) -> TestResponse:
        return self.put(body, f"/papers/{name}", **headers)

    def delete_paper(self, name: str = "plan", **headers: str) -> TestResponse:
        return self.app.test_client().delete(f"/papers/{name}", headers=named(headers))

    def paper_etag(self) -> str:
        return self.get_paper().headers["ETag"]

    def paper_body(self) -> str:
        answer = self.get_paper()
        return str(answer.json["body"]) if answer.json else ""

    def write_elsewhere(self, body: str) -> None:
        """Be another writer of the paper, who commits at once."""

        def write() -> None:
            with Session(self.engine) as session:
                session.get_one(Paper, "plan").body = body
                session.commit()

        in_thread(write)


def begin_for_real(engine: Any) -> None:
    """Follow SQLAlchemy's recipe for SQLite: the driver commits by itself, and each transaction has its BEGIN."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
