"""Rule 3.6: a 304 of a wide row, by its key and its version alone."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, g, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Select, Text, event, select
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.orm import Mapped, aliased, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError
from sqlalchemy.schema import ForeignKey
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource, version_column
from flask_etag.sqlalchemy import Versioned
from tests.world.models import Base
from tests.world.racing import named

MEGABYTE = "x" * 2**20
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Report(Versioned, Base):
    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(Text().with_variant(LONGTEXT(), "mysql", "mariadb"))
    owner: Mapped[str] = mapped_column(Text, default="ann")
    updated_at: Mapped[datetime] = mapped_column(default=datetime(2020, 1, 1))
    parts: Mapped[list[Piece]] = relationship()

    @property
    def length(self) -> int:
        return len(self.body)


class Piece(Base):
    __tablename__ = "piece"

    report_id: Mapped[int] = mapped_column(ForeignKey("report.id"), primary_key=True)
    number: Mapped[int] = mapped_column("part_number", primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(default=1)
    text: Mapped[str] = mapped_column(Text, default="")


class Reports:
    """An application with one report of a megabyte, which has two parts; it notes what is loaded, and read."""

    def __init__(self, url: str) -> None:
        self.app = Flask("reports")
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = db = SQLAlchemy(self.app, model_class=Base)
        ETag(self.app)
        self.loads = 0
        self.statements: list[str] = []
        with self.app.app_context():
            db.session.add(Report(id=1, body=MEGABYTE))
            db.session.add_all([Piece(report_id=1, number=number) for number in (1, 2)])
            db.session.commit()
            self.engine = db.engine
        event.listen(self.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("SELECT"):
            self.statements.append(" ".join(statement.split()))

    def load(self, report_id: int) -> Report | None:
        self.loads += 1
        return self.db.session.get(Report, report_id)

    def serve(self, **options: Any) -> None:
        """Serve the report by a resource of its own."""
        found = resource(**options)(self.load)

        @self.app.get("/reports/<int:report_id>")
        @etag_resource(found)
        def read_report(report: Report) -> dict[str, Any]:
            return {"length": len(report.body)}

        @self.app.put("/reports/<int:report_id>")
        @require_if_match(found)
        def replace_report(report: Report) -> str:
            report.body = MEGABYTE + request.get_data(as_text=True)
            self.db.session.commit()
            return ""

    def get(self, path: str = "/reports/1", method: str = "GET", **fields: str) -> TestResponse:
        self.statements.clear()
        self.loads = 0
        return self.app.test_client().open(path, method=method, headers=named(fields))


@pytest.fixture
def of_kind() -> Iterator[Callable[[str], Reports]]:
    made: list[Reports] = []

    def make(url: str) -> Reports:
        made.append(Reports(url))
        return made[-1]

    yield make
    for reports in made:
        reports.engine.dispose()


@pytest.fixture
def reports(of_kind: Callable[[str], Reports], world_on: Callable[[str], str]) -> Reports:
    return of_kind(world_on("sqlite"))


@pytest.mark.parametrize("probe", [Report, lambda report_id: select(Report).where(Report.id == report_id)])
def test_a_304_of_a_megabyte_reads_the_key_and_the_version_alone(
    world_url: str, of_kind: Callable[[str], Reports], probe: Any
) -> None:
    reports = of_kind(world_url)
    reports.serve(probe=probe)
    full = reports.get()
    assert len(reports.statements) == 1  # no probe where nothing is asked
    assert full.get_json() == {"length": 2**20}
    for method in ("GET", "HEAD"):
        unchanged = reports.get(method=method, if_none_match=full.headers["ETag"])
        assert unchanged.status_code == 304
        assert unchanged.headers["ETag"] == full.headers["ETag"]
        assert reports.loads == 0
        [statement] = reports.statements
        assert statement.startswith("SELECT report.id, report.version FROM report WHERE")

    reports.app.test_client().put("/reports/1", data="more", headers={"If-Match": full.headers["ETag"]})
    changed = reports.get(if_none_match=full.headers["ETag"])
    assert changed.get_json() == {"length": 2**20 + 4}
    assert len(reports.statements) == 2
    assert reports.get(if_none_match=changed.headers["ETag"]).status_code == 304
    assert reports.get("/reports/2", if_none_match="*").status_code == 404


def test_a_write_is_never_judged_by_a_probe(reports: Reports) -> None:
    def probe(report_id: int) -> None:
        raise NotImplementedError

    reports.serve(probe=probe)
    assert reports.get(method="PUT", if_match="*").status_code == 200
    assert reports.get(method="PUT", if_none_match="*").status_code == 412


def test_the_date_that_last_modified_names_is_read_too(reports: Reports) -> None:
    reports.serve(probe=Report, last_modified="updated_at", headers={"Vary": "Accept"}, variant=lambda _: "de")
    full = reports.get()
    unchanged = reports.get(if_modified_since=http_date(LONG_AGO))
    assert unchanged.status_code == 304
    [statement] = reports.statements
    assert statement.startswith("SELECT report.id, report.updated_at, report.version FROM")
    assert (unchanged.headers["ETag"], unchanged.headers["Vary"]) == (full.headers["ETag"], "Accept")
    assert full.headers["Last-Modified"] == http_date(LONG_AGO)
    assert reports.get(if_modified_since="Sat, 29 Oct 1994 19:43:31 GMT").status_code == 200


def test_what_else_a_request_asks_is_for_the_loader_to_answer(reports: Reports) -> None:
    reports.serve(probe=Report)
    etag = reports.get().headers["ETag"]
    assert reports.get(if_match=etag).status_code == 200
    assert len(reports.statements) == 1
    assert reports.get(if_match='"other"', if_none_match=etag).status_code == 412
    assert reports.loads == 1


def test_an_object_that_was_loaded_before_stays_what_it_is(reports: Reports) -> None:
    """Above the decorator, say, by what decides who may come in: the probe changes nothing of it."""
    reports.serve(probe=Report)

    @reports.app.before_request
    def load_user() -> None:
        g.report = reports.load(1)

    @reports.app.after_request
    def check(response: Any) -> Any:
        response.headers["Length"] = g.report.length
        return response

    etag = reports.get().headers["ETag"]
    assert reports.get(if_none_match=etag).headers["Length"] == str(2**20)
    assert reports.get(if_none_match='"other"').get_json() == {"length": 2**20}


def test_a_probe_may_decide_who_may_see_it(reports: Reports) -> None:
    """As the loader would: it answers in its place."""

    def probe(report_id: int) -> Select[Report] | None:
        user = request.headers.get("User")
        if user is None:
            abort(401)
        if user == "root":
            return None
        return select(Report).where(Report.id == report_id, Report.owner == user)

    reports.serve(probe=probe)
    etag = reports.get().headers["ETag"]
    assert reports.get(if_none_match=etag).status_code == 401
    assert reports.get(if_none_match=etag, user="ann").status_code == 304
    assert reports.loads == 0
    for user in ("bob", "root"):
        reports.get(if_none_match=etag, user=user)
        assert reports.loads == 1


def test_an_object_of_the_application_s_own_is_as_good(reports: Reports) -> None:
    known = {1: {"revision": 7}}
    reports.serve(
        probe=lambda report_id: known[report_id],
        etag=lambda report: f"r{report['revision']}" if isinstance(report, Mapping) else "r8",
    )
    assert reports.get(if_none_match='"r7"').status_code == 304
    assert reports.statements == []
    assert reports.get(if_none_match='"r8"').status_code == 304
    assert reports.loads == 1


# Keys of several columns, and versions of other names.


def serve_parts(reports: Reports, rule: str, **options: Any) -> None:
    @resource(etag=version_column("revision"), **options)
    def find_part(**key: int) -> Piece | None:
        return reports.db.session.get(Piece, (1, key["number"]))

    reports.app.get(rule)(etag_resource(find_part)(lambda part: part.text))


def test_a_key_of_several_columns_is_taken_by_name(reports: Reports) -> None:
    serve_parts(reports, "/parts/<int:number>/of/<int:report_id>", probe=Piece)
    etag = reports.get("/parts/2/of/1").headers["ETag"]
    assert reports.get("/parts/2/of/1", if_none_match=etag).status_code == 304
    [statement] = reports.statements
    assert "piece.text" not in statement
    assert reports.get("/parts/1/of/1", if_none_match=etag).status_code == 200


def test_an_alias_in_a_select_is_read_by_its_own_columns(reports: Reports) -> None:
    part = aliased(Piece)
    serve_parts(
        reports,
        "/parts/<int:number>",
        probe=lambda number: select(part).where(part.report_id == 1, part.number == number),
    )
    etag = reports.get("/parts/2").headers["ETag"]
    assert reports.get("/parts/2", if_none_match=etag).status_code == 304
    assert "FROM piece AS piece_1 WHERE" in reports.statements[0]


# Misuse.


@pytest.mark.parametrize("probe", [7, "version"])
def test_what_is_no_probe_is_refused_with_advice(probe: Any) -> None:
    with pytest.raises(TypeError, match="probe= takes a model, or a function"):
        resource(probe=probe)


def test_an_async_probe_is_refused_with_advice() -> None:
    async def probe(report_id: int) -> Report:
        raise NotImplementedError

    with pytest.raises(TypeError, match="not async"):
        resource(probe=probe)


class Own(Report):
    def __etag__(self) -> str:
        raise NotImplementedError


def etag_of(report: Report) -> str:
    return report.owner


@pytest.mark.parametrize(
    ("model", "etag", "maker"),
    [
        (Report, content_hash(vars), "content_hash()"),
        (Report, etag_of, "etag=etag_of"),
        (Own, None, "its __etag__()"),
    ],
)
def test_what_makes_a_tag_of_more_than_a_version_has_no_model_for_a_probe(
    model: Any, etag: Any, maker: str
) -> None:
    with pytest.raises(
        TypeError, match=re.escape(f"probe={model.__name__} reads a version, and {maker} needs more")
    ):
        resource(probe=model, etag=etag)
    resource(probe=lambda **_: select(model), etag=etag)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"probe": Piece}, TypeError, "takes the key, report_id, number, from the URL's variables by name"),
        ({"probe": Report, "last_modified": "length"}, TypeError, "Report has no column length"),
        ({"probe": lambda **_: select(Report.id)}, TypeError, "select of something else than one model"),
        ({"probe": lambda **_: select(Piece).limit(1)}, TypeError, "Piece has no version"),
        ({"probe": dict}, TypeError, "probe=dict is no model"),
    ],
)
def test_what_cannot_be_probed_is_refused_with_advice(
    reports: Reports, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    reports.serve(**options)
    with pytest.raises(error, match=message):
        reports.get(if_none_match='"other"')


@pytest.mark.parametrize(
    "options",
    [
        {"headers": lambda report: {"Content-Language": report.owner}},
        {"variant": lambda report: str(report.parts)},
        {"last_modified": lambda report: report.updated_at},
        {"etag": etag_of, "probe": lambda report_id: select(Report).where(Report.id == report_id)},
    ],
)
def test_what_a_probe_has_not_read_is_no_none(reports: Reports, options: dict[str, Any]) -> None:
    reports.serve(**{"probe": Report, **options})
    with pytest.raises(DetachedInstanceError) as raised:
        reports.get(if_none_match='"other"')
    [note] = raised.value.__notes__
    assert note.startswith("This was met in what the probe of Reports.load found.")
    assert "For etag=, __etag__(), last_modified=, headers= or variant= to use more" in note


def test_without_flask_sqlalchemy_a_probe_brings_its_own_session() -> None:
    app = Flask("plain")
    app.testing = True
    ETag(app)

    @resource(probe=Report)
    def find_report(report_id: int) -> Report:
        raise NotImplementedError

    app.get("/<int:report_id>")(etag_resource(find_report)(lambda report: report.body))
    with pytest.raises(RuntimeError, match="let probe= be a function that returns what it has read"):
        app.test_client().get("/1", headers={"If-None-Match": '"other"'})


def test_a_probe_that_meets_a_writer_for_too_long_is_409(
    tmp_path: Path, world_on: Callable[[str], str], of_kind: Callable[[str], Reports]
) -> None:
    reports = of_kind(f"{world_on('sqlite')}?timeout=0")
    reports.serve(probe=Report)
    writer = sqlite3.connect(tmp_path / "world.db")
    writer.execute("BEGIN EXCLUSIVE")
    assert reports.get(if_none_match='"other"').status_code == 409
    writer.close()
