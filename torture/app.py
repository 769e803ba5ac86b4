"""The application under test: counters, guarded in one way or another; gunicorn serves ``create_app()``.

The environment tells how: TORTURE_DATABASE is SQLAlchemy's URL of the database, TORTURE_KIND one of ``KINDS``,
TORTURE_ISOLATION an isolation level, TORTURE_SLOW how many seconds a view takes between its check and its commit,
TORTURE_CLOCK by how many seconds the clock jumps, TORTURE_POOL what kind of pool there is, TORTURE_SYNC_WAIT what
a node of Galera waits for before it reads, TORTURE_REPLAY whether a write that was done is known again; with
TORTURE_OUTAGES, a database that is away is 503.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

import time_machine
from flask import Blueprint, Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    DateTime,
    Engine,
    ExceptionContext,
    FetchedValue,
    Integer,
    NullPool,
    String,
    Uuid,
    event,
    make_url,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from flask_etag import ETag, Resource, content_hash, require_if_match, resource, version_column
from flask_etag.sqlalchemy import Versioned

SLOW = 0.001  # seconds: as long as a quick view takes
SNAPSHOT = "snapshot"  # after MariaDB's isolation level: with innodb_snapshot_isolation
TRIGGERS = {
    "sqlite": [
        "CREATE TRIGGER IF NOT EXISTS moved AFTER UPDATE OF number ON counter BEGIN "
        "UPDATE counter SET version = OLD.version + 1 WHERE id = NEW.id; END"
    ],
    "mysql": [
        "CREATE TRIGGER IF NOT EXISTS moved BEFORE UPDATE ON counter FOR EACH ROW "
        "SET NEW.version = OLD.version + 1"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION move() RETURNS trigger AS "
        "'BEGIN NEW.version = OLD.version + 1; RETURN NEW; END' LANGUAGE plpgsql",
        "CREATE OR REPLACE TRIGGER moved BEFORE UPDATE ON counter FOR EACH ROW EXECUTE FUNCTION move()",
    ],
}


class _Counter:
    """A counter's columns, but for what tells one state from another."""

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int]
    writer: Mapped[str] = mapped_column(String(32), default="")  # who wrote it, so that no two write the same


class _Integer:
    version: Mapped[int]

    @declared_attr.directive
    def __mapper_args__(cls: Any) -> dict[str, Any]:  # noqa: N805 - SQLAlchemy hands it the class
        return {"version_id_col": cls.version}


class _UUID:
    version: Mapped[Any] = mapped_column(Uuid)

    @declared_attr.directive
    def __mapper_args__(cls: Any) -> dict[str, Any]:  # noqa: N805
        return {"version_id_col": cls.version, "version_id_generator": lambda _: uuid4()}


class _Xmin:
    xmin: Mapped[int] = mapped_column(Integer, FetchedValue(), FetchedValue(for_update=True), system=True)

    @declared_attr.directive
    def __mapper_args__(cls: Any) -> dict[str, Any]:  # noqa: N805
        return {"version_id_col": cls.xmin, "version_id_generator": False}


class _Trigger:
    version: Mapped[int] = mapped_column(Integer, server_default="1", server_onupdate=FetchedValue())

    @declared_attr.directive
    def __mapper_args__(cls: Any) -> dict[str, Any]:  # noqa: N805
        return {"version_id_col": cls.version, "version_id_generator": False}


class _Revision:
    version: Mapped[int] = mapped_column(default=1)


class _Datetime:
    version: Mapped[Any] = mapped_column(DateTime().with_variant(DATETIME(fsp=6), "mysql"))


KINDS: dict[str, tuple[type, ...]] = {
    "versioned": (Versioned,),
    "unversioned": (),
    "integer": (_Integer,),
    "uuid": (_UUID,),
    "xmin": (_Xmin,),
    "trigger": (_Trigger,),
    "revision": (_Revision,),  # named by version_column, and set by the view
    "datetime": (_Datetime,),
}
LOCKED = ("dict", "file")  # not mapped, and guarded by lock=


def dump(counter: Any) -> dict[str, Any]:
    return {"number": counter.number, "writer": counter.writer}


