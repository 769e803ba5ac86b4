"""A case: an application, the requests that it is sent, and what it has to answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from flask_etag import ETag

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
PATH = "/records/1"


@dataclass(frozen=True)
class Answer:
    """What an application answered."""

    status: int
    etag: str | None
    body: bytes


@dataclass(frozen=True)
class Case:
    """What is measured.

    :ivar over: the case with which it is compared.
    :ivar environs: gives as many requests as it is asked for; making them is not measured.
    :ivar is_tagged: whether the answer has an ETag.
    :ivar at_most: the highest ratio to the other case that is good enough.
    """

    name: str
    over: str
    application: Application
    environs: Callable[[int], list[Environ]]
    status: int = 200
    is_tagged: bool = False
    body: bytes | None = None
    at_most: float | None = None

    def check(self) -> None:
        """Send one request.

        :raises RuntimeError: if the answer is not what it has to be.
        """
        [environ] = self.environs(1)
        answer = ask(self.application, environ)
        if answer.status != self.status:
            raise RuntimeError(f"{self.name}: {answer.status} in the place of {self.status}.")
        if self.is_tagged is (answer.etag is None):
            raise RuntimeError(f"{self.name}: its ETag is {answer.etag}.")
        if (
            self.is_tagged
            and self.status == HTTPStatus.NOT_MODIFIED
            and answer.etag != environ["HTTP_IF_NONE_MATCH"]
        ):
            raise RuntimeError(f"{self.name}: its 304 has another ETag than its 200.")
        if self.body is not None and answer.body != self.body:
            raise RuntimeError(f"{self.name}: its body is {answer.body[:200]!r}.")


def ask(application: Application, environ: Environ) -> Answer:
    """Send one request through WSGI, and read the answer."""
    started: list[tuple[str, dict[str, str]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        started.append((status, {name.lower(): value for name, value in headers}))

    body: Any = application(environ, start_response)
    content = b"".join(body)
    body.close()
    [(status, fields)] = started
    return Answer(int(status[:3]), fields.get("etag"), content)


def environ_of(path: str = PATH, method: str = "GET", json: Any = None, **fields: str) -> Environ:
    """Return the environ of a request; ``if_match="..."`` is the field If-Match."""
    environ: Environ = EnvironBuilder(path, method=method, json=json).get_environ()
    return {**environ, **{f"HTTP_{name.upper()}": value for name, value in fields.items()}}


def copies_of(environ: Environ) -> Callable[[int], list[Environ]]:
    """Return what gives copies of a request that has no content."""
    return lambda number: [environ.copy() for _ in range(number)]


def serving(view: Callable[..., Any], *, etag: bool = False) -> Flask:
    """Return an application that has this view alone, so that nothing else differs between two of them."""
    app = Flask("benchmarks")
    if etag:
        ETag(app)
    app.get("/records/<int:record_id>")(view)
    return app


def plain(name: str, application: Application, body: bytes | None, over: str = "", path: str = PATH) -> Case:
    """Return the case of a view without an ETag."""
    return Case(name, over or name, application, copies_of(environ_of(path)), body=body)


def reads(
    name: str,
    application: Application,
    body: bytes | None,
    over: str,
    at_most: tuple[float | None, float | None] = (None, None),
    path: str = PATH,
) -> list[Case]:
    """Return the two cases of a view with an ETag: its 200, and its 304.

    :param at_most: the highest ratio of each to the other case that is good enough.
    """
    etag = ask(application, environ_of(path)).etag
    known = environ_of(path, if_none_match=etag or "")
    return [
        Case(f"{name}, 200", over, application, copies_of(environ_of(path)), 200, True, body, at_most[0]),
        Case(f"{name}, 304", over, application, copies_of(known), 304, True, b"", at_most[1]),
    ]
