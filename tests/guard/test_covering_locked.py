"""Rules 2.2 and 3.4: what belongs to an object without a version is guarded by a lock on that object's row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from flask import request
from sqlalchemy import ForeignKey, Numeric, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship
from werkzeug.test import TestResponse

from flask_etag import content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import covers
from tests.guard.test_refusals import LEVELS
from tests.guard.test_refusals import named as name_of
from tests.world.application import World
from tests.world.models import Base, Note
from tests.world.racing import Racer, named


class Sheet(Base):
    __tablename__ = "sheet"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(80), default="")
    cells: Mapped[list[Cell]] = relationship(cascade="all, delete-orphan", order_by="Cell.id")


class Cell(Base):
    __tablename__ = "cell"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    sheet_id: Mapped[int] = mapped_column(ForeignKey("sheet.id"))


covers(Sheet.cells)


def dump(sheet: Sheet) -> dict[str, Any]:
    return {"title": sheet.title, "cells": [cell.number for cell in sheet.cells]}


class Sheets(World):
    """Sheet 1 with the cells 1 and 2; a sheet's PUT increases all its cells, a cell's PUT that one."""

    refusals: set[int] = {412}  # noqa: RUF012 - a test may set others

    def __init__(self, url: str, **engine_options: Any) -> None:
        super().__init__(url, **engine_options)
        db = self.db

        @resource(etag=content_hash(dump))
        def find_sheet(key: int) -> Sheet | None:
            return db.session.get(Sheet, key)

        @resource(etag=content_hash(lambda cell: cell.number))
        def find_cell(key: int) -> Cell | None:
            return db.session.get(Cell, key)

        @self.app.before_request
        def begin() -> None:
            if "Began" in request.headers:  # authentication, say, which reads first
                db.session.scalars(select(Note)).all()

        @self.app.get("/sheets/<int:key>")
        @etag_resource(find_sheet)
        def read_sheet(sheet: Sheet) -> dict[str, Any]:
            return dump(sheet)

        @self.app.put("/sheets/<int:key>")
        @require_if_match(find_sheet)
        def increase_all(sheet: Sheet) -> str:
            for cell in sheet.cells:
                cell.number += 1
            db.session.flush()
            self.hold("before commit")
            db.session.commit()
            return ""

        @self.app.post("/sheets/<int:key>")
        @require_if_match(find_sheet)
        def add_cell(sheet: Sheet) -> str:
            sheet.cells.append(Cell(number=Decimal(9)))
            db.session.commit()
            return ""

        @self.app.get("/cells/<int:key>")
        @etag_resource(find_cell)
        def read_cell(cell: Cell) -> str:
            return str(cell.number)

        @self.app.put("/cells/<int:key>")
        @require_if_match(find_cell)
        def increase(cell: Cell) -> str:
            cell.number += 1
            db.session.flush()
            self.hold("before commit")
            db.session.commit()
            return ""

        with Session(self.engine) as session:
            session.add(Sheet(id=1, cells=[Cell(number=Decimal(0)), Cell(number=Decimal(0))]))
            session.commit()

    def send(self, method: str, path: str, **fields: str) -> TestResponse:
        return self.app.test_client().open(path, method=method, headers=named(fields))

    def tag(self, path: str) -> str:
        return self.send("GET", path).headers["ETag"]

    def numbers(self) -> list[float]:
        return [float(number) for number in self.send("GET", "/sheets/1").get_json()["cells"]]


@pytest.fixture(params=LEVELS, ids=name_of)
def sheets(request: pytest.FixtureRequest, empty_database: Callable[[str], str]) -> Iterator[Sheets]:
    kind, options = request.param
    sheets = Sheets(empty_database(kind), **options)
    if kind == "mariadb" and options["isolation_level"] == "SERIALIZABLE":
        sheets.refusals = {409, 412}  # where a read waits as well, and can be what is refused
    yield sheets
    sheets.close()


def test_a_cell_that_is_written_by_its_own_url_makes_the_sheet_s_tag_stale(sheets: Sheets) -> None:
    seen = sheets.tag("/sheets/1")
    assert sheets.send("PUT", "/cells/1", if_match="*").status_code == 200
    assert sheets.send("GET", "/sheets/1", if_none_match=seen).status_code == 200
    assert sheets.send("PUT", "/sheets/1", if_match=seen).status_code == 412
    for method in ("PUT", "POST"):
        answer = sheets.send(method, "/sheets/1", if_match=sheets.tag("/sheets/1"))
        assert answer.status_code == 200
        assert answer.headers["ETag"] == sheets.tag("/sheets/1")
    assert sheets.numbers() == [2, 1, 9]


@pytest.mark.parametrize("began", [{}, {"began": "yes"}], ids=["", "begun"])
def test_a_sheet_waits_for_the_writer_of_a_cell_and_sees_what_that_left(
    sheets: Sheets, began: dict[str, str]
) -> None:
    sheets.send("PUT", "/sheets/1", if_match="*")  # from the second on, the loader's own SELECT locks
    seen = sheets.tag("/sheets/1")
    cell, hold = sheets.held(
        "before commit", lambda: sheets.send("PUT", "/cells/1", if_match="*", hold="before commit")
    )
    sheet = Racer(lambda: sheets.send("PUT", "/sheets/1", if_match=seen, **began))
    sheet.join(0.3)
    hold.released.set()
    assert cell.answer().status_code == 200
    assert sheet.answer().status_code in sheets.refusals
    assert sheets.numbers() == [2, 1]


def test_the_writer_of_a_cell_waits_for_one_of_the_sheet(sheets: Sheets) -> None:
    seen, seen_cell = sheets.tag("/sheets/1"), sheets.tag("/cells/1")
    sheet, hold = sheets.held(
        "before commit", lambda: sheets.send("PUT", "/sheets/1", if_match=seen, hold="before commit")
    )
    cell = Racer(lambda: sheets.send("PUT", "/cells/1", if_match=seen_cell))
    cell.join(0.3)
    hold.released.set()
    assert sheet.answer().status_code == 200
    assert cell.answer().status_code == 412
    assert sheets.numbers() == [1, 1]
