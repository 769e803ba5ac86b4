"""Views that write by a compare-and-set of their own, and raise ``Stale`` where it has found another state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_etag import ETag, Stale, content_hash, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.racing import Hold, Racer


class Store:
    """A store that replaces a value only where it is still the one that the caller has seen."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {"one": {"text": "first"}}
        self.outage = False

    def swap(self, name: str, seen: dict[str, Any] | None, new: dict[str, Any] | None) -> bool:
        if self.outage or self.values.get(name) != seen:
            return False
        if new is None:
            del self.values[name]
        else:
            self.values[name] = new
        return True


class Desk:
    """An application that keeps its memos in such a store."""

    def __init__(self) -> None:
        self.store = store = Store()
        self.hold = Hold()
        self.app = Flask("memos")
        self.app.testing = True
        ETag(self.app)

        @resource(etag=content_hash(dict), swaps=True)
        def find_memo(name: str) -> dict[str, Any] | None:
            return store.values.get(name)

        @self.app.get("/<name>")
        @require_if_match(find_memo)
        def read(memo: dict[str, Any]) -> dict[str, Any]:
            if request.args:
                raise Stale
            return memo

        @self.app.put("/<name>")
        @require_if_match(find_memo, create=True)
        def replace(memo: dict[str, Any] | None, name: str) -> tuple[dict[str, Any], int, dict[str, str]]:
            new = {"text": request.get_data(as_text=True)}
            if new["text"] == "slow":
                self.hold.wait()
            if not store.swap(name, memo, new):
                raise Stale("for the log alone", name)
            return new, 201 if memo is None else 200, {"ETag": str(find_memo.etag_of(new))}

        @self.app.delete("/<name>")
        @require_if_match(find_memo)
        def delete(memo: dict[str, Any], name: str) -> tuple[str, int]:
            self.hold.wait()
            if not store.swap(name, memo, None):
                raise Stale
            return "", 204

    def get(self, name: str = "one") -> Any:
        return self.app.test_client().get(f"/{name}")

    def put(self, text: str, name: str = "one", **headers: str) -> Any:
        fields = {field.replace("_", "-"): value for field, value in headers.items()}
        return self.app.test_client().put(f"/{name}", data=text, headers=fields)


def test_the_answer_has_the_tag_that_the_view_gives_it(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    first = desk.get().headers["ETag"]
    second = desk.put("second", if_match=first)
    assert second.status_code == 200
    assert second.headers["ETag"] == desk.get().headers["ETag"] != first
    assert desk.put("third", if_match=first).get_json()["etag"] == second.headers["ETag"]
    assert desk.put("third").status_code == 428
    assert caplog.messages == []


def test_whoever_is_overtaken_is_412_with_the_tag_of_what_won() -> None:
    desk = Desk()
    seen = desk.get().headers["ETag"]
    slow = Racer(lambda: desk.put("slow", if_match=seen))
    assert desk.hold.reached.wait(20)
    fast = desk.put("fast", if_match=seen)
    desk.hold.released.set()
    assert fast.status_code == 200
    assert slow.answer().status_code == 412
    assert slow.answer().headers["ETag"] == fast.headers["ETag"]
    assert "for the log" not in slow.answer().get_data(as_text=True)
    assert Stale("why", 1).args == ("why", 1)
    assert desk.store.values["one"] == {"text": "fast"}


def test_of_two_that_create_one_is_412() -> None:
    desk = Desk()
    slow = Racer(lambda: desk.put("slow", "two", if_none_match="*"))
    assert desk.hold.reached.wait(20)
    assert desk.put("fast", "two", if_none_match="*").status_code == 201
    desk.hold.released.set()
    assert slow.answer().status_code == 412
    assert slow.answer().get_json()["reason"] == "exists"


def test_whoever_deletes_what_is_gone_by_then_is_404() -> None:
    desk = Desk()
    slow = Racer(lambda: desk.app.test_client().delete("/one", headers={"If-Match": "*"}))
    assert desk.hold.reached.wait(20)
    del desk.store.values["one"]
    desk.hold.released.set()
    assert slow.answer().status_code == 404


def test_where_the_conditions_hold_all_the_same_it_is_409() -> None:
    desk = Desk()
    desk.store.outage = True
    answer = desk.put("second", if_match=desk.get().headers["ETag"])
    assert answer.status_code == 409
    assert answer.get_json()["reason"] == "conflict"


def test_a_read_is_not_judged_again() -> None:
    with pytest.raises(Stale):
        Desk().app.test_client().get("/one?raise")


def test_the_audit_shows_it() -> None:
    shown = Desk().app.test_cli_runner().invoke(args=["etag", "routes"])
    assert "guarded: its view's own compare-and-set" in shown.output


def test_swaps_takes_true_or_false() -> None:
    with pytest.raises(TypeError, match="swaps= takes True or False, and was given 'yes'"):
        resource(swaps="yes")  # type: ignore[call-overload]


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]


