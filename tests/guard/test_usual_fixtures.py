"""The fixtures that tests of applications usually have: all goes as it does without a guard.

Those of SQLAlchemy's recipe alone are in ``test_isolated_tests``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import sqlalchemy
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from werkzeug.test import TestResponse

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from tests.conftest import KINDS
from tests.world.application import begin_for_real
from tests.world.board import Checked
from tests.world.models import Base, Comment, Memo

IN_MEMORY = "sqlite://"
JOINED = {"join_transaction_mode": "create_savepoint"}


class Application:
    """One application, with views that are guarded and with the same that are not."""

    def __init__(self, kind: type[SQLAlchemy] | type[SQLAlchemyLite], url: str, model: Any) -> None:
        self.model = model
        self.app = Flask("application")
        self.app.testing = True
        self.app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINES={"default": url})
        self.db: Any = (
            SQLAlchemy(model_class=Base, session_options=JOINED) if kind is SQLAlchemy else SQLAlchemyLite()
        )
        self.db.init_app(self.app)
        ETag(self.app)
        find = resource(etag=content_hash(lambda each: each.text) if model is Memo else None)(
            lambda number: self.session.get(model, number)
        )

        def write(found: Any, number: int) -> tuple[str, int]:
            status = 200 if found else 201
            if request.method == "DELETE":
                self.session.delete(found)
            else:
                if found is None:
                    found = model(id=number)
                    self.session.add(found)
                found.text = request.get_data(as_text=True)
                if found.text == "a mistake":
                    self.session.add_all([Comment(body="same"), Comment(body="same")])
            try:
                self.session.commit()
            except IntegrityError:
                self.session.rollback()
                return "a mistake", 422
            return ("", 204) if request.method == "DELETE" else (found.text, status)

        def write_plainly(number: int) -> tuple[str, int]:
            return write(self.session.get(model, number), number)

        self.app.add_url_rule("/<int:number>", "read", etag_resource(find)(lambda found: found.text))
        guarded = require_if_match(find, create=True)(write)
        self.app.add_url_rule("/<int:number>", "write", guarded, methods=["PUT", "DELETE"])
        self.app.add_url_rule("/plain/<int:number>", "plain", write_plainly, methods=["PUT", "DELETE"])

    @property
    def session(self) -> Session:
        found: Session = self.db.session
        return found

    @property
    def engine(self) -> Engine:
        with self.app.app_context():
            found: Engine = self.db.engine
            return found

    def send(self, method: str, number: int = 1, body: str = "", **conditions: str) -> TestResponse:
        headers = {name.replace("_", "-").title(): value for name, value in conditions.items()}
        return self.app.test_client().open(f"/{number}", method=method, data=body, headers=headers)


# The fixtures: each a context manager around the test.


@contextmanager
def a_context_around_the_test(application: Application) -> Iterator[None]:
    """As in most tutorials: tables are made for each test, whose requests share its session."""
    with application.app.app_context():
        Base.metadata.create_all(application.db.engine)
        yield
        application.session.close()
        Base.metadata.drop_all(application.db.engine)


@contextmanager
def a_context_for_the_tables(application: Application) -> Iterator[None]:
    """As Flask's own tutorial has it: each request, and each look of the test's, has a context of its own."""
    with application.app.app_context():
        Base.metadata.create_all(application.db.engine)
    yield
    with application.app.app_context():
        Base.metadata.drop_all(application.db.engine)


@contextmanager
def a_session_on_one_connection(application: Application) -> Iterator[None]:
    """The session of Flask-SQLAlchemy is replaced by one that is joined to a transaction of the test's."""
    connection = application.engine.connect()
    transaction = connection.begin()
    replaced = application.db.session
    application.db.session = scoped_session(
        sessionmaker(connection, join_transaction_mode="create_savepoint"), scopefunc=lambda: 1
    )
    try:
        yield
        application.db.session.remove()
        assert transaction.is_active
    finally:
        application.db.session = replaced
        transaction.rollback()
        connection.close()


@contextmanager
def an_engine_that_is_one_connection(application: Application) -> Iterator[None]:
    """In the place of Flask-SQLAlchemy's engine there is a connection whose transaction the test has begun."""
    engine = application.engine
    connection = engine.connect()
    transaction = connection.begin()
    with application.app.app_context():
        engines = application.db.engines
    engines[None] = connection
    try:
        yield
        assert transaction.is_active
    finally:
        engines[None] = engine
        transaction.rollback()
        connection.close()


