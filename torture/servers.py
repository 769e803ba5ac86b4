"""gunicorn with the application under test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import urljoin

from flask_etag.torture.clients import Client, Plan
from flask_etag.torture.history import State

WAIT = 60  # seconds, after which a server that does not answer is given up


class Server:
    """A server of one application.

    :ivar url: where its counter is.
    :ivar first: the state of that at the beginning.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, path: str) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}{path}"
        self.first = self.state()

    def workers(self) -> list[int]:
        """Return the processes that serve."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children]

    def processor_time(self) -> float:
        """Return how many seconds the workers have been computing, whatever else the machine does."""
        stats = [Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split() for worker in self.workers()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    def kill_a_worker(self, which: int) -> None:
        """End a worker at once, whatever it is doing; gunicorn starts another."""
        workers = self.workers()
        if workers:
            with suppress(ProcessLookupError):
                os.kill(workers[which % len(workers)], signal.SIGKILL)

    def state(self, path: str = "") -> State:
        """Return the state of the counter, or of that at another path, once it answers."""
        url = urljoin(self.url, path)
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            answer = Client(Plan([], 0), 0).send("GET", url)
            if answer.status == 200:
                return State(answer.number or 0, answer.etag)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError("The server does not answer.")


@contextmanager
def serving(
    application: str = "torture.app:create_app()",
    path: str = "/counters/1",
    *,
    workers: int = 2,
    threads: int = 4,
    **environment: str,
) -> Iterator[Server]:
    """Start gunicorn on a free port, and wait until it answers.

    :param path: where its counter is.
    :param environment: what the application is told; ``database`` becomes TORTURE_DATABASE.
    """
    with socket.socket() as free, TemporaryFile() as log:
        free.bind(("127.0.0.1", 0))
        free.listen()
        command = [sys.executable, "-m", "gunicorn", "--preload", "--worker-class", "gthread"]
        command += ["--workers", str(workers), "--threads", str(threads), "--no-control-socket"]
        command += ["--bind", f"fd://{free.fileno()}", "--worker-tmp-dir", "/dev/shm", application]  # noqa: S108
        told = {f"TORTURE_{name.upper()}": value for name, value in environment.items()}
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, "TORTURE_CREATE": "1", **told},
            pass_fds=[free.fileno()],
            stdout=log,
            stderr=log,
        )
        try:
            yield Server(process, free.getsockname()[1], path)
        except RuntimeError as error:
            log.seek(0)
            error.add_note(log.read().decode()[-5000:])
            raise
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(WAIT)
