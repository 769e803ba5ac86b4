"""A conflict at a row that is none of a decorated view's target: of a view without a decorator, and of a read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import ETag, WriteConflict, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


class Plain(Versioned, Base):
    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")


def write_while_locked(db: SQLAlchemy) -> str:
    with db.engine.connect() as other:
        other.exec_driver_sql("BEGIN IMMEDIATE")
        db.session.execute(text("PRAGMA busy_timeout = 1"))
        db.session.get_one(Plain, 1).text = "mine"
        db.session.commit()
    return ""


@pytest.fixture
def overtaken(tmp_path: Path) -> Iterator[Flask]:
    """An application with a view that is not decorated, and always overtaken."""
    app = Flask("overtaken")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'plain.db'}"
    db = SQLAlchemy(app, model_class=Base)
    ETag(app)

    def write_too_late() -> str:
        plain = db.session.get_one(Plain, 1)
        db.session.commit()
        assert plain.text is not None
        db.session.expunge(plain)
        db.session.rollback()
        with Session(db.engine) as rival:
            rival.get_one(Plain, 1).text += "theirs "
            rival.commit()
        db.session.add(plain)
        plain.text = "mine"
        db.session.commit()
        return ""

    app.put("/overtaken", endpoint="replace")(write_too_late)

    @app.put("/broken")
    def fail() -> str:
        raise ValueError

    def write_behind(error: type[Exception]) -> str:
        """Do so, and let a mistake of the view's own hide it."""
        try:
            return write_too_late()
        except StaleDataError as stale:
            raise error from stale

    def merge() -> str:
        db.session.merge(Plain(id=1, text="mine", version="of long ago"))
        return ""

    @resource
    def find() -> Plain:
        return db.session.get_one(Plain, 2)

    @resource
    def find_all() -> list[Plain]:
        return list(db.session.scalars(select(Plain)))

    view: Any = etag_resource(find)(lambda _: write_too_late())
    app.get("/one", endpoint="one")(view)
    app.get("/all", endpoint="all")(etag_resource(find_all)(lambda _: write_too_late()))
    app.get("/body", endpoint="body")(etag_resource(write_too_late))
    app.get("/mistaken", endpoint="mistaken")(etag_resource(find)(lambda _: write_behind(ValueError)))
    app.get("/merged", endpoint="merged")(etag_resource(find)(lambda _: merge()))
    app.put("/calls", endpoint="calls")(require_if_match(find)(lambda _: view()))
    app.get("/locked", endpoint="locked")(etag_resource(find)(lambda _: write_while_locked(db)))

    @app.errorhandler(WriteConflict)
    def answer(conflict: WriteConflict) -> Any:
        """Look at the database for the answer, which takes a session that can be used."""
        return {"reason": conflict.reason, "found": db.session.get_one(Plain, 1).text}, 409

    with app.app_context():
        db.create_all()
        db.session.add_all([Plain(id=1), Plain(id=2)])
        db.session.commit()
    yield app
    with app.app_context():
        db.engine.dispose()


def test_it_names_the_endpoint_once_and_says_what_a_version_changes(
    overtaken: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    client = overtaken.test_client()
    assert [client.put(path).status_code for path in ("/overtaken", "/overtaken", "/broken")] == [500] * 3
    [record] = [record for record in caplog.records if record.name == "flask_etag"]
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert message.startswith("replace: another writer was first, and a StaleDataError has left this view.")
    assert "__unversioned__" in message


def test_it_is_silent_where_the_application_handles_it(overtaken: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @overtaken.errorhandler(StaleDataError)
    def answer(_: StaleDataError) -> Any:
        return WriteConflict()

    answered = overtaken.test_client().put("/overtaken")
    assert (answered.status_code, answered.json["reason"] if answered.json else None) == (409, "conflict")
    assert not [record for record in caplog.records if record.name == "flask_etag"]


@pytest.mark.parametrize("path", ["/one", "/all", "/body"])
def test_a_read_that_writes_another_row_meets_no_server_error(
    overtaken: Flask, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    client = overtaken.test_client()
    for found in ("theirs ", "theirs theirs "):
        answered = client.get(path)
        assert (answered.status_code, answered.json) == (409, {"reason": "conflict", "found": found})
        assert "ETag" not in answered.headers
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    [message] = [message for message in told if "has met another writer there" in message]
    assert message.startswith(f"{path[1:]}: a read that writes a row which has a version")
    assert "__unversioned__" in message


@pytest.mark.parametrize("path", ["/one", "/all", "/body"])
def test_where_the_application_handles_the_error_it_is_the_application_s(overtaken: Flask, path: str) -> None:
    overtaken.register_error_handler(SQLAlchemyError, lambda error: (type(error).__name__, 503))
    overtaken.register_error_handler(Exception, lambda _: ("any", 500))
    answered = overtaken.test_client().get(path)
    assert (answered.status_code, answered.text) == (503, "StaleDataError")


def test_a_handler_for_each_exception_is_none_for_this(overtaken: Flask) -> None:
    overtaken.register_error_handler(Exception, lambda _: ("any", 500))
    assert overtaken.test_client().get("/one").status_code == 409


def test_nor_where_it_waits_in_vain(overtaken: Flask, caplog: pytest.LogCaptureFixture) -> None:
    answered = overtaken.test_client().get("/locked")
    assert (answered.status_code, answered.json) == (409, {"reason": "busy", "found": ""})
    assert "another writer" not in caplog.text


@pytest.mark.parametrize(("path", "error"), [("/mistaken", ValueError), ("/merged", StaleDataError)])
def test_what_is_a_mistake_of_its_own_stays_one(overtaken: Flask, path: str, error: type[Exception]) -> None:
    overtaken.testing = True
    with pytest.raises(error):
        overtaken.test_client().get(path)


def test_within_a_write_it_is_the_write_that_is_refused(overtaken: Flask) -> None:
    client = overtaken.test_client()
    answered = client.put("/calls", headers={"If-Match": "*"})
    assert (answered.status_code, answered.json) == (409, {"reason": "conflict", "found": "theirs "})
