"""Rule 3.4, while one develops: what is shown of rows that the tag knows nothing of is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, String, Table, select
from sqlalchemy.orm import Mapped, joinedload, mapped_column, relationship, selectinload

from flask_etag import ETag, content_hash, etag_resource, resource, version_column
from flask_etag.sqlalchemy import Page, Versioned, covers
from tests.world.models import Base

listed = Table(
    "listed", Base.metadata, Column("book_id", ForeignKey("book.id")), Column("author_id", ForeignKey("author.id"))
)


class Author(Base):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(10), default="Ann")


class Book(Versioned, Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship()
    chapters: Mapped[list[Chapter]] = relationship()
    remarks: Mapped[list[Review]] = relationship()
    readers: Mapped[list[Author]] = relationship(secondary=listed)


class Signed(Versioned, Base):
    """What says itself what its tag is."""

    __tablename__ = "signed"

    id: Mapped[int] = mapped_column(primary_key=True)
    pages: Mapped[list[Leaf]] = relationship()

    def __etag__(self) -> str:
        return "signed"


class Leaf(Base):
    __tablename__ = "leaf"

    id: Mapped[int] = mapped_column(primary_key=True)
    signed_id: Mapped[int] = mapped_column(ForeignKey("signed.id"))


class Chapter(Base):
    __tablename__ = "chapter"

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


class Review(Base):
    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True)
    book_id: Mapped[int] = mapped_column(ForeignKey("book.id"))


covers(Book.remarks)


class Library:
    """An application with one book, which serves it by whatever view."""

    def __init__(self, url: str) -> None:
        self.app = Flask("library")
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = SQLAlchemy(self.app, model_class=Base)
        ETag(self.app)
        with self.app.app_context():
            self.db.session.add_all([Author(id=1), Book(id=1, author_id=1), Signed(id=1)])
            self.db.session.commit()

    def serve(self, view: Callable[[Any], Any], *options: Any, model: type = Book, **declared: Any) -> None:
        @resource(**declared)
        def find(key: int) -> Any:
            return self.db.session.get(model, key, options=options)

        self.app.get("/<int:key>", endpoint="read")(etag_resource(find)(view))

    def read(self) -> None:
        assert self.app.test_client().get("/1").status_code == 200


@pytest.fixture
def library(world_on: Callable[[str], str]) -> Iterator[Library]:
    library = Library(world_on("sqlite"))
    yield library
    with library.app.app_context():
        library.db.engine.dispose()


def read_chapters(book: Book) -> list[int]:
    return [chapter.id for chapter in book.chapters]


def read_author(book: Book) -> str:
    return book.author.name


@pytest.mark.parametrize("mode", ["testing", "debug"])
def test_what_the_view_loads_and_nothing_covers_is_told_once(
    library: Library, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    library.serve(read_chapters)
    setattr(library.app, mode, True)
    library.read()
    library.read()
    [message] = caplog.messages
    assert message.startswith("read: Book.chapters is loaded for its answer")
    assert "write covers(Book.chapters) beside the model" in message
    assert "such as their number, name that by @resource(variant=content_hash(...))" in message


@pytest.mark.parametrize("name", ["chapters", "readers"])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_number_may_be_a_variant_as_the_message_says(
    library: Library, caplog: pytest.LogCaptureFixture, name: str, is_named: bool
) -> None:
    library.app.testing = True

    def count(book: Book) -> dict[str, int]:
        return {name: len(getattr(book, name))}

    library.serve(count, variant=content_hash(count) if is_named else None)
    library.read()
    assert ["such as their number, name that by @resource(variant=" in told for told in caplog.messages] == (
        [] if is_named else [True]
    )


def test_in_production_nothing_is_watched(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.serve(read_chapters)
    library.read()
    assert caplog.messages == []


def test_what_is_covered_is_not_told(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.app.testing = True
    library.serve(lambda book: str(book.remarks))
    library.read()
    assert caplog.messages == []


def test_content_counts_that_the_loader_has_loaded(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.app.testing = True
    library.serve(read_chapters, selectinload(Book.chapters))
    library.read()
    assert "covers(Book.chapters)" in caplog.text


def test_another_object_counts_only_if_the_view_loads_it(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    """A loader may look at it to know who may read."""
    library.app.testing = True
    library.serve(read_author, joinedload(Book.author))
    library.read()
    assert caplog.messages == []


def test_another_object_is_not_to_be_covered(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.app.testing = True
    library.serve(read_author)
    library.read()
    [message] = caplog.messages
    assert "name what is shown of Book.author, by @resource(variant=content_hash(...)), or call touch()" in message


@pytest.mark.parametrize("etag", [content_hash(read_chapters), version_column("version"), read_author])
def test_a_tag_that_is_not_the_version_is_its_author_s_affair(
    library: Library, caplog: pytest.LogCaptureFixture, etag: Any
) -> None:
    library.app.testing = True
    library.serve(read_chapters, etag=etag)
    library.read()
    assert caplog.messages == []


def test_an_object_that_says_what_its_tag_is_is_not_watched(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    library.app.testing = True
    library.serve(lambda signed: str(signed.pages), model=Signed)
    library.read()
    assert caplog.messages == []


def test_neither_is_a_page(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.app.testing = True

    @resource
    def find_books() -> Page[Book]:
        return Page(library.db.session, select(Book))

    @library.app.get("/1")
    @etag_resource(find_books)
    def read_books(books: Page[Book]) -> list[list[int]]:
        return [read_chapters(book) for book in books]

    library.read()
    assert caplog.messages == []
