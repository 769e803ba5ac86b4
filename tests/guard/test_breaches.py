"""Ways to get round the guard, or to a wrong answer, that were found by looking for them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from flask import Response, stream_with_context
from sqlalchemy import ForeignKey, Row, String, func, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column

from flask_etag import content_hash, etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.application import World
from tests.world.models import Base, Note, Paper


class Beast(Versioned, Base):
    __tablename__ = "beast"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), default="")


class Cat(Beast):
    __tablename__ = "cat"

    id: Mapped[int] = mapped_column(ForeignKey("beast.id"), primary_key=True)
    lives: Mapped[int] = mapped_column(default=9)


class Stone(Base):
    __tablename__ = "stone"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), default="")


class Gem(Stone):
    __tablename__ = "gem"

    id: Mapped[int] = mapped_column(ForeignKey("stone.id"), primary_key=True)
    carats: Mapped[int] = mapped_column(default=1)


@pytest.mark.parametrize("model", [Cat, Gem])
def test_objects_of_a_class_that_inherits_are_guarded(world: World, model: type[Cat | Gem]) -> None:
    @resource(etag=None if model is Cat else content_hash(lambda found: [found.id, found.name]))
    def find(note_id: int) -> Any:
        return world.db.session.get(model, note_id)

    def write(found: Cat | Gem) -> str:
        found.name += "x"
        world.db.session.commit()
        return found.name

    with world.app.app_context():
        world.db.session.add(model(id=1))
        world.db.session.commit()
    world.app.get("/other/<int:note_id>")(etag_resource(find)(lambda found: found.name))
    world.find_note = find
    world.put_view(write)
    for _ in range(2):
        etag = world.app.test_client().get("/other/1").headers["ETag"]
        answer = world.put("", "/other/1", if_match=etag)
        assert answer.status_code == 200
        assert world.put("", "/other/1", if_match=etag).status_code == 412
        assert answer.headers["ETag"] == world.app.test_client().get("/other/1").headers["ETag"]


def test_a_loader_that_first_selects_columns_of_the_same_model(world: World) -> None:
    @resource(etag=content_hash(lambda paper: paper.body))
    def find(name: str) -> Paper | None:
        session = world.db.session
        assert session.scalar(select(func.count()).select_from(Paper)) == 1
        assert session.scalar(select(Paper.name).where(Paper.name == name)) == name
        return session.get(Paper, name)

    def write(paper: Paper) -> str:
        paper.body += "x"
        world.db.session.commit()
        return paper.body

    world.put_paper_view(write, find)
    for _ in range(2):
        with world.app.test_request_context():
            etag = str(find.etag_of(find("plan")))
        assert world.put("", "/other/plan", if_match=etag).status_code == 200
        assert world.put("", "/other/plan", if_match=etag).status_code == 412


def test_a_sequence_whose_members_the_database_refuses_is_stale_and_no_server_error(world: World) -> None:
    @resource
    def find_notes(note_id: int) -> list[Note]:
        return list(world.db.session.scalars(select(Note)))

    def write(found: list[Note]) -> str:
        world.hold("before commit")
        for note in found:
            note.body = "lost"
        world.db.session.commit()
        return "done"

    world.app.testing = False
    world.find_note = find_notes
    world.put_view(write)
    with world.app.test_request_context():
        etag = str(find_notes.etag_of(find_notes(1)))
    slow, hold = world.held(
        "before commit", lambda: world.put("", "/other/1", if_match=etag, hold="before commit")
    )
    assert world.put("fast", if_match=world.etag()).status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 412
    assert world.body() == "fast"


def test_a_row_with_an_object_in_it_is_refused(world: World) -> None:
    @resource
    def find_row(note_id: int) -> Row[Note] | None:
        return world.db.session.execute(select(Note)).first()

    world.find_note = find_row
    world.put_view(lambda _: "done")
    with pytest.raises(TypeError, match=r"let it return the object, by scalars\(\)"):
        world.put("", "/other/1", if_match="*")


def test_a_refusal_that_the_view_swallows_is_412_all_the_same(world: World) -> None:
    def swallow(note: Note) -> str:
        world.hold("before commit")
        for _ in range(2):
            try:
                note.body = "lost"
                world.db.session.commit()
            except SQLAlchemyError:
                world.db.session.rollback()
        return "saved"

    world.put_view(swallow)
    lost, fast = world.overtaken()
    assert lost.status_code == 412
    assert lost.headers["ETag"] == fast.headers["ETag"] == world.etag()
    assert world.body() == "fast"


def test_an_error_that_the_view_swallows_and_that_is_no_refusal_is_its_own_affair(world: World) -> None:
    def swallow(note: Note) -> str:
        note.body = None  # type: ignore[assignment]
        with suppress(SQLAlchemyError):
            world.db.session.commit()
        world.db.session.rollback()
        return "not saved"

    world.put_view(swallow)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert (answer.status_code, answer.text) == (200, "not saved")
    assert answer.headers["ETag"] == etag == world.etag()


def test_a_guarded_view_that_calls_another_has_the_other_s_tag(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    @require_if_match(world.find_note)
    def replace(note: Note) -> str:
        note.body = "new"
        world.db.session.commit()
        return note.body

    @world.app.patch("/notes/<int:note_id>")
    @require_if_match(world.find_note)
    def patch(note: Note, note_id: int) -> Response:
        return replace(note_id=note_id)  # type: ignore[call-arg]

    etag = world.etag()
    answer = world.app.test_client().patch("/notes/1", headers={"If-Match": etag})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == world.etag() != etag
    assert caplog.messages == []


def test_a_view_that_has_committed_before_another_is_refused_has_done_a_part(world: World) -> None:
    """The other's 412 says that nothing was changed."""

    @require_if_match(world.find_note)
    def replace(_: Note) -> str:
        raise AssertionError("it is judged first")

    @world.app.patch("/notes/<int:note_id>")
    @require_if_match(world.find_note)
    def patch(note: Note, note_id: int) -> Response:
        note.body = "a part"
        world.db.session.commit()
        return replace(note_id=note_id)  # type: ignore[call-arg]

    etag = world.etag()
    answer = world.app.test_client().patch("/notes/1", headers={"If-Match": etag})
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
    assert world.etag() != etag


