"""A real MariaDB for the tests, from the binaries of the system's package.

The system's own instance, its configuration and its data are left alone: what is started here reads no option
file, listens on no port, and runs as ``nobody`` where the tests run as root.
"""

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

INSTALLER, SERVER = "mariadb-install-db", "mariadbd"
OPTIONS = [
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-log-file-size=8M",
    "--lock-wait-timeout=30",  # for tables, where the default is a day
    "--max-connections=50",
    "--performance-schema=off",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--skip-networking",
]
DRIVER = os.environ.get("TEST_DRIVER_OF_MARIADB", "pymysql")
WAIT = 60  # seconds, after which a server that does not answer is given up


class MariaDBMissingError(Exception):
    """There are no binaries to start."""


@contextmanager
def running() -> Iterator[str]:
    """Start a server in a temporary folder, on a Unix socket there; yield SQLAlchemy's URL of it."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # which Debian's ordinary users do not have in theirs
    installer, server = shutil.which(INSTALLER, path=path), shutil.which(SERVER, path=path)
    if installer is None or server is None:
        raise MariaDBMissingError
    account = "nobody" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="mariadb-") as name:
        home = Path(name)
        home.chmod(0o755)
        data, log, first = home / "data", home / "log", home / "first.sql"
        data.mkdir()
        first.write_text("CREATE DATABASE test;")  # the installer would make it in latin1
        if account is not None:
            shutil.chown(data, account)
            shutil.chown(first, account)

        def start(program: str, *arguments: str) -> subprocess.Popen[bytes]:
            with log.open("a") as output:
                return subprocess.Popen(
                    [program, "--no-defaults", f"--datadir={data}", f"--tmpdir={data}", *OPTIONS, *arguments],
                    cwd=home,
                    env={"LC_ALL": "C", "TZ": "UTC", "PATH": path},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    user=account,
                )

        with start(installer, "--auth-root-authentication-method=normal", "--skip-test-db") as process:
            if process.wait() != 0:
                raise RuntimeError(log.read_text())
        address = data / "socket"
        with start(server, f"--socket={address}", f"--init-file={first}") as process:
            try:
                deadline = time.monotonic() + WAIT
                while not _answers(address):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(log.read_text())
                    time.sleep(0.05)
                # For each connection PyMySQL reads the system's certificates, which takes longer than a test.
                options = "&ssl_disabled=true" if DRIVER == "pymysql" else ""
                yield f"mysql+{DRIVER}://root@localhost/test?unix_socket={address}{options}"
            finally:
                process.terminate()


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0
