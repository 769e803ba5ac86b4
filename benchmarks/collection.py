"""A page of fifty rows of 100,000, small ones and wide ones: what its 304 costs, of its 200, wherever it is.

The processor time is that of both ends. A member is shown by a schema, with the ETag of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from statistics import median
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema
from marshmallow.fields import Float, Integer, String
from sqlalchemy import Select, Text, insert, select, text
from sqlalchemy import String as Varchar
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.cases import Case, reads
from benchmarks.measure import Round, ratio
from benchmarks.tables import figures, limit, table
from flask_etag import ETag, etag_resource, resource
from flask_etag.sqlalchemy import Page, Versioned

ROWS = 100_000
PER_PAGE = 50
FAR = ROWS - PER_PAGE
PLACES = {
    "the first page": "offset=0",
    "behind 2,500 rows": "offset=2500",
    "behind 5,000 rows": "offset=5000",
    "behind 10,000 rows": "offset=10000",
    "the last page": f"offset={FAR}",
    "the last page, by key": f"after={FAR}",
}


class Base(DeclarativeBase):
    pass


class Small(Versioned, Base):
    __tablename__ = "small"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Varchar(40))


class Wide(Versioned, Base):
    __tablename__ = "wide"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Varchar(40))
    body: Mapped[str] = mapped_column(Text)
    stock: Mapped[int]
    price: Mapped[float]
    place: Mapped[str] = mapped_column(Varchar(40))


class SmallSchema(Schema):
    id = Integer()
    name = String()


class WideSchema(SmallSchema):
    body = String()
    stock = Integer()
    price = Float()
    place = String()


SCHEMAS = {"small": SmallSchema(), "wide": WideSchema()}
MODELS: dict[str, type[Small | Wide]] = {"small": Small, "wide": Wide}


def shelf(database: str) -> Flask:
    """Return an application that shows the rows of a database, which it fills."""
    app = Flask("collection")
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    db = SQLAlchemy(app, model_class=Base)
    ETag(app)

    def serve(kind: str, model: type[Small | Wide]) -> None:
        @resource
        def find_row(row: Small | Wide) -> Small | Wide:
            return row

        @resource
        def find_rows() -> Page[Small | Wide]:
            found: Select[Any] = select(model).order_by(model.id)
            if "after" in request.args:
                return Page(db.session, found.where(model.id > int(request.args["after"])), limit=PER_PAGE)
            return Page(db.session, found, offset=int(request.args["offset"]), limit=PER_PAGE)

        @app.get(f"/{kind}", endpoint=kind)
        @etag_resource(find_rows)
        def read_rows(rows: Page[Small | Wide]) -> list[dict[str, Any]]:
            return [{**SCHEMAS[kind].dump(row), "etag": str(find_row.etag_of(row))} for row in rows]

    for kind, model in MODELS.items():
        serve(kind, model)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        for start in range(1, ROWS + 1, 5_000):
            numbers = range(start, min(start + 5_000, ROWS + 1))
            db.session.execute(insert(Small), [small(number) for number in numbers])
            db.session.execute(insert(Wide), [wide(number) for number in numbers])
        db.session.execute(text("ANALYZE TABLE small, wide" if database.startswith("mysql") else "ANALYZE"))
        db.session.commit()
    return app


def small(number: int) -> dict[str, Any]:
    return {"id": number, "name": f"Number {number}", "version": token_hex(16)}


def wide(number: int) -> dict[str, Any]:
    body = "A description of some length. " * 35
    return {**small(number), "body": body, "stock": number, "price": 9.99, "place": "shelf"}


def pages(database: str) -> list[Case]:
    """Return the cases of a database: of each page its 200, and its 304, compared with that."""
    app = shelf(database)

    def of_page(kind: str, place: str, query: str) -> list[Case]:
        name = f"{kind} rows, {place}"
        at_most = 0.35 if query.startswith("after") else 1.05
        full, unchanged = reads(name, app, None, f"{name}, 200", (None, at_most), f"/{kind}?{query}")
        return [full, unchanged]

    return [case for kind in MODELS for place, query in PLACES.items() for case in of_page(kind, place, query)]


def compared(cases: Sequence[Case], rounds: Sequence[Round]) -> str:
    """Make a table of what the 304 of each page takes, of its 200."""

    def microseconds(name: str) -> str:
        return f"{median(each[name] for each in rounds) * 1e6:,.0f}"

    rows = []
    for case in cases:
        if case.over != case.name:
            spread = ratio(rounds, case)
            name = case.name.removesuffix(", 304")
            times = [microseconds(case.over), microseconds(case.name)]
            rows.append([name, *times, *figures(spread), limit(spread, case.at_most)])
    return table([f"{PER_PAGE} of {ROWS:,}", "200, µs", "304, µs", "304 of 200", "quartiles", "at most"], rows)
