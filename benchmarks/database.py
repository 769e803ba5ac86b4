"""The same views over a database. A commit costs its processor time, at both ends; no disc is waited for.

Who imports ``flask_etag.sqlalchemy`` has its listeners on every session of the process; the other views here pay
for them, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Any

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, String, create_engine, event, select, text, update
from sqlalchemy.engine import Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.orm.exc import StaleDataError

from benchmarks.bodies import marked
from benchmarks.cases import Application, Case, Environ, ask, environ_of, plain, reads
from benchmarks.contents import RECORDS, RecordSchema
from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Page, Versioned, covers
from flask_etag.validators import Validator

ROWS = 10_000
SHELVES = 500
PER_PAGE = 50
BATCH = 10
PLACE = RECORDS[0]["place"]


class Base(DeclarativeBase):
    pass


class Columns:
    """Those of a record, 192 B as JSON."""

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int]
    place: Mapped[str] = mapped_column(String(40))
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


class Shelf(Base):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list[Book]] = relationship()


class Book(Base):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"))
    place: Mapped[str] = mapped_column(String(40))


class VersionedShelf(Versioned, Base):
    __tablename__ = "versioned_shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    books: Mapped[list[BookOfVersioned]] = relationship()


class BookOfVersioned(Base):
    __tablename__ = "book_of_versioned"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("versioned_shelf.id"))
    place: Mapped[str] = mapped_column(String(40))


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
            for number in range(1, SHELVES + 1):
                db.session.add(Shelf(id=number, books=[Book(place=PLACE) for _ in range(BATCH)]))
                books = [BookOfVersioned(place=PLACE) for _ in range(BATCH)]
                db.session.add(VersionedShelf(id=number, books=books))
        db.session.commit()
        if not database.startswith("mysql"):
            db.session.execute(text("ANALYZE"))
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

    @app.get("/pages/<int:page>")
    def read_page(page: int) -> ResponseReturnValue:
        found = select(Record).order_by(Record.id).limit(PER_PAGE).offset((page - 1) * PER_PAGE)
        return jsonify([dump(record) for record in db.session.scalars(found)])

    @app.patch("/records")
    def replace_some() -> ResponseReturnValue:
        for item in request.get_json():
            db.get_or_404(Record, item["id"]).place = item["place"]
        db.session.commit()
        return "", 204

    @app.put("/shelves/<int:record_id>")
    def replace_book(record_id: int) -> ResponseReturnValue:
        shelf = db.get_or_404(Shelf, record_id)
        shelf.books[0].place = request.get_json()["place"]
        db.session.commit()
        return jsonify(shelf.id)

    return app


def overtaking(database: str) -> Callable[[int], None]:
    """Return what lets another writer change a row, if the request asks for that."""
    engine = create_engine(database)
    table: Any = VersionedRecord.__table__

    def write(record_id: int) -> None:
        with engine.begin() as connection:
            connection.execute(update(table).values(version=token_hex(16)).where(table.c.id == record_id))

    def overtake(record_id: int) -> None:
        if "X-Overtaken" in request.headers:
            other = Thread(target=write, args=[record_id])  # what this thread wrote would be the request's own
            other.start()
            other.join()

    return overtake


def by_hand(database: str) -> Flask:
    """Serve rows whose version SQLAlchemy compares, and map what it raises."""
    app, db = app_and_database(database)
    overtake = overtaking(database)

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
        overtake(record_id)
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
    overtake = overtaking(database)

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
        overtake(record.id)
        db.session.commit()
        return jsonify(dump(record))

    @resource
    def find_page(page: int) -> Page[Columns]:
        return Page(db.session, select(model).order_by(model.id), page=page, per_page=PER_PAGE)

    @app.get("/pages/<int:page>")
    @etag_resource(find_page)
    def read_page(records: Page[Columns]) -> ResponseReturnValue:
        return jsonify([dump(record) for record in records])

    def changes() -> list[tuple[str, dict[str, int]]]:
        return [(item["etag"], {"record_id": item["id"]}) for item in request.get_json()]

    @app.patch("/records")
    @require_if_match(find_record, each=changes)
    def replace_some(records: list[Any]) -> ResponseReturnValue:
        for record, item in zip(records, request.get_json(), strict=True):
            record.place = item["place"]
        db.session.commit()
        return "", 204

    @resource
    def find_shelf(record_id: int) -> VersionedShelf:
        return db.get_or_404(VersionedShelf, record_id)

    @app.get("/shelves/<int:record_id>")
    @etag_resource(find_shelf)
    def read_shelf(shelf: VersionedShelf) -> ResponseReturnValue:
        return jsonify(shelf.id)

    @app.put("/shelves/<int:record_id>")
    @require_if_match(find_shelf)
    def replace_book(shelf: VersionedShelf) -> ResponseReturnValue:
        shelf.books[0].place = request.get_json()["place"]
        db.session.commit()
        return jsonify(shelf.id)

    return app


def writes(application: Application, path: str = "/records/{}", **fields: str) -> Callable[[int], list[Environ]]:
    """Return what gives PUTs of different rows, each with the tag that the row has, and something new to write."""

    def environs(number: int) -> list[Environ]:
        return [put(path.format(row)) for row in range(2, number + 2)]  # the first is the one that is read

    def put(path: str) -> Environ:
        etag = ask(application, environ_of(path)).etag
        return environ_of(path, "PUT", {"place": new_place()}, if_match=etag or '"none"', **fields)

    return environs


def writes_of_some(application: Application) -> Callable[[int], list[Environ]]:
    """Return what gives requests that write several rows, each with its tag."""

    def environs(number: int) -> list[Environ]:
        return [environ_of("/records", "PATCH", [item(row) for row in rows]) for rows in rows_of(number)]

    def rows_of(number: int) -> Iterator[range]:
        return (range(first, first + BATCH) for first in range(2, 2 + number * BATCH, BATCH))

    def item(row: int) -> dict[str, Any]:
        etag = ask(application, environ_of(f"/records/{row}")).etag
        return {"id": row, "etag": etag, "place": new_place()}

    return environs


def new_place() -> str:
    return f"place {next(_fresh):09}"


def refused_writes(number: int) -> list[Environ]:
    return [environ_of("/records/1", "PUT", {"place": PLACE}, if_match='"stale"') for _ in range(number)]


def database_cases(database: str) -> list[Case]:
    """Return the cases of rows in a database."""
    nobody, hand, ours = without_us(database), by_hand(database), with_us(database, VersionedRecord)
    hashed = with_us(database, Record, content_hash(SCHEMA))
    body = ask(nobody, environ_of()).body
    page = ask(nobody, environ_of("/pages/2")).body
    get, put, some, many = "bare view, GET", "bare view, PUT", f"bare view, PATCH of {BATCH}", "bare view, page"
    raced = "version by hand, PUT raced"
    return [
        plain(get, nobody, body),
        *reads("version by hand, GET", hand, body, get),
        *reads("Versioned, GET", ours, body, get, (1.15, 0.90)),
        *reads("content_hash, GET", hashed, body, get),
        plain(many, nobody, page, path="/pages/2"),
        *reads(f"Page of {PER_PAGE}", ours, page, many, path="/pages/2"),
        Case(put, put, nobody, writes(nobody)),
        Case("version by hand, PUT", put, hand, writes(hand), is_tagged=True),
        Case("version by hand, PUT refused", put, hand, refused_writes, 412),
        Case("Versioned, PUT", put, ours, writes(ours), is_tagged=True, at_most=1.10),
        Case("Versioned, PUT refused", put, ours, refused_writes, 412, is_tagged=True, at_most=0.40),
        Case("content_hash, PUT", put, hashed, writes(hashed), is_tagged=True, at_most=1.60),
        Case("content_hash, PUT refused", put, hashed, refused_writes, 412, is_tagged=True),
        Case(raced, raced, hand, writes(hand, x_overtaken="1"), 412),
        Case("Versioned, PUT raced", raced, ours, writes(ours, x_overtaken="1"), 412, is_tagged=True),
        Case(some, some, nobody, writes_of_some(nobody), 204),
        Case(f"Versioned, PATCH of {BATCH}", some, ours, writes_of_some(ours), 204),
    ]


def covering_cases(database: str) -> list[Case]:
    """Return the cases of a part whose change moves the version of its whole.

    From then on each flush of the process looks for parts, also those of the other views.
    """
    covers(VersionedShelf.books)
    nobody, ours = without_us(database), with_us(database, VersionedRecord)
    put, shelves = "bare view, PUT of a part", "/shelves/{}"
    return [
        Case(put, put, nobody, writes(nobody, shelves)),
        Case("covers, PUT of a part", put, ours, writes(ours, shelves), is_tagged=True),
    ]


def processes_of(database: str) -> list[int]:
    """Return the processes that serve the connections to a database of this machine; none, of SQLite's."""
    ask_for = {"postgresql": "SELECT pid FROM pg_stat_activity", "mysql": "SELECT @@pid_file"}
    engine = create_engine(database)
    if engine.dialect.name not in ask_for:
        return []
    with engine.connect() as connection:
        told = list(connection.scalars(text(ask_for[engine.dialect.name])))
    engine.dispose()
    return [each if isinstance(each, int) else int(Path(each).read_text()) for each in told]


def statements_of(case: Case) -> int:
    """Return how many statements a request sends, besides BEGIN and COMMIT."""
    statements = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    [environ] = case.environs(1)
    event.listen(Engine, "before_cursor_execute", note)
    try:
        ask(case.application, environ)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    return len(statements)
