"""What goes wrong in production, done on purpose."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import create_engine, make_url, text

from torture.servers import WAIT, Server

ACCOUNT = "nobody" if os.geteuid() == 0 else None  # who runs the servers that the tests start
Restart = Callable[[], None]


@contextmanager
def now_and_then(seconds: float, fault: Callable[[int], None]) -> Iterator[None]:
    """Do something again and again, after about so many seconds each time."""
    ended = Event()

    def repeat() -> None:
        which = 0
        while not ended.wait(seconds * (0.5 + random.random())):
            fault(which)
            which += 1

    thread = Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def killed_workers(server: Server, seconds: float = 0.5) -> AbstractContextManager[None]:
    """Kill a worker of gunicorn now and then, in the middle of whatever it is doing."""
    return now_and_then(seconds, server.kill_a_worker)


def restart_postgresql(url: str) -> None:
    """Have a PostgreSQL of ``tests.servers.postgresql`` die and start again: what was not committed is undone."""
    _pg_ctl(url, "restart", "--silent", "--mode=immediate")


def kill_postgresql(url: str) -> None:
    """Have one die, and not come back."""
    _pg_ctl(url, "stop", "--silent", "--mode=immediate")


def promote_postgresql(url: str) -> None:
    """Let one that follows another follow it no more, and be written to."""
    _pg_ctl(url, "promote", "--silent")


def _pg_ctl(url: str, *arguments: str) -> None:
    data = Path(str(make_url(url).query["host"]))
    subprocess.run(
        [data.parent / "binaries" / "pg_ctl", *arguments, "--wait", "--pgdata", data],
        check=True,
        cwd=data.parent,
        env={"LC_ALL": "C", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        user=ACCOUNT,
    )


@contextmanager
def restarting_mariadb(url: str) -> Iterator[Restart]:
    """Yield a function that restarts a MariaDB of ``tests.servers.mariadb``; end what it has started."""
    home = Path(str(make_url(url).query["unix_socket"])).parent.parent
    processes: list[subprocess.Popen[bytes]] = []

    def restart() -> None:
        engine = create_engine(url)
        with engine.connect() as connection:
            pid = int(Path(connection.scalar(text("SELECT @@pid_file")) or "").read_text())
        engine.dispose()
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        command = [word for word in command if not word.startswith("--init-file=")]
        # It writes its log each second only, so that to kill it would lose writes that no application can save.
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + WAIT
        while _is_running(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        with (home / "log").open("a") as log:
            process = subprocess.Popen(
                command,
                cwd=home,
                env={"LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=ACCOUNT,
            )
        processes.append(process)
        while not _answers(home / "data" / "socket"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home / "log").read_text()[-5000:])
            time.sleep(0.05)

    try:
        yield restart
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(WAIT)


def _answers(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
