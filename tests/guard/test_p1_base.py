"""P1: whatever changes the target, and however, changes it from the state that was judged, or is refused.

Each view lets go of a row without a version, which is held otherwise, and meets a rival who commits; or it meets
nobody, and is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    DDL,
    ClauseElement,
    Executable,
    column,
    delete,
    event,
    insert,
    lambda_stmt,
    select,
    table,
    text,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from tests.conftest import KINDS
from tests.world.board import Board, Checked, Counted, Player
from tests.world.models import Memo
from tests.world.upserts import upsert

Write = Callable[[Any, Any], object]
"""What a view does to row 1 of a model, in a session."""

pytestmark = pytest.mark.parametrize("has_rival", [False, True], ids=["alone", "rival"])


def save(board: Board, write: Write, *, has_rival: bool, may_have_no_tag: bool = False) -> None:
    """Have a view write "mine", and look at its answer and at what is left.

    :param may_have_no_tag: whether the tag of what it leaves need not be known.
    """
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        write(board.db.session, board.model)
        board.db.session.commit()

    answer = board.save(view)
    read = board.get()
    assert (answer.status_code, read.text) == ((412, "theirs") if has_rival else (200, "mine"))
    assert read.headers["ETag"] != board.seen
    has_tag = has_rival or "ETag" in answer.headers or not may_have_no_tag
    assert not has_tag or answer.headers["ETag"] == read.headers["ETag"]


def remove(board: Board, write: Write, *, has_rival: bool) -> None:
    """Have a view delete the row, and look at its answer and at what is left."""
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        write(board.db.session, board.model)
        board.db.session.commit()

    answer = board.save(view)
    read = board.get()
    if has_rival:
        assert (answer.status_code, read.text) == (412, "theirs")
        assert answer.headers["ETag"] == read.headers["ETag"]
    else:
        assert (answer.status_code, read.status_code) == (200, 404)
        assert "ETag" not in answer.headers


def change_loaded(session: Any, model: Any) -> None:
    session.get_one(model, 1).text = "mine"


def version_in(session: Any, model: Any) -> dict[str, Any]:
    """Return what SQLAlchemy asks for beside the key, where rows are written by their keys."""
    if model is Memo:
        return {}
    name = "version" if model is Checked else "revision"
    return {name: session.scalar(select(getattr(model, name)).where(model.id == 1))}


def update_some(session: Any, model: Any) -> None:
    session.execute(update(model).where(model.text != "nothing").values(text="mine"))


def update_without_telling_the_session(session: Any, model: Any) -> None:
    told_nothing = {"synchronize_session": False}
    session.execute(update(model).where(model.id == 1).values(text="mine"), execution_options=told_nothing)


def update_and_fetch(session: Any, model: Any) -> None:
    told = {"synchronize_session": "fetch"}
    session.execute(update(model).where(model.id == 1).values(text="mine"), execution_options=told)


def update_as_objects(session: Any, model: Any) -> None:
    changed = update(model).where(model.id == 1).values(text="mine")
    if session.get_bind().dialect.update_returning:
        session.scalars(select(model).from_statement(changed.returning(model))).all()
    else:  # MariaDB
        session.execute(changed)


def update_as_objects_by_text(session: Any, model: Any) -> None:
    changed = "UPDATE {} SET text = 'mine' WHERE id = 1"
    if session.get_bind().dialect.update_returning:
        changed += " RETURNING *"
        session.scalars(select(model).from_statement(text(changed.format(model.__tablename__)))).all()
    else:
        session.execute(text(changed.format(model.__tablename__)))


def update_by_lambda(session: Any, model: Any) -> None:
    session.execute(lambda_stmt(lambda: update(model).where(model.id == 1).values(text="mine")))


def update_by_ddl(session: Any, model: Any) -> None:
    made: Any = DDL  # which has no types
    session.execute(made(f"UPDATE {model.__tablename__} SET text = 'mine' WHERE id = 1"))


def update_by_a_statement_of_the_application_s(session: Any, model: Any) -> None:
    session.execute(Mine(model.__tablename__))


class Mine(Executable, ClauseElement):
    """A construct of the application's own, of which nothing is known."""

    inherit_cache = False

    def __init__(self, name: str) -> None:
        self.name = name


