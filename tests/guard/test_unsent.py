"""What a view has not sent yet, where its loader is asked again meanwhile."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response, after_this_request, request
from sqlalchemy import JSON, ForeignKey, create_engine, insert, select
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    declared_attr,
    mapped_column,
    relationship,
)

from flask_etag import require_if_match, resource
from flask_etag.sqlalchemy.unsent import leaving_unsent
from tests.world.board import Board, Checked, Player, row_of
from tests.world.models import Line, Memo, Order
from tests.world.orders import Orders
from tests.world.racing import in_thread
from tests.world.upserts import upsert

Loader = Callable[[Board, int], Any]


def load_anew(board: Board, number: int) -> Any:
    return board.db.session.get(board.model, number, populate_existing=True)


def expire_and_load(board: Board, number: int) -> Any:
    board.db.session.expire_all()
    return board.db.session.get(board.model, number)


def load_from_cache(board: Board, number: int) -> Any:
    """Answer with what was there at first."""
    kept = board.app.config.get("KEPT")
    if kept is None:
        return board.db.session.get(board.model, number)
    return board.db.session.merge(pickle.loads(kept), load=False)  # noqa: S301 - it is our own


def keep(board: Board) -> None:
    with board.app.app_context():
        board.app.config["KEPT"] = pickle.dumps(board.db.session.get(board.model, 1))


def commit_later(board: Any) -> None:
    """Have ``after_request`` commit whatever there is, as some applications do."""

    @after_this_request
    def commit(response: Response) -> Response:
        board.db.session.commit()
        return response


LOADERS = [load_anew, expire_and_load, load_from_cache]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("model", [Checked, Memo])
@pytest.mark.parametrize("database", ["sqlite", "postgresql", "mariadb"])
def test_2_11_an_answer_that_is_no_2xx_loses_nothing_that_is_committed_after_it(
    board_on: Callable[..., Board], database: str, model: Any, load: Loader
) -> None:
    """The view has written another row of the table, so that it is seen to what the URL names by then."""
    board = board_on(database, model)
    board.find = board.found_by(lambda number: load(board, number))
    if load is load_from_cache:
        keep(board)

    def view(found: Any) -> tuple[str, int]:
        board.db.session.add(board.model(id=3, text="another"))
        board.db.session.flush()
        found.text = "mine"
        commit_later(board)
        return "perhaps", 400

    assert board.save(view).status_code == 400
    assert (board.get(1).text, board.get(3).text) == ("mine", "another")


@pytest.mark.parametrize("load", [load_anew, expire_and_load])
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_11_nor_does_a_view_that_creates_while_it_runs(world_url: str, model: Any, load: Loader) -> None:
    """Before a statement that may overwrite what another has made, the loader is asked whether one has."""
    board = Board(world_url, model)
    board.find = board.found_by(lambda number: load(board, number))

    def view(found: Any) -> None:
        player = board.db.session.get_one(Player, 1)
        with board.db.session.no_autoflush:
            player.name = "mine"
            board.db.session.execute(upsert(board.engine, model, row_of(board, 2), None))
        board.db.session.commit()

    answer = board.save(view, 2, create=True, If_None_Match="*")
    assert (answer.status_code, board.get(2).text) == (200, "mine")
    with board.app.app_context():
        assert board.db.session.scalar(select(Player.name)) == "mine"
    board.close()


@pytest.mark.parametrize("load", [load_anew, expire_and_load])
def test_2_11_a_list_that_is_changed_stays_so(orders: Orders, load: Any) -> None:
    session = orders.db.session

    @resource
    def find(order_id: int) -> Any:
        if load is expire_and_load:
            session.expire_all()
        return session.get(Order, order_id, populate_existing=True)

    def view(order: Order) -> tuple[str, int]:
        session.execute(insert(Order).values(id=3, name="another", version="v"))
        del order.lines[0]
        order.lines.append(Line(id=9, text="mine"))
        commit_later(orders)
        return "perhaps", 400

    orders.app.put("/mine/<int:order_id>")(require_if_match(find)(view))
    answer = orders.app.test_client().put("/mine/1", headers={"If-Match": orders.etags()[0]})
    assert answer.status_code == 400
    with Session(orders.engine) as own:
        assert [line.id for line in own.get_one(Order, 1).lines] == [2, 9]


def test_2_11_what_a_loader_has_committed_itself_is_not_unsent_any_more(board_on: Callable[..., Board]) -> None:
    """It ends the transaction, in which the change was sent: nothing is put back."""
    board = board_on("sqlite", Checked)
    begun: list[bool] = []

    def load(number: int) -> Any:
        if begun:
            board.db.session.commit()
        return board.db.session.get(Checked, number)

    board.find = board.found_by(load)

    def view(found: Any) -> None:
        player = board.db.session.get_one(Player, 1)
        with board.db.session.no_autoflush:
            player.name = "mine"
            begun.append(True)
            board.db.session.execute(upsert(board.engine, Checked, row_of(board, 2), None))
            begun.clear()
        seen.append(player in board.db.session.dirty)
        board.db.session.commit()

    seen: list[bool] = []
    assert board.save(view, 2, create=True, If_None_Match="*").status_code == 200
    assert seen == [False]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_2_11_a_cache_that_is_older_than_what_the_request_has_left_breaks_no_commit(
    board_on: Callable[..., Board], database: str
) -> None:
    """SQLAlchemy's merge() refuses an older version, which the loader of a decorated view is not to blame for."""
    board = board_on(database, Checked)
    board.find = board.found_by(lambda number: load_from_cache(board, number))
    keep(board)

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.add(Checked(id=3, text="another"))
        board.db.session.commit()

    assert board.save(view).status_code == 200
    with board.app.app_context():
        assert board.db.session.scalars(select(Checked.text).order_by(Checked.id)).all() == ["mine", "another"]


