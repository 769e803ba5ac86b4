"""What is only reported breaks nobody: the last writer wins, as it did before Flask-ETag."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
from flask import request
from sqlalchemy import delete
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session

from flask_etag import etag_resource, require_if_match
from tests.world.application import World
from tests.world.models import Line, Note, Order
from tests.world.orders import Orders
from tests.world.racing import Racer, in_thread


@pytest.fixture
def reporting(world_url: str) -> Iterator[World]:
    reporting = World(world_url, config={"ETAG_REQUIRE": "report"})

    def replace(note: Note) -> str:
        reporting.hold("before commit")
        note.body = request.get_data(as_text=True)
        reporting.db.session.commit()
        return ""

    reporting.app.put("/plain/<int:note_id>")(etag_resource(reporting.find_note)(replace))
    yield reporting
    reporting.close()


@pytest.mark.parametrize("path", ["/notes/1", "/plain/1"])
def test_of_two_versioned_writes_that_name_no_state_neither_is_refused(reporting: World, path: str) -> None:
    slow, hold = reporting.held("before commit", lambda: reporting.put("slow", path, hold="before commit"))
    fast = reporting.put("fast", path)
    hold.released.set()
    assert (slow.answer().status_code, fast.status_code) == (200, 200)
    assert reporting.body() == "slow"
    assert reporting.etag() != fast.headers["ETag"]
    assert "ETag" not in slow.answer().headers  # its answer may show the rest of what it has overwritten as it was


def test_a_read_that_writes_and_meets_another_writer_has_no_tag(reporting: World) -> None:
    """It shows what it has loaded: with the tag of what is there, its reader would overwrite the other one."""

    def count(note: Note) -> str:
        shown = note.body
        reporting.hold("before commit")
        note.body = f"{shown}, read"
        reporting.db.session.commit()
        return shown

    reporting.app.get("/counted/<int:note_id>")(etag_resource(reporting.find_note)(count))
    reader = reporting.app.test_client()
    slow, hold = reporting.held(
        "before commit", lambda: reader.get("/counted/1", headers={"Hold": "before commit"})
    )
    assert reporting.put("fast").status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 200
    assert "ETag" not in slow.answer().headers
    assert "ETag" in reader.get("/counted/1").headers


def test_of_two_locked_writes_that_name_no_state_neither_is_refused(reporting: World) -> None:
    slow, hold = reporting.held("before commit", lambda: reporting.put_paper("slow", hold="before commit"))
    fast = reporting.put_paper("fast")
    hold.released.set()
    assert (slow.answer().status_code, fast.status_code) == (200, 200)
    assert reporting.paper_body() == "slow"
    assert slow.answer().headers["ETag"] == reporting.paper_etag() != fast.headers["ETag"]


def test_one_route_alone_may_report_and_refuses_nobody_who_was_not_refused_before(world: World) -> None:
    def replace(note: Note) -> str:
        world.hold("before commit")
        note.body = request.get_data(as_text=True)
        world.db.session.commit()
        return "done"

    world.app.put("/lenient/<int:note_id>")(require_if_match(world.find_note, enforce=False)(replace))
    slow, hold = world.held("before commit", lambda: world.put("slow", "/lenient/1", hold="before commit"))
    fast = world.put("fast", "/lenient/1")
    hold.released.set()
    assert (slow.answer().status_code, fast.status_code) == (200, 200)
    assert world.body() == "slow"
    assert world.put("refused", "/lenient/1", if_match='"stale"').status_code == 412
    assert world.put("refused").status_code == 428


@pytest.mark.parametrize(("how", "status"), [("get", 409), ("refresh", 200)])
def test_a_view_that_reads_its_row_again_under_a_lock(reporting: World, how: str, status: int) -> None:
    """SQLAlchemy's ``get()`` compares versions then, and ``refresh()`` does not."""

    def add(note: Note) -> str:
        in_thread(lambda: reporting.put("another"))
        if how == "get":
            reporting.db.session.get(Note, 1, with_for_update=True)
        else:
            reporting.db.session.refresh(note, with_for_update=True)
        note.body += ", and more"
        reporting.db.session.commit()
        return ""

    reporting.put_view(add)
    assert reporting.put("", "/other/1").status_code == status
    assert reporting.body() == ("another" if status == 409 else "another, and more")


def test_who_names_a_state_is_guarded_all_the_same(
    world_on: Callable[[str], str],
) -> None:
    world = World(world_on("postgresql"), config={"ETAG_REQUIRE": "report"})
    etag = world.etag()
    slow, hold = world.held("before commit", lambda: world.put("slow", if_match=etag, hold="before commit"))
    fast = Racer(lambda: world.put("fast"))
    assert fast.answer().status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 412
    assert world.body() == "fast"
    world.close()


def test_what_another_has_deleted_is_not_there_any_more(reporting: World) -> None:
    """SQLAlchemy's own version finds no row: without a guard that would be an error of the server."""
    slow, hold = reporting.held("before commit", lambda: reporting.put("slow", hold="before commit"))
    assert reporting.delete().status_code == 204
    hold.released.set()
    assert slow.answer().status_code == 404
    assert reporting.get().status_code == 404


def test_what_belongs_to_a_row_that_another_has_deleted_is_let_pass(world_url: str) -> None:
    """A part is written, and there is no whole any more whose version it could move."""
    orders = Orders(world_url, config={"ETAG_REQUIRE": "report"})

    def delete_the_order() -> None:
        with Session(orders.engine) as rival:
            rival.execute(delete(Line))
            rival.execute(delete(Order).where(Order.id == 1))
            rival.commit()

    def remove_a_line(order: Order) -> str:
        del order.lines[0]
        in_thread(delete_the_order)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # "expected to delete 1 row(s)", as without Flask-ETag
            orders.db.session.commit()
        return "removed"

    orders.app.delete("/lines/<int:order_id>")(require_if_match(orders.find_order)(remove_a_line))
    answer = orders.app.test_client().delete("/lines/1")
    assert (answer.status_code, answer.text) == (200, "removed")
    assert "ETag" not in answer.headers
    orders.close()
