"""Requests that race: each in a thread of its own, and held in its view until the test lets it go on."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from werkzeug.test import TestResponse

WAIT = 20  # seconds, after which a test that is stuck fails


class Hold:
    """A place in a view where a request waits until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = Event()
        self.released = Event()

    def wait(self) -> None:
        self.reached.set()
        assert self.released.wait(WAIT)


class Racer(Thread):
    """A request in a thread, and so on a connection, of its own."""

    def __init__(self, send: Callable[[], TestResponse]) -> None:
        super().__init__(daemon=True)
        self._send = send
        self.response: TestResponse | None = None
        self.start()

    def run(self) -> None:
        self.response = self._send()

    def answer(self) -> TestResponse:
        self.join(WAIT)
        assert self.response is not None
        return self.response


def in_thread(action: Callable[[], object]) -> None:
    """Do something in a thread, and so in a session, of its own; return when it is done."""
    thread = Thread(target=action, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()


def named(headers: dict[str, str]) -> dict[str, str]:
    """Spell fields as HTTP does: ``if_match`` is ``If-Match``."""
    return {name.replace("_", "-").title(): value for name, value in headers.items()}
