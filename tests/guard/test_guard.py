"""Views that let go of what was judged, in every way that a session offers, meet another writer.

None of them may overwrite what they were not judged by (rules 2.1, 2.5, 2.12, 2.13).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Response
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from flask_etag import require_if_match
from tests.world.application import World
from tests.world.models import Comment, Note, Paper, Shelf

View = Callable[[World, Note], object]


def close_after_flush(world: World, note: Note) -> None:
    note.body = "draft"
    world.db.session.flush()
    world.db.session.close()
    world.hold("before commit")
    world.db.session.get_one(Note, 1).body = "slow"


def invalidate_after_flush(world: World, note: Note) -> None:
    note.body = "draft"
    world.db.session.flush()
    world.db.session().invalidate()
    world.hold("before commit")
    world.db.session.get_one(Note, 1).body = "slow"


def take_off_the_shelf(world: World, note: Note) -> None:
    """Delete it as an orphan, which SQLAlchemy notices in the flush."""
    world.db.session.rollback()
    world.hold("before commit")
    shelf = world.db.session.get_one(Shelf, 1)
    shelf.notes.clear()
    world.db.session.flush()


def put_on_another_shelf(world: World, note: Note) -> None:
    """Set its foreign key from the other side, which SQLAlchemy does in the flush."""
    world.db.session.rollback()
    world.hold("before commit")
    shelf = Shelf(id=2)
    world.db.session.add(shelf)
    shelf.notes.append(world.db.session.get_one(Note, 1))


def touch_in_a_later_listener(world: World, note: Note) -> None:
    session = world.db.session()
    session.commit()
    world.hold("before commit")

    @event.listens_for(session, "before_flush")
    def touch(session: Session, *_: object) -> None:
        session.get_one(Note, 1).body = "slow"

    session.add(Comment(body="touched"))


def delete_and_add_again(world: World, note: Note) -> None:
    world.db.session.rollback()
    world.hold("before commit")
    world.db.session.delete(world.db.session.get_one(Note, 1))
    world.db.session.add(Note(id=1, body="slow", shelf_id=1))


@pytest.mark.parametrize(
    "change",
    [
        close_after_flush,
        invalidate_after_flush,
        take_off_the_shelf,
        put_on_another_shelf,
        touch_in_a_later_listener,
        delete_and_add_again,
    ],
)
def test_whatever_the_view_lets_go_of_it_is_held_to_what_was_judged(world: World, change: View) -> None:
    def view(note: Note) -> str:
        change(world, note)
        world.db.session.commit()
        return "done"

    world.put_view(view)
    with world.app.app_context():
        world.db.session.add(Shelf(id=1, notes=[world.db.session.get_one(Note, 1)]))
        world.db.session.commit()
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"] == world.etag()
    assert world.body() == "fast"


@pytest.mark.parametrize("change", [put_on_another_shelf, touch_in_a_later_listener])
def test_a_change_that_is_found_in_the_flush_has_its_tag_on_the_answer(world: World, change: View) -> None:
    def view(note: Note) -> str:
        change(world, note)
        world.db.session.commit()
        return "done"

    world.put_view(view)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag() != etag


def test_an_object_that_was_expunged_and_loaded_again_may_be_written_twice(world: World) -> None:
    def view(note: Note) -> str:
        world.db.session.expunge(note)
        for body in ("one", "two"):
            world.db.session.get_one(Note, 1).body = body
            world.db.session.commit()
        return "done"

    world.put_view(view)
    answer = world.put("", "/other/1", if_match=world.etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag()


def test_an_object_that_gets_another_key_is_still_guarded(world: World) -> None:
    def view(note: Note) -> str:
        note.id = 2
        world.db.session.commit()
        world.hold("before commit")
        note.body = "slow"
        world.db.session.commit()
        return "done"

    world.put_view(view)
    etag = world.etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    client = world.app.test_client()
    moved = client.get("/notes/2").headers["ETag"]
    assert client.put("/notes/2", data="fast", headers={"If-Match": moved}).status_code == 200
    hold.released.set()
    assert slow.answer().get_json()["reason"] == "partial"  # it has moved to its new key, and no further
    assert client.get("/notes/2").json == {"body": "fast"}


def test_2_3_a_constraint_that_the_winner_made_fail_is_412(world: World) -> None:
    def add_revision(note: Note) -> str:
        world.hold("before commit")
        world.db.session.add(Comment(body="revision 2"))
        world.db.session.flush()
        note.body = "slow or fast"
        world.db.session.commit()
        return "done"

    world.put_view(add_revision)
    etag = world.etag()
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    fast = world.put("", "/other/1", if_match=etag)
    hold.released.set()
    assert fast.status_code == 200
    assert slow.answer().status_code == 412


def test_2_3_a_constraint_that_fails_for_another_reason_stays_what_it_is(world: World) -> None:
    def add_twice(note: Note) -> str:
        world.db.session.add_all([Comment(body="same"), Comment(body="same")])
        world.db.session.commit()
        return "done"

    world.put_view(add_twice)
    etag = world.etag()
    with pytest.raises(IntegrityError) as raised:
        world.put("", "/other/1", if_match=etag)
    assert raised.value.orig is raised.value.__cause__
    assert world.etag() == etag


def test_2_5_a_view_that_swallows_the_refusal_and_goes_on_is_412(world: World) -> None:
    def swallow(note: Note) -> str:
        world.hold("before commit")
        note.body = "slow"
        with pytest.raises(Exception, match="expected to update 1 row"):
            world.db.session.flush()
        return str(world.db.session.scalar(select(Note.body)))

    world.put_view(swallow)
    lost, _ = world.overtaken()
    assert lost.status_code == 412


def test_2_7_a_view_that_redirects_and_leaves_its_commit_to_later_is_refused_in_time(world: World) -> None:
    def redirect(note: Note) -> tuple[str, int, dict[str, str]]:
        world.hold("before commit")
        note.body = "slow"
        return "", 303, {"Location": "/notes/1"}

    @world.app.after_request
    def commit(response: Response) -> Response:
        if response.status_code == 303:
            world.db.session.commit()
        return response

    world.put_view(redirect)
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert world.put("", "/other/1", if_match=fast.headers["ETag"]).status_code == 303
    assert world.body() == "slow"


def update_in_bulk(session: Session, model: type[Note | Paper]) -> None:
    session.execute(update(model).values(body="slow"))


def update_by_query(session: Session, model: type[Note | Paper]) -> None:
    session.query(model).update({"body": "slow"}, synchronize_session=False)


def update_by_table(session: Session, model: type[Note | Paper]) -> None:
    session.execute(model.__table__.update().values(body="slow"))  # type: ignore[attr-defined]


def update_by_key(session: Session, model: type[Note | Paper]) -> None:
    if model is Note:  # SQLAlchemy asks for its version, too
        session.execute(update(Note), [{"id": 1, "version": session.scalar(select(Note.version)), "body": "slow"}])
    else:
        session.execute(update(Paper), [{"name": "plan", "body": "slow"}])


def update_by_text(session: Session, model: type[Note | Paper]) -> None:
    session.execute(text(f"UPDATE {model.__tablename__} SET body = 'slow'"))


def update_on_the_connection(session: Session, model: type[Note | Paper]) -> None:
    session.connection().execute(update(model).values(body="slow"))


AROUND = [
    update_in_bulk, update_by_query, update_by_table, update_by_key, update_by_text, update_on_the_connection,
]  # fmt: skip


def serve_around(world: World, statement: Callable[[Session, type[Note | Paper]], None]) -> None:
    """Serve /around/1 and /around/plan by views that send a statement of their own."""

    def write(found: Note | Paper) -> str:
        model = type(found)
        if model is Paper:
            world.db.session.rollback()  # and so lets go of the row
        world.hold("before commit")
        statement(world.db.session(), model)
        world.db.session.commit()
        return "done"

    world.app.put("/around/<int:note_id>", endpoint="note")(require_if_match(world.find_note)(write))
    world.app.put("/around/<string:name>", endpoint="paper")(require_if_match(world.find_paper)(write))


@pytest.mark.parametrize(("kind", "key"), [("notes", "1"), ("papers", "plan")])
@pytest.mark.parametrize("statement", AROUND)
def test_p1_a_statement_of_the_view_s_own_is_held_to_what_was_judged(
    world: World, statement: Callable[[Session, type[Note | Paper]], None], kind: str, key: str
) -> None:
    serve_around(world, statement)
    path = f"/{kind}/{key}"
    etag = world.app.test_client().get(path).headers["ETag"]
    slow, hold = world.held(
        "before commit", lambda: world.put("", f"/around/{key}", if_match=etag, hold="before commit")
    )
    assert world.put("fast", path, if_match=etag).status_code == 200
    hold.released.set()
    read = world.app.test_client().get(path)
    assert slow.answer().status_code == 412
    assert world.app.test_client().get(path).get_json() == read.get_json() == {"body": "fast"}
    assert slow.answer().headers["ETag"] == read.headers["ETag"]


@pytest.mark.parametrize(("kind", "key"), [("notes", "1"), ("papers", "plan")])
@pytest.mark.parametrize("statement", AROUND)
def test_p3_a_statement_of_the_view_s_own_moves_the_tag(
    world: World, statement: Callable[[Session, type[Note | Paper]], None], kind: str, key: str
) -> None:
    serve_around(world, statement)
    path = f"/{kind}/{key}"
    seen = world.app.test_client().get(path).headers["ETag"]
    answer = world.put("", f"/around/{key}", if_match=seen)
    assert answer.status_code == 200
    read = world.app.test_client().get(path)
    assert read.get_json() == {"body": "slow"}
    assert answer.headers["ETag"] == read.headers["ETag"] != seen


@pytest.mark.parametrize("moment", ["before_flush", "after_flush", "before_commit", "after_commit"])
def test_p4_a_listener_with_a_session_of_its_own_neither_holds_nor_lets_go(world: World, moment: str) -> None:
    """An audit trail that looks up a setting: there is no rival, and so nothing to refuse."""

    def look_up(*_: object) -> None:
        with Session(world.engine) as other:
            other.scalars(select(Comment)).all()

    event.listen(world.db.session.session_factory, moment, look_up)
    etag = world.etag()
    answer = world.put("second", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag() != etag
    paper_etag = world.paper_etag()
    answer = world.put_paper("second", if_match=paper_etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.paper_etag() != paper_etag
