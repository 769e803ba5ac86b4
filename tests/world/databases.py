"""Databases with the tables of the models, made once and emptied for each test: to make them each time is slow."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import Column, Connection, Table, create_engine, text
from sqlalchemy.engine import make_url

from tests.world.models import Base


class SQLiteWorld:
    """A file with the tables; each test gets a copy."""

    def __init__(self, folder: Path) -> None:
        self._made = folder / "made.db"
        engine = create_engine(f"sqlite:///{self._made}")
        Base.metadata.create_all(engine)
        engine.dispose()

    def empty(self, file: Path) -> str:
        shutil.copyfile(self._made, file)
        return f"sqlite:///{file}"


class ServerWorld:
    """A database of its own on a server; each test finds it without rows, and its counters at their start."""

    def __init__(self, server: str) -> None:
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE world"))
        engine.dispose()
        self.url = make_url(server).set(database="world").render_as_string(hide_password=False)
        self._engine = create_engine(self.url)
        Base.metadata.create_all(self._engine)
        self._tables = list(reversed(Base.metadata.sorted_tables))  # parts before what they belong to
        self._not_empty = text(
            " UNION ALL ".join(
                f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {table.name})"
                for number, table in enumerate(self._tables)
            )
        )
        if self._engine.dialect.name == "postgresql":
            self._make_function()

    def empty(self) -> str:
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                is_empty = connection.exec_driver_sql("SELECT emptied()").scalar()
                assert is_empty, "a test has left a trigger behind"
            else:
                assert not connection.execute(text("SHOW TRIGGERS")).all(), "a test has left a trigger behind"
                self._empty_mariadb(connection)
        return self.url

    def close(self) -> None:
        self._engine.dispose()

    def _make_function(self) -> None:
        """Have PostgreSQL empty the tables that have rows in one statement, whose parts it plans once."""
        others = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        ended = f"PERFORM pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"  # of a test that failed
        deleted = [f"IF EXISTS (SELECT FROM {each}) THEN DELETE FROM {each}; END IF" for each in self._tables]
        counters = [
            f"PERFORM setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false)"
            for table in self._tables
            if (column := _counter(table)) is not None
        ]
        with self._engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE FUNCTION emptied() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN "
                "IF EXISTS (SELECT FROM pg_trigger WHERE NOT tgisinternal) THEN RETURN false; END IF; "
                f"{'; '.join([ended, *deleted, *counters])}; RETURN true; END $$"
            )

    def _empty_mariadb(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET foreign_key_checks = 0")
        for number in sorted(connection.scalars(self._not_empty)):  # to empty each is slow
            connection.exec_driver_sql(f"DELETE FROM {self._tables[number].name}")
        counted = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'world'"
        for name in connection.scalars(text(f"{counted} AND auto_increment > 1")):
            connection.exec_driver_sql(f"ALTER TABLE {name} AUTO_INCREMENT = 1")
        connection.exec_driver_sql("SET foreign_key_checks = 1")


def _counter(table: Table) -> Column[int] | None:
    column = table.autoincrement_column
    return None if column is None or column.foreign_keys else column
