"""Models of every kind, each with the same three columns, so that one step can be tried on all of them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    FetchedValue,
    ForeignKey,
    Integer,
    Numeric,
    String,
    Table,
    TypeDecorator,
    inspect,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column, relationship

from flask_etag import content_hash, version_column
from flask_etag.sqlalchemy import Versioned, covers

_counter = itertools.count()


class Base(DeclarativeBase):
    """The base of all models."""


class Content:
    """What is written and compared: a text, a number, and a value that can be changed in place."""

    text: Mapped[str] = mapped_column(String(80), default="")
    num: Mapped[int] = mapped_column(default=0)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class Other(Base):
    """A row that has nothing to do with the target: a log, a setting. Its name is unique."""

    __tablename__ = "other"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(String(80), unique=True)
    text: Mapped[str] = mapped_column(String(80), default="")


class Note(Versioned, Content, Base):
    """With the version of the mixin."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Name(Versioned, Content, Base):
    """With a text that only one row may have."""

    __tablename__ = "name"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), unique=True)


class Counted(Content, Base):
    """With SQLAlchemy's own counter."""

    __tablename__ = "counted"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(nullable=False)
    __mapper_args__ = {"version_id_col": revision}


class Programmed(Content, Base):
    """With a version that the view has to move."""

    __tablename__ = "programmed"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[str] = mapped_column(String(40), nullable=False, default=lambda: uuid.uuid4().hex)
    __mapper_args__ = {"version_id_col": revision, "version_id_generator": False}


class Timed(Content, Base):
    """With a time, in microseconds."""

    __tablename__ = "timed"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(
        DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb"), nullable=False
    )
    __mapper_args__ = {"version_id_col": at, "version_id_generator": lambda _: datetime.now()}


class WholeSeconds(TypeDecorator[datetime]):
    """A time that the database stores otherwise than it was made."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: object) -> datetime | None:
        """Cut off what a DATETIME of MariaDB would."""
        return value and value.replace(microsecond=0)


def _next_second(_: object) -> datetime:
    return datetime(2020, 1, 1, microsecond=345678) + timedelta(seconds=next(_counter))


class Stamped(Content, Base):
    """With a time that is stored in whole seconds; no two of them are equal."""

    __tablename__ = "stamped"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(WholeSeconds, nullable=False)
    __mapper_args__ = {"version_id_col": at, "version_id_generator": _next_second}


class Unique(Content, Base):
    """With a UUID."""

    __tablename__ = "unique_version"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[uuid.UUID] = mapped_column(nullable=False)
    __mapper_args__ = {"version_id_col": revision, "version_id_generator": lambda _: uuid.uuid4()}


class Xmin(Content, Base):
    """With PostgreSQL's own version of a row."""

    __tablename__ = "xmin_version"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    xmin: Mapped[int] = mapped_column("xmin", Integer, system=True, server_default=FetchedValue())
    __mapper_args__ = {"version_id_col": xmin, "version_id_generator": False}


class Triggered(Content, Base):
    """With a counter that a trigger of the database moves."""

    __tablename__ = "triggered"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(server_default="1", server_onupdate=FetchedValue())
    __mapper_args__ = {"version_id_col": revision, "version_id_generator": False}


class Paper(Content, Base):
    """Without a version."""

    __tablename__ = "paper"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Priced(Content, Base):
    """Without a version, and with a number that the database spells in its own way."""

    __tablename__ = "priced"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    num: Mapped[Decimal] = mapped_column(Numeric(10, 2), default=Decimal(0))  # type: ignore[assignment]


class Named(Content, Base):
    """Without a version as SQLAlchemy knows it: a column is named as one."""

    __tablename__ = "named"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[str] = mapped_column(
        String(40), default=lambda: uuid.uuid4().hex, onupdate=lambda: uuid.uuid4().hex
    )


class Animal(Versioned, Base):
    """The base of two tables that are joined."""

    __tablename__ = "animal"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(80), default="")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        own = {"polymorphic_on": "kind", "polymorphic_identity": cls.__name__.lower()}
        return {**super().__mapper_args__, **own}


class Cat(Animal):
    """A row of two tables, of which one has the version."""

    __tablename__ = "cat"
    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True, autoincrement=False)
    num: Mapped[int] = mapped_column(default=0)