def create_app() -> Flask:
    first, *others = os.environ.get("TORTURE_KIND", "versioned").split(",")
    app = Flask("torture")
    app.config["ETAG_KEY"] = "a secret"
    ETag(app)
    if first in LOCKED:
        _serve_locked(app, first)
    else:
        _serve_mapped(app, {"counters": first, **{kind: kind for kind in others}})
    step = float(os.environ.get("TORTURE_CLOCK", "0"))
    if step:
        _step_the_clock(app, step)
    return app


def _view_takes_its_time() -> None:
    time.sleep(float(os.environ.get("TORTURE_SLOW", SLOW)))


def _step_the_clock(app: Flask, step: float) -> None:
    """Let all that tells the time of day jump to and fro, ten times a second, by so many seconds at most."""
    ahead = time.time() - time.monotonic()
    clock = time_machine.travel(time.time()).start()

    @app.before_request
    def jump() -> None:
        now = time.monotonic()
        clock.move_to(ahead + now + step * ((int(now * 10) + os.getpid()) % 7 - 3) / 3)


def _engine_options(url: str) -> dict[str, Any]:
    level, snapshot, _ = os.environ.get("TORTURE_ISOLATION", "").partition(SNAPSHOT)
    options: dict[str, Any] = {"isolation_level": level.strip()} if level else {}
    patience = os.environ.get(
        "TORTURE_PATIENCE"
    )  # seconds; for threads and a pool as the page on contention has them
    if patience:
        options |= {"max_overflow": 2, "pool_timeout": 10}
    if patience and not url.startswith("mysql"):
        timeout = (
            {"timeout": int(patience)} if url.startswith("sqlite") else {"options": f"-c lock_timeout={patience}s"}
        )
        options["connect_args"] = timeout
    if url.startswith("mysql"):
        value = "ON" if snapshot else "OFF"
        causal = os.environ.get("TORTURE_SYNC_WAIT")
        more = f", wsrep_sync_wait={causal}" if causal else ""
        more += f", innodb_lock_wait_timeout={patience}" if patience else ""
        options["connect_args"] = {"init_command": f"SET SESSION innodb_snapshot_isolation={value}{more}"}
    match os.environ.get("TORTURE_POOL"):
        case "none":
            return {"poolclass": NullPool, **options}
        case "psycopg":
            from psycopg_pool import ConnectionPool  # noqa: PLC0415 - installed for it alone

            target = make_url(url).set(drivername="postgresql").render_as_string()
            pool = ConnectionPool(target, min_size=1, max_size=8, close_returns=True, open=True)
            return {"poolclass": NullPool, "creator": pool.getconn, **options}
        case "pgbouncer":  # of version 1.18, which does not know prepared statements in transaction mode
            options["connect_args"] = {"prepare_threshold": None}
    return {"pool_size": 8, "pool_pre_ping": "TORTURE_OUTAGES" in os.environ, **options}


def _mind_outages(app: Flask, engine: Engine) -> None:
    """Answer 503 while the database is away, as the page on many machines has it."""

    @app.errorhandler(OperationalError)
    @app.errorhandler(InterfaceError)
    @app.errorhandler(InternalError)
    @app.errorhandler(PoolTimeoutError)
    def database_is_away(_: Exception) -> tuple[str, int, dict[str, str]]:
        return "", 503, {"Retry-After": "1"}

    @event.listens_for(engine, "handle_error")
    def not_ready_is_no_connection(context: ExceptionContext) -> None:
        if context.original_exception.args[:1] == (1047,):
            context.is_disconnect = True


def _serve_mapped(app: Flask, kinds: dict[str, str]) -> None:
    """Serve counters of several kinds, each in a folder of its own."""
    url = os.environ["TORTURE_DATABASE"]
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _engine_options(url)
    base: Any = type("Base", (DeclarativeBase,), {})
    expire = os.environ.get("TORTURE_EXPIRE") != "0"
    db = SQLAlchemy(model_class=base, session_options={"expire_on_commit": expire})
    db.init_app(app)
    models = [_serve_kind(app, db, base, folder, kind) for folder, kind in kinds.items()]
    with app.app_context():
        name = db.engine.dialect.name
        if "TORTURE_OUTAGES" in os.environ:
            _mind_outages(app, db.engine)
        if name == "sqlite":
            _prepare_sqlite(db.engine)
        if os.environ.get("TORTURE_CREATE") == "1":
            base.metadata.drop_all(db.engine)
            base.metadata.create_all(db.engine)
            with db.engine.begin() as connection:
                for statement in TRIGGERS[name] if "trigger" in kinds.values() else []:
                    connection.exec_driver_sql(statement)
            for model, kind in zip(models, kinds.values(), strict=True):
                more = {"version": _now()} if kind == "datetime" else {}
                db.session.add_all([model(id=counter_id, number=0, **more) for counter_id in (1, 2)])
            db.session.commit()
        db.engine.dispose()  # each worker opens connections of its own


