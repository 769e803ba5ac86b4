"""After a write, the tag is of what is stored; what a session already has is not read a second time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from enum import Enum
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, Engine, Float, String, event
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import Composite, DeclarativeBase, Mapped, composite, mapped_column

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource


class Base(DeclarativeBase):
    pass


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point:
    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __composite_values__(self) -> tuple[float, float]:
        return self.x, self.y


class Sample(Base):
    __tablename__ = "sample"

    id: Mapped[int] = mapped_column("number", primary_key=True)
    weight: Mapped[float] = mapped_column(Float(53), default=1.5)
    colour: Mapped[Colour] = mapped_column(default=Colour.RED)
    day: Mapped[date] = mapped_column(default=date(2026, 1, 1))
    picture: Mapped[bytes] = mapped_column(default=b"\x00")
    is_new: Mapped[bool] = mapped_column(default=True)
    label: Mapped[str | None] = mapped_column(String(20))
    loose: Mapped[Any] = mapped_column(JSON, default=dict)
    tracked: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON), default=dict)
    x: Mapped[float] = mapped_column(Float(53), default=0.0)
    y: Mapped[float] = mapped_column(Float(53), default=0.0)
    at: Composite[Point] = composite("x", "y")


def dump(sample: Sample) -> dict[str, Any]:
    return {
        **{name: getattr(sample, name) for name in ("weight", "day", "is_new", "label", "loose", "tracked")},
        "colour": sample.colour.value,
        "picture": sample.picture.hex(),
        "at": [repr(sample.at.x), repr(sample.at.y)],
    }


class Lab:
    """An application with one sample in it, whose tag is a hash of the content."""

    def __init__(self, url: str) -> None:
        app = self.app = Flask("lab")
        app.config["SQLALCHEMY_DATABASE_URI"] = url
        db = self.db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(app)
        self.change: dict[str, Any] = {}

        @resource(etag=content_hash(dump))
        def find_sample(number: int) -> Sample | None:
            return db.session.get(Sample, number)

        @app.get("/samples/<int:number>")
        @etag_resource(find_sample)
        def read_sample(sample: Sample) -> dict[str, str]:
            return {}

        @app.put("/samples/<int:number>")
        @require_if_match(find_sample)
        def replace_sample(sample: Sample) -> dict[str, str]:
            for name, value in self.change.items():
                setattr(sample, name, value)
            db.session.commit()
            self.dumped = dump(sample)
            return {}

        with app.app_context():
            db.create_all()
            db.session.add(Sample(id=1))
            db.session.commit()
            self.engine: Engine = db.engine

    def put(self, **change: Any) -> tuple[int, list[str]]:
        """Write, and read again; return how many SELECTs the write took, and the tags of both."""
        client = self.app.test_client()
        etag = client.get("/samples/1").headers["ETag"]
        statements: list[str] = []
        self.change = change

        def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement.split(maxsplit=1)[0])

        event.listen(self.engine, "before_cursor_execute", count)
        answer = client.put("/samples/1", headers={"If-Match": etag})
        event.remove(self.engine, "before_cursor_execute", count)
        assert answer.status_code == 200
        return statements.count("SELECT"), [answer.headers["ETag"], client.get("/samples/1").headers["ETag"]]


@pytest.fixture
def lab(database_url: str) -> Iterator[Lab]:
    lab = Lab(database_url)
    lab.put()  # from the second on, the first SELECT is the one that locks
    yield lab
    lab.engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2.25, "x": 0.5},
        {"colour": Colour.BLUE, "day": date(2026, 2, 2)},
        {"picture": b"\xff", "is_new": False, "label": "new"},
        {"loose": {"a": [1, 2.5, None, {"b": "c"}]}},
        {"loose": [1, "2"], "tracked": {"a": 1}},
    ],
    ids=", ".join,
)
def test_what_is_stored_as_it_was_sent_is_read_once(lab: Lab, change: dict[str, Any]) -> None:
    selects, tags = lab.put(**change)
    assert selects == 2
    assert tags[0] == tags[1]


@pytest.mark.parametrize(
    "change",
    [
        {"weight": 2},  # stored, 2.0
        {"x": 3},
        {"loose": {1: "one"}},  # stored, {"1": "one"}
        {"loose": (1, 2)},  # stored, [1, 2]
    ],
    ids=str,
)
def test_what_is_stored_in_another_form_is_read_anew(lab: Lab, change: dict[str, Any]) -> None:
    selects, tags = lab.put(**change)
    assert selects == 3
    assert tags[0] == tags[1]
    with lab.app.app_context():
        sample = lab.db.session.get_one(Sample, 1)
        assert lab.dumped == dump(sample)
        assert isinstance(sample.tracked, MutableDict)