@compiles(Mine)
def _sql(mine: Mine, *_: Any, **__: Any) -> str:
    return f"UPDATE {mine.name} SET text = 'mine' WHERE id = 1"


def update_by_legacy_query(session: Any, model: Any) -> None:
    session.query(model).filter_by(id=1).update({"text": "mine"})


def update_by_keys(session: Any, model: Any) -> None:
    session.execute(update(model), [{"id": 1, "text": "mine", **version_in(session, model)}])


def update_mappings(session: Any, model: Any) -> None:
    session.bulk_update_mappings(model, [{"id": 1, "text": "mine", **version_in(session, model)}])


def save_objects(session: Any, model: Any) -> None:
    found = session.get_one(model, 1)
    session.expunge(found)
    found.text = "mine"
    session.bulk_save_objects([found])


def update_in_a_savepoint(session: Any, model: Any) -> None:
    with session.begin_nested():
        session.execute(update(model).where(model.id == 1).values(text="mine"))


def update_after_a_savepoint_that_failed(session: Any, model: Any) -> None:
    savepoint = session.begin_nested()
    session.execute(update(Player).values(name="undone"))
    savepoint.rollback()
    session.execute(update(model).where(model.id == 1).values(text="mine"))


@pytest.mark.parametrize(
    "write",
    [
        update_some, update_without_telling_the_session, update_and_fetch, update_by_legacy_query, update_by_keys,
        update_mappings, save_objects, update_in_a_savepoint, update_after_a_savepoint_that_failed,
        update_as_objects, update_as_objects_by_text, update_by_lambda, update_by_ddl,
        update_by_a_statement_of_the_application_s,
    ],
)  # fmt: skip
def test_p1_a_bulk_update_is_held_to_what_was_judged(board: Board, write: Write, has_rival: bool) -> None:
    save(board, write, has_rival=has_rival, may_have_no_tag=write is save_objects)


def delete_some(session: Any, model: Any) -> None:
    session.execute(delete(model).where(model.text != "nothing"))


def delete_by_legacy_query(session: Any, model: Any) -> None:
    session.query(model).filter_by(id=1).delete()


def delete_in_a_savepoint(session: Any, model: Any) -> None:
    with session.begin_nested():
        session.execute(delete(model).where(model.id == 1))


def delete_from_the_table(session: Any, model: Any) -> None:
    session.execute(model.__table__.delete().where(model.__table__.c.id == 1))


def delete_by_text(session: Any, model: Any) -> None:
    session.execute(text(f"DELETE FROM {model.__tablename__} WHERE id = 1"))


@pytest.mark.parametrize(
    "write", [delete_some, delete_by_legacy_query, delete_in_a_savepoint, delete_from_the_table, delete_by_text]
)
def test_p1_a_bulk_delete_is_held_to_what_was_judged(board: Board, write: Write, has_rival: bool) -> None:
    remove(board, write, has_rival=has_rival)


def update_the_table(session: Any, model: Any) -> None:
    session.execute(model.__table__.update().where(model.__table__.c.id == 1).values(text="mine"))


def update_an_alias_by_its_connection(session: Any, model: Any) -> None:
    session.connection().execute(update(model.__table__).values(text="mine"))


def update_many(session: Any, model: Any) -> None:
    table = model.__table__
    statement = table.update().where(table.c.id == text(":number")).values(text=text(":text"))
    session.connection().execute(statement, [{"number": 1, "text": "mine"}, {"number": 9, "text": "none"}])


def replace_in_the_table(session: Any, model: Any) -> None:
    """Take the row away and make it anew: it is another."""
    table = model.__table__
    session.execute(table.delete().where(table.c.id == 1))
    session.execute(table.insert().values(id=1, text="mine", **NEW_VERSION.get(model, {})))


def update_a_table_by_its_name_alone(session: Any, model: Any) -> None:
    session.execute(table(model.__tablename__, column("text")).update().values(text="mine"))


NEW_VERSION: dict[Any, dict[str, Any]] = {Checked: {"version": "of mine"}, Counted: {"revision": 7}}


