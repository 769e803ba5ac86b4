"""A write that was done, and comes again since its answer was lost: ``replay=True``, on each kind of database."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, abort, g, jsonify, request
from flask.views import MethodView
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey, MetaData, String, Text, event, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_etag import ETag, Resource, Stale, content_hash, etag_resource, require_if_match, resource
from flask_etag.decisions import Decision, decided
from flask_etag.replays import MAX_BODY, MAX_VERSIONS
from flask_etag.sqlalchemy import Versioned, covers, touch
from tests.world.racing import Hold, Racer, in_thread


class Base(DeclarativeBase):
    pass


class Note(Versioned, Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(Text)
    writes: Mapped[int] = mapped_column(default=0)  # how often a view has written it
    lines: Mapped[list[Line]] = relationship(cascade="all, delete-orphan")


class Line(Base):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(50))
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))


class Plain(Base):
    __tablename__ = "plain"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    body: Mapped[str] = mapped_column(String(50))


class Log(Base):
    __tablename__ = "log"

    id: Mapped[int] = mapped_column(primary_key=True)


covers(Note.lines)


class Desk:
    """Notes, under ``replay=True``."""

    def __init__(self, url: str, **config: Any) -> None:
        self.app = app = Flask("notes")
        app.testing = True
        app.config.update({"SQLALCHEMY_DATABASE_URI": url, "ETAG_KEY": "a secret", **config})
        self.db = db = SQLAlchemy(app, model_class=Base, session_options={"expire_on_commit": False})
        ETag(app)
        self.ran = 0
        self.hold = Hold()
        self.rules: dict[str, Any] = {}
        with app.app_context():
            db.create_all()
            if db.session.get(Note, 1) is None:
                db.session.add_all([Note(id=number, body="first") for number in (1, 2)])
                db.session.add(Plain(id=1, body="first"))
                db.session.commit()

        @resource
        def find_note(note_id: int) -> Note | None:
            return db.session.get(Note, note_id)

        self.find_note: Resource[[int], Note | None] = find_note

        @app.before_request
        def note_who() -> None:
            g.user = request.headers.get("User")

        @app.get("/notes/<int:note_id>")
        @etag_resource(find_note)
        def read(note: Note) -> dict[str, Any]:
            if g.user == "blind":
                abort(403)
            return {"body": note.body, "writes": note.writes}

        @app.put("/notes/<int:note_id>")
        @require_if_match(find_note, create=True, replay=lambda: g.user)
        def replace(note: Note | None, note_id: int) -> Any:
            self.ran += 1
            body = request.get_json()["body"]
            if note is None:
                db.session.add(Note(id=note_id, body=body))
                db.session.commit()
                return {"body": body}, 201
            if body == "slow":
                self.hold.wait()
            if body != note.body:
                note.body, note.writes = body, note.writes + 1
            db.session.commit()
            return {"body": body, "writes": note.writes}

        @app.delete("/notes/<int:note_id>")
        @require_if_match(find_note, replay=True)
        def delete(note: Note) -> tuple[str, int]:
            db.session.delete(note)
            db.session.commit()
            return "", 204

    def view(self, rule: str, function: Any, **options: Any) -> None:
        """Serve POST by a view under ``replay=True``."""
        protected = require_if_match(self.find_note, **{"replay": True, **options})
        self.app.post(rule, endpoint=function.__name__)(protected(function))

    def open(self, method: str, path: str = "/notes/1", /, *, user: str | None = None, **more: Any) -> Any:
        headers = {**more.pop("headers", {}), **({} if user is None else {"User": user})}
        return self.app.test_client().open(path, method=method, headers=headers, **more)

    def tag(self, path: str = "/notes/1") -> str:
        return str(self.open("GET", path).headers["ETag"])

    def put(self, body: str, tag: str, **more: Any) -> Any:
        return self.open("PUT", json={"body": body}, headers={"If-Match": tag}, **more)

    def post(self, path: str, tag: str, **more: Any) -> Any:
        return self.open("POST", path, headers={"If-Match": tag}, **more)

    def note(self) -> Note:
        with self.app.app_context():
            return self.db.session.get_one(Note, 1)


@pytest.fixture
def desk(empty_url: str) -> Iterator[Desk]:
    made = Desk(empty_url)
    yield made
    close(made)


def close(desk: Desk) -> None:
    with desk.app.app_context():
        desk.db.session.rollback()
        desk.db.drop_all()
        desk.db.engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Any) -> Iterator[Desk]:
    """What does not depend on the database."""
    made = Desk(f"sqlite:///{tmp_path / 'notes.db'}")
    yield made
    close(made)


# What a request that comes again is answered.


def test_2_15_it_is_200_with_what_a_get_gives_as_long_as_its_write_is_the_last_one(desk: Desk) -> None:
    old = desk.tag()
    first = desk.put("second", old)
    assert first.status_code == 200
    for _ in range(2):
        again = desk.put("second", old)
        assert (again.status_code, again.get_json()) == (200, {"body": "second", "writes": 1})
        assert again.headers["ETag"] == first.headers["ETag"] == desk.tag() != old
        assert again.headers["Content-Location"] == "/notes/1"
    assert desk.ran == 1
    assert desk.put("third", old).status_code == 412  # another content is another request
    assert desk.put("other", first.headers["ETag"]).status_code == 200
    late = desk.put("second", old)
    assert (late.status_code, late.headers["ETag"]) == (412, desk.tag())


def test_the_same_content_later_is_another_request(desk: Desk) -> None:
    old = desk.tag()
    first = desk.put("second", old)
    other = desk.put("other", first.headers["ETag"])
    later = desk.put("second", other.headers["ETag"])
    assert later.status_code == 200
    assert len({old, first.headers["ETag"], other.headers["ETag"], later.headers["ETag"]}) == 4
    assert desk.put("second", old).status_code == 412
    assert desk.put("second", other.headers["ETag"]).headers["ETag"] == later.headers["ETag"]
    assert desk.note().writes == 3


def test_2_15_what_never_landed_is_not_taken_for_landed(desk: Desk) -> None:
    """The same content is there, written by somebody else."""
    old = desk.tag()
    other = desk.open("PUT", json={"body": "second"}, headers={"If-Match": old}, user="bob")
    assert other.status_code == 200
    assert desk.put("second", old, user="ann").status_code == 412
    assert desk.put("second", old, user="bob").status_code == 200
    assert desk.ran == 1


def test_2_15_two_equal_requests_at_once_are_both_200_and_done_once(desk: Desk) -> None:
    """The second is refused by the database, and finds the version of its own."""
    old = desk.tag()
    slow = Racer(lambda: desk.put("slow", old))
    assert desk.hold.reached.wait(20)
    desk.hold.released.set()
    fast = desk.put("slow", old)
    assert (slow.answer().status_code, fast.status_code) == (200, 200)
    assert slow.answer().headers["ETag"] == fast.headers["ETag"] == desk.tag()
    assert desk.note().writes == 1


def test_a_request_that_was_overtaken_before_it_was_done_is_412(desk: Desk) -> None:
    old = desk.tag()
    slow = Racer(lambda: desk.put("slow", old))
    assert desk.hold.reached.wait(20)
    fast = desk.put("fast", old)
    desk.hold.released.set()
    assert (slow.answer().status_code, fast.status_code) == (412, 200)
    assert desk.put("slow", old).status_code == 412
    assert desk.put("fast", old).status_code == 200


def test_a_view_that_fails_leaves_nothing_to_be_known_by(desk: Desk) -> None:
    """The next write makes a version of its own, whatever was planned before in this thread."""

    def fail(note: Note) -> None:
        note.body = "failed"
        desk.db.session.flush()
        raise LookupError

    def other(note: Note) -> str:
        note.body = "other"
        desk.db.session.commit()
        return ""

    desk.view("/notes/<int:note_id>/fail", fail)
    desk.view("/notes/<int:note_id>/other", other, replay=False)
    old = desk.tag()
    client = desk.app.test_client()
    for path, status in (("fail", None), ("other", 200), ("fail", 412)):
        if status is None:
            with pytest.raises(LookupError):
                client.post(f"/notes/1/{path}", headers={"If-Match": old})
        else:
            assert client.post(f"/notes/1/{path}", headers={"If-Match": old}).status_code == status


def test_a_view_that_changes_nothing_runs_again(desk: Desk) -> None:
    old = desk.tag()
    for _ in range(2):
        answer = desk.put("first", old)
        assert (answer.status_code, answer.headers["ETag"]) == (200, old)
    assert desk.ran == 2


def test_what_is_deleted_is_404_when_the_deletion_comes_again(desk: Desk) -> None:
    """Nothing is left that says who has deleted it."""
    headers = {"If-Match": desk.tag()}
    assert desk.open("DELETE", headers=headers).status_code == 204
    assert desk.open("DELETE", headers=headers).status_code == 404
    assert desk.put("second", headers["If-Match"]).status_code == 412


def test_what_was_created_is_not_known_again(desk: Desk) -> None:
    sent: dict[str, Any] = {"json": {"body": "made"}, "headers": {"If-None-Match": "*"}}
    assert desk.open("PUT", "/notes/3", **sent).status_code == 201
    assert desk.open("PUT", "/notes/3", **sent).get_json()["reason"] == "exists"


@pytest.mark.parametrize("condition", ["*", "{}, {}", "{}"])
def test_only_a_request_that_names_one_state_is_known_again(sqlite: Desk, condition: str) -> None:
    old = sqlite.tag()
    field = condition.format(old, '"other"')
    assert sqlite.put("second", field).status_code == 200
    assert sqlite.put("second", field).status_code == (200 if condition != "{}, {}" else 412)
    assert sqlite.ran == (2 if condition == "*" else 1)


def test_what_cannot_be_read_is_refused_as_ever(sqlite: Desk) -> None:
    assert sqlite.put("second", "unquoted").get_json()["reason"] == "malformed"


def test_other_conditions_beside_it_are_judged_as_ever(sqlite: Desk) -> None:
    headers = {"If-Match": sqlite.tag(), "If-None-Match": '"other"'}
    assert sqlite.open("PUT", json={"body": "second"}, headers=headers).status_code == 200
    assert sqlite.open("PUT", json={"body": "second"}, headers=headers).status_code == 412


# What a view does.


def test_a_view_that_writes_its_row_more_than_once(desk: Desk) -> None:
    def several(note: Note) -> tuple[str, int]:
        for _ in range(int(request.args["times"])):
            note.writes += 1
            desk.db.session.flush()
        with desk.db.session.begin_nested():
            touch(note)
        desk.db.session.execute(update(Note).where(Note.id == note.id).values(body="by a statement"))
        desk.db.session.commit()
        return "", 204

    desk.view("/notes/<int:note_id>/several", several)
    for times, status in ((1, 200), (3, 200), (MAX_VERSIONS, 412)):
        old = desk.tag()
        path = f"/notes/1/several?times={times}"
        first = desk.post(path, old)
        assert (first.status_code, first.headers["ETag"]) == (204, desk.tag())
        again = desk.post(path, old)
        assert (again.status_code, again.headers["ETag"]) == (status, desk.tag())


def test_a_savepoint_that_is_rolled_back_is_none_of_it(desk: Desk) -> None:
    def tries(note: Note) -> tuple[str, int]:
        savepoint = desk.db.session.begin_nested()
        note.body = "tried"
        desk.db.session.flush()
        savepoint.rollback()
        note.body = "done"
        desk.db.session.commit()
        return "", 204

    desk.view("/notes/<int:note_id>/tries", tries)
    old = desk.tag()
    assert desk.post("/notes/1/tries", old).status_code == 204
    again = desk.post("/notes/1/tries", old)
    assert (again.status_code, again.get_json()["body"]) == (200, "done")


def test_a_change_of_what_is_covered_is_known_by_the_version_of_the_whole(desk: Desk) -> None:
    def add_line(note: Note) -> tuple[str, int]:
        desk.db.session.add(Line(text="line", note_id=note.id))
        desk.db.session.commit()
        return "", 204

    desk.view("/notes/<int:note_id>/lines", add_line)
    old = desk.tag()
    first = desk.post("/notes/1/lines", old)
    again = desk.post("/notes/1/lines", old)
    assert (first.status_code, again.status_code) == (204, 200)
    assert first.headers["ETag"] == again.headers["ETag"] != old
    assert again.headers["Content-Location"] == "/notes/1"
    with desk.app.app_context():
        assert len(desk.db.session.get_one(Note, 1).lines) == 1


# What was done in part.

PARTS: dict[str, Callable[[Desk, Note], Any]] = {}
"""What a view does that is not done to its end, once it has committed its target; by what it does."""


def part(function: Callable[[Desk, Note], Any]) -> Callable[[Desk, Note], Any]:
    PARTS[function.__name__] = function
    return function


@part
def raises_stale(_: Desk, __: Note) -> None:
    raise Stale


@part
def meets_another_at_another_row(desk: Desk, _: Note) -> str:
    other = desk.db.session.get_one(Note, 2)
    in_thread(lambda: desk.open("PUT", "/notes/2", json={"body": "x"}, headers={"If-Match": desk.tag("/notes/2")}))
    other.body = "mine"
    desk.db.session.flush()
    return "not reached"


@part
def fails(_: Desk, __: Note) -> None:
    raise LookupError


@part
def fails_having_written_again(desk: Desk, note: Note) -> None:
    note.body = "whole"
    desk.db.session.flush()
    raise LookupError


@part
def aborts(_: Desk, __: Note) -> None:
    abort(503)


@part
def answers_422(_: Desk, __: Note) -> tuple[str, int]:
    return "", 422


@part
def commits_again(desk: Desk, note: Note) -> None:
    note.body = "whole"
    desk.db.session.commit()


@part
def commits_again_and_swallows_it(desk: Desk, note: Note) -> str:
    with suppress(RuntimeError):
        commits_again(desk, note)
    return "done"


@part
def commits_another_row(desk: Desk, _: Note) -> None:
    desk.db.session.add(Log())
    desk.db.session.commit()


@part
def commits_by_another_session(desk: Desk, _: Note) -> None:
    with Session(desk.db.engine) as other:
        other.add(Log())
        other.commit()


@part
def commits_by_a_connection(desk: Desk, _: Note) -> None:
    with desk.db.engine.begin() as connection:
        connection.execute(insert(Log))


@part
def writes_by_a_connection_that_commits_by_itself(desk: Desk, _: Note) -> None:
    with desk.db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(Log))


@part
def leaves_something_to_be_committed(desk: Desk, _: Note) -> str:
    desk.db.session.add(Log())
    return "done"


def test_2_15_what_was_done_in_part_is_not_taken_for_done(desk: Desk) -> None:
    """Whether the view has committed its target by the session that loaded it, or by another."""
    ran: list[str] = []

    def commit_half(note: Note) -> Any:
        ran.append(request.args["rest"])
        if "by another" in request.args:
            desk.db.session.commit()
            with Session(desk.db.engine) as other:
                other.get_one(Note, note.id).body = f"half of {ran}"
                other.commit()
            desk.db.session.refresh(note)
        else:
            note.body = f"half of {ran}"
            desk.db.session.commit()
        return PARTS[ran[-1]](desk, note)

    desk.app.testing = False  # an error is a 500
    desk.view("/notes/<int:note_id>/parts", commit_half)
    for query in [f"rest={name}{more}" for name in PARTS for more in ("", "&by another")]:
        old = desk.tag()
        first = desk.post("/notes/1/parts", old, query_string=query)
        assert first.status_code >= 400, query
        assert desk.note().body == f"half of {ran}", query
        again = desk.post("/notes/1/parts", old, query_string=query)
        assert (again.status_code, again.headers["ETag"]) == (412, desk.tag()), query
        assert desk.note().body == f"half of {ran}", query
    assert len(ran) == 2 * len(PARTS)
    with desk.app.app_context():
        assert desk.db.session.query(Log).count() == 0


def test_what_another_has_written_since_is_left_as_it_is(desk: Desk) -> None:
    """Before the rest was refused."""

    def view(note: Note) -> None:
        note.body = "half"
        desk.db.session.commit()
        in_thread(lambda: left.append(desk.put("other", desk.tag()).headers["ETag"]))
        raise Stale

    left: list[str] = []
    desk.view("/notes/<int:note_id>/parts", view)
    old = desk.tag()
    assert desk.post("/notes/1/parts", old).get_json()["reason"] == "partial"
    assert [desk.tag()] == left
    assert desk.post("/notes/1/parts", old).status_code == 412


def test_of_a_batch_each_item_that_was_committed_is_not_taken_for_done(desk: Desk) -> None:
    def commit_each(notes: list[Note]) -> None:
        for note in notes:
            note.body = "half"
            desk.db.session.commit()

    desk.view(
        "/notes", commit_each, each=lambda: [(tag, {"note_id": 1 + n}) for n, tag in enumerate(request.json)]
    )
    seen = [desk.tag(f"/notes/{number}") for number in (1, 2)]
    with pytest.raises(RuntimeError, match="commits once"):
        desk.open("POST", "/notes", json=seen)
    again = desk.open("POST", "/notes", json=seen)
    assert (again.status_code, [item["note_id"] for item in again.get_json()["items"]]) == (412, [1])


def test_2_15_a_view_that_commits_twice_is_refused(desk: Desk) -> None:
    """Also if its target is only in the second: done once more, the first would be there twice."""

    def twice(note: Note) -> None:
        desk.db.session.add(Log())
        desk.db.session.commit()
        note.body = "whole"
        desk.db.session.commit()

    desk.view("/notes/<int:note_id>/twice", twice)
    with pytest.raises(RuntimeError, match="A view under replay= commits once"):
        desk.post("/notes/1/twice", desk.tag())
    assert desk.note().body == "first"


def test_2_15_a_view_that_was_seen_to_commit_twice_is_not_known_by_its_first_commit(desk: Desk) -> None:
    """Should it be cut off between the two: then nothing can move the version. One that commits once is known."""

    class CutOff(BaseException):
        """What ends a worker: no view and no handler of errors sees to it."""

    def cut_off(note: Note) -> None:
        note.body = request.get_data(as_text=True)
        desk.db.session.commit()
        if request.data == b"twice":
            note.body = "whole"
            desk.db.session.commit()
        raise CutOff

    desk.view("/notes/<int:note_id>/off", cut_off)

    def cut(body: str, error: type[BaseException]) -> int:
        old = desk.tag()
        with pytest.raises(error):
            desk.post("/notes/1/off", old, data=body)
        return int(desk.post("/notes/1/off", old, data=body).status_code)

    assert cut("once", CutOff) == 200
    assert cut("twice", RuntimeError) == 412
    assert cut("half", CutOff) == 412


def test_where_the_version_cannot_be_moved_the_log_says_so(
    tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody else holds the file."""
    file = tmp_path / "notes.db"
    desk = Desk(f"sqlite:///{file}", SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 0.1}})
    holding = sqlite3.connect(file, isolation_level=None)

    def view(note: Note) -> None:
        note.body = "half"
        desk.db.session.commit()
        holding.execute("BEGIN IMMEDIATE")
        raise Stale

    desk.view("/notes/<int:note_id>/parts", view)
    assert desk.post("/notes/1/parts", desk.tag()).get_json()["reason"] == "partial"
    assert "the version of that could not be moved" in caplog.text
    holding.close()
    close(desk)


