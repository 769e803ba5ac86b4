"""What models are like: each kind is guarded as any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from sqlalchemy import Column, ForeignKey, String, create_engine, insert, inspect, literal, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    Session,
    declared_attr,
    mapped_column,
    registry,
    scoped_session,
    sessionmaker,
)
from sqlmodel import Field, SQLModel

from flask_etag import EntityTag, ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned, etag_of_version, is_etag_of_version
from tests.world.racing import in_thread


class Base(DeclarativeBase):
    pass


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class First(Versioned, DataBase):
    __tablename__ = "first_dataclass"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Last(DataBase, Versioned):
    __tablename__ = "last_dataclass"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Beast(Versioned, Base):
    __tablename__ = "beast"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(80), default="first")

    @declared_attr.directive
    def __mapper_args__(cls) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        own = {"polymorphic_on": "kind", "polymorphic_identity": cls.__name__.lower()}
        return {**super().__mapper_args__, **own}


class Single(Beast):
    horns: Mapped[int | None]


class Joined(Beast):
    __tablename__ = "joined_beast"

    id: Mapped[int] = mapped_column(ForeignKey("beast.id"), primary_key=True, autoincrement=False)
    wings: Mapped[int | None]


class Alone(Versioned, Base):
    __abstract__ = True

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Concrete(Alone):
    __tablename__ = "concrete"


class Named(Versioned, Base):
    """With a natural key, which is called otherwise than its column."""

    __tablename__ = "named"

    id: Mapped[int] = mapped_column("number", primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80), default="first")


class Composite(Versioned, Base):
    __tablename__ = "composite"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    part: Mapped[str] = mapped_column(String(20), primary_key=True, default="a")
    text: Mapped[str] = mapped_column(String(80), default="first")


_hero_version = Column("version", String(36), nullable=False, default=lambda: uuid4().hex)


class OwnSQLModel(SQLModel, registry=registry()):
    pass


class Hero(OwnSQLModel, table=True):
    """As the docs have it: SQLModel makes a field of each annotation, and so of the mixin's."""

    id: int = Field(primary_key=True)
    text: str = "first"
    version: str = Field(default=None, sa_column=_hero_version, exclude=True)

    __mapper_args__: ClassVar[Any] = {
        "version_id_col": _hero_version,
        "version_id_generator": lambda _: uuid4().hex,
    }


@pytest.fixture(params=[First, Last, Single, Joined, Concrete, Named, Composite, Hero])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def client(kind: Any, empty_url: str) -> Iterator[FlaskClient]:
    """An application for one kind of model, whose session is its own, and in whose view another may be first."""
    engine = create_engine(empty_url)
    kind.metadata.create_all(engine)
    sessions = scoped_session(sessionmaker(engine, expire_on_commit=False))
    app = Flask("kinds")
    app.testing = True
    ETag(app)
    app.teardown_appcontext(lambda _: sessions.remove())

    @resource
    def find(number: int) -> object:
        return sessions.get(kind, (number, "a") if kind is Composite else number)

    app.get("/<int:number>")(etag_resource(find)(lambda found: found.text))

    def write_elsewhere() -> None:
        with Session(engine) as rival:
            rival.scalars(select(kind)).one().text = "theirs"
            rival.commit()

    def put(target: object, number: int) -> str:
        found: Any = target
        if found is None:
            found = kind(id=number)
            sessions.add(found)
        if request.data == b"overtaken":
            in_thread(write_elsewhere)
        found.text = request.get_data(as_text=True)
        sessions.commit()
        return str(found.text)

    app.put("/<int:number>")(require_if_match(find, create=True)(put))
    yield app.test_client()
    sessions.remove()
    engine.dispose()


def test_it_is_made_read_and_guarded_to_its_commit(kind: Any, client: FlaskClient) -> None:
    made = client.put("/1", data="made", headers={"If-None-Match": "*"})
    read = client.get("/1")
    assert (read.text, read.headers["ETag"]) == ("made", made.headers["ETag"])
    saved = client.put("/1", data="saved", headers={"If-Match": read.headers["ETag"]})
    assert saved.status_code == 200
    assert client.put("/1", data="stale", headers={"If-Match": read.headers["ETag"]}).status_code == 412
    lost = client.put("/1", data="overtaken", headers={"If-Match": saved.headers["ETag"]})
    assert (lost.status_code, client.get("/1").text) == (412, "theirs")


def test_an_insert_that_is_no_flush_gives_a_version_too(kind: Any, client: FlaskClient, empty_url: str) -> None:
    table = inspect(kind).local_table
    fixed = (
        {"text": "made"} | ({"part": "a"} if kind is Composite else {}) | ({"kind": "x"} if kind is Single else {})
    )
    number = table.primary_key.columns[0].name

    def selected(id_: int) -> Any:
        values = {number: id_, **fixed}
        return insert(table).from_select(list(values), select(*(literal(each) for each in values.values())))

    ways: list[Callable[[Session, int], object]] = [
        lambda session, id_: session.execute(insert(kind).values(id=id_, **fixed)),
        lambda session, id_: session.execute(insert(kind).values([{"id": id_, **fixed}])),
        lambda session, id_: session.execute(insert(kind), [{"id": id_, **fixed}]),
        lambda session, id_: session.connection().execute(insert(table), [{number: id_, **fixed}]),
        lambda session, id_: session.execute(selected(id_)),
        lambda session, id_: session.bulk_insert_mappings(kind, [{"id": id_, **fixed}]),
    ]
    if kind is Joined:  # its two tables take two statements, which SQLAlchemy leaves to the application
        ways = ways[-1:]
    engine = create_engine(empty_url)
    with Session(engine) as session:
        for id_, way in enumerate(ways, 2):
            way(session, id_)
        session.commit()
        made = session.scalars(select(table.c.version if kind is not Joined else Joined.version)).all()
        assert len(set(made)) == len(ways)
        assert {len(each) for each in made} == {32}
    engine.dispose()


