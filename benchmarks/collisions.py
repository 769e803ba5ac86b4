"""How many accepted updates are lost when clients collide: run it with ``make collisions``.

Eight clients increment one number, each by GET and then PUT with If-Match, until 2,000 PUTs were accepted in all.
Whatever the number falls short of 2,000 was accepted and lost. The view is the same in both applications, and
takes a moment between its check and its commit, as views do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock, Thread
from typing import Any

from flask import Flask, abort, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.test import TestResponse

from flask_etag import ETag, require_if_match, resource
from flask_etag.sqlalchemy import Versioned

CLIENTS = 8
ACCEPTED = 2_000


class Base(DeclarativeBase):
    pass


class Plain(Base):
    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


class Guarded(Versioned, Base):
    __tablename__ = "guarded"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


def application(url: str) -> Flask:
    db = SQLAlchemy(model_class=Base)
    app = Flask("collisions")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    ETag(app)

    def save(row: Any) -> dict[str, int]:
        number = int(request.get_data())
        time.sleep(0.001)
        row.number = number
        db.session.commit()
        return {"number": number}

    @app.route("/compared", methods=["GET", "PUT"])
    def compared() -> Any:
        """Compare the tag and then write, with Werkzeug's own helpers."""
        row = db.get_or_404(Plain, 1)
        response = app.make_response({"number": row.number})
        response.add_etag()
        if request.method == "GET":
            return response.make_conditional(request)
        etag, _ = response.get_etag()
        if etag is None or not request.if_match.is_strong(etag):
            abort(412)
        return save(row)

    @resource
    def find_guarded() -> Guarded:
        return db.get_or_404(Guarded, 1)

    @app.route("/guarded", methods=["GET", "PUT"])
    @require_if_match(find_guarded)
    def guarded(row: Guarded) -> dict[str, int]:
        return {"number": row.number} if request.method == "GET" else save(row)

    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add_all([Plain(id=1, number=0), Guarded(id=1, number=0)])
        db.session.commit()
    return app


def collide(app: Flask, path: str) -> tuple[Counter[int], int]:
    """Return how often each status was answered to a PUT, and the number in the end."""
    statuses: Counter[int] = Counter()
    lock = Lock()

    def client() -> None:
        send: Callable[..., TestResponse] = app.test_client().open
        while statuses[200] < ACCEPTED:
            seen = send(path)
            number = (seen.json or {})["number"]
            answer = send(path, method="PUT", data=str(number + 1), headers={"If-Match": seen.headers["ETag"]})
            with lock:
                statuses[answer.status_code] += 1

    threads = [Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses, (app.test_client().get(path).json or {})["number"]


def main() -> None:
    print("| | accepted | refused (412) | other answers | accepted and lost |")
    print("|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        app = application(f"sqlite:///{Path(folder) / 'collisions.db'}")
        for name, path in (("compared, then written", "/compared"), ("Flask-ETag", "/guarded")):
            statuses, number = collide(app, path)
            accepted, refused = statuses.pop(200), statuses.pop(412, 0)
            lost = (accepted - number) / accepted
            print(f"| {name} | {accepted} | {refused} | {dict(statuses) or 'none'} | {lost:.0%} |")


if __name__ == "__main__":
    main()
