"""The pages of the sample app, without a browser: their headers, what they refuse, and the unprotected route."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from sample_app import store
from tests.browser.chromium import ChromiumMissingError, chromium
from tests.sample_app.shop import NEW, POT, engine_of, opened

DEMO = "/api/products/teapot-for-two"
UNPROTECTED = "/unprotected/products/teapot-for-two"
OTHER_ORIGINS = [
    "https://evil.example", "null", "", "http://localhost:8080", "http://localhost.evil", "https://localhost",
    "http://[::1",
]  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FlaskClient]:
    with opened(f"sqlite:///{tmp_path / 'store.db'}") as client:
        client.put(DEMO, json=POT, headers=NEW)
        yield client


@pytest.mark.parametrize(
    "path",
    ["/", "/products/teapot", "/products/nothing", "/products/.", "/static/style.css", "/nothing", UNPROTECTED],
)
def test_no_page_runs_a_script_of_others_or_is_framed(shop: FlaskClient, path: str) -> None:
    answer = shop.get(path)
    answer.close()  # a file, perhaps
    headers = answer.headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] in ("no-store", "no-cache")


def test_the_api_has_no_header_of_the_pages(shop: FlaskClient) -> None:
    assert "Content-Security-Policy" not in shop.get(DEMO).headers


def test_the_catalogue_has_every_product_and_no_page_that_is_none(shop: FlaskClient) -> None:
    page = shop.get("/").text
    assert "Stoneware teapot" in page
    assert "34.50" in page
    assert 'aria-label="Pages of the catalogue"' not in page
    assert 'href="?page=1"' in shop.get("/?page=2").text
    of_query = shop.get("/?page=2&per_page=2&sort=name&q=%26").text
    assert 'href="?page=1&amp;per_page=2&amp;sort=name&amp;q=%26"' in of_query
    assert 'href="?page=3&amp;per_page=2' in shop.get("/?page=2&per_page=2").text
    assert shop.get("/?page=0").status_code == 404


def test_the_editor_has_the_tag_that_a_save_takes(shop: FlaskClient) -> None:
    etag = shop.get("/api/products/teapot").headers["ETag"].strip('"')
    assert etag in shop.get("/products/teapot").text


@pytest.mark.parametrize("sku", ["nothing", "."])
def test_where_there_is_no_product_the_page_is_404(shop: FlaskClient, sku: str) -> None:
    answer = shop.get(f"/products/{sku}")
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"


def test_what_is_typed_into_a_product_is_text_in_its_page(shop: FlaskClient) -> None:
    attack = "'\"></textarea></script><script>alert(1)</script>"
    shop.put(DEMO, json={**POT, "name": attack, "description": attack}, headers={"If-Match": "*"})
    for path in ("/", "/products/teapot-for-two"):
        assert "<script>alert" not in shop.get(path).text


def test_the_unprotected_route_takes_the_last_save(shop: FlaskClient) -> None:
    seen = shop.get(DEMO)
    first = shop.put(UNPROTECTED, json={**POT, "price": "1.00"}, headers={"If-Match": seen.headers["ETag"]})
    second = shop.put(UNPROTECTED, json={**POT, "stock": 1}, headers={"If-Match": seen.headers["ETag"]})
    assert (first.status_code, second.status_code) == (200, 200)
    assert "ETag" not in second.headers
    now = shop.get(DEMO)
    assert now.json == second.json
    assert (now.json or {})["price"] == POT["price"]
    assert (now.json or {})["updated_at"] > (seen.json or {})["updated_at"]


def test_a_tag_from_before_an_unprotected_save_is_stale(shop: FlaskClient) -> None:
    etag = shop.get(DEMO).headers["ETag"]
    shop.put(UNPROTECTED, json=POT)
    assert shop.put(DEMO, json=POT, headers={"If-Match": etag}).status_code == 412


def test_only_the_product_of_the_demonstration_is_unprotected(shop: FlaskClient) -> None:
    assert shop.put("/unprotected/products/teapot", json=POT).status_code == 404
    shop.delete(DEMO, headers={"If-Match": "*"})
    answer = shop.put(UNPROTECTED, json=POT)
    assert answer.status_code == 404
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "headers",
    [
        *[{"Origin": origin} for origin in OTHER_ORIGINS],
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_the_unprotected_route_refuses_other_sites(shop: FlaskClient, headers: dict[str, str]) -> None:
    assert shop.put(UNPROTECTED, json=POT, headers=headers).status_code == 403


def test_the_unprotected_route_takes_what_its_own_pages_send(shop: FlaskClient) -> None:
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert shop.put(UNPROTECTED, json=POT, headers=own).status_code == 200


def test_the_unprotected_route_refuses_what_the_protected_one_does(shop: FlaskClient) -> None:
    assert shop.put(UNPROTECTED, data="{}", content_type="text/plain").status_code == 415
    assert shop.put(UNPROTECTED, data="{", content_type="application/json").status_code == 400
    answer = shop.put(UNPROTECTED, json={**POT, "stock": -1})
    assert answer.status_code == 422
    assert set((answer.json or {})["errors"]) == {"stock"}


def test_the_unprotected_route_says_so_where_the_database_refuses(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    with opened(f"sqlite:///{database}?timeout=0") as client, sqlite3.connect(database) as other:
        client.put(DEMO, json=POT, headers=NEW)
        other.execute("BEGIN IMMEDIATE")
        answer = client.put(UNPROTECTED, json=POT)
        other.rollback()
        assert client.put(UNPROTECTED, json=POT).status_code == 200
    other.close()
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert "Try again" in (answer.json or {})["detail"]


def test_the_audit_finds_the_unprotected_route_and_no_other(shop: FlaskClient) -> None:
    ran = shop.application.test_cli_runner().invoke(args=["etag", "routes", "--check"])
    assert ran.exit_code == 1
    assert ran.stderr.strip() == f"Not protected: PUT {UNPROTECTED}"


def test_a_chromium_that_is_not_installed_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ChromiumMissingError), chromium():
        pass


def test_the_store_alone_has_no_pages(tmp_path: Path) -> None:
    host = Flask("host", instance_path=str(tmp_path))
    host.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'store.db'}"
    host.register_blueprint(store, url_prefix="/shop")
    client = host.test_client()
    assert client.get("/shop/products/teapot").status_code == 200
    for path in ("/", "/products/teapot", "/shop", UNPROTECTED, f"/shop{UNPROTECTED}"):
        assert client.get(path).status_code == 404
    engine_of(host).dispose()
