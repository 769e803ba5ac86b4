"""A database with its tables, the application under test, and a rival's: what the trials of one search share."""

from __future__ import annotations

import gc
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, QueuePool, Table, event, select, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from flask_etag import ETag, etag_resource, require_if_match, resource
from search.databases import Database, in_memory
from search.models import COVERS_MANY, KINDS, Base, Kind, Other, Tag, dump
from search.outcomes import RIVAL, SETUP, VIEW, Change

if TYPE_CHECKING:
    from search.trial import Run

T = TypeVar("T")
COMPARED = ("text", "num", "data", "name", "kind")
METHODS = ["GET", "PUT", "PATCH", "DELETE", "POST"]


def path_of(kind: str, route: str) -> str:
    """Return the path under which a kind's target is served."""
    return f"/{kind.replace(' ', '-')}/{route}"


class World:
    """What the trials on one database share.

    :ivar run: the one that is going on.
    :ivar protect: what guards the view; another than ``require_if_match`` tests the oracle.
    """

    def __init__(self, database: Database, protect: Callable[..., Any] = require_if_match) -> None:
        self.database, self.protect = database, protect
        self.run: Run | None = None
        self.observer = database.engine(SETUP)
        self.make_tables()
        self.app, self.db = self._application(VIEW, "enforce")
        self.reporting, self.reporting_db = self._application(VIEW, "report")
        self.rival_app, self.rival_db = self._application(RIVAL, "enforce")
        self.kinds = [
            name for name, kind in KINDS.items() if not kind.databases or database.dialect in kind.databases
        ]

    def patiently(self, does: Callable[[], T]) -> T:
        """Do what looks at the database or resets it, also where a lock is left behind.

        pysqlite can give a connection back to its pool with a lock that nothing but its end releases.
        """
        try:
            return does()
        except OperationalError:
            self.close()
            self.end_all_others()
            gc.collect()
            return does()

    def checked_out(self) -> int:
        """Return how many connections of the applications' have not been given back."""
        count = 0
        for app, db in ((self.app, self.db), (self.reporting, self.reporting_db), (self.rival_app, self.rival_db)):
            with app.app_context():
                count += db.engine.pool.checkedout() if isinstance(db.engine.pool, QueuePool) else 0
        return count

    def close(self) -> None:
        """Close all connections; those that are asked for afterwards are new."""
        for app, db in (
            (self.app, self.db),
            (self.reporting, self.reporting_db),
            (self.rival_app, self.rival_db),
        ):
            with app.app_context():
                db.engine.dispose()
        self.observer.dispose()

    # What is served

    def _application(self, actor: str, required: str) -> tuple[Flask, SQLAlchemy]:
        app = Flask("search", static_folder=None)
        app.config["SQLALCHEMY_DATABASE_URI"] = self.database.url
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = self.database.engine_options(actor)
        app.config["ETAG_REQUIRE"] = required
        app.config["ETAG_KEY"] = "a secret"
        db = SQLAlchemy(app, model_class=Base)
        ETag(app)
        with app.app_context():
            self.database.prepare(db.engine, actor)

        if actor == VIEW:
            app.before_request(lambda: self.run.hook() if self.run is not None else None)
            app.after_request(self._see_what_is_pending)
            if self.database.is_without_begin:
                event.listen(self._engine_of(app, db), "savepoint", self._begin_before_savepoint)

        @app.errorhandler(500)
        def failed(error: Any) -> tuple[str, int]:
            cause = getattr(error, "original_exception", None) or error
            if self.run is not None and actor == VIEW:
                self.run.error = cause
            elif self.run is not None:
                self.run.say(f"  the rival's {type(cause).__name__}: {cause!s:.110}")
            return "failed", 500

        for name, kind in KINDS.items():
            if kind.databases and self.database.dialect not in kind.databases:
                continue
            if actor == VIEW:
                self._serve(app, name, kind)
            else:
                self._serve_rival(app, db, name, kind)
        return app, db

    def _serve(self, app: Flask, name: str, kind: Kind) -> None:
        find = resource(etag=kind.etag)(self._load)

        def view(found: Any) -> Any:
            return self.running.perform(found)

        def plain() -> Any:
            found = self.running.load()
            if found is not None:
                find.etag_of(found)  # it loads what it needs, and begins a transaction, as the judgement does
            if self.running.trial.form == "nested":
                self.running.note()
            return ("not found", 404) if found is None and not self.running.trial.creates else view(found)

        def plain_batch() -> Any:
            each = [find_each(which) for which in (False, True)]
            for found in filter(None, each):
                find_each.etag_of(found)
            return ("not found", 404) if None in each else view(each[0])

        @resource(etag=kind.etag)
        def find_each(is_sibling: bool) -> Any:
            return self.running.load_sibling() if is_sibling else self.running.load()

        def items() -> list[tuple[str | None, dict[str, bool]]]:
            tags = self.running.first_etag, self.running.sibling_etag
            return [(tag, {"is_sibling": bool(number)}) for number, tag in enumerate(tags)]

        guarded = self.protect(find)(view)

        def outer(_: Any) -> Any:
            self.running.note()
            return guarded()

        views: dict[str, Callable[..., Any]] = {
            "guarded": guarded,
            "creating": self.protect(find, create=True)(view),
            "nested": self.protect(find)(outer),
            "plain-batch": plain_batch,
            "read": etag_resource(find)(view),
            "plain": plain,
        }
        if self.protect is require_if_match:
            views["batch"] = require_if_match(find_each, each=items)(lambda found: view(found[0]))
        for route, decorated in views.items():
            path = path_of(name, route)
            app.add_url_rule(path, path, decorated, methods=METHODS)
        if kind.can_be_replayed:  # of a resource that no view reads: the one view writes, whatever the method
            find_only = resource(etag=kind.etag)(self._load)
            path = path_of(name, "insist")
            app.add_url_rule(path, path, self._insisting(find_only, view), methods=METHODS[1:])

    @staticmethod
    def _insisting(find_only: Any, view: Callable[..., Any]) -> Callable[..., Any]:
        """Return a view under ``replay=True`` which is another for each request.

        It stands for many views: of one that was seen to commit twice, no request is known again.
        """

        @wraps(require_if_match(find_only, replay=True)(view))
        def insist(**arguments: Any) -> Any:
            decorated: Callable[..., Any] = require_if_match(find_only, replay=True)(view)
            return decorated(**arguments)

        return insist

    def _serve_rival(self, app: Flask, db: SQLAlchemy, name: str, kind: Kind) -> None:
        find = resource(etag=kind.etag)(lambda: db.session.get(kind.model, kind.identity))

        def write(found: Any) -> str:
            value = request.headers["Value"]
            if request.method == "DELETE":
                db.session.delete(found)
            elif found is None:
                db.session.add(self.make(kind, kind.key, value))
            else:
                self.change(db.session(), kind, found, value, in_part="Part" in request.headers)
            db.session.commit()
            return "done"

        @resource(etag=kind.etag)
        def find_sibling() -> Any:
            return db.session.get(kind.model, kind.identity_of_sibling)

        views: dict[str, Callable[..., Any]] = {
            "sibling": etag_resource(find_sibling)(dump),
            "guarded": require_if_match(find)(write),
            "creating": require_if_match(find, create=True)(write),
            "read": etag_resource(find)(dump),
        }
        for route, decorated in views.items():
            path = path_of(name, route)
            app.add_url_rule(path, path, decorated, methods=METHODS)

    def _load(self) -> Any:
        return self.running.load()

    @staticmethod
    def _engine_of(app: Flask, db: SQLAlchemy) -> Engine:
        with app.app_context():
            return db.engine

    def _begin_before_savepoint(self, connection: Connection, _: str) -> None:
        """Send what the guard sends too, so that a view alone is compared with one whose RELEASE commits nothing.

        pysqlite sends no BEGIN before a SAVEPOINT in its old mode: what the savepoint wrote first is committed by
        its RELEASE, whatever becomes of the session. A guard that left that so could not undo what it refuses.
        """
        run = self.run
        if run is not None and not run.decorated:
            driver: Any = connection.connection.dbapi_connection
            if not driver.in_transaction:
                connection.exec_driver_sql("BEGIN")

    def _see_what_is_pending(self, response: Response) -> Response:
        """Note the target as the request's own transaction leaves it, which is committed later, or never."""
        run = self.run
        if run is not None and run.decorated and run.session.in_transaction():
            with suppress(SQLAlchemyError), run.session.no_autoflush:
                run.left_pending = self.stored(run.kind, run.session.connection())
        return response

    @property
    def running(self) -> Run:
        """Return the run that is going on."""
        if self.run is None:
            raise RuntimeError("No trial is going on.")
        return self.run

    # Rows

    @staticmethod
    def make(kind: Kind, key: dict[str, Any], value: str) -> Any:
        """Make an object that is not stored yet."""
        made = kind.model(**key, text=value, num=0, data={"list": [3, 1, 2]})
        if kind.line is not None:
            made.lines = [kind.line(text=f"{value} one"), kind.line(text=f"{value} two")]
        return made

    @staticmethod
    def change(session: Session, kind: Kind, found: Any, value: str, *, in_part: bool = False) -> None:
        """Write to an object as a rival does, or to what belongs to it."""
        if in_part and kind.line is not None:
            found.lines.append(kind.line(text=value))
        elif in_part and kind.parts:
            found.tags = [session.get(Tag, 3)]
        else:
            found.text = value
        if kind.by_hand and kind.new_version is not None and kind.version is not None:
            setattr(found, kind.version, kind.new_version())

    def tables_of(self, kind: Kind) -> list[Table]:
        """Return all tables that a trial of a kind may write, parts first."""
        names = [*kind.parts, *(["tag"] if "post_tag" in kind.parts else []), "other"]
        return [*(Base.metadata.tables[name] for name in names), *reversed(kind.tables)]

    def reset(self, kind: Kind, *, exists: bool) -> None:
        """Bring the rows into their first state: the target, if it is to exist, its sibling, two others."""
        in_memory.actor = SETUP
        with Session(self.observer) as session:
            for table in self.tables_of(kind):
                session.execute(table.delete())
            if "post_tag" in kind.parts:
                session.add_all([Tag(id=number) for number in (1, 2, 3)])
            if exists:
                session.add(self.make(kind, kind.key, "first"))
            session.add(self.make(kind, kind.sibling, "second"))
            session.flush()
            if exists and "post_tag" in kind.parts:
                session.execute(Base.metadata.tables["post_tag"].insert().values(post_id=kind.identity, tag_id=2))
            session.add_all([Other(name="taken", text="one"), Other(name="free", text="two")])
            session.commit()
            session.execute(text("DELETE FROM history"))
            session.commit()

    def pickled(self, kind: Kind) -> bytes | None:
        """Return the target as a cache keeps it."""
        with Session(self.observer) as session:
            found = session.get(kind.model, kind.identity)
            if found is None:
                return None
            dump(found)
            return pickle.dumps(found)

    def rows(self, kind: Kind) -> tuple[str, dict[str, list[str]]]:
        """Return the target's content, and that of all other rows that a trial may write."""
        target: list[str] = []
        others: dict[str, list[str]] = {}
        with self.observer.connect() as connection:
            for table in self.tables_of(kind):
                part = kind.parts.get(table.name)
                keys = {part: kind.identity} if part else kind.key if table in kind.tables else {}
                for row in connection.execute(select(table)).mappings():
                    shown = [
                        f"{column.name}={_shown(row[column.name])}"
                        for column in table.columns
                        if column.name in COMPARED
                        or column.name in keys
                        or (table.name == "post_tag" and column.name == "tag_id")
                    ]
                    line = f"{table.name}: {', '.join(shown)}"
                    if keys and all(row[name] == value for name, value in keys.items()):
                        target.append(line)
                    else:
                        others.setdefault(table.name, []).append(line)
        return "; ".join(sorted(target)), {name: sorted(lines) for name, lines in others.items()}

    def stored(self, kind: Kind, connection: Connection | None = None) -> str:
        """Return all that is stored of the target, its version too, as a connection sees it."""
        if connection is None:
            with self.observer.connect() as own:
                return self.stored(kind, own)
        found = []
        for table in [*kind.tables, *(Base.metadata.tables[name] for name in kind.parts)]:
            part = kind.parts.get(table.name)
            keys = {part: kind.identity} if part else kind.key
            names = [table.c[name] == value for name, value in keys.items()]
            found += [f"{table.name} {row}" for row in connection.execute(select(table).where(*names)).all()]
        return "; ".join(sorted(found))

    def changes(self, kind: Kind, *, with_sibling: bool = False) -> list[Change]:
        """Return the committed changes of the target's content since it was reset, in their order.

        :param with_sibling: those of its sibling too, which a batch is handed as well.
        """
        siblings = "/".join(str(part) for part in kind.sibling.values()), str(kind.identity_of_sibling)
        places = [*(table.name for table in kind.tables), *kind.parts]
        own, part = "/".join(str(part) for part in kind.key.values()), str(kind.identity)
        with self.observer.connect() as connection:
            found = connection.execute(
                text("SELECT actor, place, of_key, op, was, becomes FROM history ORDER BY id")
            ).all()
        rows = [(own, part), *([siblings] if with_sibling else [])]
        return [
            Change(actor, place, op, was or "", becomes or "", bool(number))
            for actor, place, key, op, was, becomes in found
            for number, (key_of_row, key_in_part) in enumerate(rows)
            if place in places and key == (key_in_part if place in kind.parts else key_of_row) and was != becomes
        ]

    def read(self, name: str, route: str = "read") -> tuple[int, str | None]:
        """Have a reader GET the target, or its sibling: the status and the ETag."""
        before, in_memory.actor = in_memory.actor, RIVAL
        try:
            answer = self.rival_app.test_client().get(path_of(name, route))
        finally:
            in_memory.actor = before
        return answer.status_code, answer.headers.get("ETag")

    # Triggers

    def end_all_others(self) -> None:
        """End the connections that are still open: what they have begun would keep rows and tables locked."""
        with self.observer.connect() as connection:
            if self.database.dialect == "postgresql":
                connection.execute(
                    text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                )
            elif self.database.dialect == "mysql":
                others = (
                    "SELECT id FROM information_schema.processlist WHERE user = 'root' AND id <> connection_id()"
                )
                for number in connection.scalars(text(others)).all():
                    with suppress(DBAPIError):
                        connection.execute(text(f"KILL {number}"))

    def make_tables(self) -> None:
        """Make the tables, and the triggers that tell what is committed, and by whom."""
        dialect = self.database.dialect
        self.end_all_others()
        actor = {
            "sqlite": "actor()",
            "postgresql": "current_setting('application_name')",
            "mysql": "@actor",
        }[dialect]
        serial = {
            "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT",
            "postgresql": "BIGSERIAL PRIMARY KEY",
            "mysql": "BIGINT AUTO_INCREMENT PRIMARY KEY",
        }[dialect]
        with self.observer.connect() as connection:
            connection.execute(text("DROP TABLE IF EXISTS history"))
            connection.commit()
        Base.metadata.drop_all(self.observer)
        Base.metadata.create_all(self.observer)
        with self.observer.connect() as connection:
            run: Callable[[str], Any] = connection.exec_driver_sql
            run(
                f"CREATE TABLE history (id {serial}, actor VARCHAR(20), place VARCHAR(40), of_key VARCHAR(80), "
                "op CHAR(1), was VARCHAR(500), becomes VARCHAR(500))"
            )
            for table in Base.metadata.sorted_tables:
                for op, word in (("I", "INSERT"), ("U", "UPDATE"), ("D", "DELETE")):
                    was = "NULL" if op == "I" else _content(table, "OLD", dialect)
                    becomes = "NULL" if op == "D" else _content(table, "NEW", dialect)
                    key = _key(table, "NEW" if op == "I" else "OLD", dialect)
                    values = f"({actor}, '{table.name}', {key}, '{op}', {was}, {becomes})"
                    insert = f"INSERT INTO history (actor, place, of_key, op, was, becomes) VALUES {values}"  # noqa: S608
                    _make_trigger(run, dialect, f"told_{table.name}_{op.lower()}", word, table.name, insert)
            if dialect == "postgresql":
                run(
                    "CREATE OR REPLACE FUNCTION move_on() RETURNS trigger AS "
                    "$$ BEGIN NEW.revision = OLD.revision + 1; RETURN NEW; END $$ LANGUAGE plpgsql"
                )
                run(
                    "CREATE TRIGGER moved BEFORE UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION move_on()",
                )
            elif dialect == "mysql":
                run(
                    "CREATE TRIGGER moved BEFORE UPDATE ON triggered FOR EACH ROW "
                    "SET NEW.revision = OLD.revision + 1"
                )
            connection.commit()


