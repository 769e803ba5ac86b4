"""An application whose environment has no SQLAlchemy: nothing that it keeps can refuse a stale write."""

from __future__ import annotations

import pytest
from flask import Flask, request

from flask_etag import ETag, backend, content_hash, require_if_match, resource

KEPT: dict[str, str] = {}


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(backend, "_backend", None)
    KEPT.clear()
    KEPT["a"] = "first"
    app = Flask("without")
    app.testing = True
    ETag(app)

    @resource(etag=content_hash(dict))
    def find(name: str) -> dict[str, str] | None:
        return {"body": KEPT[name]} if name in KEPT else None

    @app.put("/<name>")
    @require_if_match(find, create=True)
    def write(found: dict[str, str] | None, name: str) -> str:
        KEPT[name] = request.get_data(as_text=True)
        if KEPT[name] == "a mistake":
            raise ZeroDivisionError
        return "done"

    return app


def test_a_write_is_judged_as_ever(served: Flask) -> None:
    client = served.test_client()
    stale = client.put("/a", data="second", headers={"If-Match": '"stale"'})
    assert (stale.status_code, KEPT["a"]) == (412, "first")
    good = client.put("/a", data="second", headers={"If-Match": stale.headers["ETag"]})
    assert (good.status_code, KEPT["a"]) == (200, "second")
    assert "ETag" not in good.headers


def test_what_is_not_there_is_made(served: Flask) -> None:
    client = served.test_client()
    made = client.put("/b", data="made", headers={"If-None-Match": "*"})
    assert (made.status_code, KEPT["b"]) == (200, "made")
    assert client.put("/b", data="again", headers={"If-None-Match": "*"}).status_code == 412


def test_an_error_of_the_view_stays_what_it_is(served: Flask) -> None:
    with pytest.raises(ZeroDivisionError):
        served.test_client().put("/a", data="a mistake", headers={"If-Match": "*"})
