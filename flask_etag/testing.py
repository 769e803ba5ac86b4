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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Lock, Thread
from typing import Any

from flask import Flask, Response, current_app, has_app_context, request, request_finished, request_started
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_etag.audit import undecorated_views, unprotected_routes
from flask_etag.conformity import Case, conformance, main
from flask_etag.exchange import Exchange

try:
    from flask_etag.sqlalchemy.witness import every_statement, every_unguarded_write
except ImportError:  # pragma: no cover - SQLAlchemy is not installed
    every_statement = every_unguarded_write = None  # type: ignore[assignment]

__all__ = ["race", "CannotRace", "conformance", "Case", "assert_protected", "unguarded_writes"]

Send = Callable[[FlaskClient], TestResponse]

_ANY = "*"  # any table, of a statement that was sent as a text
_LONGEST = 60  # seconds, after which a request that is stuck is given up


class CannotRace(Exception):
    """As the application is set up, or as the requests are, two of them cannot meet: nothing was tried."""


def race(
    app: Flask, first: Send, second: Send, *, wait: float = 1, at: Any = None
) -> tuple[TestResponse, TestResponse]:
    """Send two requests at the same moment; return both responses.

    The first request is stopped when it has been judged, before its view runs: between "the tag is right" and
    "write". Then the second one runs as a whole, or until it waits for a lock that the first one holds; then the
    first one goes on. A view that is not decorated is stopped at the first write to a table that it has read,
    since what it compares, it has read before; both have to go through SQLAlchemy. Each request has a thread, an
    application context and so a connection of its own, and a new client, which has no cookies: to send as
    somebody, have ``first`` and ``second`` close over clients of their own.

    :param app: the application that answers them.
    :param first: sends one request by the client that it is given, and returns the response.
    :param second: the same, for the request that comes in between.
    :param wait: seconds, for which the second request may wait for the first.
    :param at: the model, or the name of the table, at whose write a view that is not decorated is to be stopped.
    :return: the response to the first, and that to the second.
    :raises CannotRace: if both requests use one connection, as with SQLite in memory, or with a transaction around
        the test; or the first one is answered before it comes to its view; or it was stopped at another write
        than the one that follows its comparison, as far as can be told; or ``first`` sends more than one request,
        and was stopped in one before its last write.
    :raises TypeError: if ``first`` or ``second`` returns no response.
    :raises TimeoutError: if one of them is not answered within a minute.
    """
    with _Race(None if at in (None, _ANY) else str(getattr(at, "__tablename__", at))) as run:
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
        raise CannotRace(_NOT_REACHED.format(one.answer().status_code))
    answers = one.answer(), other.answer()
    if run.stopped_at and answers[0].status_code >= 400:
        missed = other.wrote.keys() - one.wrote.keys()
        if run.is_guess and missed:
            names = _named(missed - {_ANY}) or "the name of its table"
            raise CannotRace(_STOPPED_BEFORE.format(_named(one.wrote), _named(missed), names.split(", ")[0]))
        times = max(other.wrote[table] for table in run.stopped_at)
        if times > 1 and one.reads_again & {*run.stopped_at, _ANY}:
            raise CannotRace(_STOPPED_TOO_EARLY.format(_named(run.stopped_at), times))
    return answers


