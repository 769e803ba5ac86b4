"""What is refused as it is committed is not left in the pool, for the next one to commit; rule 2.5."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import FetchedValue, String, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from tests.world.board import Board, Checked
from tests.world.models import Base


class Still(Base):
    """With a version that the database should move, and does not."""

    __tablename__ = "still"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    revision: Mapped[int] = mapped_column(server_default="1", server_onupdate=FetchedValue())
    __mapper_args__ = {"version_id_col": revision, "version_id_generator": False}  # noqa: RUF012


def test_2_5_a_commit_that_is_refused_on_a_connection_of_the_view_s_own_is_not_left_for_the_next_one(
    board_on: Callable[..., Board],
) -> None:
    """SQLAlchemy rolls nothing back where the event "commit" raises: the pool has it with all it has written."""
    board = board_on("sqlite", Still)
    for connection in [board.engine.connect() for _ in range(4)]:
        connection.close()

    def view(found: Any) -> None:
        board.db.session.rollback()
        with board.engine.connect() as connection:
            connection.execute(update(Still).values(text="refused"))
            with pytest.raises(StaleDataError):
                connection.commit()

    assert board.save(view).status_code == 409
    others = [board.engine.connect() for _ in range(4)]
    for other in others:
        other.execute(select(Still.text))
        other.commit()
        other.close()
    assert board.get().text == "first"


def test_2_5_a_connection_whose_transaction_is_broken_is_not_left_to_the_next_one(
    board_on: Callable[..., Board],
) -> None:
    board = board_on("postgresql", Checked)

    def view(_: Any) -> None:
        with board.engine.connect() as connection:
            connection.execute(update(Checked).values(text="mine"))
            with suppress(SQLAlchemyError):
                connection.execute(text("SELECT nothing"))
            with pytest.raises(SQLAlchemyError, match="nothing"):
                connection.commit()

    assert board.save(view).status_code == 200
    assert board.get().text == "first"


def test_2_5_a_connection_that_is_gone_when_it_is_rolled_back_is_not_used_again(
    board_on: Callable[..., Board],
) -> None:
    board = board_on("postgresql", Checked)

    def view(_: Any) -> None:
        with board.engine.connect() as connection:
            session_id = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            connection.execute(update(Checked).values(text="mine"))
            with suppress(SQLAlchemyError):
                connection.execute(text("SELECT nothing"))
            with board.engine.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:id, 5000)"), {"id": session_id})
            with pytest.raises(SQLAlchemyError, match="nothing"):
                connection.commit()
            with pytest.raises(SQLAlchemyError):
                connection.execute(select(Checked))

    assert board.save(view).status_code == 200
    assert board.get().text == "first"
