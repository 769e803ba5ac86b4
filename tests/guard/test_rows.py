"""After a write, the tag is of what is stored, whatever a model is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from functools import cached_property
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, Float, ForeignKey, Numeric, String, delete, event, func, select, text, update
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import Composite, Mapped, Session, column_property, composite, mapped_column

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.models import Base


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Sample(Base):
    """Of many types; its key has another name in the table."""

    __tablename__ = "sample"

    id: Mapped[int] = mapped_column("number", primary_key=True)
    weight: Mapped[float] = mapped_column(Float(53), default=1.5)
    colour: Mapped[Colour] = mapped_column(default=Colour.RED)
    day: Mapped[date] = mapped_column(default=date(2026, 1, 1))
    picture: Mapped[bytes] = mapped_column(default=b"\x00")
    is_new: Mapped[bool] = mapped_column(default=True)
    label: Mapped[str | None] = mapped_column(String(20))
    loose: Mapped[Any] = mapped_column(JSON, default=dict)


class Card(Base):
    """With attributes that are made of columns."""

    __tablename__ = "card"

    id: Mapped[int] = mapped_column(primary_key=True)
    width: Mapped[int] = mapped_column(default=2)
    twice: Mapped[int] = column_property(width * 2)
    pins: Mapped[int] = column_property(
        select(func.count(text("pin.id"))).select_from(text("pin")).scalar_subquery()
    )


class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[float, float]:
        return self.x, self.y


class Pin(Base):
    """With what depends on its columns, and is told when they are read anew."""

    __tablename__ = "pin"

    id: Mapped[int] = mapped_column(primary_key=True)
    x: Mapped[float] = mapped_column(Float(53), default=0.0)
    y: Mapped[float] = mapped_column(Float(53), default=0.0)
    at: Composite[Point] = composite("x", "y")
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON), default=dict)
    label: Mapped[str] = mapped_column(String(20), default="a b")

    @cached_property
    def words(self) -> list[str]:
        return self.label.split()


@event.listens_for(Pin, "refresh")
@event.listens_for(Pin, "expire")
def forget_words(pin: Pin, *_: object) -> None:
    vars(pin).pop("words", None)


class Writing(Base):
    """One of two classes in one table."""

    __tablename__ = "written"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    price: Mapped[Any] = mapped_column(Numeric(10, 2), default=1)
    remark: Mapped[str] = mapped_column(String(10), default="", deferred=True)

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "writing"}  # noqa: RUF012


class Draft(Writing):
    __mapper_args__ = {"polymorphic_identity": "draft"}  # noqa: RUF012


class Person(Versioned, Base):
    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)


class Employee(Person):
    __tablename__ = "employee"

    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)


class Half(Base):
    """With a key that the application made up, and of which a part may be NULL."""

    __tablename__ = "half"

    row: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int]
    second: Mapped[int | None]
    label: Mapped[str] = mapped_column(String(20), default="")

    __mapper_args__ = {"primary_key": ["first", "second"]}  # noqa: RUF012


def dump(sample: Sample) -> dict[str, Any]:
    names = ("weight", "day", "is_new", "label", "loose")
    shown = {"colour": sample.colour.value, "picture": sample.picture.hex()}
    return shown | {name: getattr(sample, name) for name in names}


def dump_pin(pin: Pin) -> dict[str, Any]:
    return {"at": [repr(pin.at.x), repr(pin.at.y)], "tracked": pin.tracked, "words": pin.words}


class Lab:
    """An application that serves one row of each model."""

    def __init__(self, url: str) -> None:
        app = self.app = Flask("lab")
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(app)
        self.serve(Sample, dump)
        self.serve(Pin, dump_pin)
        self.serve(Writing, lambda writing: [writing.kind, writing.price])
        self.serve(Half, lambda half: half.label)
        self.serve(Card, lambda card: card.twice)
        with app.app_context():
            self.engine = self.db.engine
            rows = [
                Sample(id=1),
                Pin(id=1),
                Draft(id=1),
                Card(id=1),
                Half(row=1, first=1, second=1),
                Employee(id=1),
            ]
            self.db.session.add_all(rows)
            self.db.session.commit()
            self.db.session.execute(update(Half).values(second=None))
            self.db.session.commit()

    def serve(self, model: type, dump: Callable[[Any], Any], name: str = "") -> None:
        name = name or model.__name__.lower()

        @resource(etag=content_hash(dump))
        def find(number: int) -> Base | None:
            key = next(iter(model.__mapper__.primary_key))  # type: ignore[attr-defined]
            found: Base | None = self.db.session.scalar(self.db.select(model).where(key == number))
            return found

        @self.app.get(f"/{name}/<int:number>", endpoint=f"read_{name}")
        @etag_resource(find)
        def read(found: Any) -> Any:
            return [dump(found)]

        @self.app.put(f"/{name}/<int:number>", endpoint=f"replace_{name}")
        @require_if_match(find)
        def replace(found: Any) -> tuple[str, int]:
            answer = self.change(found)
            self.db.session.commit()
            return answer or ("", 200)

    def put(self, name: str, change: Callable[[Any], Any]) -> tuple[int, list[str | None]]:
        """Write, and read again; return the status of the write, and the tags of both."""
        client = self.app.test_client()
        etag = client.get(f"/{name}/1").headers["ETag"]
        self.change = change
        answer = client.put(f"/{name}/1", headers={"If-Match": etag})
        tags = [each.headers.get("ETag") for each in (answer, client.get(f"/{name}/1"))]
        return answer.status_code, tags


@pytest.fixture
def lab(world_url: str) -> Iterator[Lab]:
    lab = Lab(world_url)
    yield lab
    lab.engine.dispose()


def setting(**values: Any) -> Callable[[Any], None]:
    def change(row: Any) -> None:
        for name, value in values.items():
            setattr(row, name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2.25},
        {"colour": Colour.BLUE, "day": date(2026, 2, 2)},
        {"picture": b"\xff", "is_new": False, "label": "new"},
        {"loose": {"a": [1, 2.5, None, {"b": "c"}]}},
        {"loose": [1, "2"]},
        {"weight": 2},  # stored, 2.0
        {"loose": {1: "one"}},  # stored, {"1": "one"}
        {"loose": (1, 2)},  # stored, [1, 2]
    ],
    ids=str,
)
def test_2_6_the_tag_is_of_what_is_stored_whatever_was_sent(lab: Lab, change: dict[str, Any]) -> None:
    status, tags = lab.put("sample", setting(**change))
    assert status == 200
    assert tags[0] == tags[1]


@pytest.mark.parametrize("change", [{"x": 3}, {"tracked": {"a": 1}}, {"label": "other words"}], ids=str)
def test_who_is_told_of_a_refresh_is_told(lab: Lab, change: dict[str, Any]) -> None:
    status, tags = lab.put("pin", setting(**change))
    assert status == 200
    assert tags[0] == tags[1]
    lab.put("pin", lambda pin: pin.tracked.update(b=2))
    assert lab.app.test_client().get("/pin/1").get_json()[0]["tracked"]["b"] == 2


def test_what_is_made_of_columns_is_of_those_that_are_stored(lab: Lab) -> None:
    bulk = update(Card).values(width=9).execution_options(synchronize_session=False)
    for change in (setting(width=5), lambda _: lab.db.session.execute(bulk) and None):
        status, tags = lab.put("card", change)
        assert status == 200
        assert tags[0] == tags[1]


def test_what_is_made_of_other_rows_cannot_be_hashed(world_url: str) -> None:
    lab = Lab(world_url)
    lab.app.testing = True
    lab.serve(Card, lambda card: card.pins, "pins")
    with pytest.raises(TypeError, match="depends on its pins, whose rows can change without it"):
        lab.put("pins", setting(width=5))
    lab.engine.dispose()


def test_what_is_left_to_the_database_has_the_tag_of_what_that_makes(lab: Lab) -> None:
    status, tags = lab.put("sample", setting(weight=Sample.weight + 1))
    assert status == 200
    assert tags[0] == tags[1]


@pytest.mark.parametrize("expires", [True, False])
@pytest.mark.parametrize("name", ["sample", "pin"])
def test_a_row_that_a_statement_deletes_has_no_tag(lab: Lab, name: str, expires: bool) -> None:
    def delete_it(row: Any) -> tuple[str, int]:
        session = lab.db.session
        session.execute(delete(type(row)), execution_options={"synchronize_session": False})
        if expires:
            session.expire_all()
        return "", 204

    status, tags = lab.put(name, delete_it)
    assert status == 204
    assert tags == [None, None]
    assert lab.app.test_client().get(f"/{name}/1").status_code == 404


@pytest.mark.filterwarnings("ignore:Flushing object:sqlalchemy.exc.SAWarning")
def test_an_object_may_be_made_one_of_another_class(lab: Lab) -> None:
    status, tags = lab.put("writing", setting(kind="writing", price=5))
    assert status == 200
    assert tags[0] in (None, tags[1])
    assert lab.app.test_client().get("/writing/1").get_json() == [["writing", "5.00"]]


def test_what_another_session_wrote_is_no_server_error(lab: Lab) -> None:
    sessions = []

    def write_elsewhere(writing: Writing) -> None:
        session = Session(lab.db.session.connection(), join_transaction_mode="create_savepoint")
        sessions.append(session)
        session.get_one(Writing, writing.id).price = 7
        session.commit()

    status, tags = lab.put("writing", write_elsewhere)
    assert status == 200
    assert tags[0] in (None, tags[1])
    for session in sessions:
        session.close()


def test_a_part_of_a_key_may_be_null(lab: Lab) -> None:
    status, tags = lab.put(
        "half", lambda _: lab.db.session.execute(text("UPDATE half SET label = 'new'")) and None
    )
    assert status == 200
    assert tags[0] == tags[1]


def test_an_object_has_one_tag_by_whichever_of_its_classes_it_is_loaded(lab: Lab) -> None:
    @resource
    def find_person(number: int) -> Any:
        return lab.db.session.get(Person, number)

    @resource
    def find_employee(number: int) -> Any:
        return lab.db.session.get(Employee, number)

    with lab.app.app_context():
        tag = find_person.etag_of(find_person(1))
        lab.db.session.remove()
        assert find_employee.etag_of(find_employee(1)) == tag
