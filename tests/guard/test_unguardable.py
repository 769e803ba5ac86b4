"""What cannot be guarded is refused at its first write, with advice: it never fails open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from flask_etag import etag_resource, resource
from tests.world.application import World
from tests.world.models import Base, Note


class Unconfirmed(Base):
    """A model of which a stale DELETE would pass for done."""

    __tablename__ = "unconfirmed"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": revision, "confirm_deleted_rows": False}  # noqa: RUF012


def never(target: object) -> str:
    raise AssertionError("The view ran.")


def test_an_object_in_no_session(notes: World) -> None:
    @resource
    def find_detached(note_id: int) -> Note | None:
        with Session(notes.db.engine, expire_on_commit=False) as session:
            return session.get(Note, note_id)

    notes.find_note = find_detached
    notes.put_view(never)
    with pytest.raises(RuntimeError, match="is in no session"):
        notes.put("", "/other/1", if_match=notes.etag())


def test_2_4_a_model_whose_deletions_are_not_confirmed(notes: World) -> None:
    @resource
    def find_unconfirmed(note_id: int) -> Unconfirmed | None:
        return notes.db.session.get(Unconfirmed, note_id)

    with notes.app.app_context():
        notes.db.session.add(Unconfirmed(id=1))
        notes.db.session.commit()
    notes.find_note = find_unconfirmed
    notes.put_view(never)
    with pytest.raises(TypeError, match="confirm_deleted_rows=False"):
        notes.put("", "/other/1", if_match="*")


def test_an_async_session(empty_database: Callable[[str], str]) -> None:
    url = empty_database("postgresql")
    notes = World(url)
    engine = create_async_engine(url.replace("+psycopg:", "+psycopg_async:"))
    sessions: list[AsyncSession] = []

    @resource
    async def find_later(note_id: int) -> Note | None:
        session = AsyncSession(engine)
        sessions.append(session)
        return await session.get(Note, note_id)

    notes.app.get("/later/<int:note_id>")(etag_resource(find_later)(lambda note: note.body))
    notes.find_note = find_later
    notes.put_view(never)
    assert notes.app.test_client().get("/later/1").status_code == 200
    with pytest.raises(RuntimeError, match="is in an AsyncSession"):
        notes.put("", "/other/1", if_match=notes.etag())
    notes.close()

    async def close() -> None:
        for session in sessions:
            await session.close()
        await engine.dispose()

    asyncio.run(close())


def test_a_database_whose_locks_are_not_known(
    empty_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_etag.sqlalchemy.locks._WITH_ROW_LOCKS", ())
    papers = World(empty_database("postgresql"))
    with pytest.raises(RuntimeError, match="how to lock its rows on postgresql is not known"):
        papers.put_paper("second", if_match=papers.paper_etag())
    assert papers.paper_body() == "first"
    papers.close()
