"""A kit for the tests of an application that is guarded: a race that can be run, and what the RFC asks of a route.

    from flask_etag.testing import race

    def save(client):
        return client.put("/notes/1", json={"body": "mine"}, headers={"If-Match": etag})

    first, second = race(app, save, save)
    assert {first.status_code, second.status_code} == {200, 412}

It imports no test framework. ``python -m flask_etag.testing URL`` checks a route of anything, Flask or not.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Lock, Thread
from typing import Any

from flask import Flask, Response, current_app, has_app_context, request
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_etag.audit import unprotected_routes
from flask_etag.conformity import Case, conformance, main
from flask_etag.exchange import Exchange

try:
    from flask_etag.sqlalchemy.witness import every_statement, every_unguarded_write
except ImportError:  # pragma: no cover - SQLAlchemy is not installed
    every_statement = every_unguarded_write = None  # type: ignore[assignment]

__all__ = ["race", "CannotRace", "conformance", "Case", "assert_protected", "unguarded_writes"]

Send = Callable[[FlaskClient], TestResponse]

_LONGEST = 60  # seconds, after which a request that is stuck is given up


class CannotRace(Exception):
    """As the application is set up, or as the requests are, two of them cannot meet: nothing was tried."""


def race(app: Flask, first: Send, second: Send, *, wait: float = 1) -> tuple[TestResponse, TestResponse]:
    """Send two requests at the same moment; return both responses.

    The first request is stopped when it has been judged, before its view runs: between "the tag is right" and
    "write". Then the second one runs as a whole, or until it waits for a lock that the first one holds; then the
    first one goes on. A view that is not decorated is stopped at its first write, which has to go through
    SQLAlchemy. Each request has a thread, an application context and so a connection of its own, and a new client,
    which has no cookies: to send as somebody, have ``first`` and ``second`` close over clients of their own.

    :param app: the application that answers them.
    :param first: sends one request by the client that it is given, and returns the response.
    :param second: the same, for the request that comes in between.
    :param wait: seconds, for which the second request may wait for the first.
    :return: the response to the first, and that to the second.
    :raises CannotRace: if both requests use one connection, as with SQLite in memory, or with a transaction around
        the test; or the first one is answered before it comes to its view.
    """
    with _Race() as run:
        one = _Runner(run, app, first, is_first=True)
        one.start()
        one.wait_for(run.reached)
        other = _Runner(run, app, second)
        if run.reached.is_set():
            other.start()
            other.join(wait)
        run.released.set()
        one.join(_LONGEST)
        if run.reached.is_set():
            other.join(_LONGEST)
    run.complain()
    if not run.reached.is_set():
        raise CannotRace(_NOT_REACHED.format(_told(one)))
    return one.answer(), other.answer()


_NOT_REACHED = (
    "The first request was {}, and came to no view that is decorated, and to no write through SQLAlchemy: nothing "
    "was tried. Is its ETag the current one? If a transaction around the test has made the data, no other "
    "connection sees it: commit it."
)
_SHARED = (
    "Both requests use the same connection to the database, so that one cannot meet the other: nothing was tried. "
    "Use a file (sqlite:///test.db in a temporary folder) or a server, and no transaction around the test that "
    "the requests share."
)
_IN_MEMORY = (
    "The database is one of SQLite's in memory, which each connection has for itself: nothing was tried. Use a "
    "file, such as sqlite:///test.db in a temporary folder."
)

_lane: contextvars.ContextVar[_Runner | None] = contextvars.ContextVar("flask_etag_race", default=None)


class _Race:
    """Two requests, the first of which is stopped; a context manager that listens to both."""

    _one_at_a_time = Lock()

    def __init__(self) -> None:
        self.reached = Event()
        self.released = Event()
        self.complaints: list[str] = []
        self._first_used: list[object] = []
        self._listening = ExitStack()

    def __enter__(self) -> _Race:
        self._listening.enter_context(self._one_at_a_time)
        self._listening.enter_context(_before_each_view(self.stop_first))
        if every_statement is not None:
            self._listening.enter_context(every_statement(self._hear))
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._listening.close()

    def stop_first(self) -> None:
        """Stop the first request, once: it has come to where the second one may slip through."""
        runner = _lane.get()
        if runner is not None and runner.is_first and not self.reached.is_set():
            self.reached.set()
            self.released.wait(_LONGEST)

    def _hear(self, connection: object, writes: bool, is_in_memory: bool) -> None:
        runner = _lane.get()
        if runner is None:
            return
        if runner.is_first:
            self._first_used.append(connection)
            if writes:
                self.stop_first()
        elif not self.released.is_set() and any(connection is used for used in self._first_used):
            self.complaints.append(_SHARED)
        if is_in_memory:
            self.complaints.append(_IN_MEMORY)

    def complain(self) -> None:
        if self.complaints:
            raise CannotRace(self.complaints[0])


class _Runner(Thread):
    """A request in a thread, and so on a connection, of its own."""

    def __init__(self, run: _Race, app: Flask, send: Send, *, is_first: bool = False) -> None:
        super().__init__(daemon=True)
        self.is_first = is_first
        self._run, self._app, self._send = run, app, send
        self._answer: TestResponse | None = None
        self.error: BaseException | None = None

    def run(self) -> None:
        _lane.set(self)  # a thread begins with an empty context; what it awaits gets a copy
        try:
            self._answer = self._send(self._app.test_client())
        except BaseException as error:
            self.error = error

    def wait_for(self, event: Event) -> None:
        """Wait until something happens, or the request is answered."""
        while self.is_alive() and not event.wait(0.005):
            pass

    def answer(self) -> TestResponse:
        if self.error is not None:
            raise self.error
        if self._answer is None:
            raise TimeoutError(f"A request was not answered in {_LONGEST} seconds.")
        return self._answer


def _told(runner: _Runner) -> str:
    answer = runner.answer()
    return f"answered {answer.status_code}"


@contextmanager
def _before_each_view(happens: Callable[[], None]) -> Iterator[None]:
    """Do something each time that a decorated view is about to run."""
    serve = Exchange.serve

    def serve_later(exchange: Exchange, *target: Any) -> Response:
        happens()
        return serve(exchange, *target)

    Exchange.serve = serve_later  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Exchange.serve = serve  # type: ignore[method-assign]


def assert_protected(app: Flask) -> None:
    """Fail where a PUT, PATCH or DELETE is not protected: what ``flask etag routes --check`` tells.

    :param app: the application whose routes are looked at.
    :raises AssertionError: with the method and the rule of each.
    """
    with app.app_context():
        found = unprotected_routes(app)
    if found:
        raise AssertionError(f"Not protected: {', '.join(found)}")


@contextmanager
def unguarded_writes(app: Flask) -> Iterator[None]:
    """Fail where the application changes or deletes a row that has a version, and no decorated view guards that.

    What the ORM flushes is seen, and bulk ``update()`` and ``delete()`` of a model; other statements are not. Rows
    that are made count for nothing: nobody can have seen them before.

    :param app: the application whose requests, commands and contexts are listened to.
    :raises AssertionError: at the end of the ``with``, with the model and the request of each.
    :raises RuntimeError: if SQLAlchemy is not installed.
    """
    if every_unguarded_write is None:
        raise RuntimeError("unguarded_writes() listens to SQLAlchemy, which is not installed.")
    found: list[str] = []

    def hear(model: str) -> None:
        if has_app_context() and current_app._get_current_object() is app:  # type: ignore[attr-defined]
            where = f"{request.method} {request.url_rule or request.path}" if request else "outside of a request"
            found.append(f"{model} ({where})")

    with every_unguarded_write(hear):
        yield
    if found:
        raise AssertionError(f"Written without a guard: {', '.join(dict.fromkeys(found))}")


if __name__ == "__main__":  # pragma: no cover
    sys.exit(main())
