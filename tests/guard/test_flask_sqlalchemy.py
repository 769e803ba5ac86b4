"""One application on Flask-SQLAlchemy, on Flask-SQLAlchemy-Lite and on SQLAlchemy alone: the guard is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
from marshmallow import Schema, fields
from sqlalchemy import Engine, String, create_engine
from sqlalchemy.orm import Mapped, Session, mapped_column, scoped_session, sessionmaker
from werkzeug.test import TestResponse

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.models import Base
from tests.world.racing import Hold, Racer


class Text(Base):
    __abstract__ = True

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    body: Mapped[str] = mapped_column(String(200))


class Article(Versioned, Text):
    __tablename__ = "article"


class Document(Text):
    __tablename__ = "document"


class DocumentSchema(Schema):
    name = fields.String()
    body = fields.String()


def flask_sqlalchemy(app: Flask, url: str) -> tuple[Callable[[], Session], Callable[[], Engine]]:
    db = SQLAlchemy(model_class=Base)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    return db.session, lambda: db.engine


def flask_sqlalchemy_lite(app: Flask, url: str) -> tuple[Callable[[], Session], Callable[[], Engine]]:
    db = SQLAlchemyLite()
    app.config["SQLALCHEMY_ENGINES"] = {"default": url}
    db.init_app(app)
    return lambda: db.session, lambda: db.engine


def sqlalchemy_alone(app: Flask, url: str) -> tuple[Callable[[], Session], Callable[[], Engine]]:
    engine = create_engine(url)
    session = scoped_session(sessionmaker(engine))

    @app.teardown_appcontext
    def remove(error: BaseException | None) -> None:
        session.remove()

    return session, lambda: engine


class Library:
    """The application: it reads, replaces or creates, and deletes what is under a name, of either model."""

    def __init__(self, extension: Callable[[Flask, str], tuple[Callable[[], Session], Any]], url: str) -> None:
        self.app = Flask("library")
        self.app.testing = True
        self.session, self._engine = extension(self.app, url)
        ETag(self.app)
        self._hold = Hold()
        self._serve("/articles", Article, None)
        self._serve("/documents", Document, content_hash(DocumentSchema()))

    def _serve(self, path: str, model: type[Text], etag: Any) -> None:
        @resource(etag=etag)
        def find(name: str) -> Text | None:
            return self.session().get(model, name)

        def read(target: Text) -> dict[str, str]:
            return {"name": target.name, "body": target.body}

        def put(target: Text | None, name: str) -> tuple[dict[str, str], int]:
            status = 200
            if target is None:
                target, status = model(name=name), 201
                self.session().add(target)
            target.body = request.get_data(as_text=True)
            answer = read(target)
            if "Hold" in request.headers:
                self._hold.wait()
            if "Later" not in request.headers:
                self.session().commit()
            return answer, status

        def delete(target: Text) -> tuple[str, int]:
            self.session().delete(target)
            self.session().commit()
            return "", 204

        rule, endpoint = f"{path}/<name>", path.strip("/")
        self.app.get(rule, endpoint=f"read {endpoint}")(etag_resource(find)(read))
        self.app.put(rule, endpoint=f"put {endpoint}")(require_if_match(find, create=True)(put))
        self.app.delete(rule, endpoint=f"delete {endpoint}")(require_if_match(find)(delete))

        @self.app.after_request
        def commit_later(response: Response) -> Response:
            if "Later" in request.headers and response.status_code < 400:
                self.session().commit()
            return response

    def close(self) -> None:
        with self.app.app_context():
            self._engine().dispose()

    def send(self, method: str, path: str, data: str = "", **conditions: str) -> TestResponse:
        headers = {name.replace("_", "-").title(): value for name, value in conditions.items()}
        return self.app.test_client().open(path, method=method, data=data, headers=headers)

    def held(self, method: str, path: str, data: str = "", **conditions: str) -> Racer:
        """Send a request, and return once it waits before its commit; :meth:`release` lets it go on."""
        self._hold = Hold()
        racer = Racer(lambda: self.send(method, path, data, hold="please", **conditions))
        assert self._hold.reached.wait(20)
        return racer

    def release(self) -> None:
        self._hold.released.set()


@pytest.fixture(params=[flask_sqlalchemy, flask_sqlalchemy_lite, sqlalchemy_alone], ids=lambda each: each.__name__)
def library(request: pytest.FixtureRequest, world_url: str) -> Iterator[Library]:
    library = Library(request.param, world_url)
    yield library
    library.close()


pytestmark = pytest.mark.parametrize("world_url", ["sqlite", "postgresql"], indirect=True)
each_model = pytest.mark.parametrize("path", ["/articles/a", "/documents/a"], ids=["version", "content hash"])


@each_model
def test_the_whole_story_of_a_row(library: Library, path: str) -> None:
    assert library.send("GET", path).status_code == 404
    assert library.send("PUT", path, "first").status_code == 428
    assert library.send("PUT", path, "first", if_match="*").status_code == 412
    assert library.send("DELETE", path, if_match="*").status_code == 404

    created = library.send("PUT", path, "first", if_none_match="*")
    assert created.status_code == 201
    read = library.send("GET", path)
    assert (read.status_code, read.json) == (200, {"name": "a", "body": "first"})
    first = read.headers["ETag"]
    assert created.headers["ETag"] == first
    assert library.send("GET", path, if_none_match=first).status_code == 304

    assert library.send("PUT", path, "again", if_none_match="*").status_code == 412
    assert library.send("PUT", path, "second").status_code == 428
    replaced = library.send("PUT", path, "second", if_match=first)
    assert replaced.status_code == 200
    second = replaced.headers["ETag"]
    assert second != first
    assert library.send("GET", path, if_none_match=first).headers["ETag"] == second

    for method in ("PUT", "DELETE"):
        stale = library.send(method, path, "third", if_match=first)
        assert (stale.status_code, stale.headers["ETag"]) == (412, second)
    assert library.send("GET", path).json == {"name": "a", "body": "second"}
    assert library.send("DELETE", path, if_match=second).status_code == 204
    assert library.send("GET", path).status_code == 404


@each_model
@pytest.mark.parametrize("when", ["in the view", "later"])
def test_2_3_of_two_that_create_the_same_one_is_412(library: Library, path: str, when: str) -> None:
    library.app.testing = False  # what is not a 412 is a 500, as in production
    later = {"later": "please"} if when == "later" else {}
    slow = library.held("PUT", path, "slow", if_none_match="*", **later)
    fast = library.send("PUT", path, "fast", if_none_match="*")
    library.release()
    assert fast.status_code == 201
    lost = slow.answer()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"]
    assert lost.json is not None
    assert lost.json["reason"] == "exists"
    assert library.send("GET", path).json == {"name": "a", "body": "fast"}


@pytest.mark.parametrize("when", ["in the view", "later"])
def test_2_1_a_race_that_is_lost_at_the_commit_is_412(library: Library, when: str) -> None:
    path = "/articles/a"
    later = {"later": "please"} if when == "later" else {}
    etag = library.send("PUT", path, "first", if_none_match="*").headers["ETag"]
    slow = library.held("PUT", path, "slow", if_match=etag, **later)
    fast = library.send("PUT", path, "fast", if_match=etag)
    library.release()
    assert fast.status_code == 200
    lost = slow.answer()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"]
    assert library.send("GET", path).json == {"name": "a", "body": "fast"}
    assert library.send("PUT", path, "slow", if_match=lost.headers["ETag"]).status_code == 200


def test_2_2_without_a_version_who_comes_second_waits_and_is_412(library: Library) -> None:
    path = "/documents/a"
    etag = library.send("PUT", path, "first", if_none_match="*").headers["ETag"]
    winner = library.held("PUT", path, "winner", if_match=etag)
    loser = Racer(lambda: library.send("PUT", path, "loser", if_match=etag))
    loser.join(0.1)
    assert loser.response is None
    library.release()
    won, lost = winner.answer(), loser.answer()
    assert (won.status_code, lost.status_code) == (200, 412)
    assert lost.headers["ETag"] == won.headers["ETag"] == library.send("GET", path).headers["ETag"]
    assert library.send("GET", path).json == {"name": "a", "body": "winner"}


@each_model
def test_2_4_a_deletion_that_was_overtaken_is_refused(library: Library, path: str) -> None:
    etag = library.send("PUT", path, "first", if_none_match="*").headers["ETag"]
    assert library.send("PUT", path, "second", if_match=etag).status_code == 200
    assert library.send("DELETE", path, if_match=etag).status_code == 412
    assert library.send("GET", path).json == {"name": "a", "body": "second"}
