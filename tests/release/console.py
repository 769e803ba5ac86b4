"""The commands of a page, run as a reader would run them: in one shell, in their order, and nothing else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGTERM

_FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SERVES = ("flask run", "make run")


def commands_of(page: Path, section: str = "") -> list[str]:
    """Return the lines behind ``$`` of a page's console blocks, or of those of one of its sections."""
    text = page.read_text("utf-8")
    if section:
        text = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [
        line.removeprefix("$ ")
        for block in _FENCE.findall(text)
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _serving(command: str, folder: Path, port: int, environment: Mapping[str, str]) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            ["bash", "-c", f". .venv/bin/activate 2>/dev/null; exec {command}"],
            cwd=folder,
            env={**environment, "FLASK_RUN_PORT": str(port)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + 300
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{command} does not serve: {log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, SIGTERM)
        server.wait()


def run(commands: list[str], folder: Path, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Run commands in one shell, in a folder; what serves is started, and goes on to the end.

    :param environment: the whole environment of the commands.
    :return: each command with what it printed.
    :raises AssertionError: if one fails, or answers another status than the first word of its comment.
    """
    served = [command for command in commands if command.startswith(_SERVES)]
    if served:
        first = commands.index(served[0])
        before, behind = commands[:first], commands[first + 1 :]
        port = free_port()
        printed = run(before, folder, environment)
        with _serving(served[0], folder, port, environment):
            return printed + run([command.replace(":5000", f":{port}") for command in behind], folder, environment)
    script = "set -e\n" + "".join(f"echo '@@@'\n{command}\n" for command in commands)
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    printed = list(zip(commands, ran.stdout.split("@@@\n")[1:], strict=True))
    for command, output in printed:
        if status := re.search(r"# (\d{3})\b", command):
            assert re.match(rf"HTTP/1\.1 {status[1]} ", output), (command, output)
    return printed
