"""A real PgBouncer for the tests, in transaction mode, before a PostgreSQL of ``tests.servers.postgresql``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import make_url

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # which Debian's ordinary users do not have in theirs
PORT = 6432  # a part of the name of its Unix socket
SETTINGS = """
[databases]
postgres = host={behind} user=postgres
[pgbouncer]
unix_socket_dir = {home}
listen_port = {port}
pool_mode = transaction
default_pool_size = 6
auth_type = any
logfile = {home}/log
pidfile = {home}/pid
"""
WAIT = 30  # seconds, after which one that does not answer is given up


class PgBouncerMissingError(Exception):
    """There is no binary to start."""


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """Start one before a server; yield SQLAlchemy's URL of it."""
    binary = shutil.which("pgbouncer", path=PATH)
    if binary is None:
        raise PgBouncerMissingError("pgbouncer")
    account = "nobody" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="pgb-") as name:
        home = Path(name)
        settings = home / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(home=home, port=PORT, behind=make_url(url).query["host"]))
        if account is not None:
            for path in (home, settings):
                shutil.chown(path, account)
        address = home / f".s.PGSQL.{PORT}"
        with subprocess.Popen([binary, "--quiet", str(settings)], cwd=home, user=account) as process:
            try:
                deadline = time.monotonic() + WAIT
                while not _answers(address):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError((home / "log").read_text())
                    time.sleep(0.02)
                yield f"postgresql+psycopg://postgres@/postgres?host={home}&port={PORT}"
            finally:
                process.terminate()


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0
