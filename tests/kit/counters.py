"""One counter, served by each library as its documentation says, and by Flask-ETag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from flask import Flask, request
from sqlalchemy.orm import Mapped, Session, mapped_column, scoped_session, sessionmaker

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from torture import peers

URL = "/counters/1"


class Kept(Versioned, peers.Base):
    """A counter of Flask-ETag's, with a version."""

    __tablename__ = "kept"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int]


def ours(app: Flask, model: Any, *, asynchronous: bool = False) -> None:
    ETag(app)
    session: Any = peers.db.session

    def load(counter_id: int) -> Any:
        return peers.db.get_or_404(model, counter_id)

    load.__annotations__["return"] = model  # which the audit reads
    find_counter = resource(
        etag=None if model is Kept else content_hash(lambda counter: {"number": counter.number})
    )(load)

    def show(counter: Any) -> Any:
        return {"number": counter.number}

    def save(counter: Any) -> Any:
        counter.number = request.get_json()["number"]
        session.commit()
        return {"number": request.get_json()["number"]}

    async def save_later(counter: Any) -> Any:
        return save(counter)

    app.get("/counters/<int:counter_id>")(etag_resource(find_counter)(show))
    app.put("/counters/<int:counter_id>")(require_if_match(find_counter)(save_later if asynchronous else save))


KINDS: dict[str, Callable[[Flask], None]] = {
    "Werkzeug": peers.werkzeug_helpers,
    "flask-smorest": peers.smorest,
    "versioned": lambda app: ours(app, Kept),
    "unversioned": lambda app: ours(app, peers.Plain),
    "async": lambda app: ours(app, Kept, asynchronous=True),
}


@contextmanager
def counting(kind: str, url: str, **options: Any) -> Iterator[Flask]:
    """Serve a counter that is 0, on a database."""
    app = Flask("counters")
    app.testing = True
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS=options)
    peers.db.init_app(app)
    KINDS[kind](app)
    with app.app_context():
        peers.Base.metadata.create_all(peers.db.engine)
        peers.db.session.add_all([peers.Plain(id=1, number=0), Kept(id=1, number=0)])
        peers.db.session.commit()
        peers.db.session.remove()
    try:
        yield app
    finally:
        with app.app_context():
            peers.Base.metadata.drop_all(peers.db.engine)
            peers.db.engine.dispose()


@contextmanager
def in_one_transaction(url: str) -> Iterator[tuple[Flask, Session]]:
    """Serve a counter by sessions that all join one connection's transaction, as test suites do to be fast."""
    engine = sqlalchemy.create_engine(url, connect_args={"check_same_thread": False})
    app = Flask("joined")
    app.testing = True
    ETag(app)
    with engine.connect() as connection, connection.begin():
        peers.Base.metadata.create_all(connection)
        sessions = scoped_session(sessionmaker(connection, join_transaction_mode="create_savepoint"))

        @resource
        def find_counter(counter_id: int) -> Any:
            return sessions.get(Kept, counter_id)

        @require_if_match(find_counter)
        def counter(found: Any) -> Any:
            if request.method == "PUT":
                found.number = request.get_json()["number"]
                sessions.commit()
            return {"number": found.number}

        app.route("/counters/<int:counter_id>", methods=["GET", "PUT"])(counter)
        sessions.add(Kept(id=1, number=0))
        sessions.commit()
        yield app, sessions()
        sessions.remove()
    engine.dispose()
