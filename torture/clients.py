"""Clients, each a process of its own, that read and write one resource over HTTP and record what they see.

Two requests are made. GET returns a JSON object with an integer member, and an ETag. PUT sends that object back
with the member increased by one, and with the ETag in If-Match. Whoever is refused reads again. The other
``MOVES`` need routes of the application in ``torture.app``.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

from torture.history import Operation

TIMEOUT = 30  # seconds, after which an answer is given up


@dataclass(frozen=True)
class Plan:
    """What a client does.

    :param urls: of the resource, one for each server; each round goes to any of them.
    :param goal: the number at which it stops.
    :param seconds: after how many it stops in any case.
    :param move: what a round is, one of ``MOVES``.
    :param hang_up: how many of a hundred writes are not waited for: the client disconnects.
    :param read_from: where to read, if not where it writes.
    :param member: the integer in the JSON object.
    :param nonce: the member that each write fills with a text of its own, so that no two write the same.
    :param headers: to send with every request.
    """

    urls: list[str]
    goal: int
    seconds: float = 600
    move: str = "put"
    hang_up: int = 0
    read_from: str | None = None
    member: str = "number"
    nonce: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0


@dataclass
class Answer:
    """What came back, and when.

    :ivar number: the member that the plan names, if it is an integer.
    :ivar body: the JSON object that came, if one did.
    :ivar location: where that is to be found, if the answer says it: one does that is for a write done before.
    """

    request: str
    status: int | None = None
    etag: str | None = None
    number: int | None = None
    body: dict[str, Any] = field(default_factory=dict)
    content: bytes = b""
    location: str | None = None
    start: float = 0
    end: float = 0

    def __str__(self) -> str:
        return f"{self.request} was answered by {self.status or 'nothing'}: {self.content[:80]!r}"


def target(url: str) -> str:
    """Return what a request asks a server for."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class Client:
    """One client: it remembers each request, and what came of it."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan = plan
        self.random = random.Random(seed)
        self.deadline = time.monotonic() + plan.seconds
        self.operations: list[tuple[str, Operation]] = []

    def stop(self) -> None:
        """Finish the round."""
        self.deadline = 0

    def run(self) -> None:
        move = MOVES[self.plan.move]
        while time.monotonic() < self.deadline and move(self):
            if self.plan.pause:
                time.sleep(self.plan.pause * self.random.random())

    def send(self, method: str, url: str, body: object = None, **conditions: str) -> Answer:
        """Send a request over a connection of its own, so that any worker may get it."""
        parts = urlsplit(url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT)
        headers = {**self.plan.headers, **conditions}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        answer = Answer(f"{method} {url}", start=time.monotonic())
        try:
            connection.request(method, target(url), content, headers)
            if method != "GET" and self.random.randrange(100) < self.plan.hang_up:
                time.sleep(self.random.random() * 0.01)
                raise ConnectionError
            response = connection.getresponse()
            answer.content = response.read()
            answer.etag = response.getheader("ETag")
            answer.location = response.getheader("Content-Location")
            answer.status = response.status
        except (OSError, HTTPException):
            time.sleep(0.02)  # somebody is being started again, perhaps
        finally:
            answer.end = time.monotonic()
            connection.close()
        if answer.status == 503:
            time.sleep(0.1 * self.random.random())
        with suppress(ValueError):
            body = json.loads(answer.content)
            if isinstance(body, dict):
                answer.body = body
                number = body.get(self.plan.member)
                answer.number = number if isinstance(number, int) else None
        return answer

    def record(self, url: str, answer: Answer, number: int | None, **more: Any) -> None:
        note = str(answer) if number is None else ""
        operation = Operation(
            answer.start, answer.end, number, status=answer.status, etag=answer.etag, note=note, **more
        )
        self.operations.append((target(url), operation))

    def read(self, url: str) -> Answer:
        answer = self.send("GET", url)
        self.record(url, answer, answer.number if answer.status == 200 else None)
        return answer

    def write(self, method: str, url: str, body: object, number: int | None, **conditions: str) -> Answer:
        answer = self.send(method, url, body, **conditions)
        base = conditions.get("If-Match")
        if number is None and answer.status == 200:
            number = answer.number
        self.record(url, answer, number, writes=True, base=None if base == "*" else base)
        return answer

    def url(self) -> str:
        return self.random.choice(self.plan.urls)

    def current(self) -> tuple[str, Answer] | None:
        """Read the resource; return nothing if the goal is reached."""
        while time.monotonic() < self.deadline:
            url = self.url()
            seen = self.read(self.plan.read_from or url)
            if seen.status == 200 and seen.number is not None:
                return (url, seen) if seen.number < self.plan.goal else None
        return None

    def own(self) -> dict[str, str]:
        """Return what tells a write from all others."""
        return {self.plan.nonce: uuid4().hex} if self.plan.nonce else {}

    def put(self, url: str, seen: dict[str, Any], etag: str) -> Answer:
        number = seen[self.plan.member] + 1
        return self.write(
            "PUT", url, {**seen, self.plan.member: number, **self.own()}, number, **{"If-Match": etag}
        )


def folder_of(url: str) -> str:
    return url.rpartition("/")[0]


def put(client: Client) -> bool:
    """GET, then PUT."""
    found = client.current()
    if found is not None:
        url, seen = found
        client.put(url, seen.body, seen.etag or "")
    return found is not None


def patch(client: Client) -> bool:
    """GET, then PUT, or a PATCH that increases the number at the server."""
    found = client.current()
    if found is None:
        return False
    url, seen = found
    if client.random.random() < 0.5:
        client.put(url, seen.body, seen.etag or "")
    else:
        client.write("PATCH", url, client.own(), seen.body["number"] + 1, **{"If-Match": seen.etag or ""})
    return True


def insist(client: Client) -> bool:
    """GET, then PUT, the very same again and again until it is answered: all of that is one write.

    :raises RuntimeError: if it is refused though it is done, and the last one.
    """
    found = client.current()
    if found is None:
        return False
    url, seen = found
    sent = {**seen.body, client.plan.member: seen.body[client.plan.member] + 1, **client.own()}
    conditions = {"If-Match": seen.etag or ""}
    first = answer = client.send("PUT", url, sent, **conditions)
    while _is_lost(answer) and time.monotonic() < client.deadline:
        answer = client.send("PUT", client.url(), sent, **conditions)
    whole = replace(answer, start=first.start)
    if _is_lost(first) and answer.status in (404, 409, 412):
        there = client.read(url)
        if there.status == 200 and there.body == sent:
            raise RuntimeError(f"{answer}, and it is there")
        whole.status = None  # it may have been there, until another came
    number = sent[client.plan.member]
    client.record(url, whole, number, writes=True, base=seen.etag)
    if answer.location is not None:
        path, operation = client.operations.pop()
        client.operations.append((path, replace(operation, note=AGAIN)))
    return True


def _is_lost(answer: Answer) -> bool:
    return answer.status is None or answer.status >= 500


AGAIN = "It was done before, and came again."


def chain(client: Client) -> bool:
    """GET, and then PUT after PUT, each with the ETag of the last."""
    found = client.current()
    if found is None:
        return False
    url, seen = found
    body, etag = dict(seen.body), seen.etag
    while etag and body[client.plan.member] < client.plan.goal:
        answer = client.put(url, body, etag)
        if answer.status != 200:
            break
        body[client.plan.member] += 1
        etag = answer.etag
    return True


def star(client: Client) -> bool:
    """PATCH with ``If-Match: *``: whatever the number is, the server increases it."""
    answer = client.write("PATCH", client.url(), client.own(), None, **{"If-Match": "*"})
    return not (answer.status == 200 and answer.body["number"] >= client.plan.goal)


def both(client: Client) -> bool:
    """Increase two counters in one transaction, or the second one alone."""
    url = client.url()
    first, second = url, f"{folder_of(url)}/2"
    if client.random.random() < 0.5:
        seen = client.read(second)
        if seen.status == 200:
            client.put(second, seen.body, seen.etag or "")
        return True
    seen = client.read(first)
    if seen.status != 200:
        return True
    if seen.body["number"] >= client.plan.goal:
        return False
    number = seen.body["number"] + 1
    answer = client.write("POST", f"{first}/both", client.own(), number, **{"If-Match": seen.etag or ""})
    path, operation = client.operations.pop()
    client.operations.append((path.removesuffix("/both"), operation))
    if answer.status is None or answer.status == 200 or answer.status >= 500:
        other = replace(operation, number=answer.body.get("other"), base=None, etag=answer.body.get("etag"))
        client.operations.append((path.removesuffix("1/both") + "2", other))
    return True


def batch(client: Client) -> bool:
    """Increase two counters by one request, in any order, each under its own tag; or one of them by PUT."""
    folder = folder_of(client.url())
    urls = [f"{folder}/{number}" for number in client.random.sample([1, 2], 2)]
    if client.random.random() < 0.5:
        seen = client.read(urls[0])
        if seen.status == 200:
            client.put(urls[0], seen.body, seen.etag or "")
        return True
    both_seen = [client.read(url) for url in urls]
    if any(one.status != 200 for one in both_seen):
        return True
    if all(one.body["number"] >= client.plan.goal for one in both_seen):
        return False
    answer = client.send(
        "PATCH",
        folder,
        [
            {"id": int(url.rpartition("/")[2]), "number": one.body["number"] + 1, "etag": one.etag, **client.own()}
            for url, one in zip(urls, both_seen, strict=True)
        ],
    )
    # Of a 412, only the items that it names were refused; of the others, it says that nothing was written.
    stale = {item["index"]: item["etag"] for item in answer.body.get("items", [])}
    etags = answer.body.get("etags") or [stale.get(index) for index in range(len(urls))]
    for index, (url, one, etag) in enumerate(zip(urls, both_seen, etags, strict=True)):
        if answer.status != 412 or index in stale:
            part = replace(answer, etag=etag)
            client.record(url, part, one.body["number"] + 1, writes=True, base=one.etag)
    return True


def create(client: Client) -> bool:
    """Make a counter and increase it, and go on to the next; others make the same ones."""
    for key in _others(client):
        url = f"{folder_of(client.url())}/{key}"
        # Numbers begin at 1: 0 is the state of not being there.
        client.write("PUT", url, {"number": 1, **client.own()}, 1, **{"If-None-Match": "*"})
        seen = client.read(url)
        if seen.status == 200 and seen.body["number"] < 3:
            client.put(url, seen.body, seen.etag or "")
    return False


def delete(client: Client) -> bool:
    """Increase a counter and delete it, and go on to the next; others delete, and increase, the same ones."""
    for key in _others(client):
        url = f"{folder_of(client.url())}/{key}"
        while time.monotonic() < client.deadline:
            seen = client.read(url)
            if seen.status == 404:
                break
            if seen.status == 200:
                number, etag = seen.body["number"], seen.etag or ""
                if number < 3 or (number < 5 and client.random.random() < 0.5):
                    client.put(url, seen.body, etag)
                else:
                    client.write("DELETE", url, None, number + 1, **{"If-Match": etag})
    return False


def _others(client: Client) -> range:
    """Return the counters that are not there at the beginning."""
    return range(3, 3 + client.plan.goal)


MOVES: dict[str, Callable[[Client], bool]] = {
    "put": put,
    "patch": patch,
    "chain": chain,
    "insist": insist,
    "star": star,
    "both": both,
    "batch": batch,
    "create": create,
    "delete": delete,
}


def collide(plan: Plan, clients: int = 8) -> dict[str, list[Operation]]:
    """Let clients loose; return the history of each path."""
    with Crowd(plan, clients) as crowd:
        return crowd.histories()


class Crowd:
    """Clients at work."""

    def __init__(self, plan: Plan, clients: int = 8) -> None:
        self._plan = plan
        arguments = json.dumps(plan.__dict__)
        self._outputs = [TemporaryFile("w+") for _ in range(clients)]  # noqa: SIM115 - __exit__ closes them
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "torture.clients", arguments, str(seed)],
                cwd=Path(__file__).parent.parent,
                stdout=output,
            )
            for seed, output in enumerate(self._outputs)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process, output in zip(self._processes, self._outputs, strict=True):
            process.wait()
            output.close()

    def is_at_work(self) -> bool:
        return any(process.poll() is None for process in self._processes)

    def stop(self) -> None:
        """Have them finish their rounds."""
        for process in self._processes:
            process.send_signal(signal.SIGINT)

    def histories(self) -> dict[str, list[Operation]]:
        """Wait for them all; return what they saw of each path."""
        for process in self._processes:
            # Whoever is stopped before the beginning has seen nothing.
            if process.wait(self._plan.seconds + 2 * TIMEOUT) not in (0, -signal.SIGINT):
                raise RuntimeError("A client has failed.")
        histories: dict[str, list[Operation]] = {}
        for output in self._outputs:
            output.seek(0)
            for line in output:
                path, values = json.loads(line)
                histories.setdefault(path, []).append(Operation(*values))
        return histories


def main(arguments: Sequence[str]) -> None:
    client = Client(Plan(**json.loads(arguments[0])), int(arguments[1]))
    signal.signal(signal.SIGINT, lambda *_: client.stop())
    client.run()
    for path, operation in client.operations:
        print(json.dumps([path, astuple(operation)]))


if __name__ == "__main__":
    main(sys.argv[1:])
