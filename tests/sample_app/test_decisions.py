"""The page of the last decisions, without a browser: what is kept, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_etag import Decision
from sample_app.decisions import STEP, STEPS, Memory
from tests.sample_app.shop import NEW, POT, opened

PATH = "/api/products/pot"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FlaskClient]:
    with opened(f"sqlite:///{tmp_path / 'store.db'}") as client:
        yield client


def test_each_kind_is_counted_by_view_and_by_time(shop: FlaskClient) -> None:
    etag = shop.put(PATH, json=POT, headers=NEW).headers["ETag"]
    size = shop.get(PATH).content_length
    for _ in range(2):
        assert shop.get(PATH, headers={"If-None-Match": etag}).status_code == 304
    assert shop.put(PATH, json=POT, headers={"If-Match": '"old"'}).status_code == 412
    assert shop.put(PATH, json=POT).status_code == 428
    assert shop.get("/api/products/nowhere").status_code == 404
    told: Any = shop.get("/decisions/last").json
    assert told["rows"] == [
        {"endpoint": "products.put_product", "accepted": 1, "stale": 1, "other": 1},
        {"endpoint": "products.read_product", "served": 1, "unchanged": 2},
    ]
    assert told["totals"] == {
        "accepted": 1, "served": 1, "unchanged": 2, "stale": 1, "other": 1, "bytes": 2 * (size or 0)
    }  # fmt: skip
    assert len(told["bars"]) == STEPS
    assert sum(sum(bar.values()) for bar in told["bars"]) == 6


def test_the_page_has_the_table_without_a_script(shop: FlaskClient) -> None:
    shop.put(PATH, json=POT, headers=NEW)
    page = shop.get("/decisions").text
    assert '<th scope="row">products.put_product</th><td class="number">1</td>' in page
    assert 'aria-current="page">Decisions</a>' in page


def test_sizes_of_answers_are_not_kept_for_ever(shop: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sample_app.decisions.MOST", 2)
    for number in range(3):
        shop.put(f"{PATH}{number}", json=POT, headers=NEW)
    etags = [shop.get(f"{PATH}{number}").headers["ETag"] for number in range(3)]
    for number, etag in enumerate(etags):
        before = shop.get("/decisions/last").json
        assert shop.get(f"{PATH}{number}", headers={"If-None-Match": etag}).status_code == 304
        after = shop.get("/decisions/last").json
        assert before is not None
        assert after is not None
        assert (after["totals"]["bytes"] > before["totals"]["bytes"]) == (number > 0)


def test_what_is_old_is_shown_no_more_and_what_raced_is_told_apart(shop: FlaskClient) -> None:
    memory = Memory()
    with shop.application.test_request_context("/api/products/pot"):
        for at, decision in (
            (1_000, Decision("refused", "stale", True)),
            (1_000 + STEP, Decision("refused", "conflict", True)),
            (1_000 + STEP, Decision("reported", "missing")),
            (1_000 + STEP, Decision("replayed")),
            (1_000 + STEP, Decision("passed")),
        ):
            memory.note(decision, at)
    assert memory.summary(1_000 + STEP)["totals"] == {"raced": 2, "accepted": 2, "bytes": 0}
    assert memory.summary(1_000 + STEP)["bars"][-2:] == [{"raced": 1}, {"raced": 1, "accepted": 2}]
    assert memory.summary(1_000 + STEP * STEPS)["totals"] == {"raced": 1, "accepted": 2, "bytes": 0}
    assert memory.summary(1_000 + STEP * (STEPS + 1))["totals"] == {"bytes": 0}
