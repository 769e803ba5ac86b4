"""An application for one model, and a rival who sends it a whole request while a view of it runs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.test import TestResponse

from flask_etag import ETag, Resource, content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.application import begin_for_real
from tests.world.models import Base, Memo
from tests.world.racing import WAIT


class Checked(Versioned, Base):
    """With a version, which each UPDATE checks."""

    __tablename__ = "checked"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))


class Counted(Base):
    """With a version that counts."""

    __tablename__ = "tally"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    revision: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012


class Player(Base):
    __tablename__ = "player"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(80), default="")


class Board:
    """An application, and a rival who sends it a whole request while a view of it runs.

    :param url: of a database with the tables and no rows: the fixtures ``world_url`` and ``world_on`` give one.
    :param is_empty: whether its rows are still to be made.
    :param recipe: SQLAlchemy's recipe for SQLite is followed, so that its transactions have their own BEGIN.
    """

    def __init__(
        self, url: str, model: type[Any], *, recipe: bool = False, is_empty: bool = True, **engine_options: Any
    ) -> None:
        self.model = model
        self.app = Flask("board", static_folder=None)
        self.app.testing = True
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options
        self.db = SQLAlchemy(self.app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(self.app)
        with self.app.app_context():
            self.engine = self.db.engine
        if recipe:
            begin_for_real(self.engine)
        with self.app.app_context():
            if is_empty:
                self.db.session.add_all([model(id=1, text="first"), Player(id=1)])
            self.db.session.commit()
        self.find = self.found_by(lambda number: self.db.session.get(model, number))
        self.app.add_url_rule("/<int:number>", "read", etag_resource(self.find)(lambda each: each.text))
        self.app.add_url_rule("/<int:number>", "rival", self.write_as_rival(), methods=["PUT", "DELETE"])
        self.has_rival = True
        self.seen: str | None = None

    def close(self) -> None:
        with self.app.app_context():
            self.db.session.remove()
        self.engine.dispose()

    def found_by(self, loader: Callable[[int], Any]) -> Resource[..., Any]:
        etag = content_hash(lambda each: each.text) if self.model is Memo else None
        found: Resource[..., Any] = resource(etag=etag)(loader)
        return found

    def write_as_rival(self) -> Callable[..., Any]:
        @require_if_match(self.find, create=True)
        def write(found: Any, number: int) -> str:
            if request.method == "DELETE":
                self.db.session.delete(found)
            elif found is None:
                self.db.session.add(self.model(id=number, text="theirs"))
            else:
                found.text = "theirs"
            self.db.session.commit()
            return ""

        return write

    def let_go(self) -> None:
        """End the transaction that holds a row without a version: a rival would wait for it."""
        if self.model is Memo:
            self.db.session.rollback()

    def meanwhile(self, method: str, **fields: str) -> None:
        """Have the rival send a request, and wait for its answer."""
        if not self.has_rival:
            return
        answers: list[TestResponse] = []
        path, headers = (
            request.path.removeprefix("/mine"),
            {name.replace("_", "-"): fields[name] for name in fields},
        )
        send = self.app.test_client().open
        rival = Thread(target=lambda: answers.append(send(path, method=method, headers=headers)))
        rival.start()
        rival.join(WAIT)
        assert not rival.is_alive()
        assert answers[0].status_code == 200

    def save(
        self, view: Callable[[Any], Any], number: int = 1, create: bool = False, **fields: str
    ) -> TestResponse:
        """Send a PUT with the current tag, or what else it is to be sent with, to a view."""

        def served(found: Any) -> Any:
            return view(found) or "mine"

        guarded: Any = require_if_match(self.find, create=True) if create else require_if_match(self.find)
        self.app.add_url_rule("/mine/<int:number>", "mine", guarded(served), methods=["PUT"])
        self.seen = self.get(number).headers.get("ETag")
        return self.send("PUT", f"/mine/{number}", fields or {"If-Match": str(self.seen)})

    def save_the_object(self, *, is_flushed: bool) -> None:
        """Have a view change what it is handed and commit, and see that the answer has the tag of what it leaves.

        :param is_flushed: whether the view flushes before it commits.
        """

        def view(found: Any) -> None:
            found.text = "mine"
            if is_flushed:
                self.db.session.flush()
            self.db.session.commit()

        answer = self.save(view)
        assert answer.status_code == 200
        assert answer.headers["ETag"] == self.get().headers["ETag"] != self.seen

    def get(self, number: int = 1) -> TestResponse:
        return self.send("GET", f"/{number}", {})

    def send(self, method: str, path: str, fields: dict[str, str]) -> TestResponse:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return self.app.test_client().open(path, method=method, headers=headers)


def row_of(board: Board, number: int) -> dict[str, Any]:
    return {"id": number, "text": "mine", **({"version": "by hand"} if board.model is Checked else {})}
