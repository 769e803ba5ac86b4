"""The other three of the kit: what is not protected, what is written without a guard, and what the RFCs ask."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, insert, update

from flask_etag.testing import Case, assert_protected, conformance, unguarded_writes
from sample_app import create_app
from tests import ROOT
from tests.client.papers import serving
from tests.kit.counters import URL, Kept, counting
from tests.sample_app.shop import engine_of
from torture import peers

POT = {"name": "Pot", "description": "Round.", "price": "3", "stock": 9}
CLAUSES = 30


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'counters.db'}"


@pytest.fixture
def shop_app(tmp_path: Path) -> Iterator[Flask]:
    app = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'shop.db'}", "TESTING": True})
    yield app
    engine_of(app).dispose()


def failed(cases: list[Case]) -> list[str]:
    return [case.name for case in cases if case.passed is False]


@pytest.mark.parametrize("path", ["/api/products/teapot", "/api/documents/memo"])
def test_ours_does_all_that_is_asked(shop_app: Flask, path: str) -> None:
    if "documents" in path:
        body: dict[str, Any] = {"body": "Buy clay.", "edits": 1}
        shop_app.test_client().put(path, json={"body": "", "edits": 0}, headers={"If-None-Match": "*"})
    else:
        body = POT
    before = shop_app.test_client().get(path).get_json()
    cases = list(conformance(shop_app, path, body))
    assert failed(cases) == []
    assert len([case for case in cases if case.passed]) >= CLAUSES
    after = shop_app.test_client().get(path).get_json()
    assert {**after, "updated_at": None} == {**before, "updated_at": None}


@pytest.mark.parametrize("kind", ["versioned", "unversioned", "async"])
def test_so_does_any_view_of_ours(kind: str, url: str) -> None:
    with counting(kind, url) as app:
        assert failed(list(conformance(app, URL, {"number": 5}))) == []


def test_werkzeug_s_helpers_write_what_the_rfc_refuses(url: str) -> None:
    with counting("Werkzeug", url) as app:
        names = failed(list(conformance(app, URL, {"number": 5})))
    assert "a write by If-Match: * is done where something is" in names  # it is answered 412
    assert "a write by If-None-Match: * is refused where something is" in names
    assert len(names) > 5


def test_flask_smorest_has_faults_of_its_own(url: str) -> None:
    with counting("flask-smorest", url) as app:
        names = failed(list(conformance(app, URL, {"number": 5})))
    assert "412 comes before the content is looked at" in names
    assert "a write by If-None-Match: * is refused where something is" in names
    assert len(names) > 5


def test_without_another_content_what_needs_two_states_does_not_apply(shop_app: Flask) -> None:
    cases = list(conformance(shop_app, "/api/products/teapot"))
    assert failed(cases) == []
    assert "a new state has a new ETag" in [case.name for case in cases if case.passed is None] or cases


def test_what_has_no_tag_is_no_resource_to_ask(shop_app: Flask) -> None:
    with pytest.raises(ValueError, match="404"):
        next(conformance(shop_app, "/api/products/nothing"))


def test_a_url_of_anything_can_be_asked_from_the_command_line(shop_app: Flask, url: str) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "flask_etag.testing", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    with serving(shop_app) as server:
        good = run(
            f"{server}/api/products/teapot", "--body", '{"name": "x", "description": "", "price": "3", "stock": 9}'
        )
        assert good.stderr == ""
        assert " passed, 0 failed, " in good.stdout
        assert good.returncode == 0
        nothing = run(f"{server}/api/products/nothing", "--header", "Accept: application/json")
        assert "404" in nothing.stderr
        assert nothing.returncode == 2
    with counting("Werkzeug", url) as app, serving(app) as server:
        bad = run(server + URL, "--body", '{"number": 5}', "--all")
        assert "FAILED: 13.1.1 a write by If-Match: * is done where something is" in bad.stdout
        assert "ok: 13.1.2 the current tag is not modified" in bad.stdout
        assert bad.returncode == 1


def test_routes_that_are_not_protected_are_named(shop_app: Flask, url: str) -> None:
    with counting("versioned", url) as app:
        assert_protected(app)
    with pytest.raises(AssertionError, match=r"Not protected: PUT /unprotected/api/products/<sku>"):
        assert_protected(shop_app)


def test_writes_without_a_guard_are_named(url: str) -> None:
    with counting("versioned", url) as app:
        session: Any = peers.db.session

        @app.put("/bare/<int:counter_id>")
        def bare(counter_id: int) -> Any:
            session.get(Kept, counter_id).number = 7
            session.commit()
            return ""

        client = app.test_client()
        etag = client.get(URL).headers["ETag"]
        with unguarded_writes(app):
            assert client.put(URL, json={"number": 1}, headers={"If-Match": etag}).status_code == 200
            with app.app_context():
                session.add(Kept(id=2, number=0))
                session.commit()
                session.execute(insert(Kept).values(id=3, number=0, version=session.get(Kept, 2).version))
                session.get(peers.Plain, 1).number = 3
                session.commit()
        with pytest.raises(AssertionError, match=r"Kept \(PUT /bare/<int:counter_id>\)$"), unguarded_writes(app):
            client.put("/bare/1")
        for write in (update(Kept).values(number=1), delete(Kept).where(Kept.id == 3)):
            with (
                pytest.raises(AssertionError, match=r"Kept \(outside of a request\)"),
                unguarded_writes(app),
                app.app_context(),
            ):
                session.execute(write)
                session.commit()
        with pytest.raises(AssertionError, match="Kept"), unguarded_writes(app), app.app_context():
            session.delete(session.get(Kept, 2))
            session.commit()
