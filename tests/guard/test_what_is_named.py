"""Which row a URL names, and which a statement writes, where that is another than it looks like."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select, text, update
from sqlalchemy.orm.exc import StaleDataError

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from tests.world.application import World
from tests.world.board import Board, Checked, Player
from tests.world.models import Memo, Paper


def find_latest(board: Board) -> None:
    """Let the URL name whatever row has the highest key, as of a page whose revisions are kept."""
    model = board.model
    latest = select(model).order_by(model.id.desc()).limit(1)
    board.find = board.found_by(lambda number: board.db.session.scalars(latest).first())  # noqa: ARG005
    board.app.view_functions["read"] = etag_resource(board.find)(lambda each: each.text)


def add(board: Board) -> None:
    board.db.session.add(board.model(id=2, text="mine"))


def add_by_core(board: Board) -> None:
    values = {"version": "v"} if board.model is Checked else {}
    board.db.session.execute(insert(board.model.__table__).values(id=2, text="mine", **values))


def text_of(board: Board) -> tuple[str, str]:
    return ("checked (id, text, version)", "2, 'mine', 'v'") if board.model is Checked else ("memo", "2, 'mine'")


def add_by_text(board: Board) -> None:
    into, values = text_of(board)
    board.db.session.execute(text(f"INSERT INTO {into} VALUES ({values})"))


@pytest.mark.parametrize("added_by", [add, add_by_core, add_by_text])
@pytest.mark.parametrize("is_committed", [True, False])
def test_p1_a_row_that_takes_the_place_of_what_was_judged_is_refused(
    board: Board, added_by: Callable[[Board], None], is_committed: bool
) -> None:
    """Nothing is done to the row that was judged, so that two could do so at once; it is told at the first try."""
    find_latest(board)

    def view(found: Any) -> None:
        added_by(board)
        if is_committed:
            board.db.session.commit()

    with pytest.raises(RuntimeError, match="two requests could do so at once"):
        board.save(view)
    with board.app.app_context():
        assert board.db.session.scalar(select(func.count()).select_from(board.model)) == 1


def test_p3_a_row_that_takes_the_place_of_one_that_is_changed_too_has_no_tag_yet(board: Board) -> None:
    """The row that was judged is held, so that nobody else can do the same: only the tag would be another's."""
    find_latest(board)

    def view(found: Any) -> None:
        found.text = "replaced"
        add(board)
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, answer.headers.get("ETag"), board.get().text) == (200, None, "mine")


def test_p1_a_row_that_is_changed_to_take_that_place_is_refused(board: Board) -> None:
    """As where a draft is published."""
    with board.app.app_context():
        board.db.session.add(board.model(id=2, text="published"))
        board.db.session.commit()
    last = select(board.model).order_by(board.model.text.desc()).limit(1)
    board.find = board.found_by(lambda number: board.db.session.scalars(last).first())  # noqa: ARG005
    board.app.view_functions["read"] = etag_resource(board.find)(lambda each: each.text)

    def view(found: Any) -> None:
        board.db.session.get_one(board.model, 1).text = "published too"
        board.db.session.commit()

    with pytest.raises(RuntimeError, match="two requests could do so at once"):
        board.save(view)
    assert board.get().text == "published"


