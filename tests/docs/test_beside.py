"""The triggers of docs/beside.md: whoever writes, the version moves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, text, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.test import TestResponse

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests import ROOT
from tests.conftest import KINDS

PAGE = (ROOT / "docs" / "beside.md").read_text()
TRIGGERS = {
    heading.lower(): block.split("\n\n")
    for heading, block in re.findall(r"^### (\w+)\n\n```\w*sql\n(.*?)\n```", PAGE, re.DOTALL | re.MULTILINE)
}


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"
    __unversioned__ = frozenset({"visits"})

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(String(200), default="")
    body: Mapped[str | None] = mapped_column(String(200))
    visits: Mapped[int] = mapped_column(default=0)


class Desk:
    """An application whose table has the triggers of the page."""

    def __init__(self, kind: str, url: str) -> None:
        self.db = db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
        self.app = Flask("desk")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        db.init_app(self.app)
        ETag(self.app)

        @resource
        def find_note(note_id: int) -> Note:
            return db.get_or_404(Note, note_id)

        @self.app.get("/<int:note_id>")
        @etag_resource(find_note)
        def read(note: Note) -> str:
            return str(note.body)

        @self.app.put("/<int:note_id>")
        @require_if_match(find_note)
        def replace(note: Note) -> str:
            self.change(note)
            db.session.commit()
            return ""

        self.change: Callable[[Note], object] = lambda note: setattr(note, "body", request.get_data(True, True))
        self.execute(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, title VARCHAR(200) NOT NULL DEFAULT '', "
            "body VARCHAR(200), visits INTEGER NOT NULL DEFAULT 0, version VARCHAR(36))",
            *TRIGGERS[kind],
            "INSERT INTO note (id, body) VALUES (1, 'first'), (2, 'second')",
        )

    def execute(self, *statements: str) -> None:
        with self.app.app_context(), self.db.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement.replace(":=", "\\:=")))

    def versions(self) -> list[Any]:
        with self.app.app_context(), self.db.engine.connect() as connection:
            return list(connection.scalars(text("SELECT version FROM note ORDER BY id")))

    def get(self) -> TestResponse:
        return self.app.test_client().get("/1")

    def put(self, body: str, tag: str) -> TestResponse:
        return self.app.test_client().put("/1", data=body, headers={"If-Match": tag})

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()


@pytest.fixture(params=KINDS)
def desk(request: pytest.FixtureRequest, empty_database: Callable[[str], str]) -> Iterator[Desk]:
    desk = Desk(request.param, empty_database(request.param))
    yield desk
    desk.close()


def test_the_page_has_triggers_for_each_database() -> None:
    assert sorted(TRIGGERS) == sorted(KINDS)


@pytest.mark.parametrize(
    ("change", "moves"),
    [
        ("body = 'changed'", True),
        ("body = NULL", True),
        ("body = 'changed', visits = 7", True),
        ("body = body", False),
        ("visits = visits + 1", False),
    ],
)
def test_sql_moves_the_version_of_what_it_changes(desk: Desk, change: str, moves: bool) -> None:
    before = desk.versions()
    assert len({*before, None}) == 3
    desk.execute(f"UPDATE note SET {change} WHERE id = 1")
    first, second = desk.versions()
    assert (first != before[0], second) == (moves, before[1])
    assert first is not None


def test_a_save_whose_row_sql_has_changed_is_refused(desk: Desk) -> None:
    tag = desk.get().headers["ETag"]
    desk.execute("UPDATE note SET body = 'theirs' WHERE id = 1")
    assert desk.get().headers["ETag"] != tag
    assert desk.put("mine", tag).status_code == 412


@pytest.mark.parametrize("way", ["flush", "update()", "text()"])
def test_what_a_decorated_view_writes_has_the_tag_of_the_next_read(desk: Desk, way: str) -> None:
    if way == "update()":
        desk.change = lambda _: desk.db.session.execute(update(Note).values(body="mine"))
    if way == "text()":
        desk.change = lambda _: desk.db.session.execute(text("UPDATE note SET body = 'mine' WHERE id = 1"))
    tag = desk.get().headers["ETag"]
    saved = desk.put("mine", tag)
    assert saved.status_code == 200
    read = desk.get()
    assert (read.text, read.headers["ETag"]) == ("mine", saved.headers["ETag"])
    assert saved.headers["ETag"] != tag


def test_a_write_of_what_does_not_count_leaves_it(desk: Desk) -> None:
    desk.change = lambda note: setattr(note, "visits", 7)
    tag = desk.get().headers["ETag"]
    assert desk.put("", tag).headers["ETag"] == tag == desk.get().headers["ETag"]
