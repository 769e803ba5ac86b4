"""What hardly ever happens to a write, and has to be right all the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from flask import Flask, abort
from sqlalchemy import event, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from flask_etag import ETag, Resource, content_hash, etag_resource, require_if_match, resource, version_column
from tests.world.application import World
from tests.world.models import Comment, Note, Paper, Remark
from tests.world.racing import in_thread


def test_a_new_object_has_no_content_yet(world: World) -> None:
    with world.app.test_request_context(), pytest.raises(ValueError, match="flush the session"):
        world.find_paper.etag_of(Paper(name="new"))


def test_what_a_request_did_before_its_view_is_kept_with_the_lock(world: World) -> None:
    def write(paper: Paper) -> str:
        paper.body = "second"
        world.db.session.commit()
        return "done"

    @world.app.before_request
    def leave_uncommitted() -> None:
        world.db.session.add(Comment(body="before"))
        world.db.session.flush()

    world.put_paper_view(write)
    etag = world.paper_etag()
    for _ in range(2):  # before, and after, it is known what is loaded
        with Session(world.engine) as session:
            session.execute(text("DELETE FROM comment"))
            session.commit()
        answer = world.put("", "/other/plan", if_match=etag)
        assert answer.status_code == 200
        etag = answer.headers["ETag"]
    with Session(world.engine) as session:
        assert session.scalars(select(Comment.body)).all() == ["before"]


def test_a_loader_that_reads_another_model_that_aborts_or_that_fails(world: World) -> None:
    fails = False

    @resource(etag=content_hash(lambda paper: paper.body))
    def find(name: str) -> Paper | None:
        if fails:
            raise ZeroDivisionError
        world.db.session.scalars(select(Comment)).all()
        if name == "secret":
            abort(403)
        return world.db.session.get(Paper, name)

    def write(paper: Paper) -> str:
        paper.body += "x"
        world.db.session.commit()
        return paper.body

    world.put_paper_view(write, find)
    for _ in range(2):
        with world.app.test_request_context():
            etag = str(find.etag_of(find("plan")))
        assert world.put("", "/other/plan", if_match=etag).status_code == 200
    assert world.put("", "/other/secret", if_match=etag).status_code == 403
    assert world.put("", "/other/nowhere", if_match=etag).status_code == 404
    fails = True
    with pytest.raises(ZeroDivisionError):
        world.put("", "/other/plan", if_match=etag)


def test_2_6_a_row_that_a_statement_of_the_view_s_own_deletes_has_no_tag(world: World) -> None:
    def delete(paper: Paper) -> str:
        world.db.session.add(Comment(body="gone"))
        world.db.session.execute(text("DELETE FROM paper"))
        world.db.session.commit()
        return "done"

    world.put_paper_view(delete)
    answer = world.put("", "/other/plan", if_match=world.paper_etag())
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert world.get_paper().status_code == 404


def test_2_3_a_creation_by_a_statement_of_the_view_s_own(world: World) -> None:
    @world.app.put("/core/<name>")
    @require_if_match(world.find_paper, create=True)
    def create(paper: Paper | None, name: str) -> tuple[str, int]:
        world.hold("before commit")
        world.db.session.execute(insert(Paper).values(name=name, body="new", price=0, revision=1))
        world.db.session.commit()
        return "", 201

    world.app.testing = False
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/core/new", if_none_match="*", hold="before commit")
    )
    assert world.put("", "/core/new", if_none_match="*").status_code == 201
    hold.released.set()
    assert slow.answer().status_code == 412


def test_2_3_an_async_view_that_creates_what_an_async_loader_finds(world: World) -> None:
    @resource
    async def find_later(note_id: int) -> Note | None:
        return world.db.session.get(Note, note_id)

    @world.app.put("/later/<int:note_id>")
    @require_if_match(find_later, create=True)
    async def create(note: Note | None, note_id: int) -> tuple[str, int]:
        with Session(world.engine) as session:
            session.add(Note(id=note_id, body="new"))
            session.commit()
        return "", 201

    assert world.put("", "/later/7", if_none_match="*").status_code == 201
    assert world.put("", "/later/7", if_none_match="*").status_code == 412


def revise(world: World) -> None:
    with Session(world.engine) as session:
        paper = session.get_one(Paper, "new")
        paper.body, paper.revision = "theirs", 2
        session.commit()


def etag_of_new(world: World) -> str:
    with world.app.app_context():
        return str(world.find_revision.etag_of(world.db.session.get_one(Paper, "new")))


@pytest.mark.parametrize("has_rival", [False, True])
def test_2_6_an_async_view_that_creates_what_counts_by_hand(world: World, has_rival: bool) -> None:
    """Its loader is asked before the commit, in a thread of its own: the tag is of what it has left."""

    @resource(etag=version_column("revision"))
    async def find_later(name: str) -> Paper | None:
        return world.db.session.get(Paper, name)

    @world.app.put("/later/<name>")
    @require_if_match(find_later, create=True)
    async def create(paper: Paper | None, name: str) -> tuple[str, int]:
        world.db.session.add(Paper(name=name, body="mine", price=5))
        world.db.session.commit()
        if has_rival:
            in_thread(lambda: revise(world))
        return "", 201

    answer = world.put("", "/later/new", if_none_match="*")
    etag = etag_of_new(world)
    assert (answer.status_code, "ETag" in answer.headers) == (201, True)
    assert (answer.headers["ETag"] == etag) is not has_rival


@pytest.mark.parametrize("has_rival", [False, True])
def test_2_6_what_a_loader_finds_only_once_it_is_committed_has_no_tag_of_another_s(
    world: World, has_rival: bool
) -> None:
    """Its tag is taken after the commit, and of what the request has left alone: others may have been there."""
    published: set[str] = set()

    @resource(etag=version_column("revision"))
    def find_published(name: str) -> Paper | None:
        return world.db.session.get(Paper, name) if name in published else None

    @world.app.put("/published/<name>")
    @require_if_match(find_published, create=True)
    def publish(paper: Paper | None, name: str) -> tuple[str, int]:
        world.db.session.add(Paper(name=name, body="mine", price=5))
        world.db.session.commit()
        published.add(name)
        if has_rival:
            in_thread(lambda: revise(world))
        return "", 201

    answer = world.put("", "/published/new", if_none_match="*")
    etag = etag_of_new(world)
    assert (answer.status_code, answer.headers.get("ETag")) == (201, None if has_rival else etag)


@pytest.mark.parametrize("failures", [1, 9])
def test_2_5_what_is_refused_while_it_is_judged_again_is_no_server_error(world: World, failures: int) -> None:
    """A loader reads something that another request deletes under its eyes, once or every time."""
    loads = 0

    @resource
    def find_unlucky(note_id: int) -> Note | None:
        nonlocal loads
        loads += 1
        session = world.db.session
        if 1 < loads <= 1 + failures:
            comment = session.get_one(Comment, loads)
            session.commit()
            in_thread(lambda: delete(loads))
            assert comment.body  # raises ObjectDeletedError
        return session.get(Note, note_id)

    def delete(number: int) -> None:
        with Session(world.engine) as session:
            session.delete(session.get_one(Comment, number))
            session.commit()

    def write(note: Note) -> str:
        world.hold("before commit")
        note.body = "lost"
        world.db.session.commit()
        return "done"

    with Session(world.engine) as session:
        session.add_all(Comment(id=number, body=str(number)) for number in range(2, 12))
        session.commit()
    world.find_note = find_unlucky
    world.put_view(write)
    etag = world.etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    assert world.put("fast", if_match=etag).status_code == 200
    hold.released.set()
    assert slow.answer().status_code in ({409, 412} if failures == 1 else {409})
    assert world.body() == "fast"


def test_of_many_objects_of_a_view_the_one_that_the_url_names_has_its_tag(world: World) -> None:
    @world.app.put("/made/<int:note_id>")
    @require_if_match(world.find_note, create=True)
    def create(note: Note | None, note_id: int) -> tuple[str, int]:
        with Session(world.engine) as session:
            session.add(Comment(body="elsewhere"))
            session.commit()
        ours = world.db.session
        ours.get_one(Note, 1).body = "changed"
        ours.flush()
        ours.add(Comment(body="beside"))
        ours.flush()
        world.db.session.add_all([Note(id=note_id + 1, body="other"), Note(id=note_id, body="new")])
        world.db.session.commit()
        return "", 201

    answer = world.put("", "/made/5", if_none_match="*")
    assert answer.status_code == 201
    assert answer.headers["ETag"] == world.app.test_client().get("/notes/5").headers["ETag"]


def test_what_is_deleted_beside_the_target_is_no_affair_of_its_guard(world: World) -> None:
    with Session(world.engine) as session:
        session.add(Comment(id=1, body="first"))
        session.commit()

    def write(note: Note) -> str:
        note.body = "second"
        world.db.session.delete(world.db.session.get_one(Comment, 1))
        world.db.session.commit()
        return "done"

    world.put_view(write)
    answer = world.put("", "/other/1", if_match=world.etag())
    assert answer.headers["ETag"] == world.etag()


def test_an_error_of_a_database_that_no_session_of_the_application_s_knows(world: World) -> None:
    """It may be that of another who created the same; as nothing turns out to be there, it is what it is."""
    other = Flask("other")
    other.testing = True
    ETag(other)

    @other.put("/")
    @require_if_match(resource(lambda: None), create=True)
    def create(_: None) -> str:
        with world.engine.begin() as connection:
            connection.execute(insert(Comment), [{"body": "same"}, {"body": "same"}])
        return "done"

    with pytest.raises(IntegrityError):
        other.test_client().put("/", headers={"If-None-Match": "*"})


def test_2_5_of_a_creation_that_mariadb_ends_as_a_deadlock_and_that_nobody_wins(
    world_on: Callable[[str], str],
) -> None:
    world = World(world_on("mariadb"))
    world.app.testing = False

    @world.app.put("/made/<name>")
    @require_if_match(world.find_paper, create=True)
    def create(paper: Paper | None, name: str) -> tuple[str, int]:
        session = world.db.session
        session.execute(update(Paper).values(body="first the paper"))
        world.hold("before commit")
        session.execute(update(Note).values(body="then the note"))
        session.add(Paper(name=name, body="new"))
        session.commit()
        return "", 201

    slow, hold = world.held(
        "before commit", lambda: world.put("", "/made/new", if_none_match="*", hold="before commit")
    )
    with world.engine.connect() as connection:  # it has written more, so that it is not the one that is ended
        connection.execute(insert(Comment), [{"body": str(number)} for number in range(20)])
        connection.execute(update(Note).values(body="first the note"))
        hold.released.set()
        slow.join(0.3)
        connection.execute(update(Paper).values(body="then the paper"))
        connection.commit()
    assert slow.answer().status_code == 409
    assert world.get_paper("new").status_code == 404
    assert world.put("", "/made/new", if_none_match="*").status_code == 201
    world.close()


class TestWhatARequestDidBeforeItsViewIsKept:
    """Also what is not flushed yet, and whatever the loader's SELECT is like."""

    def check(self, world: World, found: Resource[[str], Any], before: Callable[[], None]) -> Callable[[], int]:
        def write(paper: Paper) -> str:
            paper.body += "x"
            world.db.session.commit()
            return paper.body

        world.app.before_request(before)
        world.put_paper_view(write, found)

        def put() -> int:
            return world.put("", "/other/plan", if_match="*").status_code

        return put

    def test_a_change_of_the_target(self, world: World) -> None:
        def count() -> None:
            world.db.session.get_one(Paper, "plan").revision += 1

        put = self.check(world, world.find_paper, count)
        assert [put(), put()] == [200, 200]
        with Session(world.engine) as session:
            assert session.get_one(Paper, "plan").revision == 3

    def test_with_a_loader_whose_select_cannot_lock(self, world: World) -> None:
        @resource(etag=content_hash(lambda paper: paper.body))
        def find(name: str) -> Paper | None:
            return world.db.session.scalars(select(Paper).distinct().where(Paper.name == name)).one_or_none()

        numbers = iter(range(1, 9))

        def audit() -> None:
            world.db.session.add(Comment(body=f"before {next(numbers)}"))
            world.db.session.flush()

        put = self.check(world, find, audit)
        assert [put(), put(), put()] == [200, 200, 200]
        with Session(world.engine) as session:
            assert len(session.scalars(select(Comment)).all()) == 3

    def test_a_changed_relationship(self, world: World) -> None:
        def remark() -> None:
            paper = world.db.session.get_one(Paper, "plan")
            paper.remarks.append(Remark(text="kept"))

        world.db.session.session_factory.configure(autoflush=False)
        put = self.check(world, world.find_paper, remark)
        assert [put(), put()] == [200, 200]
        with Session(world.engine) as session:
            assert len(session.get_one(Paper, "plan").remarks) == 2