@pytest.fixture
def notes(tmp_path: Path) -> Any:
    """Rows whose views ask another store, by a compare-and-set that fails."""
    app = Flask("notes")
    app.testing = True
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path / 'notes.db'}"}
    db = SQLAlchemy(app)
    ETag(app)

    @resource
    def find_note(note_id: int) -> Note | None:
        return db.session.get(Note, note_id)

    @app.put("/<int:note_id>")
    @require_if_match(find_note)
    def replace(note: Note) -> Response:
        note.body = request.get_data(as_text=True)
        if note.body == "half":
            db.session.commit()
        raise Stale

    @app.get("/<int:note_id>")
    @require_if_match(find_note)
    def read(note: Note) -> str:
        return note.body

    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add(Note(id=1, body="first"))
        db.session.commit()
    yield app
    with app.app_context():
        assert db.session.scalar(select(func.count(Note.id))) == 1
        db.engine.dispose()


@pytest.mark.parametrize(
    ("sent", "status", "reason", "left"), [("whole", 409, "conflict", "first"), ("half", 409, "partial", "half")]
)
def test_what_is_in_a_session_is_rolled_back_unless_it_was_committed(
    notes: Flask, sent: str, status: int, reason: str, left: str
) -> None:
    client = notes.test_client()
    answer = client.put("/1", data=sent, headers={"If-Match": client.get("/1").headers["ETag"]})
    assert answer.status_code == status
    assert (answer.get_json() or {})["reason"] == reason
    assert "ETag" not in answer.headers
    assert client.get("/1").text == left


def test_a_session_that_has_joined_the_transaction_of_another_is_rolled_back_with_it(tmp_path: Path) -> None:
    """So a history library writes: it gives its own session the connection of the one that it listens to."""
    app = Flask("notes")
    app.testing = True
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path / 'notes.db'}"}
    db = SQLAlchemy(app)
    ETag(app)

    @resource
    def find_note(note_id: int) -> Note | None:
        return db.session.get(Note, note_id)

    @app.put("/<int:note_id>")
    @require_if_match(find_note)
    def replace(note: Note) -> str:
        joined = Session(bind=db.session.connection())
        joined.add(Note(id=2, body="kept of it"))
        joined.flush()
        note.body = "second"
        kept.append(joined)
        raise Stale

    kept: list[Session] = []
    with app.app_context():
        Base.metadata.create_all(db.engine)
        db.session.add(Note(id=1, body="first"))
        db.session.commit()
        etag = str(find_note.etag_of(db.session.get_one(Note, 1)))
    answer = app.test_client().put("/1", headers={"If-Match": etag})
    assert (answer.status_code, (answer.get_json() or {})["reason"]) == (409, "conflict")
    with app.app_context():
        assert db.session.scalars(select(Note.body)).all() == ["first"]
        db.engine.dispose()
