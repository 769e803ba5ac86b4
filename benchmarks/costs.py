"""Count the function calls, Python's and C's, that a request costs; they do not depend on the machine.

python -m benchmarks.costs
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.test import EnvironBuilder

from flask_etag import ETag, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

WARM_UP = 5


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


class Page:
    def __etag__(self) -> str:
        return "v1"


PAGE = Page()
BODY = {"body": "x" * 180}


def served() -> Flask:
    """Return an application with one view for each thing that is counted."""
    app = Flask("costs")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db = SQLAlchemy(app, model_class=Base)
    ETag(app)

    @resource
    def find_page() -> Page:
        return PAGE

    @resource
    def find_note(note_id: int) -> Note | None:
        return db.session.get(Note, note_id)

    def report() -> dict[str, str]:
        return BODY

    app.get("/bare", endpoint="bare")(report)
    app.get("/body", endpoint="body")(etag_resource(report))

    @app.get("/version")
    @etag_resource(find_page)
    def version(_: Page) -> dict[str, str]:
        return BODY

    @app.put("/unguarded/<int:note_id>")
    def unguarded(note_id: int) -> dict[str, str]:
        return replaced(db.get_or_404(Note, note_id))

    @app.put("/guarded/<int:note_id>")
    @require_if_match(find_note)
    def guarded(note: Note) -> dict[str, str]:
        return replaced(note)

    def replaced(note: Note) -> dict[str, str]:
        note.body = request.get_data(as_text=True)
        db.session.commit()
        return BODY

    with app.app_context():
        db.create_all()
        db.session.add(Note(id=1, body=""))
        db.session.commit()
    return app


def calls_of(action: Callable[[], Any]) -> int:
    """Count the calls in one run of an action."""
    calls = 0

    def count(_frame: FrameType, what: str, _argument: object) -> None:
        nonlocal calls
        calls += what in ("call", "c_call")

    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(None)
    return calls - 1  # the one to sys.setprofile


def counted() -> dict[str, int]:
    """Return the calls of each request, by what it is."""
    app = served()
    bodies = iter(range(1_000_000))

    def send(path: str, method: str = "GET", **fields: str) -> tuple[int, int, str]:
        """Send a request through WSGI; return its calls, its status and its ETag."""
        environ = EnvironBuilder(path, method=method, data=str(next(bodies))).get_environ()
        environ.update({f"HTTP_{name.upper()}": value for name, value in fields.items()})
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], None]:
            answer.append((int(status[:3]), dict(headers).get("ETag", "")))
            return lambda _: None

        def run() -> None:
            body = app.wsgi_app(environ, start_response)
            b"".join(body)
            body.close()  # type: ignore[attr-defined]

        calls = calls_of(run)
        return calls, *answer[0]

    def steady(status: int, path: str, method: str = "GET", **fields: str) -> int:
        for _ in range(WARM_UP):
            calls, answered, etag = send(path, method, **fields)
            if answered != status:
                raise RuntimeError(f"{method} {path} was answered {answered} in the place of {status}.")
            if "if_match" in fields:
                fields["if_match"] = etag
        return calls

    body_etag = send("/body")[2]
    note_etag = send("/guarded/1", "PUT", if_match='"stale"')[2]
    return {
        "bare view": steady(200, "/bare"),
        "body hash, 200": steady(200, "/body"),
        "body hash, 304": steady(304, "/body", if_none_match=body_etag),
        "version, 200": steady(200, "/version"),
        "version, 304": steady(304, "/version", if_none_match='"v1"'),
        "unguarded PUT": steady(200, "/unguarded/1", "PUT"),
        "guarded PUT": steady(
            200, "/guarded/1", "PUT", if_match=send("/guarded/1", "PUT", if_match="*")[2] or note_etag
        ),
    }


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "benchmarks.costs"], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    calls = counted()
    print("| request | calls | over the same without Flask-ETag |")
    print("|---|---|---|")
    for name, number in calls.items():
        print(f"| {name} | {number} | {over_its_floor(name, calls):+} |")


def over_its_floor(name: str, calls: dict[str, int]) -> int:
    """Return how many calls a request costs more than the same one without Flask-ETag."""
    return calls[name] - calls["unguarded PUT" if "PUT" in name else "bare view"]


if __name__ == "__main__":
    main()
