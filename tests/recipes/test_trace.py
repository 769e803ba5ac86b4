"""The recipe that traces a 412 by an access log: with gunicorn's own, in the format of docs/tracing.md."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.recipes.served import RECIPES

WAIT = 30  # seconds, after which a server that does not answer is given up
PAGE = (RECIPES.parent / "tracing.md").read_text()


def ask(port: int, method: str, name: str, if_match: str | None = None) -> tuple[int, str]:
    """Send a request under an id; return the status and the ETag."""
    fields = {"X-Request-ID": name} | ({} if if_match is None else {"If-Match": if_match})
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT)
    connection.request(method, "/memo", name, fields)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("ETag", "")


def test_a_412_is_traced_to_its_cause(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    [line] = re.findall(r"^gunicorn --.*$", PAGE, re.MULTILINE)
    _, *options, _ = shlex.split(line)
    log = tmp_path / "access.log"
    options[options.index("access.log")] = str(log)
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    process = subprocess.Popen([*command, "tests.recipes.served:edited()"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                old = ask(port, "GET", "r-1")[1]
                break
            except OSError:
                time.sleep(0.05)
        ask(port, "GET", "r-2")
        time.sleep(1.1)
        assert ask(port, "PUT", "r-3", old)[0] == 200
        status, now = ask(port, "PUT", "r-4", old)
        assert status == 412
    finally:
        process.terminate()
        process.wait(WAIT)
    ran = subprocess.run(
        [sys.executable, str(RECIPES / "trace.py"), "r-4"],
        input=log.read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    refused, copied, overtaken, since = ran.stdout.splitlines()
    stamp = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] 127\.0\.0\.1"
    assert re.fullmatch(rf"refused   {stamp} r-4 PUT /memo", refused)
    assert re.fullmatch(rf"copy from {stamp} r-2 GET [1-5] s before", copied)
    assert re.fullmatch(rf"overtaken {stamp} r-3 PUT [01] s before", overtaken)
    assert since == f"since then 1 write(s); now {now}"
