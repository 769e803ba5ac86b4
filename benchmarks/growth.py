"""How cost grows: with the body, the members of a field, the routes, the rows of a collection."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from benchmarks.bodies import BARE, BODY_BY_HAND, bodies
from benchmarks.cases import Application, Case, ask, copies_of, environ_of, plain, reads, serving
from benchmarks.contents import Content, Thing, page_of
from benchmarks.database import SCHEMA, VersionedRecord, app_and_database
from benchmarks.measure import Promise, serve
from benchmarks.peers import werkzeug
from flask_etag import ETag, etag_resource, resource, version_column
from flask_etag.sqlalchemy import Page

PAGES = [1, 4, 16, 64, 256, 1024, 5461]
"""Numbers of records, for bodies from 256 B to 1 MiB."""
GROWING = [BARE, f"{BODY_BY_HAND}, 200", "etag_resource, 200", "version, version_column, 200"]
GROWING.append("version, version_column, 304")

MEMBERS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 10_000]
"""Numbers of tags in If-None-Match."""
MOST_READ = 256

WHO = ["Flask-ETag, a version", "Werkzeug, add_etag and make_conditional"]

ROUTES = [1, 10, 100, 1000]
ROWS = [1, 10, 100, 1000]


def by_body(records: int) -> list[Case]:
    """Return the cases of a page."""
    return [case for case in bodies("", page_of(records)) if case.name in GROWING]


def by_members(content: Content) -> list[Case]:
    """Return the cases of If-None-Match with tags that nobody knows: ours, and Werkzeug's."""

    @resource(etag=version_column("revision"))
    def find_record(record_id: int) -> Thing:
        return content.thing

    def view(_: Any) -> Response:
        return jsonify(content.data)

    ours = serving(etag_resource(find_record)(view), etag=True)
    applications: dict[str, Application] = dict(zip(WHO, (ours, werkzeug(content)), strict=True))
    return [
        Case(name_of(who, number), name_of(who, 1), application, copies_of(environ), 200, True, content.body)
        for who, application in applications.items()
        for number in MEMBERS
        for environ in [environ_of(if_none_match=", ".join(f'"{member:06}"' for member in range(number)))]
    ]


def name_of(who: str, number: int) -> str:
    return f"{who}, {number:,}"


OVER_THE_CAP = [
    Promise(
        f"a field of {number:,} members, to one of 1 member",
        1.00,
        lambda each, number=number: each[name_of(WHO[0], number)] / each[name_of(WHO[0], 1)],  # type: ignore[misc]
    )
    for number in MEMBERS
    if number > MOST_READ
]


def by_routes(number: int) -> dict[str, Callable[[], float]]:
    """Return what measures making an application with so many views, and its first request."""
    return {
        f"{what}, {who}": partial(_first_steps, number, etag=etag, asks=asks)
        for what, asks in [("decorating", False), ("first request", True)]
        for who, etag in [("plain Flask", False), ("Flask-ETag", True)]
    }


DECORATING = Promise(
    "decorating 1,000 views, in ms above plain Flask",
    50,
    lambda each: (each["decorating, Flask-ETag"] - each["decorating, plain Flask"]) * 1000,
)


def _first_steps(number: int, *, etag: bool, asks: bool) -> float:
    """Make an application, or ask it for the first time; return the seconds that this took."""
    environ = environ_of()
    start = time.thread_time()
    app = Flask("benchmarks")
    if etag:
        ETag(app)

    for route in range(number):

        def find(record: int) -> Thing:
            return Thing()

        def view(record: Any) -> str:
            return "."

        served = etag_resource(resource(find))(view) if etag else view
        app.add_url_rule(f"/{route}/<int:record>", f"view{route}", served)
    if asks:
        start = time.thread_time()
        serve(app, environ)
    return time.thread_time() - start


def by_rows(number: int, database: str) -> list[Case]:
    """Return the cases of a collection with so many rows."""
    statement = select(VersionedRecord).order_by(VersionedRecord.id).limit(number)
    nobody, db = app_and_database(database)

    def dumped(records: Any) -> ResponseReturnValue:
        return jsonify([SCHEMA.dump(record) for record in records])

    @nobody.get("/records/<int:record_id>")
    def read(record_id: int) -> ResponseReturnValue:
        return dumped(db.session.scalars(statement).all())

    def collection(load: Callable[[Any], Any]) -> Flask:
        app, own = app_and_database(database, etag=True)

        @resource
        def find_records(record_id: int) -> Any:
            return load(own.session)

        app.get("/records/<int:record_id>")(etag_resource(find_records)(dumped))
        return app

    bare = "no ETag"
    body = ask(nobody, environ_of()).body
    return [
        plain(bare, nobody, body),
        *reads("list", collection(lambda session: session.scalars(statement).all()), body, bare),
        *reads("Page", collection(lambda session: Page(session, statement)), body, bare),
    ]
