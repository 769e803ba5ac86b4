"""The same views over a database: SQLite, in a file. A commit costs its processor time; no disc is waited for.

Who imports ``flask_etag.sqlalchemy`` has its listeners on every session of the process; the other views here pay
for them, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from benchmarks.bodies import marked
from benchmarks.cases import Application, Case, Environ, ask, environ_of, plain, reads
from benchmarks.contents import RECORDS, RecordSchema
from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from flask_etag.validators import Validator

ROWS = 1000
PLACE = RECORDS[0]["place"]


class Base(DeclarativeBase):
    pass


class Columns:
    """Those of a record, 192 B as JSON."""

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    place: Mapped[str]
    co2: Mapped[float]
    dew: Mapped[float]
    gust: Mapped[float]
    lux: Mapped[float]
    noise: Mapped[float]
    pm10: Mapped[float]
    pm25: Mapped[float]
    rain: Mapped[float]
    snow: Mapped[float]
    temp: Mapped[float]
    uv: Mapped[float]
    wind: Mapped[float]


class Record(Columns, Base):
    __tablename__ = "record"


class VersionedRecord(Versioned, Columns, Base):
    __tablename__ = "versioned_record"


SCHEMA = RecordSchema()

_fresh = count(1)
"""One for all who write: where two that share a row count for themselves, the second writes what is there."""


def dump(record: Any) -> dict[str, Any]:
    return SCHEMA.dump(record)  # type: ignore[no-any-return]


def app_and_database(database: str, *, etag: bool = False) -> tuple[Flask, SQLAlchemy]:
    """Return an application, and its database with some rows in it."""
    app = Flask("benchmarks")
    app.config["SQLALCHEMY_DATABASE_URI"] = database
    db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
    if etag:
        ETag(app)
    with app.app_context():
        Base.metadata.create_all(db.engine)
        if db.session.get(Record, 1) is None:
            rows = [{**RECORDS[0], "id": number} for number in range(1, ROWS + 1)]
            db.session.add_all(model(**row) for model in (Record, VersionedRecord) for row in rows)
        db.session.commit()
        db.engine.dispose()  # a server's workers open connections of their own
    return app, db


def without_us(database: str) -> Flask:
    app, db = app_and_database(database)

    @app.get("/records/<int:record_id>")
    def read(record_id: int) -> ResponseReturnValue:
        return jsonify(dump(db.get_or_404(Record, record_id)))

    @app.put("/records/<int:record_id>")
    def replace(record_id: int) -> ResponseReturnValue:
        record = db.get_or_404(Record, record_id)
        record.place = request.get_json()["place"]
        db.session.commit()
        return jsonify(dump(record))

    return app


def by_hand(database: str) -> Flask:
    """Serve rows whose version SQLAlchemy compares, and map what it raises."""
    app, db = app_and_database(database)

    @app.get("/records/<int:record_id>")
    def read(record_id: int) -> ResponseReturnValue:
        record = db.get_or_404(VersionedRecord, record_id)
        etag = f'"{record.version}"'
        if request.headers.get("If-None-Match") == etag:
            return marked(app.response_class(status=304), etag)
        return marked(jsonify(dump(record)), etag)

    @app.put("/records/<int:record_id>")
    def replace(record_id: int) -> ResponseReturnValue:
        record = db.get_or_404(VersionedRecord, record_id)
        if request.headers.get("If-Match") != f'"{record.version}"':
            abort(412)
        record.place = request.get_json()["place"]
        try:
            db.session.flush()
            etag = f'"{record.version}"'
            db.session.commit()
        except StaleDataError:
            db.session.rollback()
            abort(412)
        return marked(jsonify(dump(record)), etag)

    return app


def with_us(database: str, model: type[Columns], etag: Validator | None = None) -> Flask:
    app, db = app_and_database(database, etag=True)

    @resource(etag=etag)
    def find_record(record_id: int) -> Columns:
        return db.get_or_404(model, record_id)

    @app.get("/records/<int:record_id>")
    @etag_resource(find_record)
    def read(record: Any) -> ResponseReturnValue:
        return jsonify(dump(record))

    @app.put("/records/<int:record_id>")
    @require_if_match(find_record)
    def replace(record: Any) -> ResponseReturnValue:
        record.place = request.get_json()["place"]
        db.session.commit()
        return jsonify(dump(record))

    return app


def writes(application: Application) -> Callable[[int], list[Environ]]:
    """Return what gives PUTs of different rows, each with the tag that the row has, and something new to write."""

    def environs(number: int) -> list[Environ]:
        return [put(f"/records/{row}") for row in range(2, number + 2)]  # the first is the one that is read

    def put(path: str) -> Environ:
        etag = ask(application, environ_of(path)).etag
        return environ_of(path, "PUT", {"place": f"place {next(_fresh):09}"}, if_match=etag or '"none"')

    return environs


def refused_writes(number: int) -> list[Environ]:
    return [environ_of("/records/1", "PUT", {"place": PLACE}, if_match='"stale"') for _ in range(number)]


def database_cases(database: str) -> list[Case]:
    """Return the cases of rows in a database."""
    nobody, hand, ours = without_us(database), by_hand(database), with_us(database, VersionedRecord)
    hashed = with_us(database, Record, content_hash(SCHEMA))
    body = ask(nobody, environ_of()).body
    get, put = "bare view, GET", "bare view, PUT"
    return [
        plain(get, nobody, body),
        *reads("version by hand, GET", hand, body, get),
        *reads("Versioned, GET", ours, body, get, (1.15, 0.95)),
        *reads("content_hash, GET", hashed, body, get),
        Case(put, put, nobody, writes(nobody)),
        Case("version by hand, PUT", put, hand, writes(hand), is_tagged=True),
        Case("version by hand, PUT refused", put, hand, refused_writes, 412),
        Case("Versioned, PUT", put, ours, writes(ours), is_tagged=True, at_most=1.10),
        Case("Versioned, PUT refused", put, ours, refused_writes, 412, is_tagged=True, at_most=0.40),
        Case("content_hash, PUT", put, hashed, writes(hashed), is_tagged=True, at_most=1.35),
        Case("content_hash, PUT refused", put, hashed, refused_writes, 412, is_tagged=True),
    ]
