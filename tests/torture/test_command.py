"""The torture's command line, against resources that answer as they should, and as they should not."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request

from flask_etag.torture.clients import Crowd, Plan
from tests import ROOT
from tests.servers import loopback
from tests.world.racing import WAIT

ODD = {"broken": b"{oops", "list": b"[1]", "lacking": b'{"other": 1}'}


class Store:
    """A server of numbers, each at ``/?id=...``; a query says what is wrong with it."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.ghosts: Counter[str] = Counter()
        self.texts: list[str] = []
        self._lock = Lock()
        self.app = Flask("store")
        self.app.add_url_rule("/", view_func=self.read)
        self.app.add_url_rule("/", view_func=self.write, methods=["PUT"])

    def tagged(self, body: Any, number: object) -> Response:
        response = body if isinstance(body, Response) else jsonify(body)
        response.set_etag(str(number))
        return response

    def read(self) -> Response:
        key = request.args["id"]
        self.reads[key] += 1
        if self.reads[key] == 2 and key in ODD:
            return self.tagged(Response(ODD[key], mimetype="application/json"), 0)
        with self._lock:
            return self.tagged({"number": self.numbers[key]}, self.numbers[key])

    def write(self) -> Response:
        key = request.args["id"]
        if key.isdigit():
            return Response(status=int(key))
        with self._lock:
            if key == "ghost" and not self.ghosts[key]:
                self.ghosts[key] = 3
                return Response(status=503)
            if self.ghosts[key] > 1:  # what was shown as current for a while, and then is undone
                self.ghosts[key] -= 1
                return self.tagged(Response(status=412), -1)
            if str(self.numbers[key]) not in request.if_match:
                return self.tagged(Response(status=412), self.numbers[key])
            self.texts.append(request.get_json().get("text"))
            self.numbers[key] = request.get_json()["number"]
            return self.tagged({}, self.numbers[key])

    @contextmanager
    def serving(self, port: int = 0) -> Iterator[str]:
        with loopback.serving(self.app, port) as url:
            yield f"{url}/"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with store.serving() as url:
        yield url


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flask_etag.torture", "--clients", "2", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=WAIT)
    return process.returncode, output


def run(*arguments: str) -> tuple[int, str]:
    return ended(started(*arguments))


def test_the_query_is_part_of_the_resource(store: Store, url: str) -> None:
    code, output = run(f"{url}?id=a&more=1", "--accepted", "5")
    assert output.startswith("accepted 5, ")
    assert code == 0
    assert store.numbers == {"a": 5}


def test_each_write_can_be_told_from_the_others(store: Store, url: str) -> None:
    code, _ = run(f"{url}?id=a", "--accepted", "5", "--nonce", "text")
    assert code == 0
    assert len(set(store.texts)) == 5


@pytest.mark.parametrize("answers_state", [True, False])
def test_a_format_of_its_own_as_the_page_has_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers_state: bool
) -> None:
    """Clients collide, and are refused in JSON, which is no state, as the answers of writes may be none."""
    page = (ROOT / "docs" / "torture.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "my_torture.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}")
    items: list[str] = []
    refused: list[int] = []
    both_have_read = Barrier(2)

    def view() -> Any:
        if request.method == "PUT":
            with store._lock:
                if f"n{len(items)}" not in request.if_match:
                    refused.append(len(items))
                    return store.tagged({"status": 412, "reason": "stale"}, f"n{len(items)}"), 412
                items[:] = request.get_json()["items"]
                return store.tagged({"items": items} if answers_state else {"ok": True}, f"n{len(items)}")
        shown = store.tagged({"items": list(items)}, f"n{len(items)}")
        store.reads["nested"] += 1
        if store.reads["nested"] in (2, 3):  # each client's first
            both_have_read.wait(WAIT)
        return shown

    store.app.add_url_rule("/nested", view_func=view, methods=["GET", "PUT"])
    with store.serving() as url:
        ended, output = run(f"{url}nested", "--accepted", "5", "--format", "my_torture:basket")
    assert re.match("accepted [56], refused [1-9]", output)  # both may be at the last one
    assert ended == 0
    assert len(items) == len(set(items)) >= 5
    assert refused


@pytest.mark.parametrize(("key", "more"), [("409", []), ("500", ["--faults"])])
def test_a_run_in_which_nothing_was_accepted_is_no_success(url: str, key: str, more: list[str]) -> None:
    code, output = run(f"{url}?id={key}", "--accepted", "5", "--seconds", "0.2", *more)
    assert "increased by 0, and not by 5" in output
    assert code == 1


@pytest.mark.parametrize(
    "arguments", [["--clients", "0"], ["--accepted", "0"], ["--header", "no colon"], ["--header", ": no name"]]
)
def test_an_option_that_makes_no_sense_is_refused(arguments: list[str]) -> None:
    code, output = run("http://127.0.0.1:1/", *arguments)
    assert f"argument {arguments[0]}: invalid" in output
    assert code == 2


@pytest.mark.parametrize("key", ODD)
def test_one_answer_that_makes_no_sense_is_named_and_the_others_are_judged(url: str, key: str) -> None:
    code, output = run(f"{url}?id={key}", "--accepted", "5")
    assert output.startswith("accepted 5, ")
    assert "no sense: 1, e.g. " in output
    assert f"GET {url}?id={key} was answered by 200: {ODD[key]!r}" in output.replace("\\'", "'")
    assert code == 1


def test_a_resource_that_is_not_there_is_named() -> None:
    code, output = run("http://127.0.0.1:1/thing")
    assert output.startswith("GET http://127.0.0.1:1/thing was answered by nothing")
    assert code == 1


def test_a_state_that_was_shown_to_writers_and_undone_is_noticed(url: str) -> None:
    code, output = run(f"{url}?id=ghost", "--accepted", "5", "--faults")
    assert "accepted and lost: 0" in output
    assert "a tag of no state: 1" in output
    assert code == 1


def wait_until_something_is_written(store: Store) -> None:
    deadline = time.monotonic() + WAIT
    while not store.numbers["a"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_interrupted_run_is_judged(store: Store, url: str) -> None:
    process = started(f"{url}?id=a", "--accepted", "100000")
    wait_until_something_is_written(store)
    process.send_signal(signal.SIGINT)
    code, output = ended(process)
    assert output.startswith(f"accepted {store.numbers['a']}, ")
    assert f"increased by {store.numbers['a']}, and not by 100000" in output
    assert code == 1


def test_clients_that_are_stopped_while_they_are_started_end(url: str) -> None:
    """Otherwise they would go on for as long as they were told to, with nobody to judge them."""
    crowd = Crowd(Plan([f"{url}?id=a"], goal=100_000, seconds=600), clients=2)
    crowd.stop()
    with crowd:
        assert sum(map(len, crowd.histories().values())) < 1000


def test_a_server_that_is_away_in_the_end_is_waited_for(store: Store) -> None:
    with store.serving() as url:
        process = started(f"{url}?id=a", "--accepted", "100000", "--seconds", "1")
        wait_until_something_is_written(store)
    time.sleep(2)
    with store.serving(int(url.rpartition(":")[2].strip("/"))):
        code, output = ended(process)
    assert output.startswith(f"accepted {store.numbers['a']}, ")
    assert code == 1