def _serve_kind(app: Flask, db: SQLAlchemy, base: Any, folder: str, kind: str) -> Any:
    """Serve counters of a kind; return their model."""
    counter_class: Any = type(
        f"Counter{kind}", (_Counter, *KINDS[kind], base), {"__tablename__": folder.removesuffix("s")}
    )

    counters = Blueprint(folder, __name__, url_prefix=f"/{folder}")

    def find(counter_id: int) -> Any:
        return db.session.get(counter_class, counter_id)

    async def find_later(counter_id: int) -> Any:
        return db.session.get(counter_class, counter_id)

    etag = {
        "unversioned": content_hash(dump),
        "revision": version_column("version"),
        "datetime": version_column("version"),
    }.get(kind)
    is_async = os.environ.get("TORTURE_ASYNC") == "1"
    modified = "version" if kind == "datetime" else None
    find_counter: Resource[[int], Any] = resource(etag=etag, last_modified=modified)(
        find_later if is_async else find
    )

    def increased(counter: Any, number: int, sent: dict[str, Any]) -> dict[str, int]:
        """Write a number, and return what to answer, as it is before the commit."""
        counter.number, counter.writer = number, sent.get("writer", "")
        if kind == "revision":
            counter.version += 1
        elif kind == "datetime":
            counter.version = _now()
        return {"number": number}

    @counters.get("/<int:counter_id>")
    @require_if_match(find_counter)
    def read_counter(counter: Any) -> dict[str, Any]:
        return dump(counter)

    def replace_counter(counter: Any, counter_id: int) -> Any:
        sent = _sent()
        if counter is None:
            return create_counter(counter_id, sent)
        _view_takes_its_time()
        answer = increased(counter, sent["number"], sent)
        db.session.commit()
        return answer

    def create_counter(counter_id: int, sent: dict[str, Any]) -> Any:
        more = {"version": _now()} if kind == "datetime" else {}
        number, writer = sent["number"], sent.get("writer", "")
        counter = counter_class(id=counter_id, number=number, writer=writer, **more)
        db.session.add(counter)
        _view_takes_its_time()
        db.session.commit()
        return {"number": number}, 201

    async def replace_counter_later(counter: Any, counter_id: int) -> Any:
        return replace_counter(counter, counter_id)

    replace = replace_counter_later if is_async else replace_counter
    replay = os.environ.get("TORTURE_REPLAY") == "1"
    counters.put("/<int:counter_id>")(require_if_match(find_counter, create=True, replay=replay)(replace))

    @counters.patch("/<int:counter_id>")
    @require_if_match(find_counter)
    def increase_counter(counter: Any) -> dict[str, int]:
        number = counter.number + 1
        _view_takes_its_time()
        answer = increased(counter, number, request.get_json())
        db.session.commit()
        return answer

    @counters.post("/<int:counter_id>/both")
    @require_if_match(find_counter)
    def increase_both(counter: Any, counter_id: int) -> dict[str, Any]:
        """Increase this counter and the next one, in one transaction."""
        locked: dict[str, Any] = (
            {} if counter_class.__mapper__.version_id_col is not None else {"with_for_update": True}
        )
        other = db.session.get_one(counter_class, counter_id + 1, populate_existing=True, **locked)
        number, others, sent = counter.number + 1, other.number + 1, request.get_json()
        _view_takes_its_time()
        answer = increased(counter, number, sent) | {"other": increased(other, others, sent)["number"]}
        db.session.flush()
        etag = str(find_counter.etag_of(other))
        db.session.commit()
        return answer | {"etag": etag}

    def sent_counters() -> list[tuple[Any, dict[str, int]]]:
        sent: list[dict[str, Any]] = request.get_json()
        return [(one["etag"], {"counter_id": one["id"]}) for one in sent]

    @counters.patch("")
    @require_if_match(find_counter, each=sent_counters)
    def replace_counters(found: list[Any]) -> dict[str, Any]:
        """Write several counters, flushed one by one, so that batches in other orders can meet half-way."""
        for counter, sent in zip(found, request.get_json(), strict=True):
            increased(counter, sent["number"], sent)
            db.session.flush()
            _view_takes_its_time()
        etags = [str(find_counter.etag_of(counter)) for counter in found]
        db.session.commit()
        return {"etags": etags}

    @counters.delete("/<int:counter_id>")
    @require_if_match(find_counter)
    def delete_counter(counter: Any) -> tuple[str, int]:
        _view_takes_its_time()
        db.session.delete(counter)
        db.session.commit()
        return "", 204

    app.register_blueprint(counters)
    return counter_class


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _sent() -> dict[str, Any]:
    body = request.get_json()
    if not isinstance(body, dict) or not isinstance(body.get("number"), int):
        abort(422)
    return body


