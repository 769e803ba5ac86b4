"""What a 304 costs whose version is kept in Valkey or Redis, and one that asks the database (make tags).

The application is that of ``tests/stores/valkey_tags.py``. Each server is on this machine, behind a Unix socket.
The cases take turns, and all figures are microseconds of processor time for one request: of the application's
thread, of the database's processes, and of Valkey's or Redis's.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from flask import Flask
from redis import Redis
from sqlalchemy import bindparam, create_engine, select
from sqlalchemy.orm import Session, make_transient_to_detached
from werkzeug.test import EnvironBuilder

from benchmarks.measure import Clock, clock_of, in_turns, serve
from benchmarks.tables import table
from benchmarks.world import databases
from flask_etag import etag_resource, resource
from tests.servers import stores
from tests.stores import valkey_tags
from tests.stores.valkey_tags import CHANGED, Base, Note

REQUESTS = 50  # of one case in one turn
VERSION = select(Note.version).where(Note.id == bindparam("note_id"))
SERVERS: dict[str, Callable[[], AbstractContextManager[str]]] = {"Valkey": stores.valkey, "Redis": stores.redis}


def _read(_: Note) -> str:
    return ""


class Measured:
    """The recipe's application over two servers."""

    def __init__(self, database: str, store: str) -> None:
        self.quick = create_engine(database, isolation_level="AUTOCOMMIT", pool_reset_on_return=None)
        os.environ.update(DATABASE=database, STORE=store)
        engine = create_engine(database)
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Note(id=1))
            session.commit()
        engine.dispose()
        self.versions: Any = Redis.from_url(store)
        self.versions.flushall()
        self.app: Flask = valkey_tags.create_app()
        self.db = self.app.extensions["sqlalchemy"]

        @resource
        def find_note(note_id: int) -> Note | None:
            found: Note | None = self.db.session.get(Note, note_id)
            return found

        self.app.add_url_rule("/plain/<int:note_id>", "plain", etag_resource(find_note)(_read))

        @resource
        def find_note_by_version(note_id: int) -> Note | None:
            """Ask for the version alone, by a statement that is a transaction of its own."""
            with self.quick.connect() as connection:
                version = connection.scalar(VERSION, {"note_id": note_id})
            known = Note(id=note_id, version=version)
            make_transient_to_detached(known)
            return known

        self.app.add_url_rule("/by-version/<int:note_id>", "by", etag_resource(find_note_by_version)(_read))
        self.tag = self.app.test_client().get("/notes/1").headers["ETag"]
        self.kept = self.versions.get("note:1")
        self.sends: dict[str, tuple[str, bytes]] = {  # by what is asked: the path, and what Valkey has
            "the database, for the note": ("/plain/1", self.kept),
            "the database, for the version alone": ("/by-version/1", self.kept),
            "{store}, which has it": ("/notes/1", self.kept),
            "{store}, then the database": ("/notes/1", CHANGED),
        }
        self.clocks: dict[str, Clock] = {}
        for case in self.sends:
            answer = self.app.test_client().get(self.sends[case][0], headers={"If-None-Match": self.tag})
            if answer.status_code != 304:
                raise RuntimeError(f"{case}: {answer.status}")
        self.clocks = {
            "database": clock_of(self._processes_of_database),
            "store": clock_of(self._process_of_store),
        }

    def _processes_of_database(self) -> list[int]:
        """Find those that serve: the connections are there by now."""
        with self.app.app_context():
            name = self.db.engine.dialect.name
            if name == "sqlite":
                return []
            ask = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT @@pid_file"}[name]
            told: set[Any] = set()
            for engine in (self.db.engine, self.quick):
                with engine.connect() as connection:
                    told.add(connection.exec_driver_sql(ask).scalar())
        return [each if isinstance(each, int) else int(Path(each).read_text()) for each in told]

    def _process_of_store(self) -> list[int]:
        return [self.versions.info("server")["process_id"]]

    def send(self, case: str, requests: int = REQUESTS) -> dict[str, float]:
        """Send some requests of a case; return the processor time of one, in all places."""
        path, has = self.sends[case]
        self.versions.set("note:1", has)
        builder = EnvironBuilder(path, headers=[("If-None-Match", self.tag)])
        environs = [builder.get_environ() for _ in range(requests)]
        before = {where: clock() for where, clock in self.clocks.items()}
        start = time.thread_time()
        for environ in environs:
            serve(self.app, environ)
        taken = {"application": time.thread_time() - start}
        taken |= {where: self.clocks[where]() - at for where, at in before.items()}
        return {where: seconds / requests * 1e6 for where, seconds in taken.items()}


def rows_of(measured: Measured, store: str, seconds: float) -> list[list[str]]:
    came: dict[str, list[dict[str, float]]] = {case: [] for case in measured.sends}

    def clocked(case: str) -> float:
        taken = measured.send(case)
        came[case].append(taken)
        return sum(taken.values())

    in_turns({case: partial(clocked, case) for case in came}, seconds)
    rows = []
    for case, turns in came.items():
        places = [median(turn[where] for turn in turns) for where in ("application", "database", "store")]
        rows.append([case.format(store=store), *(f"{place:.0f}" for place in [*places, sum(places)])])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tags", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each table")
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        urls = stack.enter_context(databases())
        for store, start in SERVERS.items():
            address = stack.enter_context(start())
            for database, url in urls.items():
                measured = Measured(url, address)
                head = [f"a 304 asks ({database})", "the application", database, store, "all"]
                print(table(head, rows_of(measured, store, seconds)) + "\n", flush=True)


if __name__ == "__main__":
    main()
