"""How many statements each kind of request sends to its database: they are counted here, and nowhere else.

What begins and ends a transaction is not counted, but for what takes SQLite's write lock by a statement.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import FetchedValue, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from flask_etag import etag_resource, resource
from flask_etag.sqlalchemy import Page
from sample_app import store
from tests.sample_app.shop import MEMO, NEW, POT, engine_of, opened
from tests.world.application import World
from tests.world.board import Board
from tests.world.listing import Listing
from tests.world.models import Base, Comment, Line, Note, Order, Paper
from tests.world.orders import Orders
from tests.world.statements import statements_of, verbs

of_the_sample_app = pytest.mark.skipif(
    metadata.version("Flask").startswith("3.0."), reason="the sample app takes what Flask 3.1 has"
)


def most_of_a_locked_write(world: World) -> int:
    """Load, hold, write, and read what was stored; on SQLite, the write lock is a statement more."""
    return 5 if world.engine.dialect.name == "sqlite" else 4


# A model with a version.


def test_a_read_of_a_versioned_row_is_one_select(world: World) -> None:
    with statements_of(world.engine) as statements:
        etag = world.etag()
        assert verbs(statements) == ["SELECT"]
        assert world.get(if_none_match=etag).status_code == 304
        assert verbs(statements) == ["SELECT"]


def test_a_write_of_a_versioned_row_is_one_select_and_one_update(world: World) -> None:
    def replace(note: Note) -> tuple[str, int]:
        note.body = "new"
        world.db.session.commit()
        return "", 204

    world.put_view(replace)
    etag = world.etag()
    with statements_of(world.engine) as statements:
        assert world.put("refused", if_match='"other"').status_code == 412
        assert verbs(statements) == ["SELECT"]
        assert world.put("", "/other/1", if_match=etag).status_code == 204
        assert verbs(statements) == ["SELECT", "UPDATE"]
        assert world.delete(if_match='"other"').status_code == 412
        assert verbs(statements) == ["SELECT"]


def test_a_write_after_a_commit_does_not_read_the_version_before(world: World) -> None:
    """Its WHERE names the one that the last write has left, and not what may be there by now."""

    def replace(note: Note) -> tuple[str, int]:
        for body in ("second", "third"):
            note.body = body
            world.db.session.commit()
        world.db.session.delete(note)
        world.db.session.commit()
        return "", 204

    world.put_view(replace)
    etag = world.etag()
    with statements_of(world.engine) as statements:
        assert world.put("", "/other/1", if_match=etag).status_code == 204
        assert ["version" in each for each in statements if each.startswith("SELECT")] == [True, False, False]


class Stamped(Base):
    """With a version that the database makes."""

    __tablename__ = "stamped_by_database"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str] = mapped_column(String(80))
    xmin: Mapped[int] = mapped_column(system=True, server_default=FetchedValue())
    __mapper_args__ = {"version_id_col": xmin, "version_id_generator": False}  # noqa: RUF012


def test_a_version_that_the_database_makes_is_read_back_by_one_select_more(
    board_on: Callable[..., Board],
) -> None:
    board = board_on("postgresql", Stamped)

    def view(found: Stamped) -> None:
        found.text = "new"
        board.db.session.commit()

    with statements_of(board.engine) as statements:
        assert board.save(view).status_code == 200
        assert verbs(statements) == ["SELECT", "SELECT", "UPDATE", "SELECT"]  # the first is that of the GET


def test_a_view_that_writes_nothing_costs_a_versioned_row_nothing_more(world: World) -> None:
    world.put_view(lambda _: "nothing was written")
    etag = world.etag()
    with statements_of(world.engine) as statements:
        assert world.put("", "/other/1", if_match=etag).status_code == 200
        assert verbs(statements) == ["SELECT"]


# A model without one.


def test_a_read_of_a_row_without_a_version_is_one_select(world: World) -> None:
    with statements_of(world.engine) as statements:
        etag = world.paper_etag()
        assert verbs(statements) == ["SELECT"]
        assert world.get_paper(if_none_match=etag).status_code == 304
        assert verbs(statements) == ["SELECT"]


def test_a_write_of_a_row_without_a_version_is_held(world: World) -> None:
    with statements_of(world.engine) as statements:
        for body in ("second", "third"):
            etag = world.paper_etag()
            verbs(statements)
            assert world.put_paper("refused", if_match='"other"').status_code == 412
            assert verbs(statements) == ["SELECT"]
            assert world.put_paper(body, if_match=etag).status_code == 200
            assert statements[0].startswith("SELECT")
            assert sum("SET body" in statement.replace("`", "") for statement in statements) == 1
            assert len(verbs(statements)) <= most_of_a_locked_write(world)


@pytest.mark.parametrize("price", [5, 5.0])
def test_what_is_stored_in_another_form_costs_nothing_more(world: World, price: Any) -> None:
    def set_price(paper: Paper) -> str:
        paper.price = price  # stored, it is Decimal("5.00")
        world.db.session.commit()
        return "done"

    world.put_paper_view(set_price)
    etag = world.paper_etag()
    with statements_of(world.engine) as statements:
        assert world.put("", "/other/plan", if_match=etag).status_code == 200
        assert len(statements) <= most_of_a_locked_write(world)


def test_a_view_that_writes_nothing_holds_a_row_without_a_version_and_no_more(world: World) -> None:
    world.put_paper_view(lambda _: "nothing was written")
    etag = world.paper_etag()
    with statements_of(world.engine) as statements:
        assert world.put("", "/other/plan", if_match=etag).status_code == 200
        assert len(statements) <= most_of_a_locked_write(world) - 2


# Other rows.


def test_a_read_without_a_guard_costs_what_the_view_costs(world: World) -> None:
    with world.app.app_context(), statements_of(world.engine) as statements:
        world.db.session.get(Comment, 1)
        world.db.session.add(Comment(body="unguarded"))
        world.db.session.commit()
        assert verbs(statements) == ["SELECT", "INSERT"]


def test_parents_are_not_loaded_and_what_does_not_change_moves_nothing(orders: Orders) -> None:
    with statements_of(orders.engine) as statements:
        with Session(orders.engine) as session:
            line = session.get_one(Line, 1)
            line.text = line.text
            session.commit()
            assert verbs(statements[:]) == ["SELECT"]
            line.text = "changed"
            session.commit()
            assert not any(isinstance(target, Order) for target in session.identity_map.values())
        assert not any("order_.name" in statement for statement in statements)


def test_covered_rows_that_are_read_with_their_whole_are_read_once(orders: Orders) -> None:
    kept: list[Line] = []

    @resource
    def find_with_lines() -> Order:
        order = orders.db.session.get_one(Order, 1)
        kept[:] = order.lines
        return order

    @orders.app.get("/with-lines")
    @etag_resource(find_with_lines)
    def read_with_lines(order: Order) -> list[str]:
        return [line.text for line in order.lines]

    with statements_of(orders.engine) as statements:
        assert orders.app.test_client().get("/with-lines").json == ["", ""]
        assert verbs(statements) == ["SELECT", "SELECT"]


# Pages.


def test_a_304_of_a_page_reads_keys_and_versions_alone(listing: Listing) -> None:
    with statements_of(listing.engine) as statements:
        etag = listing.list().headers["ETag"]
        [rows] = statements
        assert "body" in rows.partition("FROM")[0]
        statements.clear()
        assert listing.list(if_none_match=etag).status_code == 304
        [keys] = statements
        assert keys.partition(" FROM")[0] == "SELECT note.id, note.version"
        statements.clear()
        assert listing.list(if_none_match='"other"').status_code == 200
        assert verbs(statements) == ["SELECT", "SELECT"]


@pytest.mark.parametrize(("page", "reads_rows"), [(101, False), (102, True)])
def test_a_304_of_a_page_far_in_reads_its_rows(listing: Listing, page: int, reads_rows: bool) -> None:
    """To skip that many rows costs more than to read those of one page."""
    query = f"?per_page=1&page={page}"
    etag = listing.list(query).headers["ETag"]
    with statements_of(listing.engine) as statements:
        assert listing.list(query, if_none_match=etag).status_code == 304
    [read] = statements
    assert ("body" in read.partition("FROM")[0]) is reads_rows


def test_a_page_that_its_loader_has_read_is_not_read_twice(listing: Listing) -> None:
    @resource
    def find_some() -> Page[Note]:
        page = Page(listing.db.session, listing.db.select(Note).order_by(Note.id))
        assert len(page) == 5
        return page

    @listing.app.get("/some")
    @etag_resource(find_some)
    def read_some(notes: Page[Note]) -> list[int]:
        return [note.id for note in notes]

    client = listing.app.test_client()
    etag = client.get("/some").headers["ETag"]
    with statements_of(listing.engine) as statements:
        assert client.get("/some", headers={"If-None-Match": etag}).status_code == 304
        assert verbs(statements) == ["SELECT"]
        assert client.get("/some", headers={"If-None-Match": '"other"'}).status_code == 200
        assert verbs(statements) == ["SELECT"]


# The sample app.


@of_the_sample_app
def test_the_requests_of_the_store(empty_url: str) -> None:
    teapot, pot, memo = "/api/products/teapot", "/api/products/pot", "/api/documents/memo"
    with opened(empty_url) as shop, statements_of(engine_of(shop.application)) as statements:
        shop.put(memo, json=MEMO, headers=NEW)

        def sql(method: str, url: str, status: int, **options: Any) -> list[str]:
            statements.clear()
            assert shop.open(url, method=method, **options).status_code == status
            return verbs(statements)

        def etag(url: str) -> str:
            return shop.get(url).headers["ETag"]

        for url in (teapot, memo):
            tag = etag(url)
            assert sql("GET", url, 200) == ["SELECT"]
            assert sql("GET", url, 304, headers={"If-None-Match": tag}) == ["SELECT"]
            assert sql("PUT", url, 412, json=POT if url == teapot else MEMO, headers={"If-Match": '"other"'}) == [
                "SELECT"
            ]
        kept = ["INSERT"]  # into the history, which is the shop's own
        assert sql("PUT", teapot, 200, json=POT, headers={"If-Match": etag(teapot)}) == ["SELECT", "UPDATE", *kept]
        assert sql("PATCH", teapot, 200, json={"stock": 1}, headers={"If-Match": etag(teapot)}) == [
            "SELECT",
            "UPDATE",
            *kept,
        ]
        assert sql("DELETE", teapot, 204, headers={"If-Match": etag(teapot)}) == ["SELECT", "DELETE", *kept]
        assert sql("PUT", pot, 201, json=POT, headers=NEW) == ["SELECT", "INSERT", *kept]
        changed = sql("PUT", memo, 200, json={"body": "", "edits": 0}, headers={"If-Match": etag(memo)})
        assert len(changed) <= (5 if empty_url.startswith("sqlite") else 4)


@of_the_sample_app
def test_2_6_a_body_is_not_read_after_the_commit_also_in_the_session_of_a_host(tmp_path: Path) -> None:
    """An expired object would be read again, and may be the next writer's by then."""
    host = Flask("host")
    host.testing = True
    host.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'store.db'}"
    SQLAlchemy(host)
    host.register_blueprint(store, url_prefix="/x")
    client = host.test_client()
    etag = client.get("/x/products/teapot").headers["ETag"]
    with statements_of(engine_of(host)) as statements:
        assert client.put("/x/products/teapot", json=POT, headers={"If-Match": etag}).status_code == 200
        assert verbs(statements) == ["SELECT", "UPDATE", "INSERT"]  # the last one is the history's
    engine_of(host).dispose()
