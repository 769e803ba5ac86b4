"""Clients, each a process of its own, that read and write one resource over HTTP and record what they see.

Two requests are made. GET returns JSON in which a number is, and an ETag. PUT sends that back with the number
increased by one, and with the ETag in If-Match. Whoever is refused reads again.
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
from dataclasses import astuple, dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib import import_module
from tempfile import TemporaryFile
from typing import IO, Any, Protocol, Self
from urllib.parse import urlsplit
from uuid import uuid4

from flask_etag.torture.history import Operation

TIMEOUT = 30  # seconds, after which an answer is given up


@dataclass(frozen=True)
class Plan:
    """What a client does.

    :param urls: of the resource, one for each server; each round goes to any of them.
    :param goal: the number at which it stops.
    :param seconds: after how many it stops in any case.
    :param move: what a round is: a function of the client, as ``module:name``; if not given, GET and then PUT.
    :param hang_up: how many of a hundred writes are not waited for: the client disconnects.
    :param read_from: where to read, if not where it writes.
    :param member: the integer in the JSON object.
    :param nonce: the member that each write fills with a text of its own, so that no two write the same.
    :param format: a :class:`Format`, as ``module:name``, where the number is not a member of an object.
    :param headers: to send with every request.
    """

    urls: list[str]
    goal: int
    seconds: float = 600
    move: str | None = None
    hang_up: int = 0
    read_from: str | None = None
    member: str = "number"
    nonce: str | None = None
    format: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0


class Format(Protocol):
    """How a state is read, and how the next one is made: what a resource's own format has to say."""

    def read(self, body: Any) -> int | None:
        """Return the number of the state that the JSON of an answer shows.

        It is given the answers of 2xx alone. Those of writes need not show a state: then it returns ``None``, or
        raises a ``LookupError`` or ``TypeError``, such as a ``KeyError``.
        """

    def write(self, body: Any, number: int) -> Any:
        """Return the content that makes the state of a number of what was read. No two calls make the same."""


class Member:
    """The number is a member of a JSON object.

    :param name: of that member.
    :param nonce: the member that takes a text of its own each time.
    """

    def __init__(self, name: str, nonce: str | None) -> None:
        self._name = name
        self._nonce = nonce

    def read(self, body: Any) -> int | None:
        number = body.get(self._name) if isinstance(body, dict) else None
        return number if isinstance(number, int) else None

    def write(self, body: Any, number: int) -> Any:
        return {**body, self._name: number, **({self._nonce: uuid4().hex} if self._nonce else {})}


def loaded(path: str) -> Any:
    """Return what ``module:name`` names."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


@dataclass
class Answer:
    """What came back, and when.

    :ivar number: of the state that it shows, if it shows one.
    :ivar body: the JSON that came; an empty object if none did.
    :ivar location: where that is to be found, if the answer says it: one does that is for a write done before.
    """

    request: str
    status: int | None = None
    etag: str | None = None
    number: int | None = None
    body: Any = field(default_factory=dict)
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
        self.format: Format = loaded(plan.format) if plan.format else Member(plan.member, plan.nonce)
        self.random: random.Random = random.Random(seed)
        self.deadline: float = time.monotonic() + plan.seconds
        self.operations: list[tuple[str, Operation]] = []

    def stop(self) -> None:
        """Finish the round."""
        self.deadline = 0

    def run(self) -> None:
        move: Callable[[Client], bool] = loaded(self.plan.move) if self.plan.move else put
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
            answer.body = json.loads(answer.content)
        if answer.status is not None and 200 <= answer.status < 300:
            with suppress(LookupError, TypeError):
                answer.number = self.format.read(answer.body)
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

    def put(self, url: str, seen: Any, number: int, etag: str) -> Answer:
        """Write the state after one that was seen, whose number it is."""
        content = self.format.write(seen, number + 1)
        return self.write("PUT", url, content, number + 1, **{"If-Match": etag})


def put(client: Client) -> bool:
    """GET, then PUT."""
    found = client.current()
    if found is not None:
        url, seen = found
        client.put(url, seen.body, seen.number or 0, seen.etag or "")
    return found is not None


def collide(plan: Plan, clients: int = 8) -> dict[str, list[Operation]]:
    """Let clients loose; return the history of each path."""
    with Crowd(plan, clients) as crowd:
        return crowd.histories()


class Crowd:
    """Clients at work."""

    def __init__(self, plan: Plan, clients: int = 8) -> None:
        self._plan, self._clients = plan, clients
        self._allowed = {0}  # what their processes may end with
        self._outputs: list[IO[str]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._is_stopped = False

    def __enter__(self) -> Self:
        arguments = json.dumps(self._plan.__dict__)
        for seed in range(self._clients):
            output = TemporaryFile("w+")
            command = [sys.executable, "-m", "flask_etag.torture.clients", arguments, str(seed)]
            # In a session of its own: Ctrl-C in a terminal is for this process, which stops them.
            self._processes.append(subprocess.Popen(command, stdout=output, start_new_session=True))
            self._outputs.append(output)
        if self._is_stopped:
            self.stop()  # also those who were started after that
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
        """Have them finish their rounds. Who is stopped before the beginning has seen nothing, and just ends."""
        self._is_stopped = True
        self._allowed.add(-signal.SIGTERM)
        for process in self._processes:
            process.send_signal(signal.SIGTERM)

    def histories(self) -> dict[str, list[Operation]]:
        """Wait for them all; return what they saw of each path."""
        for process in self._processes:
            if process.wait(self._plan.seconds + 2 * TIMEOUT) not in self._allowed:
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
    signal.signal(signal.SIGTERM, lambda *_: client.stop())
    client.run()
    for path, operation in client.operations:
        print(json.dumps([path, astuple(operation)]))


if __name__ == "__main__":
    main(sys.argv[1:])
