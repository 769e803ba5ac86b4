"""What the log says of a conflict that no decorated view has met."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import ETag, WriteConflict
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


class Plain(Versioned, Base):
    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")


@pytest.fixture
def overtaken(tmp_path: Path) -> Iterator[Flask]:
    """An application with a view that is not decorated, and always overtaken."""
    app = Flask("overtaken")
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'plain.db'}"
    db = SQLAlchemy(app, model_class=Base)
    ETag(app)

    @app.put("/overtaken")
    def replace() -> str:
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

    @app.put("/broken")
    def fail() -> str:
        raise ValueError

    with app.app_context():
        db.create_all()
        db.session.add(Plain(id=1))
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