def test_2_2_a_sqlite_connection_that_commits_by_itself_cannot_lock(
    world_on: Callable[[str], str],
) -> None:
    world = World(world_on("sqlite"), isolation_level="AUTOCOMMIT")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="commits by itself"):
            world.put_paper("second", if_match=world.paper_etag())
    assert world.paper_body() == "first"
    world.close()


@pytest.mark.parametrize("model", [Note, Paper])
def test_2_3_a_creation_that_meets_another_which_is_deleted_at_once_is_a_conflict(
    world: World, model: type[Note | Paper]
) -> None:
    """The database has refused; and when it is judged again, there is nothing that could make it stale."""
    engine = world.engine
    key = {Note: 7, Paper: "7"}[model]

    def new() -> Note | Paper:
        return Note(id=7, body="new") if model is Note else Paper(name="7", body="new")

    def create_rival() -> None:
        with Session(engine) as session:
            session.add(new())
            session.commit()

    def delete_rival() -> None:
        with Session(engine) as session:
            session.delete(session.get_one(model, key))
            session.commit()

    @resource(etag=content_hash(lambda found: found.body))
    def find(number: str) -> Note | Paper | None:
        return cast("Note | Paper | None", world.db.session.get(model, key))

    @world.app.put("/made/<number>")
    @require_if_match(find, create=True)  # type: ignore[arg-type]
    def create(found: Note | Paper | None, number: str) -> tuple[str, int]:
        session = world.db.session()
        if number == "raced":
            in_thread(create_rival)
            event.listen(session, "after_rollback", lambda _: in_thread(delete_rival), once=True)
        session.add(new())
        session.commit()
        return "", 201

    world.app.testing = False
    assert world.put("", "/made/raced", if_none_match="*").status_code == 409
    assert world.put("", "/made/alone", if_none_match="*").status_code == 201