def _shown(value: Any) -> str:
    if isinstance(value, dict):  # a list is sorted, since a dump that sorts may be what is tried
        value = {name: sorted(part) if isinstance(part, list) else part for name, part in value.items()}
        return json.dumps(value, sort_keys=True)
    return f"{value}"


def _content(table: Table, row: str, dialect: str) -> str:
    names = [column.name for column in table.columns if column.name in COMPARED or column.primary_key]
    names += [column.name for column in table.columns if column.foreign_keys and not column.primary_key]
    cast = {"sqlite": "TEXT", "postgresql": "TEXT", "mysql": "CHAR"}[dialect]
    parts = [f"COALESCE(CAST({row}.{name} AS {cast}), '')" for name in names]
    return f"CONCAT_WS('|', {', '.join(parts)})" if dialect == "mysql" else " || '|' || ".join(parts)


def _key(table: Table, row: str, dialect: str) -> str:
    named = {"line": ["sheet_id"], "part": ["whole_id"], "post_tag": ["post_id"]}
    names = named.get(table.name) or [column.name for column in table.primary_key]
    cast = {"sqlite": "TEXT", "postgresql": "TEXT", "mysql": "CHAR"}[dialect]
    parts = [f"CAST({row}.{name} AS {cast})" for name in names]
    return f"CONCAT_WS('/', {', '.join(parts)})" if dialect == "mysql" else " || '/' || ".join(parts)


def _make_trigger(run: Callable[[str], Any], dialect: str, name: str, word: str, table: str, insert: str) -> None:
    if dialect == "postgresql":
        run(
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS $$ BEGIN {insert}; RETURN NULL; END $$ "
            "LANGUAGE plpgsql"
        )
        run(f"CREATE TRIGGER {name} AFTER {word} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")
    elif dialect == "mysql":
        run(f"CREATE TRIGGER {name} AFTER {word} ON {table} FOR EACH ROW {insert}")
    else:
        run(f"CREATE TRIGGER {name} AFTER {word} ON {table} BEGIN {insert}; END")


__all__ = ["COVERS_MANY", "World", "path_of"]