def _prepare_sqlite(engine: Engine) -> None:
    """Set the journal's mode, and follow SQLAlchemy's recipe for real BEGINs if TORTURE_BEGIN asks for it."""
    journal, real_begin = os.environ.get("TORTURE_JOURNAL", "delete"), os.environ.get("TORTURE_BEGIN") == "1"

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=OFF")
        if real_begin:
            connection.isolation_level = None

    if real_begin:

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")


def _serve_locked(app: Flask, kind: str) -> None:
    folder = Path(os.environ["TORTURE_DATABASE"])
    counters: dict[int, dict[str, Any]] = {1: {"number": 0}, 2: {"number": 0}}
    locks: dict[int, Lock] = defaultdict(Lock)

    @contextmanager
    def locked_file(counter_id: int) -> Iterator[None]:
        with (folder / f"{counter_id}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def find_in_dict(counter_id: int) -> dict[str, Any] | None:
        return counters.get(counter_id)

    def find_in_file(counter_id: int) -> dict[str, Any] | None:
        try:
            loaded: dict[str, Any] = json.loads((folder / f"{counter_id}.json").read_text())
        except FileNotFoundError:
            return None
        return loaded

    def locked_entry(counter_id: int) -> Lock:
        return locks[counter_id]

    lock: Any = locked_entry if kind == "dict" else locked_file
    find_counter = resource(etag=content_hash(dict), lock=lock)(find_in_dict if kind == "dict" else find_in_file)

    def save(counter_id: int, counter: dict[str, Any]) -> dict[str, Any]:
        if kind == "dict":
            counters[counter_id] = counter
        else:
            new = folder / f"{counter_id}.{uuid4()}"
            new.write_text(json.dumps(counter))
            new.replace(folder / f"{counter_id}.json")
        return counter

    @app.get("/counters/<int:counter_id>")
    @require_if_match(find_counter)
    def read_counter(counter: dict[str, Any]) -> dict[str, Any]:
        return counter

    @app.put("/counters/<int:counter_id>")
    @require_if_match(find_counter, create=True)
    def replace_counter(counter: dict[str, Any] | None, counter_id: int) -> tuple[dict[str, Any], int]:
        sent = _sent()
        _view_takes_its_time()
        return save(counter_id, sent), 200 if counter else 201

    @app.patch("/counters/<int:counter_id>")
    @require_if_match(find_counter)
    def increase_counter(counter: dict[str, Any], counter_id: int) -> dict[str, Any]:
        number = counter["number"] + 1
        _view_takes_its_time()
        return save(counter_id, {"number": number, **request.get_json()})

    @app.delete("/counters/<int:counter_id>")
    @require_if_match(find_counter)
    def delete_counter(counter: dict[str, Any], counter_id: int) -> tuple[str, int]:
        del counter
        _view_takes_its_time()
        if kind == "dict":
            del counters[counter_id]
        else:
            (folder / f"{counter_id}.json").unlink()
        return "", 204

    if os.environ.get("TORTURE_CREATE") == "1" and kind == "file":
        for counter_id, counter in counters.items():
            save(counter_id, counter)