def test_2_5_a_view_that_swallows_a_refusal_and_goes_on(world_on: Callable[[str], str]) -> None:
    """PostgreSQL then refuses everything else, with another error."""
    world = World(world_on("postgresql"), connect_args={"options": "-c lock_timeout=100"})
    world.app.testing = False

    def swallow(note: Note) -> str:
        with suppress(OperationalError):
            world.db.session.execute(update(Paper).values(body="refused"))
        note.body = "lost"
        world.db.session.commit()
        return "done"

    world.put_view(swallow)
    etag = world.etag()
    with world.engine.connect() as connection:
        connection.execute(update(Paper).values(body="held"))
        assert world.put("", "/other/1", if_match=etag).status_code == 409
    world.close()


def test_2_5_what_is_judged_again_is_read_again(world_url: str) -> None:
    """A session that keeps what it has after a commit, and that has no transaction to roll back."""
    world = World(world_url)
    world.db.session.session_factory.configure(expire_on_commit=False)
    engine = world.engine

    def write_elsewhere(note: Note) -> str:
        world.db.session.commit()

        def win() -> None:
            with Session(engine) as session:
                session.get_one(Note, 1).body = "the winner's"
                session.commit()

        in_thread(win)
        with Session(engine) as session:
            session.get_one(Note, 1).body = "lost"
            session.commit()
        return "done"

    world.put_view(write_elsewhere)
    assert world.put("", "/other/1", if_match=world.etag()).status_code == 412
    world.close()


def test_of_a_collection_that_is_added_to_nobody_is_warned(world: World, caplog: pytest.LogCaptureFixture) -> None:
    @resource
    def find_notes() -> list[Note]:
        return list(world.db.session.scalars(select(Note)))

    @world.app.post("/notes")
    @etag_resource(find_notes)
    def add(found: list[Note]) -> tuple[str, int]:
        world.db.session.add(Note(id=2, body="second"))
        world.db.session.commit()
        return "", 201

    assert world.app.test_client().post("/notes").status_code == 201
    assert caplog.messages == []
