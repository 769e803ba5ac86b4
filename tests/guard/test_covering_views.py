"""Rules 2.6, 2.8 and 3.4: views that write what belongs to the object that they were judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, String, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import (
    DynamicMapped,
    Mapped,
    Session,
    WriteOnlyMapped,
    declared_attr,
    mapped_column,
    relationship,
)

from flask_etag import require_if_match, resource
from flask_etag.sqlalchemy import Versioned, covers, touch
from tests.world.models import Base, Line, Order
from tests.world.orders import Orders
from tests.world.racing import in_thread


class Deal(Versioned, Base):
    """A parent of parts of every kind; it covers all but its minute."""

    __tablename__ = "deal"

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice: Mapped[Invoice | None] = relationship(cascade="all, delete-orphan")
    minute: Mapped[Minute | None] = relationship()
    goods: Mapped[list[Good]] = relationship()
    bids: DynamicMapped[Bid] = relationship()
    stamps: WriteOnlyMapped[Stamp] = relationship()
    origin_id: Mapped[int | None] = mapped_column(ForeignKey("deal.id"))
    origin: Mapped[Deal | None] = relationship(remote_side="Deal.id", viewonly=True)


class OfADeal:
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(String(80), default="")

    @declared_attr
    def deal_id(self) -> Mapped[int | None]:
        return mapped_column(ForeignKey("deal.id"))


class Invoice(OfADeal, Base):
    __tablename__ = "invoice"


class Minute(OfADeal, Base):
    __tablename__ = "minute"


class Good(OfADeal, Base):
    __tablename__ = "good"


class Bid(OfADeal, Base):
    __tablename__ = "bid"


class Stamp(OfADeal, Base):
    __tablename__ = "stamp"


for relation in (Deal.invoice, Deal.goods, Deal.bids, Deal.stamps):
    covers(relation)

Step = Callable[[Order, Session], Any]


def touch_it(order: Order, _: Session) -> None:
    touch(order)


def write_in_bulk(_: Order, session: Session) -> None:
    session.execute(update(Line).where(Line.order_id == 1).values(text="written"))


def write_order(order: Order, _: Session) -> None:
    order.name += "written"


def write_line(order: Order, _: Session) -> None:
    order.lines[0].text += "written"


def delete_line(order: Order, session: Session) -> None:
    session.delete(order.lines[0])


def add_line(order: Order, _: Session) -> None:
    order.lines.append(Line(id=9))


def flush(_: Order, session: Session) -> None:
    session.flush()


def commit(_: Order, session: Session) -> None:
    session.commit()


STEPS: list[tuple[Step, ...]] = [
    (touch_it,),
    (write_in_bulk, touch_it),
    (touch_it, write_in_bulk),
    (touch_it, touch_it),
    (touch_it, write_order),
    (touch_it, flush, write_order, write_line),
    (touch_it, delete_line),
    (touch_it, commit, write_order),
    (touch_it, commit, touch_it),
    (add_line, write_line),
]


@pytest.mark.parametrize("steps", STEPS, ids=lambda steps: ", ".join(step.__name__ for step in steps))
def test_a_view_may_write_what_it_was_judged_by_in_any_way(orders: Orders, steps: tuple[Step, ...]) -> None:
    def write(order: Order) -> str:
        for step in steps:
            step(order, orders.db.session())
        orders.db.session.commit()
        return ""

    serve(orders, write)
    etag = orders.etags()[0]
    answer = orders.put("", "/written/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == orders.etags()[0] != etag


def test_a_touch_that_is_rolled_back_leaves_all_as_it_was(orders: Orders) -> None:
    def write(order: Order) -> str:
        touch(order)
        orders.db.session.rollback()
        return ""

    serve(orders, write)
    etag = orders.etags()[0]
    assert orders.put("", "/written/1", if_match=etag).status_code == 200
    assert orders.etags()[0] == etag


def update_in_bulk(_: Order, session: Session) -> None:
    session.execute(update(Order).where(Order.id == 1).values(name="in bulk"))


@pytest.mark.parametrize("undone", [touch_it, add_line, update_in_bulk])
@pytest.mark.parametrize("before", [write_line, write_order])
@pytest.mark.parametrize("is_followed", [True, False])
def test_2_6_what_a_savepoint_takes_back_is_not_in_the_tag(
    orders: Orders, before: Step, undone: Step, is_followed: bool
) -> None:
    """The object has been shown the version that it had in there."""

    def write(order: Order) -> str:
        session = orders.db.session()
        before(order, session)
        savepoint = session.begin_nested()
        undone(order, session)
        session.refresh(order)
        savepoint.rollback()
        if is_followed:
            order.name = "after it"
        session.commit()
        return ""

    serve(orders, write)
    etag = orders.etags()[0]
    answer = orders.put("", "/written/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == orders.etags()[0] != etag


@pytest.mark.parametrize("undone", [touch_it, add_line])
def test_3_4_what_a_savepoint_takes_back_is_not_what_a_script_writes_next_by(orders: Orders, undone: Step) -> None:
    """Its UPDATE would name a version that the row has no more."""
    with Session(orders.engine) as session:
        order = session.get_one(Order, 1)
        savepoint = session.begin_nested()
        undone(order, session)
        session.flush()
        session.refresh(order)
        savepoint.rollback()
        order.name = "after it"
        session.commit()
        assert order.name == "after it"


def add_invoice(deal: Deal) -> None:
    deal.invoice = Invoice(text="new")


def change_invoice(deal: Deal) -> None:
    assert deal.invoice is not None
    deal.invoice.text = "changed"


def remove_invoice(deal: Deal) -> None:
    deal.invoice = None


def change_a_good_beside_a_minute(deal: Deal) -> None:
    deal.goods[0].text = "changed"
    deal.minute = Minute()


def change_a_good_beside_what_is_only_viewed(deal: Deal) -> None:
    deal.goods[0].text = "changed"
    deal.origin = deal


def add_bid(deal: Deal) -> None:
    deal.bids.append(Bid())


def add_stamp(deal: Deal) -> None:
    deal.stamps.add(Stamp())


@pytest.mark.parametrize(
    "change",
    [
        add_invoice,
        change_invoice,
        remove_invoice,
        change_a_good_beside_a_minute,
        change_a_good_beside_what_is_only_viewed,
        add_bid,
        add_stamp,
    ],
)
def test_every_kind_of_part_is_covered(orders: Orders, change: Callable[[Deal], None]) -> None:
    session = orders.db.session

    @resource
    def find_deal(deal_id: int) -> Deal | None:
        return session.get(Deal, deal_id)

    def write(deal: Deal) -> str:
        change(deal)
        session.commit()
        return ""

    orders.app.put("/deals/<int:deal_id>")(require_if_match(find_deal)(write))
    with orders.app.app_context():
        is_first = change is add_invoice
        session.add(Deal(id=1, invoice=None if is_first else Invoice(), goods=[Good()]))
        session.commit()
    etag = orders.put("", "/deals/1", if_match='"stale"').headers["ETag"]
    answer = orders.put("", "/deals/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] != etag
    assert orders.put("", "/deals/1", if_match=etag).status_code == 412


def through_another_session(orders: Orders) -> Session:
    return Session(orders.engine)


def after_a_close(orders: Orders) -> Session:
    orders.db.session.close()
    return orders.db.session()


def after_a_removal(orders: Orders) -> Session:
    orders.db.session.remove()
    return orders.db.session()


def after_an_expunge(orders: Orders) -> Session:
    orders.db.session.expunge_all()
    return orders.db.session()


@pytest.mark.parametrize("session_of", [through_another_session, after_a_close, after_a_removal, after_an_expunge])
def test_a_part_is_written_where_its_whole_is_not_loaded(
    orders: Orders, session_of: Callable[[Orders], Session]
) -> None:
    def write(_: Order) -> str:
        orders.hold("before commit")
        with session_of(orders) as session:
            session.get_one(Line, 1).text += "slow"
            session.add(Line(id=8, order_id=1))
            session.commit()
        return ""

    serve(orders, write)
    etag = orders.etags()[0]
    slow, hold = orders.held(
        "before commit", lambda: orders.put("", "/written/1", if_match=etag, hold="before commit")
    )
    assert orders.put("fast", "/orders/1", if_match=etag).status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 412
    etag = orders.etags()[0]
    answer = orders.put("", "/written/1", if_match=etag)
    assert answer.status_code == 200
    assert answer.headers["ETag"] == orders.etags()[0] != etag


@pytest.fixture
def unchecked_orders(world_on: Callable[[str], str]) -> Iterator[Orders]:
    """Orders where a line may name one that is not there: SQLite does not mind, unless it is told to."""
    orders = Orders(world_on("sqlite"))
    yield orders
    orders.close()


def test_a_part_may_outlive_the_whole_that_its_view_deletes(unchecked_orders: Orders) -> None:
    def write(order: Order) -> str:
        session = unchecked_orders.db.session
        session.delete(order)
        session.flush()
        session.add(Line(id=9, order_id=1))
        session.commit()
        session.add(Line(id=10, order_id=1))
        session.commit()
        return ""

    serve(unchecked_orders, write)
    assert unchecked_orders.put("", "/written/1", if_match=unchecked_orders.etags()[0]).status_code == 200


def test_a_part_may_outlive_the_whole_that_a_statement_deletes(unchecked_orders: Orders) -> None:
    def write(order: Order) -> str:
        session = unchecked_orders.db.session
        line = session.get_one(Line, 1)
        session.execute(sql_delete(Order).where(Order.id == 1), execution_options={"synchronize_session": False})
        line.text = "changed"
        session.commit()
        return ""

    serve(unchecked_orders, write)
    assert unchecked_orders.put("", "/written/1", if_match=unchecked_orders.etags()[0]).status_code == 200
    with Session(unchecked_orders.engine) as session:
        assert (session.get(Order, 1), session.get_one(Line, 1).text) == (None, "changed")


def test_a_whole_that_is_gone_after_its_part_has_moved_it_has_no_tag(orders: Orders) -> None:
    """As a trigger may see to; by the driver alone, nobody is told."""

    def write(order: Order) -> str:
        session = orders.db.session
        order.lines[0].text = "changed"
        session.flush()
        for statement in ("DELETE FROM line WHERE order_id = 1", "DELETE FROM order_ WHERE id = 1"):
            session.connection().exec_driver_sql(statement)
        session.commit()
        return ""

    serve(orders, write)
    answer = orders.put("", "/written/1", if_match=orders.etags()[0])
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


def test_a_part_is_not_written_where_another_deletes_its_whole(unchecked_orders: Orders) -> None:
    engine = unchecked_orders.engine

    def delete_order() -> None:
        with Session(engine) as another:
            another.execute(sql_delete(Order).where(Order.id == 1))
            another.commit()

    def write(_: Order) -> str:
        session = after_a_close(unchecked_orders)
        in_thread(delete_order)
        session.get_one(Line, 1).text = "changed"
        session.commit()
        return ""

    serve(unchecked_orders, write)
    assert unchecked_orders.put("", "/written/1", if_match=unchecked_orders.etags()[0]).status_code == 404
    with Session(unchecked_orders.engine) as session:
        assert session.get_one(Line, 1).text == ""


def serve(orders: Orders, view: Callable[[Order], str]) -> None:
    """Serve PUT /written/1 by a view of order 1."""
    orders.app.put("/written/<int:order_id>", endpoint="written")(require_if_match(orders.find_order)(view))
