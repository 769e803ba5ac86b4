"""The migrations of docs/migration.md, on a table that has rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource, version_column
from flask_etag.sqlalchemy import Versioned
from tests import ROOT

PAGE = (ROOT / "docs" / "migration.md").read_text()
SECTIONS = dict(re.findall(r"^## (.*?)\n\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
STATEMENTS = {
    heading.lower(): block.split(";\n")
    for heading, block in re.findall(r"^## (\w+)\n\n```sql\n(.*?);\n```", PAGE, re.DOTALL | re.MULTILINE)
}
[SCRIPT] = re.findall(r"python\n(.*?)```", SECTIONS["Alembic"], re.DOTALL)
ENVIRONMENT = """
from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
"""


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

        self.serve("", None)
        with self.app.app_context():
            if db.engine.dialect.name == "sqlite":
                event.listen(db.engine, "connect", lambda driver, _: driver.execute("PRAGMA foreign_keys = ON"))
        self.execute(
            "CREATE TABLE note (id INTEGER PRIMARY KEY, body VARCHAR(200) NOT NULL)",
            "INSERT INTO note VALUES (1, 'first'), (2, 'second')",
        )

    def serve(self, prefix: str, etag: Any) -> None:
        @resource(etag=etag)
        def find_note(note_id: int) -> Note:
            return self.db.get_or_404(Note, note_id)

        @self.app.get(f"{prefix}/<int:note_id>", endpoint=f"read{prefix}")
        @etag_resource(find_note)
        def read_note(note: Note) -> str:
            return note.body

        @self.app.put(f"{prefix}/<int:note_id>", endpoint=f"replace{prefix}")
        @require_if_match(find_note)
        def replace_note(note: Note) -> str:
            note.body = request.get_data(as_text=True)
            self.db.session.commit()
            return note.body

    def execute(self, *statements: str) -> None:
        with self.app.app_context(), self.db.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def select(self, query: str) -> list[Any]:
        with self.app.app_context(), self.db.engine.connect() as connection:
            return list(connection.scalars(text(query)))

    def alembic(self, script: str = SCRIPT, *, down: bool = False) -> None:
        """Upgrade, or downgrade, by a project of Alembic's that has this one script."""
        with TemporaryDirectory() as folder, self.app.app_context(), self.db.engine.connect() as connection:
            versions = Path(folder) / "versions"
            versions.mkdir()
            (versions / "first.py").write_text(f'revision, down_revision = "first", None\n{script}')
            (Path(folder) / "env.py").write_text(ENVIRONMENT)
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", folder)
            if down:
                command.downgrade(config, "base")
            else:
                command.upgrade(config, "head")

    def columns(self) -> dict[str, tuple[str, bool]]:
        """The type of each column of the notes, and whether it may be NULL."""
        with self.app.app_context():
            columns = self.db.inspect(self.db.engine).get_columns("note")
        return {column["name"]: (str(column["type"]), column["nullable"]) for column in columns}

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
    made_by_hand, may_be_null = migrated.columns()["version"]
    with migrated.app.app_context():
        migrated.db.drop_all()
        migrated.db.create_all()
    assert made_by_hand == migrated.columns()["version"][0]
    assert may_be_null == (kind == "sqlite")


def test_a_row_that_was_forgotten_is_an_error_that_says_so(kind: str, migrated: Migrated) -> None:
    migrated.execute(STATEMENTS[kind][0])
    with pytest.raises(ValueError, match="give every row a version"):
        migrated.app.test_client().get("/1")
    with pytest.raises(ValueError, match="give every row a version"):
        migrated.app.test_client().put("/1", headers={"If-Match": "*"})
    migrated.execute(STATEMENTS[kind][1])
    assert migrated.app.test_client().get("/1").status_code == 200


@pytest.mark.parametrize(
    ("name", "etag"),
    [
        ("`content_hash`", content_hash(lambda note: note.body)),
        ("a function", lambda note: note.body),
        ("another column", version_column("body")),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite"])
def test_where_the_tag_is_not_the_version_only_writes_miss_it(
    name: str, etag: Any, kind: str, migrated: Migrated
) -> None:
    assert name in SECTIONS["If a row was forgotten"]
    migrated.serve("/otherwise", etag)
    migrated.execute(STATEMENTS[kind][0])
    client = migrated.app.test_client()
    tag = client.get("/otherwise/1").headers["ETag"]
    with pytest.raises(ValueError, match="give every row a version"):
        client.put("/otherwise/1", data="saved", headers={"If-Match": tag})
    assert migrated.select("SELECT body FROM note WHERE id = 1") == ["first"]


def test_alembic_gives_and_takes_versions_and_nothing_else(kind: str, migrated: Migrated) -> None:
    before = migrated.columns()
    migrated.execute(
        "CREATE TABLE remark (id INTEGER PRIMARY KEY, note_id INTEGER NOT NULL, "
        "FOREIGN KEY (note_id) REFERENCES note (id) ON DELETE CASCADE)",
        "INSERT INTO remark VALUES (1, 1), (2, 2)",
    )
    migrated.alembic()
    assert migrated.select("SELECT note_id FROM remark ORDER BY id") == [1, 2]
    assert migrated.columns() == {**before, "version": ("VARCHAR(36)", kind == "sqlite")}
    assert len(set(migrated.select("SELECT version FROM note WHERE version IS NOT NULL"))) == 2
    migrated.alembic(down=True)
    assert migrated.columns() == before
    assert migrated.select("SELECT note_id FROM remark ORDER BY id") == [1, 2]
    migrated.execute("DELETE FROM note WHERE id = 1")
    assert migrated.select("SELECT note_id FROM remark") == [2]


def test_a_script_that_failed_goes_on_without_the_column_that_it_left(kind: str, migrated: Migrated) -> None:
    with pytest.raises(DBAPIError):
        migrated.alembic(SCRIPT.replace("WHERE version", "WHERE misspelt"))
    [keepers] = re.findall(r"neither (\w+), nor Alembic on (\w+), takes", SECTIONS["If a step fails"])
    is_left = kind in [keeper.lower() for keeper in keepers]
    assert ("version" in migrated.columns()) == is_left
    if is_left:
        migrated.execute("UPDATE note SET version = 'kept' WHERE id = 1")
        migrated.alembic(re.sub(r".*op\.add_column.*\n", "", SCRIPT))
        assert migrated.select("SELECT version FROM note WHERE id = 1") == ["kept"]
    else:
        migrated.alembic()
    assert len(set(migrated.select("SELECT version FROM note WHERE version IS NOT NULL"))) == 2


@pytest.mark.parametrize("kind", ["mariadb"])
def test_a_time_that_moves_with_updates_is_kept_by_its_name(kind: str, migrated: Migrated) -> None:
    [naming] = re.findall(r"`(SET version = .*, updated_at = updated_at)`", SECTIONS["MariaDB"])
    add_column, update, _ = STATEMENTS[kind]
    migrated.execute(
        "ALTER TABLE note ADD COLUMN updated_at TIMESTAMP DEFAULT '2001-01-01' ON UPDATE CURRENT_TIMESTAMP",
        add_column,
        re.sub(r"SET .*(?= WHERE)", naming, update) + " AND id = 1",
        update,
    )
    assert migrated.select("SELECT year(updated_at) = 2001 FROM note ORDER BY id") == [True, False]
