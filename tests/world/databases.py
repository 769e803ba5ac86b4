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
        self._tables = list(reversed(Base.metadata.sorted_tables))
        self._not_empty = text(
            " UNION ALL ".join(
                f"SELECT {number} WHERE EXISTS (SELECT 1 FROM {table.name})"
                for number, table in enumerate(self._tables)
            )
        )

    def empty(self) -> str:
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                triggers = connection.scalars(text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"))
                assert not triggers.all(), "a test has left a trigger behind"
                self._empty_postgresql(connection)
            else:
                assert not connection.execute(text("SHOW TRIGGERS")).all(), "a test has left a trigger behind"
                self._empty_mariadb(connection)
        return self.url

    def close(self) -> None:
        self._engine.dispose()

    def _with_rows(self, connection: Connection) -> list[Table]:
        """Return the tables that have rows, parts before what they belong to: to empty each is slow."""
        return [self._tables[number] for number in sorted(connection.scalars(self._not_empty))]

    def _empty_postgresql(self, connection: Connection) -> None:
        others = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        counters = ", ".join(
            f"setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1, false)"
            for table in self._tables
            if (column := _counter(table)) is not None
        )
        connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others};"  # of a test that failed
            + "".join(f"DELETE FROM {table.name};" for table in self._with_rows(connection))
            + f"SELECT {counters}"
        )

    def _empty_mariadb(self, connection: Connection) -> None:
        connection.exec_driver_sql("SET foreign_key_checks = 0")
        for table in self._with_rows(connection):
            connection.exec_driver_sql(f"DELETE FROM {table.name}")
        counted = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'world'"
        for name in connection.scalars(text(f"{counted} AND auto_increment > 1")):
            connection.exec_driver_sql(f"ALTER TABLE {name} AUTO_INCREMENT = 1")
        connection.exec_driver_sql("SET foreign_key_checks = 1")


def _counter(table: Table) -> Column[int] | None:
    column = table.autoincrement_column
    return None if column is None or column.foreign_keys else column
