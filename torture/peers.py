"""The same counter by other means, each as its own documentation shows; TORTURE_PEER says by which.

``make peers`` installs what they need and lets the same clients loose on all of them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4

from flask import Flask, abort, request
from flask.views import MethodView
from flask_smorest import Api, Blueprint  # type: ignore[import-untyped]
from flask_sqlalchemy import SQLAlchemy
from marshmallow import Schema
from marshmallow.fields import Integer
from sqlalchemy import Uuid, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from flask_etag.torture.clients import Plan, collide
from flask_etag.torture.history import Verdict, judge
from tests.servers import postgresql
from torture.servers import serving

ROWS = 16
SLOW = 0.001  # as long as a quick view takes, and as the views of torture.app


class Base(DeclarativeBase):
    """The declarative base."""


class Plain(Base):
    """A counter without a version."""

    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Checked(Base):
    """A counter whose version SQLAlchemy checks."""

    __tablename__ = "checked"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]
    version: Mapped[UUID] = mapped_column(Uuid)

    __mapper_args__ = {"version_id_col": version, "version_id_generator": lambda _: uuid4()}  # noqa: RUF012


db = SQLAlchemy(model_class=Base)


def save(counter: Any, number: int) -> dict[str, int]:
    time.sleep(SLOW)
    counter.number = number
    db.session.commit()
    return {"number": number}


def werkzeug_helpers(app: Flask) -> None:
    """Serve it with Werkzeug's ``add_etag``, ``make_conditional`` and ``if_match``."""

    @app.route("/counters/<int:counter_id>", methods=["GET", "PUT"])
    def counter(counter_id: int) -> Any:
        row = db.get_or_404(Plain, counter_id)
        response = app.make_response({"number": row.number})
        response.add_etag()
        if request.method == "GET":
            return response.make_conditional(request)
        etag, _ = response.get_etag()
        if etag is None or not request.if_match.is_strong(etag):
            abort(412)
        answer = app.make_response(save(row, request.get_json()["number"]))
        answer.add_etag()
        return answer


def smorest(app: Flask) -> None:
    """Serve it with flask-smorest: ``blp.etag``, and ``blp.check_etag`` in the view."""
    app.config.update(API_TITLE="Counters", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    blueprint = Blueprint("counters", "counters", url_prefix="/counters")

    class CounterSchema(Schema):
        number = Integer()

    @blueprint.route("/<int:counter_id>")
    class Counters(MethodView):
        @blueprint.etag
        @blueprint.response(200, CounterSchema)
        def get(self, counter_id: int) -> Any:
            return db.get_or_404(Plain, counter_id)

        @blueprint.etag
        @blueprint.arguments(CounterSchema)
        @blueprint.response(200, CounterSchema)
        def put(self, sent: dict[str, int], counter_id: int) -> Any:
            row = db.get_or_404(Plain, counter_id)
            blueprint.check_etag(row, CounterSchema)
            return save(row, sent["number"])

    Api(app).register_blueprint(blueprint)


def by_hand(app: Flask, refused: tuple[type[Exception], ...] = (StaleDataError, OperationalError)) -> None:
    """Serve it with a bare ``version_id_col``, and a 412 written by hand."""

    @app.route("/counters/<int:counter_id>", methods=["GET", "PUT"])
    def counter(counter_id: int) -> Any:
        row = db.get_or_404(Checked, counter_id)
        if request.method == "PUT":
            if request.headers.get("If-Match") != f'"{row.version}"':
                abort(412)
            number = request.get_json()["number"]
            time.sleep(SLOW)
            try:
                row.number = number
                db.session.flush()
                etag = f'"{row.version}"'
                db.session.commit()
            except refused:
                db.session.rollback()
                abort(412)
            return {"number": number}, {"ETag": etag}
        return {"number": row.number}, {"ETag": f'"{row.version}"'}


def waiting(app: Flask) -> None:
    """Serve it with a SELECT ... FOR UPDATE before the tag is compared; SQLite has its lock for writing."""

    @app.route("/counters/<int:counter_id>", methods=["GET", "PUT"])
    def counter(counter_id: int) -> Any:
        if request.method == "GET":
            row = db.get_or_404(Checked, counter_id)
            return {"number": row.number}, {"ETag": f'"{row.version}"'}
        try:
            if db.engine.dialect.name == "sqlite":
                db.session.execute(text("BEGIN IMMEDIATE"))
            row = db.session.get_one(Checked, counter_id, with_for_update=True)
        except OperationalError:
            db.session.rollback()
            abort(409)
        if request.headers.get("If-Match") != f'"{row.version}"':
            db.session.rollback()
            abort(412)
        number = request.get_json()["number"]
        time.sleep(SLOW)
        row.number = number
        db.session.flush()
        etag = f'"{row.version}"'
        db.session.commit()
        return {"number": number}, {"ETag": etag}


def unmapped(app: Flask) -> None:
    """Serve it with a bare ``version_id_col``, whose exception nobody maps to an answer."""
    by_hand(app, ())


def ours(app: Flask) -> None:
    """Serve it with Flask-ETag, by the version that its mixin gives a model."""
    from flask_etag.sqlalchemy import Versioned  # noqa: PLC0415 - from then on, all sessions have its listeners

    class Guarded(Versioned, Base):
        __tablename__ = "guarded"

        id: Mapped[int] = mapped_column(primary_key=True)
        number: Mapped[int]

    _guard(app, Guarded, None)


def ours_without_version(app: Flask) -> None:
    """Serve it with Flask-ETag, by a hash of the content."""
    from flask_etag import content_hash  # noqa: PLC0415

    _guard(app, Plain, content_hash(lambda counter: {"number": counter.number}))


def _guard(app: Flask, model: Any, etag: Any) -> None:
    from flask_etag import ETag, etag_resource, require_if_match, resource  # noqa: PLC0415

    ETag(app)

    @resource(etag=etag)
    def find_counter(counter_id: int) -> Any:
        return db.get_or_404(model, counter_id)

    @app.get("/counters/<int:counter_id>")
    @etag_resource(find_counter)
    def read(counter: Any) -> Any:
        return {"number": counter.number}

    @app.put("/counters/<int:counter_id>")
    @require_if_match(find_counter)
    def replace(counter: Any) -> Any:
        return save(counter, request.get_json()["number"])


def django() -> Callable[..., Iterable[bytes]]:
    """Serve it with Django's ``condition``."""
    import django as django_  # noqa: PLC0415
    from django.conf import settings  # noqa: PLC0415

    url = db_url()
    if url.startswith("sqlite"):
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.removeprefix("sqlite:///")}
    else:
        host = url.partition("host=")[2]
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": host,
        }
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": database},
        ROOT_URLCONF="torture.peers_django",
        SECRET_KEY=str(uuid4()),
    )
    django_.setup()
    from django.core.wsgi import get_wsgi_application  # noqa: PLC0415

    from torture import peers_django  # noqa: PLC0415

    peers_django.create()
    application: Callable[..., Iterable[bytes]] = get_wsgi_application()
    return application


