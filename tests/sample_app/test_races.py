"""Races in the store: rules 2.2 to 2.5, for products (a version) and documents (none), on real databases."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from flask_etag import etag_resource, resource, testing
from sample_app import create_app
from tests.sample_app.shop import MEMO, NEW, POT, engine_of, opened
from tests.world.application import World
from tests.world.models import Note

KEYS = int(os.environ.get("RACE_KEYS", "10"))
THREADS = 8
WAIT = 60  # seconds, after which a test that is stuck fails

COLLECTIONS = pytest.mark.parametrize(
    ("collection", "content", "count"),
    [("/api/products", POT, "stock"), ("/api/documents", MEMO, "edits")],
    ids=["products", "documents"],
)


@pytest.fixture
def shop(empty_url: str) -> Iterator[FlaskClient]:
    with opened(empty_url) as client:
        yield client


def race(shop: FlaskClient, *senders: Callable[[FlaskClient], TestResponse]) -> list[TestResponse]:
    """Send requests at the same moment, each in a thread of its own; return the answers, in order."""
    start = Barrier(len(senders), timeout=WAIT)

    def run(send: Callable[[FlaskClient], TestResponse]) -> TestResponse:
        client = shop.application.test_client()
        start.wait()
        return send(client)

    with ThreadPoolExecutor(len(senders)) as threads:
        return list(threads.map(run, senders, timeout=WAIT))


@COLLECTIONS
def test_2_3_of_all_that_create_one_key_at_once_one_succeeds(
    shop: FlaskClient, collection: str, content: dict[str, Any], count: str
) -> None:
    for key in range(KEYS):
        url = f"{collection}/race-{key}"

        def create(number: int, url: str = url) -> Callable[[FlaskClient], TestResponse]:
            return lambda client: client.put(url, json={**content, count: number}, headers=NEW)

        answers = race(shop, *map(create, range(THREADS)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 412: THREADS - 1}
        [winner] = [answer for answer in answers if answer.status_code == 201]
        now = shop.get(url)
        assert now.json == winner.json
        assert {answer.headers["ETag"] for answer in answers} == {now.headers["ETag"]}
        assert {(answer.json or {})["reason"] for answer in answers if answer is not winner} == {"exists"}


def test_2_3_of_all_that_post_one_sku_at_once_one_succeeds_and_the_rest_are_409(shop: FlaskClient) -> None:
    for key in range(KEYS):

        def create(number: int, sku: str = f"race-{key}") -> Callable[[FlaskClient], TestResponse]:
            return lambda client: client.post("/api/products", json={"sku": sku, **POT, "stock": number})

        answers = race(shop, *map(create, range(THREADS)))
        assert Counter(answer.status_code for answer in answers) == {201: 1, 409: THREADS - 1}
        assert {answer.content_type for answer in answers if answer.status_code == 409} == {
            "application/problem+json"
        }
        [winner] = [answer for answer in answers if answer.status_code == 201]
        assert shop.get(winner.headers["Location"]).json == winner.json


@COLLECTIONS
@pytest.mark.parametrize("order", [("update", "deletion"), ("deletion", "update")], ids=" first, ".join)
def test_2_4_of_a_deletion_and_an_update_with_one_tag_one_wins_and_its_state_stays(
    shop: FlaskClient, collection: str, content: dict[str, Any], count: str, order: tuple[str, str]
) -> None:
    url = f"{collection}/race"
    seen = {"If-Match": shop.put(url, json=content, headers=NEW).headers["ETag"]}
    send: dict[str, Callable[[FlaskClient], TestResponse]] = {
        "update": lambda client: client.put(url, json={**content, count: 99}, headers=seen),
        "deletion": lambda client: client.delete(url, headers=seen),
    }
    answers = testing.race(shop.application, *(send[each] for each in order), wait=0.2)
    answered = dict(zip(order, answers, strict=True))
    update, deletion, now = answered["update"], answered["deletion"], shop.get(url)
    if update.status_code == 200:
        assert deletion.status_code == 412
        assert deletion.headers["ETag"] == update.headers["ETag"] == now.headers["ETag"]
        assert now.json == update.json
    else:
        assert (update.status_code, deletion.status_code) == (412, 204)
        assert now.status_code == 404


@COLLECTIONS
def test_2_2_no_increment_is_lost(shop: FlaskClient, collection: str, content: dict[str, Any], count: str) -> None:
    url = f"{collection}/counter"
    shop.put(url, json={**content, count: 0}, headers=NEW)

    def increment(client: FlaskClient) -> TestResponse:
        while True:
            seen = client.get(url)
            members = {name: (seen.json or {})[name] for name in content}
            answer = client.put(
                url, json={**members, count: members[count] + 1}, headers={"If-Match": seen.headers["ETag"]}
            )
            if answer.status_code == 200:
                return answer
            assert answer.status_code == 412

    answers = race(shop, *[increment] * THREADS)
    assert sorted((answer.json or {})[count] for answer in answers) == list(range(1, THREADS + 1))
    assert len({answer.headers["ETag"] for answer in answers}) == THREADS


@COLLECTIONS
def test_of_two_that_pass_the_check_together_one_is_served(
    shop: FlaskClient, collection: str, content: dict[str, Any], count: str
) -> None:
    url = f"{collection}/counter"
    seen = {"If-Match": shop.put(url, json=content, headers=NEW).headers["ETag"]}

    def save(number: int) -> Callable[[FlaskClient], TestResponse]:
        return lambda client: client.put(url, json={**content, count: number}, headers=seen)

    answers = testing.race(shop.application, save(98), save(99), wait=0.2)
    assert {answer.status_code for answer in answers} == {200, 412}
    [winner] = [answer for answer in answers if answer.status_code == 200]
    assert shop.get(url).json == winner.json


def test_2_5_a_busy_sqlite_file_is_409(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    options = {"connect_args": {"timeout": 0.05}}
    shop_app = create_app(
        {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{file}", "SQLALCHEMY_ENGINE_OPTIONS": options, "TESTING": True}
    )
    shop = shop_app.test_client()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for answer in (
        shop.post("/api/products", json={"sku": "pot", **POT}),
        shop.put("/api/products/pot", json=POT, headers=NEW),
        shop.put("/api/documents/memo", json=MEMO, headers=NEW),
        shop.delete("/api/products/teapot", headers={"If-Match": "*"}),
    ):
        assert answer.status_code == 409
        assert answer.get_json()["reason"] in ("conflict", "busy")  # "busy" from the new write side on
    other.execute("ROLLBACK")
    other.close()
    assert shop.post("/api/products", json={"sku": "pot", **POT}).status_code == 201
    engine_of(shop_app).dispose()


def test_2_5_a_write_beside_a_sequence_that_the_database_refuses_is_409(
    world_on: Callable[[str], str], tmp_path: Path
) -> None:
    """No server error where another writer was first, not even beside what is guarded."""
    world = World(world_on("sqlite"), connect_args={"timeout": 0.05})

    @resource
    def find_notes() -> list[Note]:
        return list(world.db.session.scalars(select(Note)))

    @world.app.post("/notes")
    @etag_resource(find_notes)
    def add_note(_: list[Note]) -> str:
        world.db.session.add(Note(id=2, body="second"))
        world.db.session.commit()
        return "done"

    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert world.app.test_client().post("/notes").status_code == 409
    finally:
        other.execute("ROLLBACK")
        other.close()
        world.close()
