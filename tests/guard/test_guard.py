"""Views that let go of what was judged, in every way that a session offers, meet another writer.

None of them may overwrite what they were not judged by (rules 2.1, 2.5, 2.12, 2.13).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Response
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.world.application import World
from tests.world.models import Comment, Note, Shelf

View = Callable[[World, Note], object]


def close_after_flush(notes: World, note: Note) -> None:
    note.body = "draft"
    notes.db.session.flush()
    notes.db.session.close()
    notes.hold("before commit")
    notes.db.session.get_one(Note, 1).body = "slow"


def invalidate_after_flush(notes: World, note: Note) -> None:
    note.body = "draft"
    notes.db.session.flush()
    notes.db.session().invalidate()
    notes.hold("before commit")
    notes.db.session.get_one(Note, 1).body = "slow"


def take_off_the_shelf(notes: World, note: Note) -> None:
    """Delete it as an orphan, which SQLAlchemy notices in the flush."""
    notes.db.session.rollback()
    notes.hold("before commit")
    shelf = notes.db.session.get_one(Shelf, 1)
    shelf.notes.clear()
    notes.db.session.flush()


def put_on_another_shelf(notes: World, note: Note) -> None:
    """Set its foreign key from the other side, which SQLAlchemy does in the flush."""
    notes.db.session.rollback()
    notes.hold("before commit")
    shelf = Shelf(id=2)
    notes.db.session.add(shelf)
    shelf.notes.append(notes.db.session.get_one(Note, 1))


def touch_in_a_later_listener(notes: World, note: Note) -> None:
    session = notes.db.session()
    session.commit()
    notes.hold("before commit")

    @event.listens_for(session, "before_flush")
    def touch(session: Session, *_: object) -> None:
        session.get_one(Note, 1).body = "slow"

    session.add(Comment(body="touched"))


def delete_and_add_again(notes: World, note: Note) -> None:
    notes.db.session.rollback()
    notes.hold("before commit")
    notes.db.session.delete(notes.db.session.get_one(Note, 1))
    notes.db.session.add(Note(id=1, body="slow", shelf_id=1))


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
def test_whatever_the_view_lets_go_of_it_is_held_to_what_was_judged(notes: World, change: View) -> None:
    def view(note: Note) -> str:
        change(notes, note)
        notes.db.session.commit()
        return "done"

    notes.put_view(view)
    with notes.app.app_context():
        notes.db.session.add(Shelf(id=1, notes=[notes.db.session.get_one(Note, 1)]))
        notes.db.session.commit()
    lost, fast = notes.overtaken()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"] == notes.etag()
    assert notes.body() == "fast"


@pytest.mark.parametrize("change", [put_on_another_shelf, touch_in_a_later_listener])
def test_a_change_that_is_found_in_the_flush_has_its_tag_on_the_answer(notes: World, change: View) -> None:
    def view(note: Note) -> str:
        change(notes, note)
        notes.db.session.commit()
        return "done"

    notes.put_view(view)
    etag = notes.etag()
    answer = notes.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == notes.etag() != etag


def test_an_object_that_was_expunged_and_loaded_again_may_be_written_twice(notes: World) -> None:
    def view(note: Note) -> str:
        notes.db.session.expunge(note)
        for body in ("one", "two"):
            notes.db.session.get_one(Note, 1).body = body
            notes.db.session.commit()
        return "done"

    notes.put_view(view)
    answer = notes.put("", "/other/1", if_match=notes.etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == notes.etag()


def test_an_object_that_gets_another_key_is_still_guarded(notes: World) -> None:
    def view(note: Note) -> str:
        note.id = 2
        notes.db.session.commit()
        notes.hold("before commit")
        note.body = "slow"
        notes.db.session.commit()
        return "done"

    notes.put_view(view)
    etag = notes.etag()
    slow, hold = notes.held(
        "before commit", lambda: notes.put("", "/other/1", if_match=etag, hold="before commit")
    )
    client = notes.app.test_client()
    moved = client.get("/notes/2").headers["ETag"]
    assert client.put("/notes/2", data="fast", headers={"If-Match": moved}).status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 404
    assert client.get("/notes/2").json == {"body": "fast"}


def test_2_3_a_constraint_that_the_winner_made_fail_is_412(notes: World) -> None:
    def add_revision(note: Note) -> str:
        notes.hold("before commit")
        notes.db.session.add(Comment(body="revision 2"))
        notes.db.session.flush()
        note.body = "slow or fast"
        notes.db.session.commit()
        return "done"

    notes.put_view(add_revision)
    etag = notes.etag()
    slow, hold = notes.held(
        "before commit", lambda: notes.put("", "/other/1", if_match=etag, hold="before commit")
    )
    fast = notes.put("", "/other/1", if_match=etag)
    hold.released.set()
    assert fast.status_code == 200
    assert slow.answer().status_code == 412


def test_2_3_a_constraint_that_fails_for_another_reason_stays_what_it_is(notes: World) -> None:
    def add_twice(note: Note) -> str:
        notes.db.session.add_all([Comment(body="same"), Comment(body="same")])
        notes.db.session.commit()
        return "done"

    notes.put_view(add_twice)
    etag = notes.etag()
    with pytest.raises(IntegrityError) as raised:
        notes.put("", "/other/1", if_match=etag)
    assert raised.value.orig is raised.value.__cause__
    assert notes.etag() == etag


def test_2_5_a_view_that_swallows_the_refusal_and_goes_on_is_412(notes: World) -> None:
    def swallow(note: Note) -> str:
        notes.hold("before commit")
        note.body = "slow"
        with pytest.raises(Exception, match="expected to update 1 row"):
            notes.db.session.flush()
        return str(notes.db.session.scalar(select(Note.body)))

    notes.put_view(swallow)
    lost, _ = notes.overtaken()
    assert lost.status_code == 412


def test_2_7_a_view_that_redirects_and_leaves_its_commit_to_later_is_refused_in_time(notes: World) -> None:
    def redirect(note: Note) -> tuple[str, int, dict[str, str]]:
        notes.hold("before commit")
        note.body = "slow"
        return "", 303, {"Location": "/notes/1"}

    @notes.app.after_request
    def commit(response: Response) -> Response:
        if response.status_code == 303:
            notes.db.session.commit()
        return response

    notes.put_view(redirect)
    lost, fast = notes.overtaken()
    assert lost.status_code == 412
    assert notes.put("", "/other/1", if_match=fast.headers["ETag"]).status_code == 303
    assert notes.body() == "slow"
