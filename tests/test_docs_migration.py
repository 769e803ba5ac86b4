"""The migrations of docs/migration.md, on a table that has rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

PAGE = Path(__file__).parent.parent / "docs" / "migration.md"
STATEMENTS = {
    heading.lower(): block.split(";\n")
    for heading, block in re.findall(
        r"^## (\w+)\n\n```sql\n(.*?);\n```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
}


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(200))


class Migrated:
    """An application whose table of notes was made, and filled, before its model had a version."""

    def __init__(self, url: str) -> None:
        self.db = db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
        self.app = Flask("migrated")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        db.init_app(self.app)
        ETag(self.app)

        @resource
        def find_note(note_id: int) -> Note:
            return db.get_or_404(Note, note_id)

        @self.app.get("/<int:note_id>")
        @etag_resource(find_note)
        def read_note(note: Note) -> str:
            return note.body

        @self.app.put("/<int:note_id>")
        @require_if_match(find_note)
        def replace_note(note: Note) -> str:
            note.body = request.get_data(as_text=True)
            db.session.commit()
            return note.body

        self.execute(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, body VARCHAR(200) NOT NULL)",
            "INSERT INTO note VALUES (1, 'first'), (2, 'second')",
        )

    def execute(self, *statements: str) -> None:
        with self.app.app_context(), self.db.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def column(self) -> tuple[str, bool]:
        """The type of the version, and whether it may be NULL."""
        with self.app.app_context():
            columns = {column["name"]: column for column in self.db.inspect(self.db.engine).get_columns("note")}
        return str(columns["version"]["type"]), columns["version"]["nullable"]

    def close(self) -> None:
        with self.app.app_context():
            self.db.engine.dispose()


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def migrated(kind: str, empty_database: Callable[[str], str]) -> Iterator[Migrated]:
    migrated = Migrated(empty_database(kind))
    yield migrated
    migrated.close()


def test_the_page_has_a_migration_for_each_database() -> None:
    assert list(STATEMENTS) == ["postgresql", "mariadb", "sqlite"]


def test_a_table_that_has_rows_gets_versions(kind: str, migrated: Migrated) -> None:
    migrated.execute(*STATEMENTS[kind])
    client = migrated.app.test_client()
    first, second = (client.get(f"/{note_id}").headers["ETag"] for note_id in (1, 2))
    assert first != second
    saved = client.put("/1", data="saved", headers={"If-Match": first})
    assert saved.status_code == 200
    assert saved.headers["ETag"] == client.get("/1").headers["ETag"] != first
    assert client.put("/1", data="stale", headers={"If-Match": first}).status_code == 412


def test_the_column_is_what_the_model_would_have_made(kind: str, migrated: Migrated) -> None:
    migrated.execute(*STATEMENTS[kind])
    made_by_hand, may_be_null = migrated.column()
    with migrated.app.app_context():
        migrated.db.drop_all()
        migrated.db.create_all()
    assert made_by_hand == migrated.column()[0]
    assert may_be_null == (kind == "sqlite")


def test_a_row_that_was_forgotten_is_an_error_that_says_so(kind: str, migrated: Migrated) -> None:
    migrated.execute(STATEMENTS[kind][0])
    with pytest.raises(ValueError, match="give every row a version"):
        migrated.app.test_client().get("/1")
    with pytest.raises(ValueError, match="give every row a version"):
        migrated.app.test_client().put("/1", headers={"If-Match": "*"})
    migrated.execute(STATEMENTS[kind][1])
    assert migrated.app.test_client().get("/1").status_code == 200
