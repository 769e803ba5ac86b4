"""An application with orders, which cover their lines."""

from __future__ import annotations

from typing import Any

from flask import request
from sqlalchemy.orm import Session

from flask_etag import content_hash, etag_resource, require_if_match, resource
from tests.world.application import World
from tests.world.models import Line, Order


def dump(order: Order) -> dict[str, Any]:
    return {"name": order.name, "lines": [line.text for line in order.lines]}


class Orders(World):
    """Order 1 with the lines 1 and 2, and order 2 with none."""

    def __init__(self, url: str, config: dict[str, Any] | None = None, **engine_options: Any) -> None:
        super().__init__(url, config=config, **engine_options)
        db = self.db

        @resource
        def find_order(order_id: int) -> Order | None:
            return db.session.get(Order, order_id)

        @resource(etag=content_hash(dump))
        def find_whole_order(order_id: int) -> Order | None:
            return db.session.get(Order, order_id)

        self.find_order = find_order

        self.app.get("/orders/<int:order_id>")(etag_resource(find_order)(dump))
        self.app.get("/whole/<int:order_id>", endpoint="whole")(etag_resource(find_whole_order)(dump))

        def write_first_line(order: Order) -> dict[str, Any]:
            self.hold("before commit")
            order.lines[0].text = request.get_data(as_text=True)
            db.session.commit()
            return {}

        self.app.put("/orders/<int:order_id>")(require_if_match(find_order)(write_first_line))
        self.app.put("/whole/<int:order_id>", endpoint="write whole")(
            require_if_match(find_whole_order)(write_first_line)
        )
        with Session(self.engine) as session:
            session.add(Order(id=1, lines=[Line(id=1), Line(id=2)]))
            session.add(Order(id=2))
            session.commit()

    def etags(self, path: str = "/orders") -> list[str]:
        client = self.app.test_client()
        return [client.get(f"{path}/{number}").headers["ETag"] for number in (1, 2)]