def db_url() -> str:
    return os.environ["TORTURE_DATABASE"]


OURS = "Flask-ETag"
OURS_WITHOUT = f"{OURS}, no version"

FLASK = {
    OURS: ours,
    OURS_WITHOUT: ours_without_version,
    "Werkzeug": werkzeug_helpers,
    "flask-smorest": smorest,
    "by hand": by_hand,
    "FOR UPDATE by hand": waiting,
    "version_id_col": unmapped,
}


def create_app() -> Callable[..., Iterable[bytes]]:
    peer = os.environ["TORTURE_PEER"]
    if peer == "Django":
        return django()
    app = Flask("peers")
    app.config["SQLALCHEMY_DATABASE_URI"] = db_url()
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 8}
    db.init_app(app)
    FLASK[peer](app)
    with app.app_context():
        Base.metadata.drop_all(db.engine)
        Base.metadata.create_all(db.engine)
        models = [mapper.class_ for mapper in Base.registry.mappers]
        db.session.add_all(model(id=row, number=0) for model in models for row in range(1, ROWS + 1))
        db.session.commit()
        db.engine.dispose()
    return app


PEERS = ["flask-smorest", "Werkzeug", "Django", "version_id_col", "by hand", OURS]


def run(peer: str, database: str, accepted: int) -> tuple[Verdict, float, float]:
    """Collide clients on one peer; return the verdict, the seconds it took, and those that the server computed."""
    with serving("torture.peers:create_app()", database=database, peer=peer) as server:
        start, before = time.monotonic(), server.processor_time()
        operations = collide(Plan([server.url], accepted))["/counters/1"]
        seconds, computed = time.monotonic() - start, server.processor_time() - before
        return judge(operations, server.first, server.state()), seconds, computed


def databases(url: str, folder: str) -> dict[str, str]:
    return {"SQLite": f"sqlite:///{folder}/{uuid4()}.db", "PostgreSQL": url}


def compare(accepted: int) -> None:
    """Print what each peer loses."""
    print("| | database | accepted | 412 | 409 | 5xx | lost | share lost |\n|---|---|---|---|---|---|---|---|")
    with postgresql.running() as url, TemporaryDirectory() as folder:
        for peer in PEERS:
            for name, database in databases(url, folder).items():
                verdict, *_ = run(peer, database, accepted)
                counts = [
                    verdict.accepted,
                    verdict.refused,
                    verdict.conflicts,
                    verdict.server_errors,
                    verdict.lost,
                ]
                share = f"{verdict.lost / verdict.accepted:.0%}"
                print("|", " | ".join([peer, name, *map(str, counts), share]), "|", flush=True)


def race(accepted: int, runs: int = 5) -> None:
    """Print how many writes are accepted in a second, by hand and by Flask-ETag, in turns."""
    rates: dict[tuple[str, str, str], list[float]] = {}
    with postgresql.running() as url, TemporaryDirectory() as folder:
        for _ in range(runs):
            for name in ("SQLite", "PostgreSQL"):
                for peer in ("by hand", OURS):
                    verdict, seconds, computed = run(peer, databases(url, folder)[name], accepted)
                    rates.setdefault((name, "in a second", peer), []).append(verdict.accepted / seconds)
                    rates.setdefault((name, "in a second of its processor time", peer), []).append(
                        verdict.accepted / computed
                    )
    print("| database | accepted writes | by hand | Flask-ETag | ratio |\n|---|---|---|---|---|")
    for name, unit in dict.fromkeys((name, unit) for name, unit, _ in rates):
        theirs, ours = median(rates[name, unit, "by hand"]), median(rates[name, unit, OURS])
        print(f"| {name} | {unit} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} |")
    print(json.dumps({" ".join(key): values for key, values in rates.items()}), file=sys.stderr)


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 500
    {"compare": compare, "race": race}[sys.argv[1]](count)
