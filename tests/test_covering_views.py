"""Rules 2.6, 2.8 and 3.4: views that write what belongs to the object that they were judged by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from flask_etag import require_if_match
from flask_etag.sqlalchemy import touch
from tests.test_covering import Line, Order, Orders
from tests.test_covering import orders as orders  # noqa: PLC0414 - a fixture

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


def flush(_: Order, session: Session) -> None:
    session.flush()


def commit(_: Order, session: Session) -> None:
    session.commit()


TOUCHES: list[tuple[Step, ...]] = [
    (touch_it,),
    (write_in_bulk, touch_it),
    (touch_it, write_in_bulk),
    (touch_it, touch_it),
    (touch_it, write_order),
    (touch_it, flush, write_order, write_line),
    (touch_it, delete_line),
    (touch_it, commit, write_order),
    (touch_it, commit, touch_it),
]


@pytest.mark.parametrize("steps", TOUCHES, ids=lambda steps: ", ".join(step.__name__ for step in steps))
def test_a_view_may_touch_what_it_was_judged_by(orders: Orders, steps: tuple[Step, ...]) -> None:
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


def serve(orders: Orders, view: Callable[[Order], str]) -> None:
    """Serve PUT /written/1 by a view of order 1."""
    orders.app.put("/written/<int:order_id>", endpoint="written")(require_if_match(orders.find_order)(view))
