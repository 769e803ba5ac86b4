"""The shop's own OpenAPI document: valid, of each route, and for the place where the store is registered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from sample_app import store
from tests.sample_app.shop import engine_of, opened


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[FlaskClient]:
    with opened(f"sqlite:///{tmp_path / 'store.db'}") as shop:
        yield shop


def test_it_is_valid_and_has_each_route(shop: FlaskClient) -> None:
    answer = shop.get("/api/openapi.json")
    document = answer.json
    assert document is not None
    validate(document)
    described = {
        (f"/api{path}", method.upper())
        for path, item in document["paths"].items()
        for method in item.keys() - {"parameters"}
    }
    routed = {
        (re.sub("<(.*?)>", r"{\1}", rule.rule), method)
        for rule in shop.application.url_map.iter_rules()
        if rule.endpoint.startswith("store.") and not rule.endpoint.startswith("store.openapi")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == routed
    assert shop.get("/api/openapi.json", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_it_says_what_flask_etag_does(shop: FlaskClient) -> None:
    document = shop.get("/api/openapi.json").json
    assert document is not None
    one = document["paths"]["/products/{sku}"]
    assert "putIfMatch" in one["get"]["responses"]["200"]["links"]
    assert [each["name"] for each in one["put"]["parameters"]] == ["If-Match", "If-None-Match"]
    assert "428" in one["put"]["responses"]
    assert "428" not in document["paths"]["/products"]["post"]["responses"]


def test_its_server_is_where_the_store_is_registered(tmp_path: Path) -> None:
    for prefix in ("/shop/v2", None):
        app = Flask("own")
        app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'own.db'}"
        app.register_blueprint(store, url_prefix=prefix)
        document = app.test_client().get(f"{prefix or ''}/openapi.json").json
        assert document is not None
        assert document["servers"] == [{"url": prefix or "/"}]
        assert "412" in document["paths"]["/products/{sku}"]["put"]["responses"]
        engine_of(app).dispose()


def test_the_page_shows_it_by_files_of_its_own(shop: FlaskClient) -> None:
    page = shop.get("/openapi")
    assert page.status_code == 200
    assert 'data-url="/api/openapi.json"' in page.text
    assert "unsafe-inline" in page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in shop.get("/").headers["Content-Security-Policy"]
    linked = re.findall(r'(?:src|href)="(/static/[^"]*)"', page.text)
    assert len(linked) == 4
    for url in linked:
        with shop.get(url, buffered=True) as answer:
            assert answer.status_code == 200
