"""How long a cache in front shows an old state after a write was accepted; the settings are those of the page."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any, cast

import pytest
from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_etag import etag_resource, require_if_match, resource
from tests import ROOT
from tests.servers import proxies, unavailable
from tests.world.models import Base, Line, Order
from tests.world.racing import WAIT

PAGE = (ROOT / "docs" / "caches.md").read_text()
BLOCKS = dict(re.findall(r"^<!-- ([a-z-]+) -->\n```\w+\n(.+?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SLOWEST = 3  # seconds that a read may take, here
SECOND = 1


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


class Shop:
    """Orders and their lines, with the recipe of the page.

    :ivar reads: how often the view that reads an order has run.
    :ivar began: set when a read has seen the order.
    :ivar may_end: set where it may answer.
    :ivar timers: the purges that are to come.
    """

    def __init__(self, url: str, cache_control: str | None = None) -> None:
        self.recipe: dict[str, Any] = {"__name__": "shop"}
        exec(BLOCKS["purge"], self.recipe)  # noqa: S102 - our own page
        self.recipe["SLOWEST"] = SLOWEST
        self.recipe["Timer"] = self._timer
        self.timers: list[Timer] = []
        self.app = cast(Flask, self.recipe["app"])
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        db = SQLAlchemy(self.app, model_class=Base, session_options={"expire_on_commit": False})
        self.reads = 0
        self.began, self.may_end = Event(), Event()
        self.may_end.set()
        with self.app.app_context():
            Base.metadata.create_all(db.engine)
            db.session.add(Order(id=1, name="0", lines=[Line(id=1, text="0")]))
            db.session.commit()

        def fields(order: Order) -> dict[str, str]:
            fields: dict[str, str] = self.recipe["fields_of"](order)
            return fields if cache_control is None else {**fields, "Cache-Control": cache_control}

        @resource(headers=fields)
        def find_order(order_id: int) -> Order:
            return db.get_or_404(Order, order_id)

        @resource
        def find_order_of_line(order_id: int, line_id: int) -> Order:
            return find_order(order_id)

        @self.app.get("/orders/<int:order_id>")
        @etag_resource(find_order)
        def read(order: Order) -> dict[str, Any]:
            self.reads += 1
            shown = {"name": order.name, "lines": [line.text for line in order.lines]}
            self.began.set()
            assert self.may_end.wait(WAIT)
            return shown

        @self.app.put("/orders/<int:order_id>")
        @require_if_match(find_order)
        def rename(order: Order) -> str:
            order.name = request.json["text"]
            db.session.commit()
            return ""

        @self.app.put("/orders/<int:order_id>/lines/<int:line_id>")
        @require_if_match(find_order_of_line)
        def change_line(order: Order, order_id: int, line_id: int) -> str:
            db.session.get_one(Line, line_id).text = request.json["text"]
            db.session.commit()
            return ""

    def _timer(self, *arguments: Any) -> Timer:
        self.timers.append(Timer(*arguments))
        return self.timers[-1]

    def end_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
            timer.join(WAIT)

    @contextmanager
    def serving(self) -> Iterator[int]:
        server = make_server("127.0.0.1", 0, self.app, threaded=True, request_handler=Quiet)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.port
        finally:
            server.shutdown()
            thread.join(WAIT)
            server.server_close()


class Front:
    """A client of what is in front."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind = kind
        self.port = port

    def send(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str, Any]:
        """Send a request; return the status, the tag, and what came."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=WAIT)
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", **{key.replace("_", "-"): headers[key] for key in headers}}
        connection.request(method, path, content, sent)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        assert self.kind != "varnish" or answer.getheader("xkey") is None
        return answer.status, answer.getheader("ETag") or "", json.loads(text) if text[:1] == b"{" else text

    def read(self) -> Any:
        return self.send("GET", "/orders/1")[2]

    def write(self, path: str, text: str) -> None:
        """Write with the tag that is shown, again where that is old: no cache makes a stale write pass."""
        deadline = time.monotonic() + WAIT
        while True:
            etag = self.send("GET", "/orders/1")[1]
            status, *_ = self.send("PUT", path, {"text": text}, If_Match=etag)
            if status == 200:
                return
            assert status == 412
            assert time.monotonic() < deadline

    def stale_for(self, is_new: Callable[[Any], bool]) -> float:
        """Return for how many seconds what is shown is not what was written."""
        start = time.monotonic()
        last = start
        while not is_new(self.read()):
            last = time.monotonic()
            assert last < start + WAIT
        return last - start


def front(stack: ExitStack, kind: str, shop: Shop) -> Front:
    behind = stack.enter_context(shop.serving())
    start, settings = {
        "varnish": (proxies.varnish, BLOCKS["varnish-keys"]),
        "nginx": (proxies.nginx, BLOCKS["nginx-fresh"]),
    }[kind]
    try:
        port = stack.enter_context(start(settings, behind))
    except proxies.FrontEndMissingError:
        unavailable(kind, f"apt-get install {kind} varnish-modules")
    stack.callback(shop.end_timers)
    shop.recipe["VARNISH"] = "127.0.0.1", port
    return Front(kind, port)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'orders.db'}"


PATHS = ["/orders/1", "/orders/1/lines/1"]


def shows(path: str, text: str) -> Callable[[Any], bool]:
    return lambda shown: text in (shown["lines"] if "lines" in path else [shown["name"]])


def test_what_varnish_keeps_is_dropped_before_a_write_is_answered(url: str) -> None:
    """Also a covered child's."""
    shop = Shop(url)
    longest = 0.0
    with ExitStack() as stack:
        client = front(stack, "varnish", shop)
        for number in range(1, 31):
            path = PATHS[number % 2]
            client.write(path, str(number))
            longest = max(longest, client.stale_for(shows(path, str(number))))
        before = shop.reads
        for _ in range(10):
            client.read()
        assert shop.reads <= before + 1
    print(f"{longest:.2f} s")  # noqa: T201 - what the page says
    assert longest == 0


def test_what_a_slow_read_brings_after_the_purge_is_dropped_by_the_second_one(url: str) -> None:
    shop = Shop(url)
    with ExitStack() as stack:
        client = front(stack, "varnish", shop)
        _, etag, _ = client.send("GET", "/orders/1")
        client.send("PURGE", "/", xkey_purge="order-1")
        shop.began.clear()
        shop.may_end.clear()
        slow = Thread(target=client.read)
        slow.start()
        assert shop.began.wait(WAIT)
        status, *_ = client.send("PUT", "/orders/1", {"text": "new"}, If_Match=etag)
        written = time.monotonic()
        assert status == 200
        shop.may_end.set()
        slow.join(WAIT)
        assert client.read()["name"] == "0"  # and would be, for as long as s-maxage says
        client.stale_for(shows("/orders/1", "new"))
        stale = time.monotonic() - written
    print(f"{stale:.2f} s")  # noqa: T201 - what the page says
    assert stale < SLOWEST + SECOND


def test_what_nginx_keeps_is_old_for_a_second_at_most(url: str) -> None:
    shop = Shop(url, cache_control="public, max-age=1")
    shop.recipe["purge"] = print
    longest = 0.0
    with ExitStack() as stack:
        client = front(stack, "nginx", shop)
        for number in range(1, 9):
            path = PATHS[number % 2]
            client.write(path, str(number))
            longest = max(longest, client.stale_for(shows(path, str(number))))
        assert shop.reads < 40
    print(f"{longest:.2f} s")  # noqa: T201 - what the page says
    assert longest < 2 + SECOND
