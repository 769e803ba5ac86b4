"""An application whose tests run in a transaction that is rolled back at the end: SQLAlchemy's own recipe.

A session is joined to a connection whose transaction the test has begun; what the application commits is a
savepoint in that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy import Connection, Engine, create_engine, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import scoped_session, sessionmaker
from werkzeug.test import TestResponse

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from tests.conftest import KINDS
from tests.world.application import begin_for_real
from tests.world.board import Checked, Counted
from tests.world.models import Comment, Memo


class Joined:
    """An application whose sessions use whatever connection they are given."""

    def __init__(self, engine: Engine, model: Any, mode: Any) -> None:
        self.engine, self.model = engine, model
        self.session = scoped_session(sessionmaker(join_transaction_mode=mode))
        self.app = Flask("joined")
        self.app.testing = True
        ETag(self.app)
        self.app.teardown_appcontext(lambda _: self.session.remove())
        etag = content_hash(lambda each: each.text) if model is Memo else None
        find = resource(etag=etag)(lambda number: self.session.get(model, number))
        self.app.add_url_rule("/<int:number>", "read", etag_resource(find)(lambda each: each.text))

        @require_if_match(find, create=True)
        def write(found: Any, number: int) -> str:
            return self.write(found, number)

        self.app.add_url_rule("/<int:number>", "write", write, methods=["PUT"])
        self.change: Callable[[Any], object] | None = None

    def write(self, found: Any, number: int) -> str:
        if found is None:
            found = self.model(id=number)
            self.session.add(found)
        if self.change is None:
            found.text = request.get_data(as_text=True)
        else:
            self.change(found)
        self.session.commit()
        return str(found.text)

    def put(self, body: str, tag: str, number: int = 1) -> TestResponse:
        return self.app.test_client().put(f"/{number}", data=body, headers={"If-Match": tag})

    def get(self, number: int = 1) -> TestResponse:
        return self.app.test_client().get(f"/{number}")

    def count(self) -> int:
        with self.engine.connect() as other:
            return int(other.scalar(select(func.count()).select_from(self.model)) or 0)


@pytest.fixture(params=KINDS)
def engine(request: pytest.FixtureRequest, world_on: Callable[[str], str]) -> Iterator[Engine]:
    engine = create_engine(world_on(request.param))
    if request.param == "sqlite":
        begin_for_real(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=[Checked, Counted, Memo])
def joined(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Joined]:
    """An application in a test of its own, whose rows are of the test, and which leaves none."""
    joined = Joined(engine, request.param, "create_savepoint")
    connection = engine.connect()
    transaction = connection.begin()
    joined.session.configure(bind=connection)
    joined.session.add(request.param(id=1, text="made by the test"))
    joined.session.commit()
    joined.session.remove()
    yield joined
    joined.session.remove()
    assert transaction.is_active
    transaction.rollback()
    connection.close()
    assert joined.count() == 0


def test_saves_good_and_stale_are_answered_as_ever(joined: Joined, caplog: pytest.LogCaptureFixture) -> None:
    for body in ("one", "two", "three"):
        seen = joined.get().headers["ETag"]
        saved = joined.put(body, seen)
        assert (saved.status_code, joined.get().text) == (200, body)
        assert saved.headers["ETag"] == joined.get().headers["ETag"] != seen
        assert joined.put("stale", seen).status_code == 412
        assert joined.get().text == body
    assert "is not committed" not in caplog.text


def test_a_save_that_names_no_state_takes_what_is_there(joined: Joined) -> None:
    assert joined.put("one", "*").status_code == 200
    assert joined.get().text == "one"


def test_what_is_made_is_a_row_of_the_test(joined: Joined) -> None:
    client = joined.app.test_client()
    made = client.put("/2", data="made", headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["ETag"]) == (200, joined.get(2).headers["ETag"])
    assert client.put("/2", data="again", headers={"If-None-Match": "*"}).status_code == 412
    assert joined.get(2).text == "made"


def test_a_refusal_costs_the_test_no_rows(joined: Joined) -> None:
    """Another has written in the same transaction, as another request of the test may."""

    def lose(found: Any) -> None:
        joined.session.rollback()
        model = joined.model
        moved = {Checked: {"version": "moved"}, Counted: {"revision": Counted.revision + 1}}.get(model, {})
        bind: Any = joined.session.get_bind()
        bind.exec_driver_sql(f"UPDATE {model.__tablename__} SET text = 'theirs'")
        if moved:
            values = "version = 'moved'" if model is Checked else "revision = revision + 1"
            bind.exec_driver_sql(f"UPDATE {model.__tablename__} SET {values}")
        joined.session.get_one(model, 1).text = "mine"

    joined.change = lose
    answer = joined.put("", joined.get().headers["ETag"])
    assert (answer.status_code, joined.get().text) == (412, "theirs")
    assert answer.headers["ETag"] == joined.get().headers["ETag"]
    assert joined.put("", joined.get(1).headers["ETag"]).status_code in {200, 412}


def test_a_mistake_of_the_view_s_own_costs_the_test_no_rows(joined: Joined) -> None:
    def add_twice(found: Any) -> None:
        with suppress(IntegrityError), joined.session.begin_nested():
            joined.session.add_all([Comment(body="same"), Comment(body="same")])
        found.text = "mine"

    joined.change = add_twice
    seen = joined.get().headers["ETag"]
    answer = joined.put("", seen)
    assert (answer.status_code, joined.get().text) == (200, "mine")
    assert answer.headers["ETag"] == joined.get().headers["ETag"] != seen


def test_a_statement_of_the_view_s_own_moves_the_tag(joined: Joined) -> None:
    joined.change = lambda _: joined.session.execute(update(joined.model).values(text="in bulk"))
    seen = joined.get().headers["ETag"]
    answer = joined.put("", seen)
    assert (answer.status_code, joined.get().text) == (200, "in bulk")
    assert answer.headers["ETag"] == joined.get().headers["ETag"] != seen


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("mode", ["conditional_savepoint", "create_savepoint", "rollback_only"])
def test_a_connection_that_was_written_to_before_its_session_joins_it(
    engine: Engine, model: Any, mode: str
) -> None:
    """A log of requests, say, on the connection of the request: it is committed with what the view writes."""
    joined = Joined(engine, model, mode)
    joined.session.configure(bind=engine)
    joined.session.add(model(id=1, text="first"))
    joined.session.commit()
    joined.session.remove()
    seen = joined.get().headers["ETag"]
    with engine.connect() as connection, connection.begin():
        connection.execute(insert(Comment).values(body="log"))
        joined.session.configure(bind=connection)
        answer = joined.put("second", seen)
        assert answer.status_code == 200
        joined.session.remove()
    joined.session.configure(bind=engine)
    assert joined.get().text == "second"
    assert answer.headers["ETag"] == joined.get().headers["ETag"]
    with engine.connect() as connection:
        assert connection.scalars(select(Comment.body)).all() == ["log"]
    joined.session.remove()


def deferred_on(connection: Connection) -> None:
    """Make a table whose foreign key is looked at by COMMIT alone."""
    connection.exec_driver_sql(
        "CREATE TABLE late (comment_id integer REFERENCES comment (id) DEFERRABLE INITIALLY DEFERRED)"
    )


@pytest.mark.parametrize("model", [Checked, Memo])
def test_p2_a_later_commit_of_other_rows_that_fails_takes_nothing_back(
    world_on: Callable[[str], str], model: Any
) -> None:
    """By a session that is bound to one connection: its commits are all of that."""
    engine = create_engine(world_on("postgresql"))
    with engine.begin() as connection:
        deferred_on(connection)
    joined = Joined(engine, model, "conditional_savepoint")
    connection = engine.connect()
    joined.session.configure(bind=connection)
    joined.session.add(model(id=1, text="first"))
    joined.session.commit()

    def change(found: Any) -> None:
        found.text = "mine"
        joined.session.commit()
        assert found.text == "mine"
        joined.session.connection().exec_driver_sql("INSERT INTO late VALUES (77)")
        with pytest.raises(IntegrityError):
            joined.session.commit()
        joined.session.rollback()

    joined.change = change
    try:
        answer = joined.put("", joined.get().headers["ETag"])
        assert (answer.status_code, joined.get().text) == (200, "mine")
        assert answer.headers.get("ETag") == joined.get().headers["ETag"]
    finally:
        joined.session.remove()
        connection.close()
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE late")
        engine.dispose()


@pytest.mark.parametrize("model", [Checked, Memo])
def test_a_mistake_on_the_connection_of_the_test_breaks_that_and_changes_nothing(
    world_on: Callable[[str], str], model: Any
) -> None:
    """PostgreSQL takes nothing more then, not even a savepoint; the view has swallowed why."""
    engine = create_engine(world_on("postgresql"))
    joined = Joined(engine, model, "create_savepoint")
    with engine.connect() as connection, connection.begin():
        joined.session.configure(bind=connection)
        joined.session.add(model(id=1, text="made by the test"))
        joined.session.commit()
        seen = joined.get().headers["ETag"]

        def write(found: Any, number: int) -> str:
            joined.session.commit()
            with suppress(ProgrammingError):
                connection.execute(text(f"UPDATE {model.__tablename__} SET nothing = 1"))
            return "not saved"

        joined.write = write  # type: ignore[method-assign]
        answer = joined.put("", seen)
        assert (answer.status_code, answer.text) == (200, "not saved")
    engine.dispose()
