"""Several resources judged and written in one request: all of them, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import sleep
from typing import Any

import pytest
from flask import Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from flask_etag import (
    require_if_match,
)
from tests.world.application import World
from tests.world.models import Note, Paper
from tests.world.racing import Racer, named

TEN = range(1, 11)


class Desk(World):
    """Notes 1 to 10, with a version, and the papers 1 to 10, without; a batch of either is a list of changes."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        super().__init__(url, **engine_options)
        db = self.db

        def changes() -> list[tuple[Any, dict[str, Any]]]:
            assert isinstance(request.json, list)
            return [(change.get("etag"), {"note_id": change["id"]}) for change in request.json]

        def changes_of_papers() -> list[tuple[Any, dict[str, Any]]]:
            return [(etag, {"name": str(arguments["note_id"])}) for etag, arguments in changes()]

        def write(found: list[Any]) -> list[str]:
            """Write one by one, and answer with the ETag of each."""
            for one, change in zip(found, request.json or [], strict=True):
                one.body = change["body"]
                db.session.flush()
                self.hold("after one")
            find = self.find_paper if isinstance(found[0], Paper) else self.find_note
            etags = [str(find.etag_of(one)) for one in found]
            self.hold("before commit")
            db.session.commit()
            return etags

        self.app.patch("/notes", endpoint="notes")(require_if_match(self.find_note, each=changes)(write))
        self.app.patch("/papers", endpoint="papers")(
            require_if_match(self.find_paper, each=changes_of_papers)(write)
        )
        with Session(self.engine) as session:
            session.add_all(Note(id=number, body=str(number)) for number in TEN[1:])
            session.add_all(Paper(name=str(number), body=str(number)) for number in TEN)
            session.commit()

    def path(self, kind: str, number: int) -> str:
        return f"/{kind}/{number}"

    def etags(self, kind: str) -> list[str]:
        return [self.app.test_client().get(self.path(kind, number)).headers["ETag"] for number in TEN]

    def bodies(self, model: Any) -> list[str]:
        with Session(self.engine) as session:
            key = Note.id if model is Note else Paper.made_at
            found = session.scalars(select(model).order_by(key)).all()
            bodies = {str(getattr(one, "id", None) or one.name): one.body for one in found}
        return [bodies[str(number)] for number in TEN]

    def patch(self, kind: str, items: list[dict[str, Any]], **headers: str) -> TestResponse:
        return self.app.test_client().patch(f"/{kind}", json=items, headers=named(headers))


KINDS = pytest.mark.parametrize(("kind", "model"), [("notes", Note), ("papers", Paper)])


@pytest.fixture
def desk(world_url: str) -> Iterator[Desk]:
    desk = Desk(world_url)
    yield desk
    desk.close()


def changed(etags: list[str], body: str = "changed") -> list[dict[str, Any]]:
    return [{"id": number, "etag": etag, "body": body} for number, etag in zip(TEN, etags, strict=False)]


@KINDS
def test_what_is_as_it_was_seen_is_written_all_at_once(desk: Desk, kind: str, model: Any) -> None:
    answer = desk.patch(kind, changed(desk.etags(kind)))
    assert answer.status_code == 200
    assert "ETag" not in answer.headers
    assert desk.bodies(model) == ["changed"] * 10
    assert answer.json == desk.etags(kind)
    assert desk.patch(kind, changed(desk.etags(kind), "again")).status_code == 200


@KINDS
def test_one_stale_item_of_ten_is_named_and_nothing_is_written(desk: Desk, kind: str, model: Any) -> None:
    seen = desk.etags(kind)
    assert desk.put("winner", desk.path(kind, 7), if_match="*").status_code == 200
    before = desk.bodies(model)
    answer = desk.patch(kind, changed(seen))
    problem = answer.get_json()
    assert (answer.status_code, answer.content_type) == (412, "application/problem+json")
    assert (problem["reason"], problem["etag"]) == ("stale", None)
    assert "ETag" not in answer.headers
    key = {"note_id": 7} if kind == "notes" else {"name": "7"}
    assert problem["items"] == [{"index": 6, "reason": "stale", "etag": desk.etags(kind)[6], **key}]
    assert desk.bodies(model) == before
    retried = changed(seen)
    retried[6]["etag"] = problem["items"][0]["etag"]
    assert desk.patch(kind, retried).status_code == 200


@KINDS
def test_each_item_is_judged_as_an_if_match(desk: Desk, kind: str, model: Any) -> None:
    etags = desk.etags(kind)
    before = desk.bodies(model)
    items = changed([etags[0], f"W/{etags[1]}", etags[2].strip('"'), '"other"', "*"])
    items += [{"id": 6, "etag": 7, "body": ""}, {"id": 7, "etag": ["*"], "body": ""}]
    items += [{"id": 8, "etag": '"ō"', "body": ""}, {"id": 99, "etag": "*", "body": ""}]
    problem = desk.patch(kind, items).get_json()
    assert problem["status"] == 412
    reasons = {item["index"]: item["reason"] for item in problem["items"]}
    malformed = dict.fromkeys((2, 5, 6, 7), "malformed")
    assert reasons == {1: "weakened", 3: "stale", 8: "absent"} | malformed
    assert problem["items"][-1]["etag"] is None
    assert problem["reason"] == "weakened"
    assert desk.bodies(model) == before
    assert desk.patch(kind, changed([f'"other", {etags[0]}', "*"])).status_code == 200


