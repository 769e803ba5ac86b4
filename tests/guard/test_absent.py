"""A row that is there and stands for nothing: ``absent=``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, Session, mapped_column
from werkzeug.test import TestResponse

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.models import Base
from tests.world.racing import in_thread

NEW = {"If-None-Match": "*"}


class Pinned(Versioned, Base):
    """With a version, and a mark of what is deleted."""

    __tablename__ = "pinned"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="first")
    deleted: Mapped[bool] = mapped_column(default=False)


class Hung(Base):
    """The same, without a version."""

    __tablename__ = "hung"

    name: Mapped[str] = mapped_column(String(20), primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="first")
    deleted: Mapped[bool] = mapped_column(default=False)


class Wall:
    """An application whose rows are marked as deleted, and revived."""

    def __init__(self, url: str, model: Any, *, hides: bool = False) -> None:
        self.app = Flask("wall")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = db = SQLAlchemy(self.app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(self.app)
        self.model = model
        self.meanwhile: Callable[[], object] = lambda: None
        etag = None if model is Pinned else content_hash(lambda each: [each.text, each.deleted])

        @resource(etag=etag, absent=lambda each: each.deleted)
        def find(name: str) -> Pinned | Hung | None:
            found = db.session.get(model, name)
            return None if hides and found is not None and found.deleted else found

        self.find = find

        @self.app.get("/<name>")
        @etag_resource(find)
        def read(found: Any) -> str:
            return str(found.text)

        @self.app.put("/<name>")
        @require_if_match(find, create=True)
        def write(found: Any, name: str) -> tuple[str, int]:
            assert found is None or find.absent_row() is None
            row = found or find.absent_row() or model(name=name)
            self.meanwhile()
            row.text, row.deleted = request.get_data(as_text=True), request.headers.get("Deleted") == "yes"
            db.session.add(row)
            db.session.commit()
            return row.text, 200 if found else 201

        @self.app.delete("/<name>")
        @require_if_match(find)
        def delete(found: Any) -> tuple[str, int]:
            found.deleted = True
            db.session.commit()
            return "", 204

        self.deleted("gone")

    def deleted(self, name: str) -> None:
        with Session(self.engine) as session:
            session.merge(self.model(name=name, deleted=True))
            session.commit()

    @property
    def engine(self) -> Any:
        with self.app.app_context():
            return self.db.engine

    def put(self, text: str, name: str = "gone", **headers: str) -> TestResponse:
        return self.app.test_client().put(f"/{name}", data=text, headers=headers)

    def get(self, name: str = "gone", **headers: str) -> TestResponse:
        return self.app.test_client().get(f"/{name}", headers=headers)

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()


@pytest.fixture(params=[Pinned, Hung])
def wall(request: pytest.FixtureRequest, world_url: str) -> Iterator[Wall]:
    wall = Wall(world_url, request.param)
    yield wall
    wall.close()


def test_it_is_404_to_reads_and_absent_to_if_match(wall: Wall) -> None:
    assert wall.get().status_code == 404
    refused = wall.put("again", **{"If-Match": "*"})
    assert (refused.status_code, refused.json["reason"] if refused.json else None) == (412, "absent")
    assert wall.app.test_client().delete("/gone", headers={"If-Match": '"a"'}).status_code == 404


def test_it_is_revived_by_a_creation(wall: Wall) -> None:
    revived = wall.put("again", **NEW)
    assert revived.status_code == 201
    read = wall.get()
    assert (read.text, read.headers["ETag"]) == ("again", revived.headers["ETag"])
    assert wall.put("once more", **NEW).status_code == 412
    assert wall.put("once more", **{"If-Match": read.headers["ETag"]}).status_code == 200


def test_what_was_never_there_is_made(wall: Wall) -> None:
    made = wall.put("made", "new", **NEW)
    assert (made.status_code, made.headers["ETag"]) == (201, wall.get("new").headers["ETag"])


def test_a_tag_of_before_is_not_good_for_what_is_revived(wall: Wall) -> None:
    made = wall.put("made", "new", **NEW)
    client = wall.app.test_client()
    gone = client.delete("/new", headers={"If-Match": made.headers["ETag"]})
    assert (gone.status_code, "ETag" in gone.headers) == (204, False)
    assert wall.get("new", **{"If-None-Match": made.headers["ETag"]}).status_code == 404
    assert wall.put("other", "new", **NEW).status_code == 201
    assert wall.put("mine", "new", **{"If-Match": made.headers["ETag"]}).status_code == 412


def test_a_write_that_leaves_it_absent_has_no_tag(wall: Wall) -> None:
    left = wall.put("hidden", Deleted="yes", **NEW)
    assert (left.status_code, "ETag" in left.headers) == (201, False)
    revived = wall.put("shown", **NEW)
    hidden = wall.put("hidden", Deleted="yes", **{"If-Match": revived.headers["ETag"]})
    assert (hidden.status_code, "ETag" in hidden.headers) == (200, False)


def test_of_two_that_revive_it_one_is_refused(world_url: str) -> None:
    wall = Wall(world_url, Pinned)  # without a version, the second waits for the first
    first = {"": True}

    def meanwhile() -> None:
        if first.pop("", False):
            in_thread(lambda: answers.append(wall.put("theirs", **NEW)))

    answers: list[TestResponse] = []
    wall.meanwhile = meanwhile
    mine = wall.put("mine", **NEW)
    [theirs] = answers
    assert (theirs.status_code, mine.status_code) == (201, 412)
    assert (mine.json["reason"] if mine.json else None, wall.get().text) == ("exists", "theirs")
    wall.close()


def test_a_row_that_the_loader_hides_is_a_conflict_that_the_log_explains(
    world_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall(world_url, Pinned, hides=True)
    refused = wall.put("again", **NEW)
    assert (refused.status_code, refused.json["reason"] if refused.json else None) == (409, "conflict")
    assert "@resource(absent=lambda row: row.deleted)" in caplog.text
    wall.close()


def test_outside_of_a_request_there_is_none(world_url: str) -> None:
    wall = Wall(world_url, Pinned)
    with pytest.raises(RuntimeError, match="request context"):
        wall.find.absent_row()
    wall.close()


def test_it_takes_a_function() -> None:
    with pytest.raises(TypeError, match="absent= takes a function"):
        resource(absent="deleted")  # type: ignore[call-overload]
