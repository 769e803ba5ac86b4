"""An application with models that have no version, whose views can be held between check and commit."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from threading import Thread
from typing import Any

from flask import request
from sqlalchemy import ForeignKey, Numeric, String, event, func
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship
from werkzeug.test import TestResponse

from flask_etag import content_hash, etag_resource, require_if_match, resource, version_column
from tests.notes import WAIT, Base, Notes, named


class Paper(Base):
    __tablename__ = "paper"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    body: Mapped[str] = mapped_column(String(200))
    price: Mapped[Decimal] = mapped_column(Numeric(10, 2), default=Decimal(0))
    made_at: Mapped[datetime] = mapped_column(server_default=func.current_timestamp())
    revision: Mapped[int] = mapped_column(default=1)
    remarks: Mapped[list[Remark]] = relationship(cascade="all, delete-orphan")


class Remark(Base):
    __tablename__ = "remark"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(200))
    paper_name: Mapped[str] = mapped_column(ForeignKey("paper.name"))


def dump(paper: Paper) -> dict[str, Any]:
    return {"name": paper.name, "body": paper.body, "price": paper.price, "made_at": paper.made_at}


class Papers(Notes):
    """The application, and the paper "plan" in it; its tags are hashes of the content."""

    isolation_level: str | None = None
    in_savepoint = False

    def __init__(self, url: str, recipe: bool = False, **engine_options: Any) -> None:
        super().__init__(url, **engine_options)
        db = self.db
        if recipe:
            with self.app.app_context():
                begin_for_real(db.engine)

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

        with self.app.app_context():
            db.session.add(Paper(name="plan", body="first"))
            db.session.commit()

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
        """Be another writer, who commits at once."""

        def write() -> None:
            with Session(self.engine) as session:
                session.get_one(Paper, "plan").body = body
                session.commit()

        writer = Thread(target=write)
        writer.start()
        writer.join(WAIT)
        assert not writer.is_alive()


def begin_for_real(engine: Any) -> None:
    """Follow SQLAlchemy's recipe for SQLite: the driver commits by itself, and each transaction has its BEGIN."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    engine.dispose()
