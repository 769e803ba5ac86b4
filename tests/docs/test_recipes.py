"""The recipes of the page on lost answers, on each kind of database, and under a race."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from time import sleep
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, event, insert, update
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException

from flask_etag import Decision, decided
from tests.docs import creating_once, dry_runs
from tests.world.racing import Racer, in_thread

DRY = {"Prefer": "respond-async, tx=rollback"}


def put(app: Flask, body: str, **headers: str) -> Any:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return app.test_client().put("/notes/1", json={"body": body}, headers=fields)


def is_dry(answer: Any) -> bool:
    told = answer.headers.get("Preference-Applied"), answer.headers["Cache-Control"]
    return told == ("tx=rollback", "no-store")


def test_a_dry_run_is_judged_and_answered_as_the_real_one_and_saves_nothing(dry: Flask) -> None:
    client = dry.test_client()
    tried = put(dry, "first", if_none_match="*", **DRY)
    assert (tried.status_code, tried.get_json(), "ETag" in tried.headers) == (201, {"body": "first"}, False)
    assert client.get("/notes/1").status_code == 404
    made = put(dry, "first", if_none_match="*")
    tag = made.headers["ETag"]
    assert (made.status_code, "Preference-Applied" in made.headers) == (201, False)
    tried = put(dry, "second", if_match=tag, **DRY)
    assert (tried.status_code, tried.get_json(), "ETag" in tried.headers) == (200, {"body": "second"}, False)
    deleted = client.delete("/notes/1", headers={"If-Match": tag, **DRY})
    assert (deleted.status_code, "ETag" in deleted.headers) == (204, False)
    assert is_dry(tried)
    assert is_dry(deleted)
    read = client.get("/notes/1", headers=DRY)
    assert (read.get_json(), read.headers["ETag"]) == ({"body": "first"}, tag)
    assert "Preference-Applied" not in read.headers
    assert put(dry, "second", if_match=tag).status_code == 200


def test_a_dry_run_is_refused_as_the_real_one(dry: Flask) -> None:
    old = put(dry, "first", if_none_match="*").headers["ETag"]
    new = put(dry, "second", if_match=old).headers["ETag"]
    for conditions, status in (({}, 428), ({"if_match": old}, 412), ({"if_none_match": "*"}, 412)):
        tried, real = put(dry, "x", **conditions, **DRY), put(dry, "x", **conditions)
        assert tried.status_code == real.status_code == status
        assert tried.get_json() == real.get_json()
        assert tried.headers.get("ETag") == (None if status == 428 else new)
        assert is_dry(tried)


def test_a_dry_run_that_is_overtaken_is_412(dry: Flask) -> None:
    """Another writes between the check and the flush."""
    tag = put(dry, "first", if_none_match="*").headers["ETag"]

    def overtake(*_: object) -> None:
        def write() -> None:
            with dry.app_context(), dry_runs.db.engine.begin() as connection:
                connection.execute(update(dry_runs.Note).values(version="other", body="other"))

        in_thread(write)

    event.listen(dry_runs.db.session, "before_flush", overtake, once=True)
    tried = put(dry, "second", if_match=tag, **DRY)
    assert (tried.status_code, tried.get_json()["reason"]) == (412, "stale")


def test_a_view_that_commits_by_itself_cannot_be_tried_out(dry: Flask) -> None:
    @dry.post("/notes")
    def make() -> tuple[str, int]:
        dry_runs.db.session.add(dry_runs.Note(id=1, body="made"))
        with dry_runs.db.session.begin_nested():
            pass
        dry_runs.db.session.commit()
        return "", 201

    @dry.post("/nothing")
    def nothing() -> tuple[str, int]:
        return "", 204

    client = dry.test_client()
    for url, status in (("/notes", 501), ("/nothing", 204)):
        tried = client.post(url, headers=DRY)
        assert (tried.status_code, "Preference-Applied" in tried.headers) == (status, False)
    assert client.get("/notes/1").status_code == 404
    assert client.post("/notes").status_code == 201


@pytest.mark.parametrize("answered", [200, 409])
@pytest.mark.parametrize("swallowed", [True, False], ids=["swallowed", "raised"])
def test_what_commits_past_the_session_saves_nothing_in_a_dry_run(
    dry: Flask, answered: int, swallowed: bool
) -> None:
    def by_connection() -> None:
        with dry_runs.db.engine.begin() as connection:
            connection.execute(insert(dry_runs.Note).values(id=1, version="made", body="made"))

    def by_session() -> None:
        with Session(dry_runs.db.engine) as session:
            session.add(dry_runs.Note(id=1, body="made"))
            session.commit()

    @dry.post("/tried/<any(connection, session):way>")
    def try_and_make(way: str) -> tuple[str, int]:
        dry_runs.commit_unless_dry()
        return make(way)

    @dry.post("/<any(connection, session):way>")
    def make(way: str) -> tuple[str, int]:
        with suppress(HTTPException) if swallowed else nullcontext():
            by_connection() if way == "connection" else by_session()
        return "", answered

    client = dry.test_client()
    for way in ("connection", "session"):
        tried = client.post(f"/{way}", headers=DRY)
        assert (tried.status_code, "Preference-Applied" in tried.headers) == (501, False)
        tried = client.post(f"/tried/{way}", headers=DRY)
        assert tried.status_code == (answered if swallowed else 501)
        assert ("Preference-Applied" in tried.headers) == swallowed
        assert client.get("/notes/1").status_code == 404
    assert client.post("/session").status_code == answered
    assert client.get("/notes/1").status_code == 200


def test_what_a_receiver_commits_is_not_saved_in_a_dry_run(dry: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @decided.connect_via(dry)
    def keep(_: Flask, decision: Decision) -> None:
        if decision.outcome != "accepted":
            return
        with Session(dry_runs.db.engine) as session:
            session.add(dry_runs.Note(id=2, body="kept"))
            session.commit()

    tried = put(dry, "first", if_none_match="*", **DRY)
    assert (tried.status_code, is_dry(tried)) == (201, True)
    assert [dry.test_client().get(f"/notes/{note}").status_code for note in (1, 2)] == [404, 404]
    assert "501" in caplog.text


def create(app: Flask, key: str | None, body: str = "made", user: str = "ann") -> Any:
    headers = {"User": user, **({} if key is None else {"Idempotency-Key": key})}
    return app.test_client().post("/notes", json={"body": body}, headers=headers)


def test_what_is_sent_twice_is_created_once(creating: Flask) -> None:
    first, again = create(creating, "k1"), create(creating, "k1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"] == again.headers["Location"]
    assert first.headers["ETag"] == again.headers["ETag"]
    assert create(creating, "k1", "other").status_code == 422
    assert create(creating, "k2").headers["Location"] != first.headers["Location"]
    assert create(creating, "k1", user="bob").status_code == 201
    assert create(creating, None).status_code == 400
    with creating.app_context():
        creating_once.db.session.delete(creating_once.db.session.get_one(creating_once.Note, 1))
        creating_once.db.session.commit()
    assert create(creating, "k1").status_code == (410 if first.headers["Location"].endswith("/1") else 200)


def test_what_was_deleted_is_not_answered_with_what_somebody_else_made_after_it(creating: Flask) -> None:
    """Whether the database minds foreign keys or not; and it gives no id once more."""
    mine = create(creating, "k1", "mine")
    with creating.app_context():
        creating_once.db.session.execute(delete(creating_once.Note))
        creating_once.db.session.commit()
    theirs = create(creating, "k1", "theirs", user="bob")
    assert theirs.headers["Location"] != mine.headers["Location"]
    assert create(creating, "k1", "mine").status_code == 410
    assert create(creating, "k1", "theirs", user="bob").get_json() == {"body": "theirs"}


def test_keys_and_users_are_told_apart_by_each_letter_and_may_be_long(creating: Flask) -> None:
    long = "u" * 300
    sent = [("ann", "Ab"), ("Ann", "Ab"), ("ann", "aB"), (long, "k" * 100), (long + "x", "k" * 100)]
    answers = [create(creating, key, user=user) for user, key in sent]
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.headers["Location"] for answer in answers}) == 5


def test_of_four_that_wait_for_one_that_is_rolled_back_none_is_an_error(creating: Flask) -> None:
    racers: list[Racer] = []

    def send_others(*_: object) -> None:
        racers.extend(Racer(lambda: create(creating, "k1")) for _ in range(4))
        sleep(0.5)  # they wait for the key, by then
        raise LookupError

    event.listen(creating_once.db.session, "after_flush", send_others, once=True)
    with pytest.raises(LookupError):
        create(creating, "k1")
    answers = [racer.answer() for racer in racers]
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(201) == 1
    assert set(statuses) <= {200, 201, 409}
    assert all(answer.headers["Retry-After"] == "1" for answer in answers if answer.status_code == 409)
    assert create(creating, "k1").status_code == 200


def test_of_six_at_once_one_creates(creating: Flask) -> None:
    racers = [Racer(lambda: create(creating, "k1")) for _ in range(6)]
    answers = [racer.answer() for racer in racers]
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    with creating.app_context():
        notes = creating_once.db.session.query(creating_once.Note).count()
    assert notes == 1