def test_a_session_that_writes_two_databases_is_refused_before_it_commits_one(tmp_path: Path) -> None:
    """Each has a COMMIT of its own, in whatever order, also where something after the view sends it."""

    class There(DeclarativeBase):
        metadata = MetaData(info={"bind_key": "there"})

    class Entry(There):
        __tablename__ = "entry"

        id: Mapped[int] = mapped_column(primary_key=True)

    there = {"SQLALCHEMY_BINDS": {"there": f"sqlite:///{tmp_path / 'there.db'}"}}
    desk = Desk(f"sqlite:///{tmp_path / 'notes.db'}", **there)
    with desk.app.app_context():
        Entry.metadata.create_all(desk.db.engines["there"])

    def both(note: Note) -> str:
        for here in (False, True) if "reversed" in request.args else (True, False):
            if here:
                note.body = "half"
            else:
                desk.db.session.add(Entry())
            desk.db.session.flush()
        if "later" not in request.args:
            desk.db.session.commit()
        return ""

    @desk.app.after_request
    def commit_later(response: Response) -> Response:
        if "later" in request.args:
            desk.db.session.commit()
        return response

    desk.view("/notes/<int:note_id>/both", both)
    for query in ("", "?reversed", "?later", "?later&reversed"):
        with pytest.raises(RuntimeError, match="of one database"):
            desk.post(f"/notes/1/both{query}", desk.tag())
    with desk.app.app_context():
        assert desk.db.session.query(Entry).count() == 0
        assert desk.db.session.get_one(Note, 1).body == "first"
        Entry.metadata.drop_all(desk.db.engines["there"])
        desk.db.engines["there"].dispose()
    close(desk)