def test_a_loader_that_commits_is_asked_when_the_view_has_ended(board: Board) -> None:
    """Within the commit it would end the transaction that is being committed."""

    def find(number: int) -> Any:
        board.db.session.commit()
        return board.db.session.get(board.model, number)

    board.find = board.found_by(find)

    def view(found: Any) -> None:
        board.db.session.execute(update(board.model).where(board.model.id == 1).values(text="mine"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"]


@pytest.mark.parametrize("by", ["values", "ordered values"])
def test_p1_an_update_of_several_tables_is_held_by_all(board_on: Callable[..., Board], by: str) -> None:
    """MariaDB has it: the first table is not the target's."""
    board = board_on("mariadb", Checked)

    def view(found: Any) -> None:
        both = update(Player).where(Player.id == Checked.id)
        columns = {Player.name: "sold", Checked.text: "mine"}
        both = both.values(columns) if by == "values" else both.ordered_values(*columns.items())
        board.db.session.execute(both, execution_options={"synchronize_session": False})
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (200, "mine")
    assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen
    assert board.send("PUT", "/mine/1", {"If-Match": str(board.seen)}).status_code == 412


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_p3_a_row_without_a_version_that_a_trigger_writes_has_its_new_tag(
    board_on: Callable[..., Board], kind: str
) -> None:
    """As one that counts what is added to another table."""
    board = board_on(kind, Memo)
    count = "UPDATE memo SET text = 'counted' WHERE id = 1"
    made = {
        "sqlite": [f"CREATE TRIGGER counts AFTER INSERT ON player BEGIN {count}; END"],
        "mariadb": [f"CREATE TRIGGER counts AFTER INSERT ON player FOR EACH ROW {count}"],
        "postgresql": [
            f"CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {count}; RETURN NEW; END $$",
            "CREATE TRIGGER counts AFTER INSERT ON player FOR EACH ROW EXECUTE FUNCTION counted()",
        ],
    }

    def view(found: Any) -> None:
        board.db.session.add(Player(id=2))
        board.db.session.commit()

    with board.engine.begin() as connection:
        for statement in made[kind]:
            connection.exec_driver_sql(statement)
    try:
        answer = board.save(view)
        assert (answer.status_code, board.get().text) == (200, "counted")
        assert answer.headers["ETag"] == board.get().headers["ETag"] != board.seen
    finally:
        with board.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER counts" + (" ON player" if kind == "postgresql" else ""))
            if kind == "postgresql":
                connection.exec_driver_sql("DROP FUNCTION counted()")


def test_p2_what_was_made_on_another_connection_is_not_told_to_be_another_s(board: Board) -> None:
    """The request has committed it there, and cannot know what it has left."""
    into, values = text_of(board)

    def view(found: Any) -> None:
        with board.engine.begin() as connection:
            connection.execute(text(f"INSERT INTO {into} VALUES ({values})"))
        board.db.session.execute(update(board.model).where(board.model.id == 2).values(text="changed"))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, answer.get_json()["reason"], board.get(2).text) == (409, "partial", "mine")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_p3_what_another_has_changed_beside_has_no_tag_where_the_answer_cannot_show_it(
    world_on: Callable[..., str], kind: str, method: str
) -> None:
    """A view that names no state dumps before its commit; a save with that tag would overwrite the other."""
    world = World(world_on(kind))

    @etag_resource(world.find_paper)
    def view(paper: Paper) -> str:
        shown = paper.body
        with world.engine.begin() as connection:
            connection.execute(update(Paper).values(price=7))
        paper.revision += 1
        world.db.session.commit()
        return shown

    world.app.add_url_rule("/seen/<name>", "seen", view, methods=["GET", "PUT"])
    answer = world.app.test_client().open("/seen/plan", method=method)
    assert (answer.status_code, answer.headers.get("ETag")) == (200, None)
    world.close()


@pytest.mark.parametrize("is_committed", [True, False])
def test_p3_another_row_that_is_added_beside_is_no_matter(board: Board, is_committed: bool) -> None:
    def view(found: Any) -> None:
        add(board)
        found.text = "mine"
        if is_committed:
            board.db.session.commit()

    answer = board.save(view)
    assert answer.status_code == 200
    assert is_committed is (answer.headers["ETag"] == board.get().headers["ETag"])


@pytest.mark.parametrize("kind", ["sqlite", "mariadb"])
def test_p1_a_table_that_is_spelt_in_upper_case_is_the_same(board_on: Callable[..., Board], kind: str) -> None:
    """MariaDB tells them apart where the file system does: then the statement fails, and nothing is written."""
    board = board_on(kind, Checked)
    name = "CHECKED" if kind == "sqlite" else "checked"
    spelt = Table(name, MetaData(), Column("id", Integer), Column("text", String))

    def view(found: Any) -> None:
        board.meanwhile("PUT", If_Match=str(board.seen))
        board.db.session.execute(update(spelt).where(spelt.c.id == 1).values(text="mine"))
        board.db.session.commit()

    answer = board.save(view)
    assert (answer.status_code, board.get().text) == (412, "theirs")


@pytest.mark.parametrize("model", [Checked, Memo])
def test_p2_an_error_of_the_loader_makes_no_500_of_a_refusal(
    board_on: Callable[..., Board], model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """What a hook had set for the transaction, as for row level security, is gone when it is asked once more."""
    board = board_on("sqlite", model)
    is_refused: list[bool] = []

    def load(number: int) -> Any:
        if is_refused:
            raise LookupError("the setting is gone")
        return board.db.session.get(model, number)

    board.find = board.found_by(load)

    def view(found: Any) -> None:
        board.let_go()
        board.meanwhile("PUT", If_Match=str(board.seen))
        is_refused.append(True)
        found.text = "mine"
        board.db.session.commit()

    with caplog.at_level(logging.ERROR, "flask_etag"):
        answer = board.save(view)
    is_refused.clear()
    assert (answer.status_code, answer.get_json()["reason"], board.get().text) == (409, "conflict", "theirs")
    assert "the setting is gone" in caplog.text


def test_p2_what_is_done_under_a_lock_before_another_store_refuses_is_partial() -> None:
    """Nobody else can have changed it, so that the state which it meets is its own."""
    app = Flask("memos")
    ETag(app)
    memos = {"one": {"text": "first"}}

    @resource(etag=content_hash(dict), lock=lambda name: threading.Lock())  # noqa: ARG005
    def find(name: str) -> dict[str, str] | None:
        return memos.get(name)

    @app.put("/<name>")
    @require_if_match(find)
    def put(memo: dict[str, str]) -> str:
        memo["text"] = "mine"
        raise StaleDataError

    with app.app_context():
        seen = str(find.etag_of(memos["one"]))
    answer = app.test_client().put("/one", headers={"If-Match": seen})
    assert (answer.status_code, answer.get_json()["reason"]) == (409, "partial")