@pytest.mark.parametrize("is_sent", [True, False])
@pytest.mark.parametrize("has_hook", [True, False])
@pytest.mark.parametrize("model", [Checked, Memo])
def test_2_8_nothing_that_a_hook_has_written_is_lost_by_beginning_anew(
    world_url: str, model: Any, has_hook: bool, is_sent: bool
) -> None:
    """Another writer comes between the load and the lock: the request is rolled back, and judged again."""
    board = Board(world_url, model)
    loads: list[int] = []

    def load(number: int) -> Any:
        found = board.db.session.get(model, number)
        loads.append(number)
        if request.path.startswith("/mine") and len(loads) == 1 and board.engine.dialect.name != "sqlite":
            in_thread(lambda: write_as_another(board))
        return found

    @board.app.before_request
    def write_down() -> None:
        if has_hook and request.path.startswith("/mine"):
            board.db.session.add(Player(id=7, name="by a hook"))
            if is_sent:
                board.db.session.flush()

    def view(found: Any) -> None:
        found.text = "mine"
        board.db.session.commit()

    board.find = board.found_by(load)
    answer = board.save(view, If_Match="*")
    is_met = board.engine.dialect.name != "sqlite"  # whose file the hook has locked
    assert answer.status_code == (409 if is_met and has_hook else 200)
    with board.app.app_context():
        is_there = board.db.session.get(Player, 7) is not None
        assert is_there == (has_hook and answer.status_code == 200)
    assert board.get().text == ("theirs" if answer.status_code == 409 else "mine")
    board.close()


def write_as_another(board: Board) -> None:
    with Session(board.engine) as session:
        session.get_one(board.model, 1).text = "theirs"
        session.commit()


class Apart(DeclarativeBase):
    pass


class Owner(Apart):
    """With an attribute of each kind that can be changed."""

    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column()
    notes: Mapped[dict[str, int]] = mapped_column(MutableDict.as_mutable(JSON))
    later: Mapped[str] = mapped_column(deferred=True)
    listed: Mapped[set[Listed]] = relationship(cascade="all, delete-orphan")
    written: WriteOnlyMapped[Written] = relationship(cascade="all, delete-orphan", passive_deletes=True)
    queried: DynamicMapped[Queried] = relationship(cascade="all, delete-orphan")
    single: Mapped[Single | None] = relationship(cascade="all, delete-orphan")


class Owned:
    id: Mapped[int] = mapped_column(primary_key=True)

    @declared_attr
    def owner_id(self) -> Mapped[int]:
        return mapped_column(ForeignKey("owner.id"))


class Listed(Owned, Apart):
    __tablename__ = "listed_part"


class Written(Owned, Apart):
    __tablename__ = "written_part"


class Queried(Owned, Apart):
    __tablename__ = "queried_part"


class Single(Owned, Apart):
    __tablename__ = "single_part"


@pytest.mark.parametrize(
    "load",
    [
        lambda session, owner: session.expire_all(),  # noqa: ARG005
        lambda session, owner: session.expire(owner),
        lambda session, owner: session.refresh(owner),
        lambda session, owner: session.get(Owner, owner.id, populate_existing=True),
    ],
    ids=["expire all", "expire", "refresh", "populate"],
)
def test_2_11_whatever_is_changed_stays_so(load: Callable[[Session, Owner], object]) -> None:
    engine = create_engine("sqlite://")
    Apart.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Owner(id=1, name="a", notes={"a": 1}, later="a", listed={Listed(id=1)}, single=Single(id=1)))
        session.commit()
        owner = session.get_one(Owner, 1)
        owner.listed, owner.single = {Listed(id=2)}, None
        owner.notes["b"], owner.later = 2, "b"
        owner.written.add(Written(id=2))
        owner.queried.append(Queried(id=2))

        with leaving_unsent(session):
            load(session, owner)
            assert session.get(Owner, 1) is owner

        owner.listed.add(Listed(id=3))
        owner.notes["c"] = 3
        session.commit()
        assert (owner.notes, owner.later, owner.single) == ({"a": 1, "b": 2, "c": 3}, "b", None)
        assert {each.id for each in owner.listed} == {2, 3}
        assert [each.id for each in (*session.scalars(owner.written.select()), *owner.queried)] == [2, 2]
    engine.dispose()