@pytest.mark.parametrize(
    "write",
    [
        update_the_table, update_an_alias_by_its_connection, update_many, replace_in_the_table,
        update_a_table_by_its_name_alone,
    ],
)  # fmt: skip
def test_p1_a_core_statement_is_held_to_what_was_judged(any_board: Board, write: Write, has_rival: bool) -> None:
    save(any_board, write, has_rival=has_rival)


def update_by_text(session: Any, model: Any) -> None:
    session.execute(
        text(f"UPDATE {model.__tablename__} SET text = :text WHERE id = :id"), {"text": "mine", "id": 1}
    )


def update_by_text_with_a_comment(session: Any, model: Any) -> None:
    session.execute(text(f"-- select nothing\n/* nor here */ update {model.__tablename__} set text = 'mine'"))


def update_by_text_with_columns(session: Any, model: Any) -> None:
    """With the types of what it returns, which it does not do on MariaDB."""
    returning = "" if session.get_bind().dialect.name == "mysql" else "RETURNING id"
    statement = text(f"UPDATE {model.__tablename__} SET text = 'mine' {returning}")
    session.execute(statement.columns(model.id))


def update_by_a_select_of_its_own(session: Any, model: Any) -> None:
    """Whatever a text selects from: a WITH may write."""
    session.execute(text(f"UPDATE {model.__tablename__} SET text = (SELECT 'mine')"))


@pytest.mark.parametrize(
    "write",
    [
        update_by_text, update_by_text_with_a_comment, update_by_text_with_columns, update_by_a_select_of_its_own,
    ],
)  # fmt: skip
def test_p1_a_text_statement_is_held_to_what_was_judged(board: Board, write: Write, has_rival: bool) -> None:
    save(board, write, has_rival=has_rival)


def select_from_an_update(session: Any, model: Any) -> None:
    changed = update(model.__table__).values(text="mine").returning(model.__table__.c.id).cte("changed")
    assert session.scalars(select(changed.c.id)).all() == [1]


def insert_beside_an_update(session: Any, model: Any) -> None:
    changed = update(model.__table__).values(text="mine").returning(model.__table__.c.id).cte("changed")
    player = Player.__table__
    rows = select(changed.c.id + 10, text("'beside'"))
    session.execute(player.insert().from_select(["id", "name"], rows))  # type: ignore[attr-defined]


def write_by_a_text_that_begins_with_with(session: Any, model: Any) -> None:
    session.execute(
        text(
            f"WITH changed AS (UPDATE {model.__tablename__} SET text = 'mine' RETURNING id) SELECT id FROM changed"
        )
    ).all()


@pytest.mark.parametrize("model", [Checked, Counted, Memo])
@pytest.mark.parametrize(
    "write",
    [
        select_from_an_update,
        insert_beside_an_update,
        write_by_a_text_that_begins_with_with,
    ],
)
def test_p1_a_writing_cte_is_held_to_what_was_judged(
    board_on: Callable[..., Board], model: Any, write: Write, has_rival: bool
) -> None:
    save(board_on("postgresql", model), write, has_rival=has_rival)


def test_p1_an_upsert_is_held_to_what_was_judged(any_board: Board, has_rival: bool) -> None:
    def write(session: Any, model: Any) -> None:
        made = {"id": 1, "text": "made", **NEW_VERSION.get(model, {})}
        session.execute(upsert(any_board.engine, model, made, {"text": "mine"}))

    save(any_board, write, has_rival=has_rival)


def merge_another(session: Any, model: Any) -> None:
    session.merge(model(id=1, text="mine"))


def merge_unloaded(session: Any, model: Any) -> None:
    """What a cache holds is merged without a look at the database."""
    found = session.get_one(model, 1)
    session.expunge(found)
    session.merge(found, load=False).text = "mine"


@pytest.mark.parametrize("write", [change_loaded, merge_another, merge_unloaded])
def test_p1_a_merge_is_held_to_what_was_judged(any_board: Board, write: Write, has_rival: bool) -> None:
    save(any_board, write, has_rival=has_rival)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Counted])