def test_the_tag_of_a_version_is_the_one_that_the_row_had(kind: Any, client: FlaskClient, empty_url: str) -> None:
    versions = []
    engine = create_engine(empty_url)
    for text, condition in (("made", {"If-None-Match": "*"}), ("saved", {"If-Match": "*"})):
        tag = client.put("/1", data=text, headers=condition).headers["ETag"]
        with Session(engine) as session:
            versions.append((tag, session.scalars(select(kind)).one().version))
    engine.dispose()
    with client.application.app_context():
        for tag, version in versions:
            key = (1, "a") if kind is Composite else 1
            assert str(etag_of_version(kind, key, version)) == tag
            named = [is_etag_of_version(tag, kind, key, each) for _, each in versions]
            assert named == [each == version for _, each in versions]


class TestTheTagOfAVersion:
    def test_of_a_key_that_is_a_uuid_however_it_is_spelt(self) -> None:
        class Apart(DeclarativeBase):
            pass

        class Ticket(Versioned, Apart):
            __tablename__ = "ticket_of_a_version"

            id: Mapped[UUID] = mapped_column(primary_key=True)

        app = Flask("keys")
        ETag(app)
        with app.app_context():
            tags = {etag_of_version(Ticket, key, "a") for key in (UUID(int=7), str(UUID(int=7)), UUID(int=7).hex)}
        assert len(tags) == 1

    def test_is_named_as_a_save_names_it(self) -> None:
        """By a key of before, of another epoch or representation; by one of a list; altered where it may be."""

        class Apart(DeclarativeBase):
            pass

        class Ticket(Versioned, Apart):
            __tablename__ = "ticket_that_is_named"

            id: Mapped[int] = mapped_column(primary_key=True)

        def app_with(**config: Any) -> Flask:
            app = Flask("named")
            app.config.update(config)
            ETag(app)
            return app

        def named(field: str | EntityTag | None, app: Flask) -> bool:
            with app.app_context():
                return is_etag_of_version(field, Ticket, 1, "a")

        with app_with().app_context():
            old = str(etag_of_version(Ticket, 1, "a"))
            other = str(etag_of_version(Ticket, 1, "b"))
        new_key = app_with(ETAG_KEY="new", ETAG_KEY_FALLBACKS=[None], ETAG_EPOCH="2")
        shown = old[:-1] + "." + other[1:]
        for field in (old, shown, f'"x", {old}', f"{other},{shown}"):
            assert named(field, app_with())
            assert named(field, new_key)
            assert not named(field, app_with(ETAG_KEY="new"))
        assert named(EntityTag(old[1:-1]), app_with())
        for none in (None, EntityTag(other[1:-1]), EntityTag(old[1:-1], weak=True)):
            assert not named(none, app_with())
        for field in ("*", "", other, old[1:-1], old[:-1], f"W/{old}", old[:-1] + '-gzip"'):
            assert not named(field, app_with())
        assert named(f"W/{old}", app_with(ETAG_ACCEPT_WEAKENED=True))
        with app_with().app_context():
            assert not is_etag_of_version(old, Ticket, 1, None)

    def test_of_a_model_without_one_or_by_half_a_key_is_refused(self) -> None:
        class Apart(DeclarativeBase):
            pass

        class Plain(Apart):
            __tablename__ = "plain_without_version"

            id: Mapped[int] = mapped_column(primary_key=True)

        class Numbered(Apart):
            __tablename__ = "numbered"

            id: Mapped[int] = mapped_column(primary_key=True)
            revision: Mapped[int] = mapped_column()
            __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012

        with pytest.raises(TypeError, match="Plain has no version"):
            etag_of_version(Plain, 1, "a")
        with pytest.raises(TypeError, match="The key of Composite has 2 parts"):
            etag_of_version(Composite, 1, "a")
        for model, key, version, message in (
            (Named, "1", "a", "The number is of type int, and '1' was given"),
            (Composite, (1, 2), "a", "The part is of type str, and 2 was given"),
            (Numbered, 1, "1", "The revision is of type int, and '1' was given"),
            (Named, 1, 5, "The version is of type str, and 5 was given"),
        ):
            with pytest.raises(TypeError, match=message):
                etag_of_version(model, key, version)
        nothing: Any = None
        for number, given, name in ((1, nothing, "version"), (nothing, "a", "number")):
            with pytest.raises(ValueError, match=f"The {name} is None, so that there was no ETag"):
                etag_of_version(Named, number, given)


def test_a_concrete_class_that_would_have_no_version_of_its_own_is_refused() -> None:
    class Apart(DeclarativeBase):
        pass

    class Whole(Versioned, Apart):
        __tablename__ = "whole"

        id: Mapped[int] = mapped_column(primary_key=True)

    class Other(Whole):
        __tablename__ = "other_whole"
        __mapper_args__ = {"concrete": True}  # noqa: RUF012

        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(TypeError, match="Other has a table of its own, and no version in it"):
        Apart.registry.configure()
    Apart.registry.dispose()