def test_a_commit_that_the_database_has_refused_is_none(tmp_path: Path) -> None:
    """A constraint that is looked at last; the view does without what has broken it."""

    class Checked(DeclarativeBase):
        pass

    class Entry(Checked):
        __tablename__ = "entry"

        id: Mapped[int] = mapped_column(primary_key=True)
        of: Mapped[int] = mapped_column(ForeignKey("entry.id", deferrable=True, initially="DEFERRED"))

    def check_foreign_keys(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    desk = Desk(f"sqlite:///{tmp_path / 'notes.db'}")
    with desk.app.app_context():
        event.listen(desk.db.engine, "connect", check_foreign_keys)
        desk.db.engine.dispose()
        Checked.metadata.create_all(desk.db.engine)

    def tries(note: Note) -> str:
        note.body = "tried"
        desk.db.session.add(Entry(of=99))
        with pytest.raises(IntegrityError):
            desk.db.session.commit()
        desk.db.session.rollback()
        note.body = "done"
        desk.db.session.commit()
        return ""

    desk.view("/notes/<int:note_id>/tries", tries)
    old = desk.tag()
    assert [desk.post("/notes/1/tries", old).status_code for _ in range(2)] == [200, 200]
    assert desk.note().body == "done"
    close(desk)


def test_a_commit_that_writes_nothing_and_one_of_another_session_are_none(desk: Desk) -> None:
    def commit_often(note: Note) -> tuple[str, int]:
        desk.db.session.commit()
        if desk.db.engine.dialect.name != "sqlite":  # there the other session would wait for the file
            with Session(desk.db.engine) as other:
                other.add(Log())
                other.commit()
        note.body = "done"
        desk.db.session.commit()
        desk.db.session.get_one(Note, 2)
        desk.db.session.commit()
        return "", 204

    desk.view("/notes/<int:note_id>/often", commit_often)
    old = desk.tag()
    assert desk.post("/notes/1/often", old).status_code == 204
    assert desk.post("/notes/1/often", old).status_code == 200


def test_batches_are_known_item_by_item(desk: Desk) -> None:
    def sent() -> list[Any]:
        return [(item["etag"], {"note_id": item["id"]}) for item in request.get_json()]

    def replace_each(notes: list[Note]) -> dict[str, Any]:
        for note, item in zip(notes, request.get_json(), strict=True):
            note.body = item["body"]
        desk.db.session.commit()
        return {"done": len(notes)}

    desk.app.post("/notes")(require_if_match(desk.find_note, each=sent, replay=True)(replace_each))
    items = [{"id": key, "body": "both", "etag": desk.tag(f"/notes/{key}")} for key in (1, 2)]
    assert desk.open("POST", "/notes", json=items).get_json() == {"done": 2}
    again = desk.open("POST", "/notes", json=items)
    tags = [desk.tag(f"/notes/{key}") for key in (1, 2)]
    assert again.status_code == 200
    assert again.get_json()["items"] == [
        {"note_id": 1, "index": 0, "etag": tags[0]},
        {"note_id": 2, "index": 1, "etag": tags[1]},
    ]
    # One that the request does not change keeps its tag, and is no reason for a refusal.
    half = [{"id": 1, "body": "one", "etag": tags[0]}, {"id": 2, "body": "both", "etag": tags[1]}]
    assert desk.open("POST", "/notes", json=half).status_code == 200
    assert [item["etag"] for item in desk.open("POST", "/notes", json=half).get_json()["items"]][1] == tags[1]
    assert desk.put("other", desk.tag()).status_code == 200
    late = desk.open("POST", "/notes", json=half)
    assert (late.status_code, [item["note_id"] for item in late.get_json()["items"]]) == (412, [1])
    # One that names no state may be another's by now, and nothing tells.
    open_one = [{"id": 1, "body": "star", "etag": "*"}, {"id": 2, "body": "star", "etag": desk.tag("/notes/2")}]
    assert desk.open("POST", "/notes", json=open_one).status_code == 200
    assert desk.open("POST", "/notes", json=open_one).status_code == 412


def test_a_caller_of_no_name_is_not_one_that_is_called_none(sqlite: Desk) -> None:
    old = sqlite.tag()
    assert sqlite.put("mine", old).status_code == 200
    assert sqlite.put("mine", old, user="None").status_code == 412
    assert sqlite.put("mine", old).status_code == 200


# What the request is.


def test_the_body_is_read_once_and_left_for_the_view(sqlite: Desk) -> None:
    def take(note: Note) -> tuple[str, int]:
        note.body = request.stream.read().decode() if "stream" in request.args else request.form["body"]
        sqlite.db.session.commit()
        return "", 204

    sqlite.view("/notes/<int:note_id>/take", take)
    for path, data in (("/notes/1/take", {"body": "form"}), ("/notes/1/take?stream", "stream")):
        old = sqlite.tag()
        assert sqlite.post(path, old, data=data).status_code == 204
        assert sqlite.post(path, old, data=data).get_json()["body"] == (data if isinstance(data, str) else "form")
        assert sqlite.post(path, old, data="body=other").status_code == 412


def test_the_view_reads_of_the_body_what_it_reads_without_replay(sqlite: Desk) -> None:
    """Whatever was read above, whatever the application would refuse, and by whatever the view reads it."""
    sqlite.app.config["MAX_CONTENT_LENGTH"] = 9

    @sqlite.app.before_request
    def read_above() -> None:
        taken = int(request.args.get("raw", "0")), int(request.args.get("wrapped", "0"))
        request.environ["wsgi.input"].read(taken[0])
        if taken[1]:
            request.stream.read(taken[1])
        if "kept" in request.args:
            request.get_data()

    def take(note: Note) -> tuple[str, int]:
        with suppress(AttributeError):  # before Flask 3.1, a view cannot set it
            request.max_content_length = 99
        if "by" not in request.args:
            read = b""
        elif request.args["by"] == "stream":
            read = request.stream.read()
        elif request.args["by"] == "data":
            read = request.get_data()
        else:
            read = request.environ["wsgi.input"].read(int(request.headers["Content-Length"]))
        note.body, note.writes = read.decode(), note.writes + 1
        sqlite.db.session.commit()
        return note.body, 200

    def write(path: str, query: str) -> list[tuple[int, str]]:
        old = sqlite.tag()
        return [
            (answer.status_code, answer.text if answer.status_code == 200 else "")
            for _ in range(2)
            for answer in [
                sqlite.post(path, old, data=b"1234567890" if "long" in query else b"123456", query_string=query)
            ]
        ]

    sqlite.view("/notes/<int:note_id>/take", take)
    plain = require_if_match(sqlite.find_note)(take)
    sqlite.app.post("/notes/<int:note_id>/plain", endpoint="plain")(plain)
    for by in ("", "&by=stream", "&by=data", "&by=input"):
        for above in ("", "kept", "raw=6", "raw=2", "wrapped=2", "wrapped=6", "long"):
            with_replay, without = (write(f"/notes/1/{kind}", above + by) for kind in ("take", "plain"))
            assert with_replay[0] == without[0], (above, by)
            is_whole = above in ("", "kept") and with_replay[0][0] == 200
            assert with_replay[1][0] == (200 if is_whole else without[1][0]), (above, by)


def test_a_body_that_is_too_long_streamed_or_gone_is_not_known(
    sqlite: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def take(note: Note) -> tuple[str, int]:
        note.body, note.writes = str(len(request.get_data())), note.writes + 1
        sqlite.db.session.commit()
        return "", 204

    sqlite.view("/notes/<int:note_id>/take", take)

    @sqlite.app.before_request
    def consume() -> None:
        if "consume" in request.args:
            request.stream.read()

    streamed = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    for more in (
        {"data": b"x" * (MAX_BODY + 1)},
        {"data": b"x", "query_string": "consume"},
        {"environ_overrides": streamed},
    ):
        old = sqlite.tag()
        assert sqlite.post("/notes/1/take", old, **more).status_code == 204
        assert sqlite.post("/notes/1/take", old, **more).status_code == 412
    assert "it is not known, should it come again" in caplog.text
    old = sqlite.tag()
    assert sqlite.post("/notes/1/take", old, data=b"x" * MAX_BODY).status_code == 204
    assert sqlite.post("/notes/1/take", old, data=b"x" * MAX_BODY).status_code == 200


@pytest.mark.parametrize(
    "other",
    [
        {"query_string": "b=1"},
        {"base_url": "http://de.example.test"},
        {"content_type": "text/plain"},
        {"headers": {"Content-Encoding": "gzip"}},
        {"data": b'{"a": 2}'},
    ],
)
def test_the_whole_request_is_compared(sqlite: Desk, other: dict[str, Any]) -> None:
    def take(note: Note) -> tuple[str, int]:
        note.writes += 1
        sqlite.db.session.commit()
        return "", 204

    sqlite.view("/notes/<int:note_id>/take", take)
    old = sqlite.tag()
    sent = {"data": b'{"a": 1}', "content_type": "application/json"}
    assert sqlite.post("/notes/1/take", old, **sent).status_code == 204
    changed = {**sent, **other, "headers": {"If-Match": old, **other.get("headers", {})}}
    assert sqlite.open("POST", "/notes/1/take", **changed).status_code == 412
    assert sqlite.post("/notes/1/take", old, **sent).status_code == 200


# How it is answered.


def test_without_a_view_to_read_by_it_is_204(sqlite: Desk) -> None:
    @resource
    def find_hidden(note_id: int) -> Note | None:
        return sqlite.db.session.get(Note, note_id)

    @sqlite.app.put("/hidden/<int:note_id>")
    @require_if_match(find_hidden, replay=True)
    def hidden(note: Note) -> Response:
        note.writes += 1
        sqlite.db.session.commit()
        return Response(status=204)

    headers = {"If-Match": sqlite.tag()}
    first = sqlite.open("PUT", "/hidden/1", headers=headers)
    again = sqlite.open("PUT", "/hidden/1", headers=headers)
    assert (first.status_code, again.status_code) == (204, 204)
    assert again.headers["ETag"] == first.headers["ETag"] == sqlite.tag()
    assert again.headers["Content-Location"] == "/hidden/1"


@pytest.mark.parametrize("taken", [True, False], ids=["taken out", "left there"])
@pytest.mark.parametrize("each", [True, False], ids=["each request", "once needed"])
def test_what_hooks_keep_in_g_is_closed_once_each_and_used_before(sqlite: Desk, each: bool, taken: bool) -> None:
    """Flask has one ``g`` for the request and the one within it that reads."""
    opened, closed, used = [], [], []

    @sqlite.app.before_request
    def open_one() -> None:
        if each or "own" not in g:
            g.own = object()
            opened.append(g.own)

    @sqlite.app.after_request
    def use(response: Response) -> Response:
        used.append(g.own if each else None)
        return response

    @sqlite.app.teardown_request
    def close(_: BaseException | None) -> None:
        own = g.pop("own", None) if taken or not each else g.own
        closed.extend([] if own is None else [own])

    old = sqlite.tag()
    assert sqlite.put("second", old).status_code == 200
    del opened[:], closed[:], used[:]
    assert sqlite.put("second", old).status_code == 200
    assert len(opened) == len(closed) == (2 if each else 1)
    assert set(opened) == set(closed)
    assert not each or used == [opened[0]]


def test_where_the_end_of_the_read_fails_it_is_204(sqlite: Desk, caplog: pytest.LogCaptureFixture) -> None:
    @sqlite.app.teardown_request
    def fail(_: BaseException | None) -> None:
        if request.method == "GET" and "Fails" in request.headers:
            raise LookupError("at the end")

    headers = {"If-Match": sqlite.tag(), "Fails": "1"}
    answers = [sqlite.open("PUT", json={"body": "second"}, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 204]
    assert {answer.headers["ETag"] for answer in answers} == {sqlite.tag()}
    assert "at the end" in caplog.text


@pytest.mark.parametrize("rule", ["/pages/<int:page>/notes/<int:note_id>", "/streamed/<int:note_id>"])
def test_a_read_that_needs_more_or_is_streamed_is_none(sqlite: Desk, rule: str) -> None:
    @resource
    def find_other(note_id: int, page: int = 0) -> Note | None:
        return sqlite.db.session.get(Note, note_id)

    @sqlite.app.get(rule)
    @etag_resource(find_other)
    def read_other(note: Note) -> Response:
        return Response(iter(["streamed"]))

    @sqlite.app.put("/others/<int:note_id>")
    @require_if_match(find_other, replay=True)
    def write_other(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    headers = {"If-Match": sqlite.tag()}
    assert sqlite.open("PUT", "/others/1", headers=headers).status_code == 200
    again = sqlite.open("PUT", "/others/1", headers=headers)
    assert (again.status_code, again.headers["ETag"]) == (204, sqlite.tag())


@pytest.mark.parametrize("read_at", ["/named/<path:name>", "/shown/<path:name>"])
def test_a_url_that_is_not_ascii_is_read_all_the_same(sqlite: Desk, read_at: str) -> None:
    @resource
    def find_named(name: str) -> Note | None:
        return sqlite.db.session.get(Note, 1) if name == "ä b/%c" else None

    @sqlite.app.get(read_at)
    @etag_resource(find_named)
    def read_named(note: Note) -> dict[str, Any]:
        return {"path": request.path, "writes": note.writes, "query": request.args}

    @sqlite.app.put("/named/<path:name>")
    @require_if_match(find_named, replay=True)
    def write_named(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    sent: dict[str, Any] = {"headers": {"If-Match": sqlite.tag()}, "query_string": {"a": "1"}}
    path = "/named/ä b/%25c"
    assert sqlite.open("PUT", path, **sent).status_code == 200
    again = sqlite.open("PUT", path, **sent)
    is_same = read_at.startswith("/named")
    at = "/named" if is_same else "/shown"
    assert again.get_json() == {"path": f"{at}/ä b/%c", "writes": 1, "query": {"a": "1"} if is_same else {}}
    assert again.headers["Content-Location"] == f"{at}/%C3%A4%20b/%25c" + ("?a=1" if is_same else "")


def test_who_may_write_and_not_read_is_204(sqlite: Desk) -> None:
    old = sqlite.tag()
    assert sqlite.put("second", old, user="blind").status_code == 200
    again = sqlite.put("second", old, user="blind")
    assert (again.status_code, again.data, again.headers["ETag"]) == (204, b"", sqlite.tag())


def test_a_class_of_views_is_read_by_its_own_get(sqlite: Desk) -> None:
    class Views(MethodView):
        def get(self, note: Note) -> str:
            return f"{request.method} {note.body}"

        def put(self, note: Note) -> str:
            note.body = request.get_data(as_text=True)
            sqlite.db.session.commit()
            return ""

    protected = require_if_match(sqlite.find_note, replay=True)(Views)
    sqlite.app.add_url_rule("/class/<int:note_id>", view_func=protected.as_view("class"))
    old = sqlite.tag()
    for expected in ("", "GET second"):
        answer = sqlite.open("PUT", "/class/1", data="second", headers={"If-Match": old})
        assert (answer.status_code, answer.text) == (200, expected)


def test_a_class_that_makes_the_responses_itself_makes_that_of_the_read(sqlite: Desk) -> None:
    class Views(MethodView):
        def dispatch_request(self, **kwargs: Any) -> Any:
            return jsonify(super().dispatch_request(**kwargs))

        def get(self, note: Note) -> str:
            return note.body

        def put(self, note: Note) -> str:
            note.body = request.get_data(as_text=True)
            sqlite.db.session.commit()
            return "saved"

    protected = require_if_match(sqlite.find_note, replay=True)(Views)
    sqlite.app.add_url_rule("/class/<int:note_id>", view_func=protected.as_view("class"))
    old = sqlite.tag()
    for expected in ("saved", "second"):
        answer = sqlite.open("PUT", "/class/1", data="second", headers={"If-Match": old})
        assert (answer.status_code, answer.json, answer.headers["ETag"]) == (200, expected, sqlite.tag())


def test_2_15_what_another_writes_before_the_answer_is_read_is_not_shown(sqlite: Desk) -> None:
    """Else the client would take the tag of the other's state for that of its own."""

    @sqlite.app.before_request
    def overtake() -> None:
        if request.method == "GET" and "Overtake" in request.headers:
            sqlite.db.session.rollback()
            sqlite.db.session.execute(update(Note).where(Note.id == 1).values(version="other", body="other"))
            sqlite.db.session.commit()

    old = sqlite.tag()
    first = sqlite.put("second", old)
    again = sqlite.open("PUT", json={"body": "second"}, headers={"If-Match": old, "Overtake": "1"})
    assert (again.status_code, again.data, again.headers["ETag"]) == (204, b"", first.headers["ETag"])
    assert first.headers["ETag"] != sqlite.tag()
    assert sqlite.put("second", old).status_code == 412


def test_a_loader_that_goes_by_the_query_or_by_the_body(sqlite: Desk) -> None:
    """The query is part of the URL that is named. What the body names, no GET can show."""

    @resource
    def find_by_query() -> Note | None:
        return sqlite.db.session.get(Note, request.args["id"])

    @resource
    def find_by_body() -> Note | None:
        return sqlite.db.session.get(Note, (request.get_json(silent=True) or {"id": 1})["id"])

    def write(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    for name, found in (("query", find_by_query), ("body", find_by_body)):
        read = etag_resource(found)(lambda note: {"id": note.id, "writes": note.writes})
        sqlite.app.get(f"/by-{name}", endpoint=f"read_by_{name}")(read)
        for rule in (f"/by-{name}", f"/by-{name}/write"):
            protected = require_if_match(found, replay=True)(write)
            sqlite.app.put(rule, endpoint=f"write {rule}")(protected)

    paths = "/by-query?id=2&x=%C3%A4", "/by-query/write?id=2&x=%C3%A4", "/by-query?id=2&x=ä"
    for number, path in enumerate(paths, 1):
        headers = {"If-Match": sqlite.tag("/notes/2")}
        assert sqlite.open("PUT", path, headers=headers).status_code == 200
        again = sqlite.open("PUT", path, headers=headers)
        assert (again.status_code, again.json) == (200, {"id": 2, "writes": number})
        assert again.headers["Content-Location"] == "/by-query?id=2&x=%C3%A4"
        assert again.headers["ETag"] == sqlite.tag(again.headers["Content-Location"]) == sqlite.tag("/notes/2")

    headers = {"If-Match": sqlite.tag("/notes/2")}
    assert sqlite.open("PUT", "/by-body", json={"id": 2}, headers=headers).status_code == 200
    again = sqlite.open("PUT", "/by-body", json={"id": 2}, headers=headers)
    assert (again.status_code, again.headers["ETag"]) == (204, sqlite.tag("/notes/2"))


def test_a_read_that_fails_is_none(sqlite: Desk, caplog: pytest.LogCaptureFixture) -> None:
    @resource
    def find_broken(note_id: int) -> Note | None:
        return sqlite.db.session.get(Note, note_id)

    @sqlite.app.get("/broken/<int:note_id>")
    @etag_resource(find_broken)
    def read_broken(note: Note) -> str:
        raise LookupError(note.body)

    @sqlite.app.put("/broken/<int:note_id>")
    @require_if_match(find_broken, replay=True)
    def write_broken(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    headers = {"If-Match": sqlite.tag()}
    assert sqlite.open("PUT", "/broken/1", headers=headers).status_code == 200
    again = sqlite.open("PUT", "/broken/1", headers=headers)
    assert (again.status_code, again.headers["ETag"]) == (204, sqlite.tag())
    assert again.headers["Content-Location"] == "/broken/1"
    assert "read_broken has failed to read" in caplog.text
    assert "LookupError: first" in caplog.text


def test_it_is_read_by_the_rule_that_gives_the_loader_the_same(sqlite: Desk) -> None:
    """The URL itself is another resource's for GET; another rule leaves a variable to what loads by default."""

    @resource
    def find_named(name: str = "other", page: int = 1) -> Note | None:
        return sqlite.db.session.get(Note, {"mine": page, "other": 2}.get(name, 0))

    def read_named(note: Note) -> dict[str, Any]:
        return {"path": request.path, "language": g.language}

    def write_named(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    @sqlite.app.url_value_preprocessor
    def take_language(_: str | None, arguments: dict[str, Any] | None) -> None:
        g.language = (arguments or {}).pop("language", None)

    @sqlite.app.url_defaults
    def give_language(endpoint: str, arguments: dict[str, Any]) -> None:
        if sqlite.app.url_map.is_endpoint_expecting(endpoint, "language"):
            arguments.setdefault("language", g.language)

    reading, writing = etag_resource(find_named), require_if_match(find_named, replay=True)
    sqlite.app.get("/<language>/named", endpoint="default")(reading(read_named))
    sqlite.app.get("/<language>/named/<path:name>", defaults={"page": 1})(reading(read_named))
    sqlite.app.put("/<language>/named/<path:name>/write")(writing(write_named))

    headers = {"If-Match": sqlite.tag()}
    assert sqlite.open("PUT", "/de/named/mine/write", headers=headers).status_code == 200
    again = sqlite.open("PUT", "/de/named/mine/write", headers=headers)
    assert (again.status_code, again.json) == (200, {"path": "/de/named/mine", "language": "de"})
    assert again.headers["Content-Location"] == "/de/named/mine"
    assert again.headers["ETag"] == sqlite.tag()


def test_what_was_renamed_is_not_known_again(sqlite: Desk) -> None:
    """Its URL names nothing any more; or it does, and the key is another one, of which the version was made."""

    @resource
    def find_by_body(body: str) -> Note | None:
        return sqlite.db.session.query(Note).filter_by(body=body).one_or_none()

    @sqlite.app.post("/named/<body>")
    @require_if_match(find_by_body, replay=True)
    def rename(note: Note) -> str:
        setattr(note, request.args["what"], request.args["to"])
        sqlite.db.session.commit()
        return ""

    sqlite.put("mine", sqlite.tag())
    headers = {"If-Match": sqlite.tag()}
    for query, status in (("what=id&to=3", 412), ("what=body&to=yours", 404)):
        assert sqlite.open("POST", "/named/mine", query_string=query, headers=headers).status_code == 200
        assert sqlite.open("POST", "/named/mine", query_string=query, headers=headers).status_code == status
        headers = {"If-Match": sqlite.tag("/notes/3")}


def test_the_signal_says_that_it_was_replayed(sqlite: Desk) -> None:
    told: list[Decision] = []

    def note_decision(_: Flask, decision: Decision) -> None:
        told.append(decision)

    old = sqlite.tag()
    with decided.connected_to(note_decision, sqlite.app):
        sqlite.put("second", old)
        sqlite.put("second", old)
    assert [each.outcome for each in told] == ["accepted", "replayed"]
    assert {each.etag for each in told} == {sqlite.tag()}


def test_a_request_that_was_done_under_a_former_key_is_known(tmp_path: Any) -> None:
    """The key was changed between the write, whose answer was lost, and its coming again."""
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    before = Desk(url)
    old = before.tag()
    assert before.put("second", old, user="ann").status_code == 200
    version = before.note().version

    def after(**config: Any) -> Desk:
        return Desk(url, **{"ETAG_KEY": "a new secret", **config})

    known = after(ETAG_KEY_FALLBACKS=[None, "one of long ago", "a secret"])
    again = known.put("second", old, user="ann")
    assert (again.status_code, again.json, known.ran) == (200, {"body": "second", "writes": 1}, 0)
    assert again.headers["ETag"] == known.tag()
    assert known.note().version == version
    assert known.put("second", old, user="bob").status_code == 412
    assert known.put("another", old, user="ann").status_code == 412
    assert after().put("second", old, user="ann").status_code == 412

    # What has begun under the former key, and is done under the new one, is known by the new one.
    assert known.put("third", before.tag(), user="ann").status_code == 200
    for desk in (before, known):
        assert desk.put("second", old, user="ann").status_code == 412
    close(before)


def test_batches_are_known_under_a_former_key_too(tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path / 'notes.db'}"

    def opened(**config: Any) -> Desk:
        made = Desk(url, **config)

        def replace_all(notes: list[Note]) -> str:
            for note in notes:
                note.writes += 1
            made.db.session.commit()
            return ""

        made.view(
            "/notes", replace_all, each=lambda: [(tag, {"note_id": 1 + n}) for n, tag in enumerate(request.json)]
        )
        return made

    before, after = opened(), opened(ETAG_KEY="a new secret", ETAG_KEY_FALLBACKS=["a secret"])
    seen = [before.tag(f"/notes/{number}") for number in (1, 2)]
    assert before.open("POST", "/notes", json=seen).status_code == 200
    again = after.open("POST", "/notes", json=seen)
    now = [{"index": n, "note_id": n + 1, "etag": after.tag(f"/notes/{n + 1}")} for n in range(2)]
    assert (again.status_code, again.json) == (200, {"items": now})
    assert after.note().writes == 1
    close(before)


def test_of_a_row_that_stands_for_nothing_no_write_is_known_again(desk: Desk) -> None:
    """Soft-deleted: the row has the version of the request that did it, but there is nothing to show."""

    @resource(absent=lambda note: note.body == "deleted")
    def find_live(note_id: int) -> Note | None:
        return desk.db.session.get(Note, note_id)

    @desk.app.put("/live/<int:note_id>")
    @require_if_match(find_live, create=True, replay=True)
    def put_live(note: Note | None, note_id: int) -> Any:
        row = note or find_live.absent_row() or Note(id=note_id)
        row.body, row.writes = request.get_json()["body"], (row.writes or 0) + 1
        desk.db.session.add(row)
        desk.db.session.commit()
        return {"body": row.body}, 200 if note else 201

    @desk.app.delete("/live/<int:note_id>")
    @require_if_match(find_live, replay=True)
    def delete_live(note: Note) -> tuple[str, int]:
        note.body = "deleted"
        desk.db.session.commit()
        return "", 204

    def put(body: str, **headers: str) -> Any:
        return desk.open("PUT", "/live/1", json={"body": body}, headers=headers)

    seen = {"If-Match": desk.tag()}
    changed = [put("second", **seen) for _ in range(2)]  # while it is there, it is as any other
    assert [answer.status_code for answer in changed] == [200, 204]
    assert {answer.headers["ETag"] for answer in changed} == {desk.tag()}
    seen = {"If-Match": desk.tag()}
    deleted = [desk.open("DELETE", "/live/1", headers=seen) for _ in range(2)]
    assert [answer.status_code for answer in deleted] == [204, 404]
    refused = put("third", **seen)
    assert (refused.status_code, refused.json["reason"]) == (412, "absent")
    revived = [put("alive", **{"If-None-Match": "*"}) for _ in range(2)]  # which is a creation
    assert [answer.status_code for answer in revived] == [201, 412]
    assert revived[1].json["reason"] == "exists"
    gone = [put("deleted", **{"If-Match": desk.tag()}) for _ in range(2)]
    assert [answer.status_code for answer in gone] == [200, 412]
    assert "ETag" not in gone[0].headers
    assert desk.note().writes == 3


# What it needs.


def written(_: object) -> str:
    return ""


def test_it_needs_a_key(empty_database: Any) -> None:
    desk = Desk(empty_database("sqlite"))
    desk.app.config["ETAG_KEY"] = None
    app = Flask("keyless")
    app.testing = True
    ETag(app)
    app.put("/<int:note_id>")(require_if_match(desk.find_note, replay=True)(written))
    with pytest.raises(RuntimeError, match="replay= needs ETAG_KEY"):
        app.test_client().put("/1", headers={"If-Match": '"x"'})
    close(desk)


def test_it_needs_a_model_with_versioned(sqlite: Desk) -> None:
    @resource(etag=None)
    def find_plain(note_id: int) -> Plain | None:
        return sqlite.db.session.get(Plain, note_id)

    sqlite.app.put("/plain/<int:note_id>")(require_if_match(find_plain, replay=True)(written))
    with pytest.raises(TypeError, match="Plain"):
        sqlite.open("PUT", "/plain/1", headers={"If-Match": '"x"'})


@pytest.mark.parametrize("options", [{"etag": content_hash(dict)}, {"lock": nullcontext}, {"swaps": True}])
def test_it_needs_the_tag_of_the_version(options: dict[str, Any]) -> None:
    @resource(**options)
    def found(name: str) -> None:
        return None

    with pytest.raises(TypeError, match="has etag=, lock= or swaps="):
        require_if_match(found, replay=True)


def test_it_takes_true_or_a_function(sqlite: Desk) -> None:
    with pytest.raises(TypeError, match="replay= takes True, or a function"):
        require_if_match(sqlite.find_note, replay="yes")  # type: ignore[call-overload]


def test_what_is_written_without_replay_has_a_random_version(
    sqlite: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    def write(note: Note) -> str:
        note.writes += 1
        sqlite.db.session.commit()
        return ""

    sqlite.view("/notes/<int:note_id>/write", write, replay=False)
    old = sqlite.tag()
    assert sqlite.post("/notes/1/write", old).status_code == 200
    assert sqlite.post("/notes/1/write", old).status_code == 412
    assert caplog.messages == []