def test_2_6_statements_of_the_view_s_own_under_the_lock_have_their_tag(world: World) -> None:
    def update_in_bulk(paper: Paper) -> str:
        world.db.session.execute(update(Paper).values(body="in bulk"))
        world.db.session.commit()
        return "done"

    def delete_in_bulk(paper: Paper) -> str:
        world.db.session.query(Paper).delete()
        return "done"

    world.put_paper_view(update_in_bulk)
    world.app.put("/gone/<name>")(require_if_match(world.find_paper)(delete_in_bulk))
    etag = world.paper_etag()
    answer = world.put("", "/other/plan", if_match=etag)
    assert answer.headers["ETag"] == world.paper_etag() != etag
    assert "ETag" not in world.put("", "/gone/plan", if_match=world.paper_etag()).headers


def test_what_is_deleted_and_made_again_under_its_key_has_its_new_tag(world: World) -> None:
    def make_again(note: Note) -> str:
        world.db.session.delete(note)
        world.db.session.flush()
        world.db.session.add_all([Note(id=1, body="again"), Note(id=2, body="beside")])
        world.db.session.commit()
        return "done"

    world.put_view(make_again)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert answer.headers["ETag"] == world.etag() != etag


def test_no_deletion_has_a_tag_not_even_one_that_keeps_the_row(world: World) -> None:
    @world.app.delete("/soft/<int:note_id>")
    @require_if_match(world.find_note)
    def delete(note: Note) -> str:
        note.body = "deleted"
        world.db.session.commit()
        return ""

    answer = world.app.test_client().delete("/soft/1", headers={"If-Match": world.etag()})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


def test_a_write_whose_answer_is_streamed_is_told_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def stream(note: Note) -> Response:
        return Response(stream_with_context(iter(["part"])))

    world.put_view(stream)
    with world.put("", "/other/1", if_match=world.etag()) as answer:
        assert answer.status_code == 200
    assert "what it writes while that is sent is not guarded" in caplog.text