_NOT_REACHED = (
    "The first request was answered {}, and came to no view that is decorated, and through SQLAlchemy to no write "
    "of what it had read: nothing was tried. Is its ETag the current one? If it reads by other means, name the "
    "model: at=Note. If a transaction around the test has made the data, no other connection sees it: commit it."
)
_STOPPED_BEFORE = (
    "The first request was stopped at its write to {}, and was refused afterwards. The second one has written to "
    '{} as well: if that is what is compared, nothing was tried. Say where to stop: at="{}", say.'
)
_STOPPED_TOO_EARLY = (
    "The first request was stopped at its first write to {}, read it again afterwards, and was refused. The "
    "second one has written to it {} times: if the last is what follows the comparison, nothing was tried. Race "
    "requests that write to it once: what counts them there, say, has to be switched off, or to count elsewhere."
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

_SENT_MORE = (
    "The first request was stopped in {}, and {} was sent after that was answered, when the second one was over: "
    "nothing was tried. Have first() send one request: read the ETag, and log in, before the race."
)
_SAFE = ("GET", "HEAD", "OPTIONS")  # RFC 9110 section 9.2.1

_lane: contextvars.ContextVar[_Runner | None] = contextvars.ContextVar("flask_etag_race", default=None)


class _Race:
    """Two requests, the first of which is stopped; a context manager that listens to both."""

    _one_at_a_time = Lock()

    def __init__(self, at: str | None = None) -> None:
        self.is_guess = False
        self.stopped_at: frozenset[str] = frozenset()  # the tables of the write, where a view is not decorated
        self._at = at
        self.reached = Event()
        self.released = Event()
        self.complaints: list[str] = []
        self._stopped: Any = None  # the environ of the request that was stopped
        self._is_answered = False  # that request
        self._first_uses: object = None  # the connection; what it has given back before, the second may be given
        self._listening = ExitStack()

    def __enter__(self) -> _Race:
        self._listening.enter_context(self._one_at_a_time)
        self._listening.enter_context(_before_each_view(self.stop_first))
        self._listening.enter_context(request_finished.connected_to(self._finished))
        self._listening.enter_context(request_started.connected_to(self._started))
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
            self._stopped = request.environ if request else None
            self.reached.set()
            self.released.wait(_LONGEST)

    def _finished(self, _: Flask, **__: object) -> None:
        if self._stopped is not None and request.environ is self._stopped:
            self._is_answered = True

    def _started(self, _: Flask, **__: object) -> None:
        runner = _lane.get()
        is_later = runner is not None and runner.is_first and self._is_answered
        if is_later and request.method not in _SAFE:
            stopped = f"{self._stopped['REQUEST_METHOD']} {self._stopped['PATH_INFO']}"
            self.complaints.append(_SENT_MORE.format(stopped, f"{request.method} {request.path}"))

    def _hear(self, statement: Any) -> None:
        runner = _lane.get()
        if runner is None:
            return
        runner.wrote.update(statement.written_of(runner.read))
        if runner.is_first:
            self._first_uses = statement.connection
            if self.released.is_set():
                runner.reads_again |= statement.reads
            written = statement.written_of({self._at} if self._at else runner.read)
            if written and not self.reached.is_set() and not _is_decorated():
                self.is_guess, self.stopped_at = self._at is None, written
                self.stop_first()
        elif not self.released.is_set() and statement.connection is self._first_uses:
            self.complaints.append(_SHARED)
        if statement.is_in_memory:
            self.complaints.append(_IN_MEMORY)
        runner.read |= statement.reads

    def complain(self) -> None:
        if self.complaints:
            raise CannotRace(self.complaints[0])


def _is_decorated() -> bool:
    """Tell whether the request that goes on comes to a decorated view, which is where it is stopped."""
    if not request or request.endpoint is None:
        return False
    return request.endpoint not in undecorated_views(current_app, request.method)


def _named(tables: Iterable[str]) -> str:
    return ", ".join("a table that only a text names" if table == _ANY else table for table in sorted(tables))


class _Runner(Thread):
    """A request in a thread, and so on a connection, of its own.

    :ivar read: the tables that it has read.
    :ivar wrote: those of them that it has written to, or was about to, and how often.
    :ivar reads_again: what it has read after it was stopped.
    """

    def __init__(self, run: _Race, app: Flask, send: Send, *, is_first: bool = False) -> None:
        super().__init__(daemon=True)
        self.is_first = is_first
        self._run, self._app, self._send = run, app, send
        self.read: set[str] = set()
        self.wrote: Counter[str] = Counter()
        self.reads_again: set[str] = set()
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
        if self._answer is None and not self.is_alive():
            which = "first" if self.is_first else "second"
            raise TypeError(f"{which}() returned no response: it has to return that of the request that it sends.")
        if self._answer is None:
            raise TimeoutError(f"A request was not answered in {_LONGEST} seconds.")
        return self._answer


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

    What the ORM flushes is seen, and each ``update()`` and ``delete()`` of a model or of its table, those of
    ``bulk_update_mappings()`` and its like, too, and upserts. What is sent as a text is not. Rows that are made
    count for nothing: nobody can have seen them before.

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
