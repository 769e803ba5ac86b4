"""The store's start: in applications of any kind, and under any prefix."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from flask import Flask, abort
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite

from flask_etag import ETag
from sample_app import create_app, store
from sample_app.models import Product
from tests.sample_app.shop import MEMO, NEW, POT, engine_of, opened


def check_store(host: Flask, prefix: str) -> None:
    """Read, create, replace and delete through a store that is registered under a prefix."""
    client = host.test_client()
    assert len(client.get(f"{prefix}/products").json or []) == 4
    created = client.post(f"{prefix}/products", json={"sku": "pot", **POT})
    assert created.headers["Location"] == f"{prefix}/products/pot"
    read = client.get(created.headers["Location"])
    assert read.json == created.json
    stale = {"If-Match": read.headers["ETag"]}
    assert client.put(f"{prefix}/products/pot", json={**POT, "stock": 0}, headers=stale).status_code == 200
    assert client.put(f"{prefix}/products/pot", json=POT, headers=stale).status_code == 412
    assert client.put(f"{prefix}/documents/memo", json=MEMO, headers=NEW).status_code == 201
    answer = client.put(f"{prefix}/documents/memo", json={**MEMO, "edits": 2}, headers={"If-Match": "*"})
    assert answer.status_code == 200
    assert answer.headers["ETag"] == client.get(f"{prefix}/documents/memo").headers["ETag"]
    assert client.delete(f"{prefix}/documents/memo", headers={"If-Match": "*"}).status_code == 204


def test_any_application_can_register_the_store_under_any_prefix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    host = Flask("host", instance_path=str(tmp_path))
    host.testing = True
    host.register_blueprint(store, url_prefix="/shop/v1")
    check_store(host, "/shop/v1")
    assert (tmp_path / "store.db").exists()
    assert (host.test_client().post("/shop/v1/products/pot").json or {})["status"] == 405
    assert host.test_client().get("/shop").mimetype == "text/html"
    engine_of(host).dispose()


def test_the_store_goes_without_a_prefix_and_leaves_the_rest_of_its_application_alone(tmp_path: Path) -> None:
    host = Flask("host")
    host.testing = True
    host.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path / 'store.db'}"
    ETag(host)
    host.register_blueprint(store)
    host.register_error_handler(404, lambda _: ("the host's own", 404))
    host.register_error_handler(412, lambda _: ("the host's own", 412))
    host.get("/gone")(lambda: abort(410))
    client = host.test_client()
    assert client.get("/nothing").text == "the host's own"
    assert client.get("/gone").mimetype == "text/html"
    assert client.put("/products/teapot", json=POT, headers={"If-Match": '"stale"'}).text == "the host's own"
    assert client.post("/products", json={}).mimetype == "application/problem+json"
    engine_of(host).dispose()


def test_an_application_may_have_flask_sqlalchemy_and_an_etag_of_its_own(empty_url: str) -> None:
    host = Flask("host")
    host.testing = True
    host.config["SQLALCHEMY_DATABASE_URI"] = empty_url
    db = SQLAlchemy(host)
    host.config["ETAG_CACHE_CONTROL"] = "no-cache"
    ETag(host)
    host.register_blueprint(store, url_prefix="/x")
    check_store(host, "/x")
    assert host.test_client().get("/x/products").headers["Cache-Control"] == "no-cache"
    with host.app_context():
        assert db.session.get(Product, "pot") is not None
    engine_of(host).dispose()


def test_an_application_may_have_flask_sqlalchemy_lite(empty_url: str) -> None:
    host = Flask("host")
    host.testing = True
    host.config["SQLALCHEMY_ENGINES"] = {"default": empty_url}
    SQLAlchemyLite(host)
    host.register_blueprint(store, url_prefix="/x")
    check_store(host, "/x")
    engine_of(host).dispose()


def test_the_store_can_be_registered_twice_and_in_memory() -> None:
    host = create_app({"SQLALCHEMY_DATABASE_URI": "sqlite://", "TESTING": True})
    host.register_blueprint(store, url_prefix="/again", name="again")
    check_store(host, "/again")
    assert (host.test_client().get("/again/nothing").json or {})["status"] == 404
    assert host.test_client().get("/api/products/pot").status_code == 200


@pytest.mark.parametrize(
    ("environment", "config", "file"),
    [
        ({"DATABASE_URL": "first"}, None, "first"),
        ({"DATABASE_URL": "first", "FLASK_SQLALCHEMY_DATABASE_URI": "second"}, None, "second"),
        ({"FLASK_SQLALCHEMY_DATABASE_URI": "second"}, "third", "third"),
    ],
)
def test_the_database_is_the_one_that_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], config: str | None, file: str
) -> None:
    for name in ("DATABASE_URL", "FLASK_SQLALCHEMY_DATABASE_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, f"sqlite:///{tmp_path / value}")
    shop = create_app({} if config is None else {"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / config}"})
    assert [path.name for path in tmp_path.iterdir()] == [file]
    engine_of(shop).dispose()


def test_configuration_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_ETAG_REQUIRE", "report")
    with opened(f"sqlite:///{tmp_path / 'store.db'}") as shop:
        assert shop.put("/api/products/teapot", json=POT).status_code == 200
        assert shop.put("/api/products/pot", json=POT).status_code == 201


def test_a_second_start_leaves_the_store_as_it_is(empty_url: str) -> None:
    with opened(empty_url) as shop:
        shop.put("/api/products/teapot", json=POT, headers={"If-Match": "*"})
        shop.delete("/api/products/lantern", headers={"If-Match": "*"})
        before = shop.get("/api/products")
    with opened(empty_url) as shop:
        after = shop.get("/api/products")
        assert after.json == before.json
        assert after.headers["ETag"] == before.headers["ETag"]


def test_who_starts_it_by_hand_sees_in_the_terminal_what_becomes_of_each_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
    log = logging.getLogger("flask_etag")
    level, handlers = log.level, list(log.handlers)
    app = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/shop.db"})
    try:
        said = io.StringIO()
        [handler] = [each for each in log.handlers if each not in handlers]
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(said)
        assert app.test_client().put("/api/products/teapot", json=POT).status_code == 428
        assert "missing" in said.getvalue()
    finally:
        log.setLevel(level)
        log.handlers[:] = handlers
        engine_of(app).dispose()
