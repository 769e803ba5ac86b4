"""Versions and sessions: rules 2.6, 2.9 and 2.12, and what is refused because it could not be guarded."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import ForeignKey, String, create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, declared_attr, mapped_column

from flask_etag import ETag, require_if_match, resource
from flask_etag.sqlalchemy import Versioned
from tests.world.application import World
from tests.world.board import Checked
from tests.world.models import Base, Memo, Note


class Counted(Base):
    """A model that counts its versions itself."""

    __tablename__ = "counted"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(80), default="")
    revision: Mapped[int] = mapped_column(nullable=True)
    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012


class Animal(Versioned, Base):
    __tablename__ = "animal"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))

    @declared_attr.directive
    def __mapper_args__(cls: type[Animal]) -> dict[str, Any]:  # noqa: N805
        return {**super().__mapper_args__, "polymorphic_on": "kind", "polymorphic_identity": "animal"}


class Dog(Animal):
    __tablename__ = "dog"

    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(10))
    __mapper_args__ = {"polymorphic_identity": "dog"}  # noqa: RUF012


class Plant(Versioned, Base):
    __tablename__ = "plant"

    id: Mapped[int] = mapped_column(primary_key=True)


class Tree(Plant):
    __tablename__ = "tree"

    id: Mapped[int] = mapped_column(ForeignKey("plant.id"), primary_key=True)
    height: Mapped[int]


@resource
def find_row() -> object:
    return None


@pytest.fixture
def session(world_on: Callable[[str], str]) -> Iterator[Session]:
    engine = create_engine(world_on("sqlite"))
    tagging = Flask("tagging")
    ETag(tagging)
    with tagging.app_context(), Session(engine) as session:
        yield session
    engine.dispose()


def test_the_tag_moves_with_the_version(session: Session) -> None:
    row = Counted(id=1)
    session.add(row)
    session.commit()
    first = find_row.etag_of(row)
    session.commit()
    assert find_row.etag_of(row) == first
    row.body = "changed"
    session.commit()
    assert row.revision == 2
    assert find_row.etag_of(row) != first


def test_2_9_a_row_that_is_made_again_under_its_key_has_another_tag(session: Session) -> None:
    tags = set()
    for _ in range(2):
        row = Animal(id=1, kind="animal")
        session.add(row)
        session.flush()
        tags.add(find_row.etag_of(row))
        session.delete(row)
        session.commit()
    assert len(tags) == 2


def test_versioned_goes_with_inheritance(session: Session) -> None:
    dog, tree = Dog(id=1, name="Rex"), Tree(id=1, height=3)
    session.add_all([dog, tree])
    session.commit()
    versions = dog.version, tree.version
    dog.name, tree.height = "Max", 4
    session.commit()
    assert dog.version != versions[0]
    assert tree.version != versions[1]


def test_an_object_that_is_not_flushed_has_no_tag_yet(session: Session) -> None:
    row = Counted(id=1)
    session.add(row)
    with pytest.raises(ValueError, match="flush the session"):
        find_row.etag_of(row)


def test_a_row_whose_version_is_null_is_refused(session: Session) -> None:
    session.execute(text("INSERT INTO counted (id, body, revision) VALUES (1, '', NULL)"))
    with pytest.raises(ValueError, match="give every row a version"):
        find_row.etag_of(session.get(Counted, 1))


@pytest.mark.usefixtures("session")
def test_a_model_without_a_version_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match=r"flask_etag\.sqlalchemy\.Versioned"):
        find_row.etag_of(Memo(id=1))


def test_a_model_whose_own_arguments_hide_the_mixin_s_is_refused_before_its_first_use() -> None:
    class OtherBase(DeclarativeBase):
        pass

    class Hidden(Versioned, OtherBase):
        __tablename__ = "hidden"

        id: Mapped[int] = mapped_column(primary_key=True)
        __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012

    with pytest.raises(TypeError, match="hides that of its mixin Versioned"):
        OtherBase.registry.configure()
    OtherBase.registry.dispose()


def test_a_write_to_an_object_in_no_session_is_refused(world: World) -> None:
    world.app.testing = False

    @resource
    def find_detached(note_id: int) -> Note | None:
        with Session(world.db.engine, expire_on_commit=False) as session:
            return session.get(Note, note_id)

    world.find_note = find_detached
    world.put_view(lambda note: note.body)
    assert world.put("", "/other/1", if_match=world.etag()).status_code == 500
    assert world.body() == "first"


def test_2_12_what_was_judged_is_held_even_if_the_view_lets_go_of_it(world: World) -> None:
    """The identity map is weak: an object that nothing held would be loaded again, in another version."""

    def find_it_again(note: Note) -> str:
        del note
        gc.collect()
        world.hold("before commit")
        again = world.db.session.get(Note, 1)
        assert again is not None
        again.body = "slow"
        world.db.session.commit()
        return "done"

    world.put_view(find_it_again)
    lost, _ = world.overtaken()
    assert lost.status_code == 412
    assert world.body() == "fast"


def test_a_view_that_expunges_what_was_judged_and_loads_it_again_is_held_to_it(world: World) -> None:
    def expunge_and_load(note: Note) -> str:
        world.db.session.expunge(note)
        world.hold("before commit")
        world.db.session.rollback()
        again = world.db.session.get_one(Note, 1)
        again.body = "slow"
        world.db.session.commit()
        return "done"

    world.put_view(expunge_and_load)
    lost, _ = world.overtaken()
    assert lost.status_code == 412
    assert world.body() == "fast"


def test_a_view_that_swallowed_a_failed_flush_gets_no_new_tag(world: World) -> None:
    def swallow(note: Note) -> str:
        world.db.session.add(Note(id=2))  # no body: refused by the database
        with pytest.raises(Exception, match=r"NOT NULL|null value|cannot be null"):
            world.db.session.flush()
        return "nothing was written"

    world.put_view(swallow)
    etag = world.etag()
    answer = world.put("", "/other/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == etag == world.etag()


def test_a_view_that_changes_its_mind_keeps_the_tag(world: World) -> None:
    def set_what_is_there(note: Note) -> str:
        note.body = "something"
        note.body = "first"
        world.db.session.commit()
        return "nothing was written"

    world.put_view(set_what_is_there)
    etag = world.etag()
    assert world.put("", "/other/1", if_match=etag).headers["ETag"] == etag == world.etag()


def test_an_answer_other_than_2xx_is_left_alone_and_nothing_is_flushed(world: World) -> None:
    def refuse(note: Note) -> tuple[str, int]:
        note.body = "half done"
        return "no", 422

    world.put_view(refuse)
    answer = world.put("", "/other/1", if_match=world.etag())
    assert (answer.status_code, answer.text) == (422, "no")
    assert "ETag" not in answer.headers
    assert world.body() == "first"


def test_a_deletion_has_no_tag(world: World) -> None:
    answer = world.delete(if_match=world.etag())
    assert answer.status_code == 204
    assert "ETag" not in answer.headers


def test_a_deletion_that_is_left_to_be_committed_later_has_no_tag(world: World) -> None:
    def delete_later(note: Note) -> str:
        world.db.session.delete(note)
        return "done"

    world.put_view(delete_later)
    assert "ETag" not in world.put("", "/other/1", if_match=world.etag()).headers


@pytest.mark.parametrize(("method", "status"), [("PUT", 202), ("POST", 201)])
def test_1_9_answers_that_do_not_speak_of_the_target_have_no_tag(world: World, method: str, status: int) -> None:
    world.app.route("/later/<int:note_id>", methods=[method])(
        require_if_match(world.find_note)(lambda _: ("", status))
    )
    answer = world.app.test_client().open("/later/1", method=method, headers={"If-Match": world.etag()})
    assert answer.status_code == status
    assert "ETag" not in answer.headers


def test_2_14_a_version_that_is_sent_back_before_the_row_is_loaded_is_ignored(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'sent.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE checked (id INTEGER PRIMARY KEY, text TEXT, version TEXT)"))
        connection.execute(text("INSERT INTO checked (id, text, version) VALUES (1, 'first', 'of before')"))
    with Session(engine) as session:
        row = session.get_one(Checked, 1)
        session.expire(row)
        row.version = "sent back"
        row.text = "second"
        session.commit()
        assert row.text == "second"
        assert row.version not in ("of before", "sent back")
    engine.dispose()
