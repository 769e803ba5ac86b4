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
from dataclasses import dataclass
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
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # which Debian's ordinary users do not have in theirs
WAIT = 60  # seconds, after which a server that does not answer is given up


class MariaDBMissingError(Exception):
    """There are no binaries to start."""


@dataclass(frozen=True)
class Home:
    """A folder in which a server works, and the account that it runs as.

    :ivar path: the folder.
    """

    path: Path
    account: str | None

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def address(self) -> Path:
        """The Unix socket that the server listens on."""
        return self.data / "socket"

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the server."""
        # For each connection PyMySQL reads the system's certificates, which takes longer than a test.
        options = "&ssl_disabled=true" if DRIVER == "pymysql" else ""
        return f"mysql+{DRIVER}://root@localhost/test?unix_socket={self.address}{options}"

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one of the programs on the data."""
        with self.log.open("a") as output:
            return subprocess.Popen(
                [
                    found(program),
                    "--no-defaults",
                    f"--datadir={self.data}",
                    f"--tmpdir={self.data}",
                    *OPTIONS,
                    *arguments,
                ],
                cwd=self.path,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": PATH},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                user=self.account,
            )

    def serve(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the server, and wait until it answers.

        :raises RuntimeError: if it does not.
        """
        process = self.start(SERVER, f"--socket={self.address}", *arguments)
        deadline = time.monotonic() + WAIT
        while not _answers(self.address):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise RuntimeError(self.log.read_text()[-5000:])
            time.sleep(0.05)
        return process


@contextmanager
def made() -> Iterator[Home]:
    """Make the data of a server in a temporary folder, with an empty database."""
    account = "nobody" if os.geteuid() == 0 else None
    found(SERVER)
    with TemporaryDirectory(prefix="mariadb-") as name:
        home = Home(Path(name), account)
        home.path.chmod(0o755)
        home.data.mkdir()
        first = home.path / "first.sql"
        first.write_text("CREATE DATABASE IF NOT EXISTS test;")  # the installer would make it in latin1
        if account is not None:
            shutil.chown(home.data, account)
            shutil.chown(first, account)
        with home.start(INSTALLER, "--auth-root-authentication-method=normal", "--skip-test-db") as process:
            if process.wait() != 0:
                raise RuntimeError(home.log.read_text())
        yield home


@contextmanager
def running() -> Iterator[str]:
    """Start a server in a temporary folder, on a Unix socket there; yield SQLAlchemy's URL of it."""
    with made() as home, home.serve(f"--init-file={home.path / 'first.sql'}") as process:
        try:
            yield home.url
        finally:
            process.terminate()


def found(program: str) -> str:
    """Return where a program is.

    :raises MariaDBMissingError: if it is nowhere.
    """
    path = shutil.which(program, path=PATH)
    if path is None:
        raise MariaDBMissingError(program)
    return path


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0