def test_p1_a_merge_of_an_older_version_is_refused_only_if_a_rival_was_there(
    board_on: Callable[..., Board], kind: str, model: Any, has_rival: bool
) -> None:
    """Otherwise it is the view that has kept it for too long."""
    board = board_on(kind, model)
    board.has_rival = has_rival
    older: list[Any] = []

    def view(found: Any) -> None:
        board.db.session.expunge(found)
        board.meanwhile("PUT", If_Match="*")
        board.db.session.rollback()
        found.text = "mine"
        board.db.session.merge(older[0] if older else found)
        board.db.session.commit()

    if not has_rival:
        with board.app.app_context():
            older.append(board.db.session.get(model, 1))
            board.db.session.expunge_all()
            board.db.session.get_one(model, 1).text = "theirs"
            board.db.session.commit()
        with pytest.raises(StaleDataError, match="on merged state"):
            board.save(view)
        assert board.get().text == "theirs"
    else:
        answer = board.save(view)
        assert (answer.status_code, board.get().text) == (412, "theirs")
        assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [Checked, Counted])
def test_p1_a_merge_of_what_was_judged_passes(
    board_on: Callable[..., Board], kind: str, model: Any, has_rival: bool
) -> None:
    board = board_on(kind, model)

    def write(session: Any, model: Any) -> None:
        judged.text = "mine"
        session.merge(judged)

    with board.app.app_context():
        judged = board.db.session.get_one(model, 1)
    save(board, write, has_rival=has_rival)


@pytest.mark.parametrize(
    "write",
    [change_loaded, merge_another, update_some, update_in_a_savepoint],
)
def test_p1_a_second_session_is_held_to_what_was_judged(board: Board, write: Write, has_rival: bool) -> None:
    def write_there(_: Any, model: Any) -> None:
        with Session(board.engine) as another:
            write(another, model)
            another.commit()

    save(board, write_there, has_rival=has_rival, may_have_no_tag=True)


def test_p1_a_connection_of_the_view_s_own_is_held_to_what_was_judged(any_board: Board, has_rival: bool) -> None:
    def write_there(_: Any, model: Any) -> None:
        with any_board.engine.begin() as connection:
            connection.execute(update(model.__table__).values(text="mine"))

    save(any_board, write_there, has_rival=has_rival, may_have_no_tag=True)


@pytest.mark.parametrize(
    ("moment", "write"),
    [
        ("before_commit", change_loaded),
        ("before_commit", update_some),
        ("before_flush", change_loaded),
        ("before_flush", update_some),
        ("after_flush", update_some),
        ("after_flush_postexec", change_loaded),
        ("after_flush_postexec", update_some),
    ],
)
def test_p1_a_listener_of_the_commit_is_held_to_what_was_judged(
    board: Board, moment: str, write: Write, has_rival: bool
) -> None:
    def write_in_listener(session: Any, model: Any) -> None:
        def listen(*_: object) -> None:
            if moments:
                write(session, moments.pop())

        moments = [model]
        event.listen(session(), moment, listen)
        session.add(Player(id=2))

    save(board, write_in_listener, has_rival=has_rival, may_have_no_tag=write is not change_loaded)


def add_another(session: Any) -> None:
    session.add(Player(id=2))


def change_another(session: Any) -> None:
    session.get_one(Player, 1).name = "changed"


def change_another_in_bulk(session: Any) -> None:
    session.execute(update(Player).values(name="changed"))


def insert_another_and_flush(session: Any) -> None:
    session.execute(insert(Player).values(id=2, name=""))
    session.flush()


@pytest.mark.parametrize("write", [add_another, change_another, change_another_in_bulk, insert_another_and_flush])
def test_p1_what_was_judged_still_is_when_only_other_rows_are_written(
    board: Board, write: Callable[[Any], object], has_rival: bool
) -> None:
    board.has_rival = has_rival

    def view(_: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match="*")
        write(board.db.session)
        board.db.session.commit()

    def players() -> list[tuple[int, str]]:
        with Session(board.engine) as session:
            return [(player.id, player.name) for player in session.scalars(select(Player))]

    before = players()
    answer = board.save(view)
    assert answer.headers["ETag"] == board.get().headers["ETag"]
    if has_rival:
        assert (answer.status_code, board.get().text) == (412, "theirs")
        assert players() == before
    else:
        assert (answer.status_code, answer.headers["ETag"]) == (200, board.seen)
        assert players() != before
