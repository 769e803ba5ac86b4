"""The databases of a search: each in every form that changes how transactions meet."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Engine, StaticPool, create_engine, event

from tests.servers import mariadb, postgresql

LEVELS = {"read committed": "READ COMMITTED", "repeatable read": "REPEATABLE READ", "serializable": "SERIALIZABLE"}
NAMES = [
    "sqlite",
    "sqlite, wal",
    "sqlite, real begins",
    "sqlite, wal, real begins",
    "sqlite, memory",
    "sqlite, autocommit",
    *[f"postgresql, {level}" for level in LEVELS],
    "postgresql, autocommit",
    *[f"mariadb, {level}" for level in LEVELS],
    "mariadb, repeatable read, snapshot isolation",
]
POSTGRESQL = "-c lock_timeout=400 -c statement_timeout=10000 -c deadlock_timeout=100"
MARIADB = "SET @actor = '{}', innodb_lock_wait_timeout = 1, lock_wait_timeout = 3"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of ours is made in it


@dataclass
class Database:
    """One form of one database.

    :ivar dialect: as SQLAlchemy calls it.
    :ivar has_rivals: whether there can be a second connection.
    """

    name: str
    url: str
    dialect: str
    options: dict[str, Any] = field(default_factory=dict)
    has_rivals: bool = True

    @cached_property
    def one(self) -> sqlite3.Connection:
        """Return the one connection of a database in memory."""
        return sqlite3.connect(":memory:", check_same_thread=False)

    @property
    def is_autocommit(self) -> bool:
        """Say whether each statement is a transaction of its own."""
        return "autocommit" in self.name

    @property
    def is_without_begin(self) -> bool:
        """Say whether pysqlite sends its BEGIN by itself, and none before a SAVEPOINT: its old mode."""
        return self.dialect == "sqlite" and "begins" not in self.name and not self.is_autocommit

    def engine_options(self, actor: str) -> dict[str, Any]:
        """Return what an engine takes whose connections are to be known as an actor's."""
        options: dict[str, Any] = {"pool_size": 10, "max_overflow": 10, "pool_timeout": 3}
        if self.dialect == "postgresql":
            options["connect_args"] = {"application_name": actor, "options": POSTGRESQL}
        elif self.dialect == "mysql":
            snapshot = ", innodb_snapshot_isolation = ON" if "snapshot" in self.name else ""
            options["connect_args"] = {"init_command": MARIADB.format(actor) + snapshot}
        elif self.has_rivals:
            options["connect_args"] = {"timeout": 0.2, "check_same_thread": False}
        else:
            # One connection for all: each engine would have a database of its own.
            options = {"poolclass": StaticPool, "creator": lambda: self.one}
        return {**options, **self.options}

    def prepare(self, engine: Engine, actor: str) -> None:
        """Have an engine's connections behave as the database's name says; call it before the first one."""
        if self.dialect != "sqlite":
            return

        def connect(connection: Any, _: object) -> None:
            connection.create_function("actor", 0, lambda: actor if self.has_rivals else in_memory.actor)
            connection.execute("PRAGMA synchronous = OFF")
            if "wal" in self.name:
                connection.execute("PRAGMA journal_mode = WAL")
            if "real begins" in self.name:
                connection.isolation_level = None

        event.listen(engine, "connect", connect)
        if "real begins" in self.name:
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))

    def engine(self, actor: str) -> Engine:
        """Make an engine of an actor's."""
        engine = create_engine(self.url, **self.engine_options(actor))
        self.prepare(engine, actor)
        return engine


class _InMemory(threading.local):
    """Who is at work on the one connection of a database in memory."""

    actor = "setup"


in_memory = _InMemory()


@contextmanager
def opened(names: list[str]) -> Iterator[list[Database]]:
    """Start what the databases with these names need, and yield them."""
    with ExitStack() as stack:
        servers: dict[str, str] = {}
        folder = Path(
            stack.enter_context(TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None))
        )
        found = []
        for number, name in enumerate(names):
            family, _, level = name.partition(", ")
            options: dict[str, Any] = {}
            if "autocommit" in name:
                options["isolation_level"] = "AUTOCOMMIT"
            if family == "sqlite":
                memory = "memory" in name
                url = "sqlite://" if memory else f"sqlite:///{folder}/{number}.db"
                found.append(Database(name, url, "sqlite", options, has_rivals=not memory))
                continue
            if family not in servers:
                running = {"postgresql": postgresql.running, "mariadb": mariadb.running}[family]
                servers[family] = stack.enter_context(running())
            isolation = LEVELS.get(level.partition(", ")[0])
            if isolation is not None:
                options["isolation_level"] = isolation
            dialect = "postgresql" if family == "postgresql" else "mysql"
            found.append(Database(name, servers[family], dialect, options))
        yield found