def of_lite(application: Application) -> AbstractContextManager[None]:
    """Flask-SQLAlchemy-Lite's own."""
    if sqlalchemy.__version__ >= "2.1":
        pytest.skip("On SQLAlchemy 2.1 this fixture of Flask-SQLAlchemy-Lite recurses for ever, also without us")
    isolation: AbstractContextManager[None] = application.db.test_isolation()
    return isolation


FRESH = [a_context_around_the_test, a_context_for_the_tables]
ROLLED_BACK = [
    (SQLAlchemy, a_session_on_one_connection),
    (SQLAlchemy, an_engine_that_is_one_connection),
    (SQLAlchemyLite, of_lite),
]
Fixture = Callable[[Application], AbstractContextManager[None]]


@pytest.fixture(params=[Checked, Memo])
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[SQLAlchemy, SQLAlchemyLite], ids=["Flask-SQLAlchemy", "Flask-SQLAlchemy-Lite"])
def in_memory(request: pytest.FixtureRequest, model: Any) -> Iterator[Application]:
    application = Application(request.param, IN_MEMORY, model)
    yield application
    application.engine.dispose()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, world_on: Callable[[str], str]) -> str:
    return world_on(request.param)


def goes_as_without(application: Application) -> None:
    """Save, be refused, create, delete, and make a mistake; then see that a view without a guard does the same."""
    send = application.send
    with application.app.app_context():
        application.session.add(application.model(id=1, text="made by the test"))
        application.session.commit()
    for body in ("one", "two"):
        seen = send("GET").headers["ETag"]
        assert send("GET", if_none_match=seen).status_code == 304
        assert send("PUT", body=body).status_code == 428
        saved = send("PUT", body=body, if_match=seen)
        assert (saved.status_code, saved.headers["ETag"]) == (200, send("GET").headers["ETag"])
        assert send("PUT", body="stale", if_match=seen).status_code == 412
        assert send("PUT", body="a mistake", if_match=saved.headers["ETag"]).status_code == 422
        assert send("GET").text == body
        assert application.app.test_client().put("/plain/1", data=f"plain {body}").text == f"plain {body}"
        assert send("GET").text == f"plain {body}"
    made = send("PUT", 2, "made", if_none_match="*")
    assert (made.status_code, made.headers["ETag"]) == (201, send("GET", 2).headers["ETag"])
    assert send("PUT", 2, "again", if_none_match="*").status_code == 412
    assert send("PUT", 2, "any", if_match="*").status_code == 200
    assert send("DELETE", 2, if_match=made.headers["ETag"]).status_code == 412
    assert send("DELETE", 2, if_match=send("GET", 2).headers["ETag"]).status_code == 204
    assert send("GET", 2).status_code == 404
    with application.app.app_context():
        texts = application.session.scalars(select(application.model.text)).all()
        assert (texts, application.session.scalars(select(Comment)).all()) == (["plain two"], [])


@pytest.mark.parametrize("fixture", FRESH, ids=lambda each: each.__name__)
def test_tables_that_are_made_for_each_test_in_memory(in_memory: Application, fixture: Fixture) -> None:
    for _ in range(2):
        with fixture(in_memory):
            goes_as_without(in_memory)


@pytest.mark.parametrize(("kind", "fixture"), ROLLED_BACK, ids=lambda each: each.__name__)
def test_a_transaction_that_is_rolled_back_after_the_test(
    url: str, model: Any, kind: Any, fixture: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    application = Application(kind, url, model)
    if url.startswith("sqlite"):
        begin_for_real(application.engine)
    with fixture(application):
        goes_as_without(application)
    assert "is not committed" not in caplog.text  # the test never does
    with application.engine.connect() as other:
        assert other.scalar(select(func.count()).select_from(model)) == 0
    application.engine.dispose()


@pytest.mark.parametrize("condition", ['"stale"', "good"])
def test_rows_that_the_test_has_only_flushed_are_there_for_its_requests(
    in_memory: Application, condition: str
) -> None:
    """The requests share the session of a context that the test has pushed, and its transaction."""
    with a_context_around_the_test(in_memory):
        in_memory.session.add_all([in_memory.model(id=1, text="flushed"), Comment(body="beside")])
        in_memory.session.flush()
        tag = in_memory.send("GET").headers["ETag"]
        refused = in_memory.send("PUT", body="mine", if_match='"stale"')
        assert refused.status_code == 412
        assert in_memory.session.scalars(select(Comment.body)).all() == ["beside"]
        assert in_memory.send("PUT", body="mine", if_match=tag if condition == "good" else "*").status_code == 200
        assert in_memory.session.scalars(select(Comment.body)).all() == ["beside"]
        assert in_memory.send("GET").text == in_memory.session.get_one(in_memory.model, 1).text == "mine"
