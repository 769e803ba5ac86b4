"""What cannot be guarded is refused at its first write, with advice: it never fails open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, Session, mapped_column

from flask_etag import etag_resource, resource
from tests.world.application import World
from tests.world.board import Board, Checked
from tests.world.models import Base, Memo, Note


class Unconfirmed(Base):
    """A model of which a stale DELETE would pass for done."""

    __tablename__ = "unconfirmed"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": revision, "confirm_deleted_rows": False}  # noqa: RUF012


def never(target: object) -> str:
    raise AssertionError("The view ran.")


def test_an_object_in_no_session(world: World) -> None:
    @resource
    def find_detached(note_id: int) -> Note | None:
        with Session(world.db.engine, expire_on_commit=False) as session:
            return session.get(Note, note_id)

    world.find_note = find_detached
    world.put_view(never)
    with pytest.raises(RuntimeError, match="is in no session"):
        world.put("", "/other/1", if_match=world.etag())


def test_2_4_a_model_whose_deletions_are_not_confirmed(world: World) -> None:
    @resource
    def find_unconfirmed(note_id: int) -> Unconfirmed | None:
        return world.db.session.get(Unconfirmed, note_id)

    with world.app.app_context():
        world.db.session.add(Unconfirmed(id=1))
        world.db.session.commit()
    world.find_note = find_unconfirmed
    world.put_view(never)
    with pytest.raises(TypeError, match="confirm_deleted_rows=False"):
        world.put("", "/other/1", if_match="*")


def test_an_async_session(world_on: Callable[[str], str]) -> None:
    url = world_on("postgresql")
    world = World(url)
    engine = create_async_engine(make_url(url).set(drivername="postgresql+psycopg_async"))
    sessions: list[AsyncSession] = []

    @resource
    async def find_later(note_id: int) -> Note | None:
        session = AsyncSession(engine)
        sessions.append(session)
        return await session.get(Note, note_id)

    world.app.get("/later/<int:note_id>")(etag_resource(find_later)(lambda note: note.body))
    world.find_note = find_later
    world.put_view(never)
    assert world.app.test_client().get("/later/1").status_code == 200
    with pytest.raises(RuntimeError, match="is in an AsyncSession"):
        world.put("", "/other/1", if_match=world.etag())
    world.close()

    async def close() -> None:
        for session in sessions:
            await session.close()
        await engine.dispose()

    asyncio.run(close())


def test_a_database_whose_locks_are_not_known(
    world_on: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(world_on("postgresql"))
    etag = world.paper_etag()
    monkeypatch.setattr(world.engine.dialect, "name", "oracle")
    with pytest.raises(RuntimeError, match="how to lock its rows on oracle is not known"):
        world.put_paper("second", if_match=etag)
    assert world.paper_body() == "first"
    world.close()


@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize(
    ("database", "sql"),
    [
        ("sqlite", "COMMIT"),
        ("sqlite", "/* now */ rollback"),
        ("postgresql", "END"),
        ("postgresql", "ABORT"),
        ("mariadb", "TRUNCATE TABLE player"),
        ("mariadb", "SET autocommit=1"),
        ("mariadb", "START TRANSACTION"),
    ],
)
def test_a_statement_that_ends_the_transaction(
    board_on: Callable[..., Board], model: type[Any], database: str, sql: str
) -> None:
    """SQLAlchemy does not know of that, and would go on as if the row were still held."""
    board = board_on(database, model)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.flush()
        board.db.session.execute(text(sql))

    with pytest.raises(RuntimeError, match="ends the transaction that its target is guarded in"):
        board.save(view)
    assert board.get().text == "first"


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_what_only_looks_like_one_that_ends_the_transaction(
    board_on: Callable[..., Board], is_analyzed: bool
) -> None:
    board = board_on("mariadb", Checked)

    def view(found: Any) -> str:
        session = board.db.session
        with board.engine.connect() as connection:
            connection.execute(text("ANALYZE TABLE player" if is_analyzed else "COMMIT"))
        session.execute(text("SAVEPOINT mine"))
        session.execute(text("ROLLBACK TO mine"))
        session.execute(text("CREATE TEMPORARY TABLE scratch (id INT)"))
        found.text = "mine"
        session.commit()
        return "done"

    assert (board.save(view).status_code, board.get().text) == (200, "mine")
