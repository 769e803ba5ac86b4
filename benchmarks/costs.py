"""Count the function calls, Python's and C's, that a request costs; they do not depend on the machine.

python -m benchmarks.costs
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from types import FrameType
from typing import Any

from flask import Flask, Response, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.test import EnvironBuilder

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource, version_column
from flask_etag.sqlalchemy import Versioned

WARM_UP = 5


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class Draft(Base):
    __tablename__ = "draft"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class Page:
    revision = 7

    def __etag__(self) -> str:
        return "v1"


PAGE = Page()
BODY = {"body": "x" * 180}


def dumped(_: Page) -> dict[str, str]:
    return BODY


def dumped_draft(draft: Draft) -> dict[str, Any]:
    return {"id": draft.id, "body": draft.body}


def served() -> Flask:
    """Return an application with one view for each thing that is counted."""
    app = Flask("costs")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app, model_class=Base)
    ETag(app)
    app.before_request(lambda: None)  # so that each answer is looked at, that of the bare view, too

    @resource
    def find_page() -> Page:
        return PAGE

    @resource(etag=version_column("revision"))
    def find_revision() -> Page:
        return PAGE

    @resource(etag=content_hash(dumped))
    def find_content() -> Page:
        return PAGE

    @resource
    def find_note(row: int) -> Note | None:
        return db.session.get(Note, row)

    @resource(etag=content_hash(dumped_draft))
    def find_draft(row: int) -> Draft | None:
        return db.session.get(Draft, row)

    def report() -> dict[str, str]:
        return BODY

    def answer(_: object) -> dict[str, str]:
        return BODY

    def dump() -> dict[str, str]:
        return dumped(PAGE)

    def answer_what_was_hashed(page: Page) -> Response:
        return Response(find_content.content_of(page), mimetype="application/json")

    def read_unguarded(row: int) -> dict[str, str]:
        db.get_or_404(Note, row)
        return BODY

    def replaced(row: Note | Draft) -> dict[str, str]:
        row.body = request.get_data(as_text=True)
        db.session.commit()
        return BODY

    def replace(row: Note | Draft) -> dict[str, str]:
        return replaced(row)  # as the unguarded ones do

    views: dict[str, Callable[..., Any]] = {
        "GET /bare": report,
        "GET /body": etag_resource(report),
        "GET /version": etag_resource(find_page)(answer),
        "GET /column": etag_resource(find_revision)(answer),
        "GET /dumped": dump,
        "GET /content": etag_resource(find_content)(dumped),
        "GET /content-of": etag_resource(find_content)(answer_what_was_hashed),
        "GET /unguarded/<int:row>": read_unguarded,
        "GET /guarded/<int:row>": etag_resource(find_note)(answer),
        "PUT /unguarded/<int:row>": lambda row: replaced(db.get_or_404(Note, row)),
        "PUT /guarded/<int:row>": require_if_match(find_note)(replace),
        "PUT /unguarded-draft/<int:row>": lambda row: replaced(db.get_or_404(Draft, row)),
        "PUT /guarded-draft/<int:row>": require_if_match(find_draft)(replace),
    }
    for rule, view in views.items():
        method, path = rule.split()
        app.add_url_rule(path, rule, view, methods=[method])

    with app.app_context():
        db.create_all()
        db.session.add_all(model(id=row, body="") for model in (Note, Draft) for row in (1, 2, 3))
        db.session.commit()
    return app


@dataclass(frozen=True)
class Counted:
    """A request that is counted.

    Who writes has a row of his own, so that the others know the tags of theirs.

    :ivar over: what is the same without Flask-ETag.
    :ivar condition: the field of its tag.
    :ivar tag: what is sent first; later requests send the tag that was answered, if this is not to be refused.
    """

    name: str
    over: str
    status: int
    path: str
    method: str = "GET"
    condition: str | None = None
    tag: str = "*"


BARE, DUMPED, READ = "bare view", "view that dumps", "unguarded GET"
SAVED, SAVED_DRAFT = "unguarded PUT", "unguarded PUT, no version"
REQUESTS = [
    Counted(BARE, BARE, 200, "/bare"),
    Counted("body hash, 200", BARE, 200, "/body"),
    Counted("body hash, 304", BARE, 304, "/body", condition="if_none_match"),
    Counted("version, 200", BARE, 200, "/version"),
    Counted("version, 304", BARE, 304, "/version", condition="if_none_match"),
    Counted("version_column, 200", BARE, 200, "/column"),
    Counted("version_column, 304", BARE, 304, "/column", condition="if_none_match"),
    Counted(DUMPED, DUMPED, 200, "/dumped"),
    Counted("content_hash, 200", DUMPED, 200, "/content"),
    Counted("content_hash, 304", DUMPED, 304, "/content", condition="if_none_match"),
    Counted("content_hash, content_of, 200", DUMPED, 200, "/content-of"),
    Counted(READ, READ, 200, "/unguarded/1"),
    Counted("Versioned, 200", READ, 200, "/guarded/1"),
    Counted("Versioned, 304", READ, 304, "/guarded/1", condition="if_none_match"),
    Counted(SAVED, SAVED, 200, "/unguarded/2", "PUT"),
    Counted("guarded PUT", SAVED, 200, "/guarded/3", "PUT", "if_match"),
    Counted("refused PUT", SAVED, 412, "/guarded/1", "PUT", "if_match", '"stale"'),
    Counted(SAVED_DRAFT, SAVED_DRAFT, 200, "/unguarded-draft/2", "PUT"),
    Counted("guarded PUT, content_hash", SAVED_DRAFT, 200, "/guarded-draft/1", "PUT", "if_match"),
]


def calls_of(action: Callable[[], Any]) -> int:
    """Count the calls in one run of an action."""
    calls = 0

    def note(_frame: FrameType, what: str, _argument: object) -> None:
        nonlocal calls
        calls += what in ("call", "c_call")

    profile(action, note)
    return calls - 1  # the one to sys.setprofile


def profile(action: Callable[[], Any], note: Callable[[FrameType, str, Any], None]) -> None:
    """Run an action, and let a function be told of each call in it, but for those of the garbage collector."""
    gc.collect()
    gc.disable()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()


class Sender:
    """The application, and what its last answers were tagged with."""

    def __init__(self) -> None:
        self._app = served()
        self._bodies = count(1)
        self._tags: dict[str, str] = {}

    def prepared(self, sent: Counted) -> Callable[[], None]:
        """Return what sends one request through WSGI: to prepare it is not what is counted.

        :raises RuntimeError: from what is returned, if the request is not answered as it should be.
        """
        environ = EnvironBuilder(sent.path, method=sent.method, data=str(next(self._bodies))).get_environ()
        if sent.condition:
            environ[f"HTTP_{sent.condition.upper()}"] = self._tags.get(sent.name, sent.tag)

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], None]:
            if int(status[:3]) != sent.status:
                raise RuntimeError(f"{sent.name} was answered {status} in the place of {sent.status}.")
            if sent.status != HTTPStatus.PRECONDITION_FAILED:
                self._tags[sent.name] = dict(headers).get("ETag", "")
            return lambda _: None

        def run() -> None:
            body = self._app.wsgi_app(environ, start_response)
            b"".join(body)
            body.close()  # type: ignore[attr-defined]

        return run

    def warm_up(self, sent: Counted) -> None:
        """Send a request often enough that every cache has what it asks for."""
        for _ in range(WARM_UP):
            self.prepared(sent)()


def counted() -> dict[str, int]:
    """Return the calls of each request, by what it is."""
    sender = Sender()

    def steady(sent: Counted) -> int:
        sender.warm_up(sent)
        return calls_of(sender.prepared(sent))

    return {sent.name: steady(sent) for sent in REQUESTS}


def over_their_floors(calls: dict[str, int]) -> dict[str, int]:
    """Return how many calls each request costs more than the same one without Flask-ETag."""
    return {sent.name: calls[sent.name] - calls[sent.over] for sent in REQUESTS if sent.over != sent.name}


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.costs"], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    calls = counted()
    over = over_their_floors(calls)
    print("| request | calls | over the same without Flask-ETag | which is |")
    print("|---|---|---|---|")
    for sent in REQUESTS:
        compared = f"{over[sent.name]:+} | {sent.over}" if sent.name in over else " | "
        print(f"| {sent.name} | {calls[sent.name]} | {compared} |")


if __name__ == "__main__":
    main()