class Vehicle(Base):
    """The base of two tables that are joined, without a version."""

    __tablename__ = "vehicle"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(80), default="")
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}


class Car(Vehicle):
    """A row of two tables, without a version."""

    __tablename__ = "car"
    id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True, autoincrement=False)
    num: Mapped[int] = mapped_column(default=0)
    __mapper_args__ = {"polymorphic_identity": "car"}


class Plant(Versioned, Content, Base):
    """The base of a table that several classes share."""

    __tablename__ = "plant"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        own = {"polymorphic_on": "kind", "polymorphic_identity": cls.__name__.lower()}
        return {**super().__mapper_args__, **own}


class Tree(Plant):
    """One of those classes."""


class Seat(Versioned, Content, Base):
    """With a key of two columns."""

    __tablename__ = "seat"
    hall: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    place: Mapped[str] = mapped_column(String(20), primary_key=True)


class Document(Content, Base):
    """With a key that is a text, without a version."""

    __tablename__ = "document"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)


class Sheet(Versioned, Content, Base):
    """It covers its lines."""

    __tablename__ = "sheet"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan", order_by="Line.id")


class Line(Base):
    """A part of a sheet."""

    __tablename__ = "line"
    id: Mapped[int] = mapped_column(primary_key=True)
    sheet_id: Mapped[int] = mapped_column(ForeignKey("sheet.id"))
    text: Mapped[str] = mapped_column(String(80), default="")


covers(Sheet.lines)


class Whole(Content, Base):
    """It covers its lines, and has PostgreSQL's own version of a row."""

    __tablename__ = "whole"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    xmin: Mapped[int] = mapped_column("xmin", Integer, system=True, server_default=FetchedValue())
    lines: Mapped[list[Part]] = relationship(cascade="all, delete-orphan", order_by="Part.id")
    __mapper_args__ = {"version_id_col": xmin, "version_id_generator": False}


class Part(Base):
    """A line of it."""

    __tablename__ = "part"
    id: Mapped[int] = mapped_column(primary_key=True)
    whole_id: Mapped[int] = mapped_column(ForeignKey("whole.id"))
    text: Mapped[str] = mapped_column(String(80), default="")


covers(Whole.lines)

