"""Rule 3.6: a 304 of a wide row does not read what makes it wide, where its loader leaves that for the view."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Text
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.orm import Mapped, defer, mapped_column
from werkzeug.test import TestResponse

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.models import Base
from tests.world.racing import named
from tests.world.statements import statements_of

MEGABYTE = "x" * 2**20


class Report(Versioned, Base):
    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(Text().with_variant(LONGTEXT(), "mysql", "mariadb"))
    updated_at: Mapped[datetime] = mapped_column(default=datetime(2020, 1, 1))


class Reports:
    """An application with one report of a megabyte, whose loader leaves that out where a copy is asked about."""

    def __init__(self, url: str) -> None:
        self.app = Flask("reports")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = db = SQLAlchemy(self.app, model_class=Base)
        ETag(self.app)

        @resource(last_modified="updated_at")
        def find_report(report_id: int) -> Report | None:
            wide = [defer(Report.body)] if "If-None-Match" in request.headers else []
            return db.session.get(Report, report_id, options=wide)

        @self.app.get("/reports/<int:report_id>")
        @etag_resource(find_report)
        def read_report(report: Report) -> dict[str, Any]:
            return {"length": len(report.body)}

        @self.app.put("/reports/<int:report_id>")
        @require_if_match(find_report)
        def lengthen_report(report: Report) -> str:
            report.body += request.get_data(as_text=True)
            db.session.commit()
            return ""

        with self.app.app_context():
            db.session.add(Report(id=1, body=MEGABYTE))
            db.session.commit()
            self.engine = db.engine

    def send(self, method: str = "GET", data: str = "", path: str = "/reports/1", **fields: str) -> TestResponse:
        return self.app.test_client().open(path, method=method, data=data, headers=named(fields))


@pytest.fixture
def reports(world_url: str) -> Iterator[Reports]:
    reports = Reports(world_url)
    yield reports
    reports.engine.dispose()


def test_a_304_of_a_megabyte_does_not_read_it(reports: Reports) -> None:
    full = reports.send()
    assert full.get_json() == {"length": 2**20}
    with statements_of(reports.engine) as statements:
        for method in ("GET", "HEAD"):
            unchanged = reports.send(method, if_none_match=full.headers["ETag"])
            assert unchanged.status_code == 304
            assert unchanged.headers["ETag"] == full.headers["ETag"]
    assert statements
    assert not any("report.body" in statement for statement in statements)


def test_what_has_changed_is_read_whole_under_its_new_tag(reports: Reports) -> None:
    seen = reports.send()
    assert reports.send("PUT", "more", if_match=seen.headers["ETag"]).status_code == 200
    changed = reports.send(if_none_match=seen.headers["ETag"])
    assert changed.get_json() == {"length": 2**20 + 4}
    assert changed.headers["ETag"] == reports.send().headers["ETag"] != seen.headers["ETag"]
    assert reports.send(path="/reports/2", if_none_match="*").status_code == 404


def test_a_write_is_judged_and_guarded_as_ever(reports: Reports) -> None:
    etag = reports.send().headers["ETag"]
    assert reports.send("PUT", "more", if_match=etag, if_none_match='"other"').status_code == 200
    assert reports.send("PUT", "lost", if_match=etag, if_none_match='"other"').status_code == 412
    assert reports.send("PUT", "lost", if_none_match="*").status_code == 412
    assert reports.send().get_json() == {"length": 2**20 + 4}
