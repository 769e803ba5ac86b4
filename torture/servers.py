"""gunicorn, or another server, with the application under test."""

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

from torture.clients import Client, Plan
from torture.history import State

ROOT = Path(__file__).parent.parent
WAITRESS = """
import socket, sys, waitress
from torture.app import create_app
waitress.serve(create_app(), sockets=[socket.socket(fileno=int(sys.argv[1]))], threads=int(sys.argv[2]))
"""
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
    by: str = "gthread",
    preload: bool = True,
    workers: int = 2,
    threads: int = 4,
    **environment: str,
) -> Iterator[Server]:
    """Start a server on a free port, and wait until it answers.

    :param path: where its counter is.
    :param by: gunicorn's class of workers, or the name of another server.
    :param preload: whether gunicorn loads the application before it forks; not what has threads, or is patched.
    :param environment: what the application is told; ``database`` becomes TORTURE_DATABASE.
    """
    with socket.socket() as free, TemporaryFile() as log:
        free.bind(("127.0.0.1", 0))
        free.listen()
        told = {f"TORTURE_{name.upper()}": value for name, value in environment.items()}
        told = {"TORTURE_CREATE": "1", **told}
        command = _command(by, free.fileno(), application, workers, threads)
        command += ["--preload"] if preload and by in ("gthread", "sync") else []
        if "--preload" not in command and told["TORTURE_CREATE"] == "1":
            create = [sys.executable, "-c", "from torture import app; app.create_app()"]
            subprocess.run(create, cwd=ROOT, env={**os.environ, **told}, check=True)
            told["TORTURE_CREATE"] = "0"
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **told}, pass_fds=[free.fileno()], stdout=log, stderr=log
        )
        try:
            yield Server(process, free.getsockname()[1], path)
        except RuntimeError as error:
            log.seek(0)
            error.add_note(log.read().decode()[-5000:])
            raise
        finally:
            process.send_signal(signal.SIGQUIT if "gunicorn" in command else signal.SIGTERM)
            process.wait(WAIT)


def _command(by: str, listening: int, application: str, workers: int, threads: int) -> list[str]:
    """Return how to start a server on a socket that listens."""
    python, address = sys.executable, f"fd://{listening}"
    match by:
        case "uvicorn":
            options = ["--fd", str(listening), "--workers", str(workers), "--log-level", "warning"]
            return [python, "-m", "uvicorn", *options, "--factory", "torture.asgi:create_app"]
        case "hypercorn":
            options = ["--bind", address, "--workers", str(workers)]
            return [python, "-m", "hypercorn", *options, "torture.asgi:create_app()"]
        case "waitress":
            return [python, "-c", WAITRESS, str(listening), str(workers * threads)]
    command = [python, "-m", "gunicorn", "--worker-class", by, "--workers", str(workers), "--no-control-socket"]
    command += ["--threads", str(threads)] if by == "gthread" else []
    return [*command, "--bind", address, "--worker-tmp-dir", "/dev/shm", application]  # noqa: S108
