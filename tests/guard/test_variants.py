"""What a record shows of others is in the second half of its tag: reads compare it, and writes do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, request
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Written:
    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))


class Note(Written, Versioned, Base):
    __tablename__ = "note"

    author: Mapped[Author] = relationship()
    lines: Mapped[list[Line]] = relationship()


class Line(Base):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))


class Paper(Written, Base):
    __tablename__ = "paper"

    author: Mapped[Author] = relationship()


def name_of_author(note: Any) -> dict[str, str]:
    return {"author": note.author.name}


def language(_: Any) -> str | None:
    return request.headers.get("Accept-Language")


FORMS: dict[str, Any] = {
    "data": name_of_author,
    "content_hash": content_hash(name_of_author),
    "mapping": {"shown": content_hash(name_of_author), "language": language},
}


def read(note: Any) -> dict[str, Any]:
    return {"body": note.body, "author": note.author.name, "lines": len(getattr(note, "lines", ()))}


def write(note: Any) -> dict[str, Any]:
    for name, value in request.get_json().items():
        setattr(note, name, value)
    current_app.extensions["sqlalchemy"].session.commit()
    return {}


class Board:
    """An application with a note and a paper of Ann's, and with Bob."""

    def __init__(self, folder: Path, variant: Any) -> None:
        self.app = Flask("board")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder / 'board.db'}"
        self.db = SQLAlchemy(self.app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(self.app)
        find_note = resource(variant=variant)(lambda: self.db.session.get(Note, 1))
        find_paper = resource(etag=content_hash(lambda paper: paper.body), variant=variant)(
            lambda: self.db.session.get(Paper, 1)
        )
        for path, found in (("/note", find_note), ("/paper", find_paper)):
            self.app.add_url_rule(path, f"read{path}", etag_resource(found)(read))
            self.app.add_url_rule(path, f"write{path}", require_if_match(found)(write), methods=["PUT"])
        with self.app.app_context():
            self.db.create_all()
            self.db.session.add_all([Author(id=1, name="Ann"), Author(id=2, name="Bob")])
            self.db.session.add_all([Note(id=1, body="a", author_id=1), Paper(id=1, body="a", author_id=1)])
            self.db.session.commit()

    def rename(self, author: int, name: str) -> None:
        with self.app.app_context():
            self.db.session.get_one(Author, author).name = name
            self.db.session.commit()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[[Any], Board]]:
    boards: list[Board] = []

    def made(variant: Any) -> Board:
        boards.append(Board(tmp_path, variant))
        return boards[-1]

    yield made
    for each in boards:
        with each.app.app_context():
            each.db.engine.dispose()


def etag_of(client: FlaskClient, path: str, **fields: str) -> str:
    return client.get(path, headers=fields).headers["ETag"]


@pytest.mark.parametrize("path", ["/note", "/paper"])
@pytest.mark.parametrize("form", FORMS)
def test_3_2_what_is_shown_of_another_row_is_in_the_second_half(
    board: Callable[[Any], Board], form: str, path: str
) -> None:
    notes = board(FORMS[form])
    client = notes.app.test_client()
    before = etag_of(client, path)
    notes.rename(1, "Anna")
    changed = client.get(path, headers={"If-None-Match": before})
    assert (changed.status_code, changed.json and changed.json["author"]) == (200, "Anna")
    after = changed.headers["ETag"]
    assert before.partition(".")[0] == after.partition(".")[0]
    assert client.get(path, headers={"If-None-Match": after}).status_code == 304
    saved = client.put(path, json={"body": "b"}, headers={"If-Match": before})
    assert (saved.status_code, saved.headers["ETag"]) == (200, etag_of(client, path))


@pytest.mark.parametrize("path", ["/note", "/paper"])
@pytest.mark.parametrize("form", FORMS)
def test_2_6_the_tag_of_a_write_shows_the_row_that_it_has_named(
    board: Callable[[Any], Board], form: str, path: str
) -> None:
    client = board(FORMS[form]).app.test_client()
    saved = client.put(path, json={"body": "b", "author_id": 2}, headers={"If-Match": etag_of(client, path)})
    assert (saved.status_code, saved.headers["ETag"]) == (200, etag_of(client, path))


def test_several_variants_are_one_and_none_of_them_is_none(board: Callable[[Any], Board]) -> None:
    client = board({"language": language, "other": lambda _: None}).app.test_client()
    plain, german = etag_of(client, "/note"), etag_of(client, "/note", Accept_Language="de")
    assert "." not in plain
    assert german.startswith(plain[:-1] + ".")
    assert client.put("/note", json={"body": "b"}, headers={"If-Match": german}).status_code == 200


def test_data_and_a_text_that_says_the_same_are_two_variants() -> None:
    app = Flask("board")
    ETag(app)
    with app.app_context():
        tags = {
            str(resource(etag=lambda note: note, variant=lambda _, given=given: given)(lambda: "v1").etag_of("v1"))
            for given in ('{"a":1}', {"a": 1}, ["a", 1], 1, "1")
        }
    assert len(tags) == 5


def test_what_json_cannot_say_is_told(board: Callable[[Any], Board]) -> None:
    client = board(lambda note: {"author": note.author}).app.test_client()
    with pytest.raises(TypeError, match=r"variant= of .* gave .* which JSON cannot say"):
        client.get("/note")


@pytest.mark.parametrize("wrong", ["de", {"language": "de"}, 1])
def test_what_is_no_variant_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"variant= takes a function, content_hash\(schema\), or a mapping"):
        resource(variant=wrong)


def test_3_4_what_a_variant_shows_is_not_warned_of(
    board: Callable[[Any], Board], caplog: pytest.LogCaptureFixture
) -> None:
    shown = board(lambda note: [name_of_author(note), [line.id for line in getattr(note, "lines", ())]])
    shown.app.test_client().get("/note")
    assert caplog.messages == []


def test_3_4_the_warning_names_the_variant(
    board: Callable[[Any], Board], caplog: pytest.LogCaptureFixture
) -> None:
    board(language).app.test_client().get("/note")
    assert "name what is shown of Note.author, by @resource(variant=content_hash(...))" in caplog.text
    assert "covers(Note.lines)" in caplog.text
