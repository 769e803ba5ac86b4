"""The shop's history: what it keeps, of whom, and what is told of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete

from flask_etag.testing import race
from sample_app import create_app
from sample_app.models import ProductState, session
from tests.sample_app.shop import NEW, POT, engine_of, opened

POT_URL = "/api/products/pot"
CHANGES = f"{POT_URL}/changes"


@pytest.fixture
def shop(empty_database: Callable[[str], str]) -> Iterator[FlaskClient]:
    with opened(empty_database("sqlite")) as shop:
        yield shop


@pytest.fixture
def any_shop(empty_url: str) -> Iterator[FlaskClient]:
    """A shop on each of the databases."""
    with opened(empty_url) as shop:
        yield shop


def save(shop: FlaskClient, user: str | None = None, **members: Any) -> str:
    """Change the pot, or make it; return its ETag."""
    seen = shop.get(POT_URL)
    headers = NEW if seen.status_code == 404 else {"If-Match": seen.headers["ETag"]}
    answer = shop.put(POT_URL, json={**POT, **members}, headers=headers | ({"User": user} if user else {}))
    assert answer.status_code in (200, 201)
    return answer.headers["ETag"]


def told(shop: FlaskClient, since: str | None = None) -> list[tuple[Any, ...]]:
    answer = shop.get(CHANGES, query_string={} if since is None else {"since": since})
    assert answer.status_code == 200
    return [(each["who"], each["etag"], each["members"]) for each in answer.json or ()]


def test_it_has_who_has_changed_what_with_the_etag_of_each_state(any_shop: FlaskClient) -> None:
    made = save(any_shop, "Ann")
    raised = save(any_shop, "Bob", price="12", stock=2)
    blue = save(any_shop, price="12.00", stock=2, name="Bluer pot")
    assert save(any_shop, "Ann", price="12", stock=2, name="Bluer pot") == blue  # which changes nothing
    any_shop.delete(POT_URL, headers={"If-Match": blue, "User": "Ann"})
    assert told(any_shop) == [
        ("Ann", made, {name: [None, value] for name, value in POT.items()}),
        ("Bob", raised, {"price": ["9.90", "12.00"], "stock": [3, 2]}),
        (None, blue, {"name": ["Blue pot", "Bluer pot"]}),
        ("Ann", None, {**{name: [POT[name], None] for name in ("description",)}, "name": ["Bluer pot", None],
                       "price": ["12.00", None], "stock": [2, None]}),
    ]  # fmt: skip
    anew = save(any_shop, "Bob")
    assert [who for who, *_ in told(any_shop, blue)] == ["Ann", "Bob"]
    assert told(any_shop, anew) == []


def test_who_is_refused_can_ask_what_has_changed_since_their_etag(shop: FlaskClient) -> None:
    seen = save(shop)
    refused = shop.get(f"{POT_URL}?fields=stock").headers["ETag"]  # of another representation of the same state
    assert refused != seen
    now = save(shop, "Ann", stock=2)
    answer = shop.put(POT_URL, json={**POT, "stock": 1}, headers={"If-Match": refused, "User": "Bob"})
    assert answer.status_code == 412
    assert told(shop, refused) == told(shop, seen) == [("Ann", now, {"stock": [3, 2]})]
    assert shop.get(CHANGES, query_string={"since": '"never"'}).status_code == 404


def test_what_was_seen_under_a_key_of_before_is_found(empty_database: Callable[[str], str]) -> None:
    url = empty_database("sqlite")
    with opened(url) as shop:
        seen = save(shop)
        save(shop, "Ann", stock=2)
    config = {"ETAG_KEY": "new", "ETAG_KEY_FALLBACKS": [None], "ETAG_EPOCH": "2"}
    app = create_app({"SQLALCHEMY_DATABASE_URI": url, "TESTING": True, **config})
    assert [(who, members) for who, _, members in told(app.test_client(), seen)] == [("Ann", {"stock": [3, 2]})]
    engine_of(app).dispose()


def test_of_two_that_race_only_the_one_that_is_saved_is_in_it(any_shop: FlaskClient) -> None:
    seen = save(any_shop)

    def replace(user: str) -> Any:
        return lambda client: client.put(
            POT_URL, json={**POT, "name": user}, headers={"If-Match": seen, "User": user}
        )

    raced = race(any_shop.application, replace("Ann"), replace("Bob"))
    statuses = dict(zip(("Ann", "Bob"), [answer.status_code for answer in raced], strict=True))
    assert sorted(statuses.values()) == [200, 412]
    [winner] = [user for user, status in statuses.items() if status == 200]
    assert [(who, members) for who, _, members in told(any_shop, seen)] == [
        (winner, {"name": ["Blue pot", winner]})
    ]


def test_what_several_make_in_one_request_is_kept_of_each(any_shop: FlaskClient) -> None:
    save(any_shop)
    urls = ["/api/products/teapot", POT_URL]
    changes = [
        {"sku": url.rpartition("/")[2], "etag": any_shop.get(url).headers["ETag"], "stock": 1} for url in urls
    ]
    assert any_shop.patch("/api/products", json=changes, headers={"User": "Ann"}).status_code == 200
    stale = [{**change, "stock": 2} for change in changes]
    assert any_shop.patch("/api/products", json=stale, headers={"User": "Bob"}).status_code == 412
    for url, change in zip(urls, changes, strict=True):
        after = any_shop.get(f"{url}/changes", query_string={"since": change["etag"]}).json
        assert after is not None
        assert [(each["who"], each["members"]["stock"][1]) for each in after] == [("Ann", 1)]


def test_a_save_past_the_orm_is_in_it_too(shop: FlaskClient) -> None:
    shop.put("/api/products/teapot-for-two", json=POT, headers=NEW)
    seen = shop.get("/api/products/teapot-for-two").headers["ETag"]
    shop.put("/unprotected/products/teapot-for-two", json={**POT, "stock": 1}, headers={"User": "Bob"})
    now = shop.get("/api/products/teapot-for-two").headers["ETag"]
    changes = shop.get("/api/products/teapot-for-two/changes", query_string={"since": seen}).json or []
    told = [(change["who"], change["etag"], change["members"]) for change in changes]
    assert told == [("Bob", now, {"stock": [3, 1]})]


@pytest.mark.parametrize(("user", "who"), [("x" * 50, "x" * 40), ("  ", None), ("a\tb", None), ("é", "é")])
def test_a_name_is_cut_and_what_cannot_be_one_is_nobody(shop: FlaskClient, user: str, who: str | None) -> None:
    save(shop, user)
    assert told(shop)[0][0] == who


def test_it_shows_the_last_changes_alone(shop: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sample_app.history.MOST", 2)
    for stock in range(4):
        save(shop, stock=stock)
    assert [members for *_, members in told(shop)] == [{"stock": [1, 2]}, {"stock": [2, 3]}]
    monkeypatch.setattr(sys.modules["sample_app.pages"], "MOST", 2)  # the package has a blueprint by that name
    assert "Older changes are not shown." in shop.get("/products/pot/history").text


def test_its_page_shows_text_as_text_and_what_was_deleted(shop: FlaskClient) -> None:
    assert shop.get("/products/pot/history").status_code == 404
    etag = save(shop, "<b>Ann</b>", name="<script>alert(1)</script>")
    shop.delete(POT_URL, headers={"If-Match": etag})
    page = shop.get("/products/pot/history").text
    assert "<script>alert" not in page
    assert "<b>Ann" not in page
    assert "deleted it" in page
    assert etag.strip('"')[:6] in page


def test_a_store_from_before_it_had_a_history_begins_with_what_is_there(
    empty_database: Callable[[str], str],
) -> None:
    url = empty_database("sqlite")
    with opened(url) as shop:
        etag = shop.get("/api/products/teapot").headers["ETag"]
        with shop.application.app_context():
            session().execute(delete(ProductState))
            session().commit()
    again = create_app({"SQLALCHEMY_DATABASE_URI": url}).test_client()
    first = again.get("/api/products/teapot/changes").json
    assert first is not None
    assert [(each["who"], each["etag"]) for each in first] == [(None, etag)]
    engine_of(again.application).dispose()