post_tag = Table(
    "post_tag",
    Base.metadata,
    Column("post_id", ForeignKey("post.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)


class Post(Versioned, Content, Base):
    """It covers the tags that it shares with others."""

    __tablename__ = "post"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tags: Mapped[list[Tag]] = relationship(secondary=post_tag, back_populates="posts", order_by="Tag.id")


class Tag(Base):
    """One of many."""

    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    posts: Mapped[list[Post]] = relationship(secondary=post_tag, back_populates="tags")


def _covers_many() -> bool:
    """Say whether ``covers`` takes a many-to-many relationship; it did not always."""

    class Apart(DeclarativeBase):
        pass

    table = Table(
        "both",
        Apart.metadata,
        Column("left", ForeignKey("left.id"), primary_key=True),
        Column("right", ForeignKey("right.id"), primary_key=True),
    )

    class Right(Apart):
        __tablename__ = "right"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Left(Versioned, Apart):
        __tablename__ = "left"
        id: Mapped[int] = mapped_column(primary_key=True)
        right = relationship(Right, secondary=table)

    try:
        covers(Left.right)
        Apart.registry.configure()
    except TypeError:
        return False
    finally:
        Apart.registry.dispose()
    return True


COVERS_MANY = _covers_many()
if COVERS_MANY:
    covers(Post.tags)


def dump(found: Any) -> dict[str, Any]:
    """Return what a reader sees."""
    seen = {"text": found.text, "num": str(found.num), "data": found.data}
    if isinstance(found, Sheet | Whole):
        seen["lines"] = [[line.id, line.text] for line in found.lines]
    if isinstance(found, Post):
        seen["tags"] = [tag.id for tag in found.tags]
    return seen


def sorting_dump(found: Any) -> dict[str, Any]:
    """Return what a reader sees, and sort a list of the row's own on the way, as careless code does."""
    found.data.get("list", []).sort()
    return dump(found)


@dataclass(frozen=True)
class Kind:
    """A kind of model, and what a trial has to know of it.

    :ivar key: of the target's row.
    :ivar sibling: the key of another row of the same table.
    :ivar etag: what ``resource(etag=)`` takes.
    :ivar version: the attribute that is the version, if there is one.
    :ivar new_version: gives a value that it can have, where a statement has to bring one.
    :ivar by_hand: the view has to move the version itself.
    :ivar parts: the tables, besides the model's own, whose rows belong to the target, with the column of its key.
    :ivar databases: the dialects that can have it; all where it is empty.
    """

    model: type[Any]
    key: dict[str, Any] = field(default_factory=lambda: {"id": 1})
    sibling: dict[str, Any] = field(default_factory=lambda: {"id": 2})
    etag: Any = None
    version: str | None = "version"
    new_version: Callable[[], Any] | None = lambda: uuid.uuid4().hex
    by_hand: bool = False
    parts: dict[str, str] = field(default_factory=dict)
    databases: tuple[str, ...] = ()

    @property
    def is_versioned(self) -> bool:
        """Say whether SQLAlchemy compares a version when it writes."""
        return inspect(self.model).version_id_col is not None

    @property
    def can_be_replayed(self) -> bool:
        """Say whether a request that comes again can be known by the version that it has made."""
        return self.etag is None and issubclass(self.model, Versioned)

    @property
    def is_joined(self) -> bool:
        """Say whether a row of it is in two tables."""
        return len(inspect(self.model).tables) > 1

    @property
    def line(self) -> type[Any] | None:
        """Return the model of the lines that it has, if it has any."""
        return {Sheet: Line, Whole: Part}.get(self.model)

    @property
    def collection(self) -> str | None:
        """Return the name of the relationship to what belongs to it, if there is any."""
        return "tags" if "post_tag" in self.parts else "lines" if self.parts else None

    @property
    def identity_of_sibling(self) -> Any:
        """Return the sibling's key as ``Session.get`` takes it."""
        return tuple(self.sibling.values()) if len(self.sibling) > 1 else next(iter(self.sibling.values()))

    @property
    def identity(self) -> Any:
        """Return the key as ``Session.get`` takes it."""
        return tuple(self.key.values()) if len(self.key) > 1 else next(iter(self.key.values()))

    @property
    def tables(self) -> list[Table]:
        """Return the tables of the model itself."""
        return [table for table in inspect(self.model).tables if isinstance(table, Table)]


_hashed = content_hash(dump)
_no_version: dict[str, Any] = {"version": None, "new_version": None}
_own: dict[str, Any] = {"version": "revision"}

KINDS: dict[str, Kind] = {
    "versioned": Kind(Note),
    "hashed": Kind(Paper, etag=_hashed, **_no_version),
    "integer": Kind(Counted, version="revision", new_version=lambda: 1000 + next(_counter)),
    "programmatic": Kind(Programmed, version="revision", by_hand=True),
    "timestamp": Kind(Timed, version="at", new_version=datetime.now),
    "seconds": Kind(Stamped, version="at", new_version=lambda: _next_second(None)),
    "uuid": Kind(Unique, version="revision", new_version=uuid.uuid4),
    "xmin": Kind(Xmin, version="xmin", new_version=None, databases=("postgresql",)),
    "triggered": Kind(Triggered, version="revision", new_version=None, databases=("postgresql", "mysql")),
    "versioned by content": Kind(Note, etag=_hashed),
    "unique text": Kind(Name),
    "decimal": Kind(Priced, etag=_hashed, **_no_version),
    "sorting": Kind(Paper, etag=content_hash(sorting_dump), **_no_version),
    "column": Kind(Named, etag=version_column("revision"), version="revision"),
    "joined": Kind(Cat),
    "joined by content": Kind(Car, etag=_hashed, **_no_version),
    "single table": Kind(Tree),
    "composite key": Kind(Seat, {"hall": 1, "place": "a"}, {"hall": 1, "place": "b"}),
    "natural key": Kind(Document, {"name": "first"}, {"name": "second"}, etag=_hashed, **_no_version),
    "lines": Kind(Sheet, parts={"line": "sheet_id"}),
    "lines by content": Kind(Sheet, etag=_hashed, parts={"line": "sheet_id"}),
    "xmin with lines": Kind(
        Whole, version="xmin", new_version=None, parts={"part": "whole_id"}, databases=("postgresql",)
    ),
    **({"tags": Kind(Post, parts={"post_tag": "post_id"})} if COVERS_MANY else {}),
}