def test_an_item_without_a_tag_is_428_and_named(desk: Desk) -> None:
    etags = desk.etags("notes")
    items: list[dict[str, Any]] = [
        {"id": 1, "body": ""},
        {"id": 2, "etag": etags[1], "body": ""},
        {"id": 3, "etag": "", "body": ""},
    ]
    answer = desk.patch("notes", items)
    problem = answer.get_json()
    assert (answer.status_code, problem["reason"]) == (428, "missing")
    assert problem["items"] == [
        {"index": 0, "note_id": 1, "reason": "missing"},
        {"index": 2, "note_id": 3, "reason": "missing"},
    ]
    assert desk.etags("notes") == etags


@KINDS
def test_a_race_that_one_item_loses_is_412_and_nothing_is_written(desk: Desk, kind: str, model: Any) -> None:
    """Another writer of one of them comes before the view, or has to wait for it where rows are locked."""
    seen = desk.etags(kind)
    before = desk.bodies(model)
    slow, hold = desk.held("before commit", lambda: desk.patch(kind, changed(seen), hold="before commit"))
    path = desk.path(kind, 3)
    fast = Racer(lambda: desk.put("winner", path, if_match=seen[2]))
    fast.join(0.2)
    hold.released.set()
    statuses = {slow.answer().status_code, fast.answer().status_code}
    assert statuses == {200, 412}
    if slow.answer().status_code == 200:
        assert desk.bodies(model) == ["changed"] * 10
    else:
        assert desk.bodies(model) == [*before[:2], "winner", *before[3:]]
        [item] = slow.answer().get_json()["items"]
        assert (item["index"], item["reason"], item["etag"]) == (2, "stale", fast.answer().headers["ETag"])


def serve_late(desk: Desk, items: list[tuple[str, dict[str, int]]]) -> Callable[[], TestResponse]:
    """Serve a batch whose view writes nothing before it returns: the flush that refuses is ours."""

    @desk.app.patch("/late")
    @require_if_match(desk.find_note, each=lambda: items)
    def late(found: list[Note]) -> str:
        desk.hold("before commit")
        for note in found:
            note.body = "late"
        return ""

    @desk.app.after_request
    def commit(response: Response) -> Response:
        desk.db.session.commit()
        return response

    return lambda: desk.app.test_client().patch("/late", headers={"Hold": "before commit"})


def test_a_race_for_the_items_of_a_view_that_has_not_written_yet_is_412(desk: Desk) -> None:
    """So that nobody waits for it."""
    items: list[tuple[str, dict[str, int]]] = []
    send = serve_late(desk, items)
    first, second, *_ = desk.etags("notes")
    items += [(first, {"note_id": 1}), (second, {"note_id": 2})]
    slow, hold = desk.held("before commit", send)
    assert desk.put("winner", if_match=first).status_code == 200
    hold.released.set()
    assert slow.answer().status_code == 412
    assert desk.bodies(Note)[:2] == ["winner", "2"]


def test_items_that_name_no_state_are_held_before_the_view(desk: Desk) -> None:
    send = serve_late(desk, [("*", {"note_id": 1}), ("*", {"note_id": 2})])
    slow, hold = desk.held("before commit", send)
    fast = Racer(lambda: desk.put("fast", if_match="*"))
    fast.join(0.3)
    assert fast.is_alive()
    hold.released.set()
    assert (slow.answer().status_code, fast.answer().status_code) == (200, 200)
    assert desk.bodies(Note)[:2] == ["fast", "late"]


@KINDS
def test_two_batches_in_opposite_orders_end_in_a_winner_and_a_412(desk: Desk, kind: str, model: Any) -> None:
    """Where both have written one item, each waits for the other, until the database ends one of them."""
    seen = desk.etags(kind)
    one = changed(seen[:2], "one")
    other = [{**item, "body": "other"} for item in reversed(one)]
    first, hold = desk.held("after one", lambda: desk.patch(kind, one, hold="after one"))
    second = Racer(lambda: desk.patch(kind, other))
    sleep(0.2)
    hold.released.set()
    assert {first.answer().status_code, second.answer().status_code} == {200, 412}
    winner = "one" if first.answer().status_code == 200 else "other"
    assert desk.bodies(model)[:2] == [winner, winner]


def test_after_a_part_is_committed_it_is_too_late_for_a_412(desk: Desk) -> None:
    @desk.app.patch("/parts")
    @require_if_match(desk.find_note, each=lambda: [("*", {"note_id": number}) for number in (1, 2)])
    def write_parts(found: list[Note]) -> str:
        for note in found:
            note.body = "part"
            desk.db.session.commit()
            Racer(lambda: desk.put("winner", "/notes/2", if_match="*")).answer()
        return ""

    assert desk.app.test_client().patch("/parts").status_code == 409
    assert desk.bodies(Note)[:2] == ["part", "winner"]


def test_a_commit_after_the_answer_is_told_of_once(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    @desk.app.patch("/uncommitted")
    @require_if_match(desk.find_note, each=lambda: [("*", {"note_id": 1})])
    def write(found: list[Note]) -> str:
        found[0].body = "changed"
        return ""

    assert desk.app.test_client().patch("/uncommitted").status_code == 200
    assert "its write is not committed" in caplog.text
