"""The recipe that traces a 412 by an access log: with gunicorn's own, in the format of docs/tracing.md."""

from __future__ import annotations

import json
import re
import shlex
import socket
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.recipes.served import RECIPES

WAIT = 30  # seconds, after which a server that does not answer is given up
PAGE = (RECIPES.parent / "tracing.md").read_text()


def ask(
    port: int, method: str, name: str, if_match: str | None = None, path: str = "/memo", agent: str = "tests"
) -> tuple[int, str]:
    """Send a request under an id; return the status and the ETag."""
    fields = {"X-Request-ID": name, "User-Agent": agent} | ({} if if_match is None else {"If-Match": if_match})
    connection = HTTPConnection("127.0.0.1", port, timeout=WAIT)
    connection.request(method, path, name, fields)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("ETag", "")


def trace(log: str, name: str) -> list[str]:
    """Return the lines that the recipe prints."""
    command = [sys.executable, str(RECIPES / "trace.py"), name]
    return subprocess.run(command, input=log, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("winner_is_logged", ["before the copy", "before the loser", "behind the loser"])
def test_the_winner_of_a_race_is_found_wherever_it_is_logged(winner_is_logged: str) -> None:
    def line(name: str, method: str, status: int, sent: str, etag: str) -> str:
        about = {"time": "[26/Nov/2026:09:10:41 +0000]", "client": "10.0.0.7", "path": "/notes/1"}
        return json.dumps({**about, "id": name, "method": method, "status": status, "sent": sent, "etag": etag})

    copy, loser = line("r-1", "GET", 200, "-", '"old"'), line("r-3", "PUT", 412, '"old"', '"new"')
    winner = line("r-2", "PUT", 200, '"old"', '"new"')
    lines = [copy, loser]
    lines.insert({"before the copy": 0, "before the loser": 1, "behind the loser": 2}[winner_is_logged], winner)
    _, _, overtaken, since = trace("\n".join(lines), "r-3")
    assert " r-2 PUT 0 s before" in overtaken
    assert since == 'since then 1 write(s); now "new"'


@pytest.mark.parametrize("sent", ['W/"now"', '"now-gzip"', '"now.german:br"'])
def test_where_a_proxy_has_altered_the_tag_nobody_was_first(sent: str) -> None:
    about = {"time": "[26/Nov/2026:09:10:41 +0000]", "client": "10.0.0.7", "path": "/notes/1"}
    lines = [
        {**about, "id": "r-1", "method": "PUT", "status": 200, "sent": '"old"', "etag": '"now"'},
        {**about, "id": "r-2", "method": "GET", "status": 200, "sent": "-", "etag": '"now"'},
        {**about, "id": "r-3", "method": "PUT", "status": 412, "sent": sent, "etag": '"now"'},
    ]
    command = [sys.executable, str(RECIPES / "trace.py"), "r-3"]
    log = "\n".join(map(json.dumps, lines))
    ran = subprocess.run(command, input=log, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert f'Nobody was first: {sent} is "now"' in ran.stderr


def test_a_412_is_traced_to_its_cause(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    [line] = re.findall(r"^gunicorn --.*$", PAGE, re.MULTILINE)
    _, *options, _ = shlex.split(line)
    log = tmp_path / "access.log"
    options[options.index("access.log")] = str(log)
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    forged = '{"time": "", "id": "r-4", "client": "", "method": "PUT", "path": "/memo", "status": 412, "sent": ""}'
    process = subprocess.Popen([*command, "tests.recipes.served:edited()"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT
        while time.monotonic() < deadline:
            try:
                old = ask(port, "GET", "r-1")[1]
                break
            except OSError:
                time.sleep(0.05)
        # What strangers send neither stops the trace nor forges a line of the log.
        ask(port, "GET", "r-5", agent=r'C:\users "x"')
        ask(port, "GET", "r-6", agent="ends in a backslash\\")
        ask(port, "GET", "r-7", path="/memo%0A" + quote(forged))
        ask(port, "GET", "r-2", path="/memo?again=1")
        time.sleep(1.1)
        ask(port, "PUT", "r-8")
        assert ask(port, "PUT", "r-3", old)[0] == 200
        status, now = ask(port, "PUT", "r-4", old)
        assert status == 412
    finally:
        process.terminate()
        process.wait(WAIT)
    text = log.read_text()
    refused, copied, overtaken, since = trace(text, "r-4")
    stamp = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\] 127\.0\.0\.1"
    assert re.fullmatch(rf"refused   {stamp} r-4 PUT /memo", refused)
    assert re.fullmatch(rf"copy from {stamp} r-2 GET [1-5] s before", copied)
    assert re.fullmatch(rf"overtaken {stamp} r-3 PUT [01] s before", overtaken)
    assert since == f"since then 1 write(s); now {now}"
    missing, since = trace(text, "r-8")  # 428: it has sent no tag, and is told none
    assert " r-8 PUT /memo" in missing
    assert since == "since then 0 write(s); now -"
    assert " r-5 GET /memo" in trace(text, "r-5")[0]
    assert len(text.splitlines()) == 8
    unknown = subprocess.run(
        [sys.executable, str(RECIPES / "trace.py"), "r-99"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (unknown.returncode, unknown.stderr) == (1, "No request of that id is in the log.\n")
