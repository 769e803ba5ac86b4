"""One product in several shapes, and one document in the very text that was hashed: rules 3.1 to 3.3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource
from sample_app import create_app

TEAPOT = "/api/products/teapot"
SHAPES: list[tuple[str, str]] = [
    ("", "application/json"),
    ("", "text/csv"),
    ("?fields=name,price", "application/json"),
    ("?fields=name,price", "text/csv"),
]


@pytest.fixture
def shop(tmp_path: Path) -> FlaskClient:
    made = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'store.db'}"})
    return made.test_client()


def get(shop: FlaskClient, shape: tuple[str, str], etag: str | None = None) -> Any:
    fields = {"Accept": shape[1], **({} if etag is None else {"If-None-Match": etag})}
    return shop.get(TEAPOT + shape[0], headers=fields)


def put(shop: FlaskClient, etag: str) -> int:
    members = {name: value for name, value in get(shop, SHAPES[0]).json.items() if name != "updated_at"}
    members["stock"] += 1
    return shop.put(TEAPOT, json=members, headers={"If-Match": etag}).status_code


def test_3_1_each_shape_revalidates_by_its_own_tag_only(shop: FlaskClient) -> None:
    tags = {shape: get(shop, shape).headers["ETag"] for shape in SHAPES}
    assert len(set(tags.values())) == len(SHAPES)
    for shape in SHAPES:
        for other, etag in tags.items():
            answer = get(shop, shape, etag)
            assert answer.status_code == (304 if shape == other else 200)
            assert answer.headers["Vary"] == "Accept"
            assert answer.headers["ETag"] == tags[shape]


@pytest.mark.parametrize("shape", SHAPES)
def test_3_1_any_of_them_is_as_good_for_a_save_while_it_is_current(
    shop: FlaskClient, shape: tuple[str, str]
) -> None:
    etag = get(shop, shape).headers["ETag"]
    assert put(shop, etag) == 200
    assert put(shop, etag) == 412


def test_the_content_of_each_shape(shop: FlaskClient) -> None:
    whole, some, table = (get(shop, SHAPES[number]) for number in (0, 2, 3))
    assert some.json == {name: whole.json[name] for name in ("name", "price")}
    assert table.mimetype == "text/csv"
    assert table.text.splitlines()[0] == "name,price"
    assert get(shop, ("?fields=name,secret", "application/json")).status_code == 422
    assert get(shop, ("", "image/png")).mimetype == "application/json"


def test_the_text_that_was_hashed_is_answered_and_dumped_once() -> None:
    dumped: list[dict[str, Any]] = []
    notes = {"one": {"b": 1, "a": "first"}}

    def dump(note: dict[str, Any]) -> dict[str, Any]:
        dumped.append(note)
        return note

    @resource(etag=content_hash(dump))
    def find_note(name: str) -> dict[str, Any]:
        return notes[name]

    def show(note: dict[str, Any]) -> Response:
        return Response(find_note.content_of(note), mimetype="application/json")

    pages = Flask("pages")
    pages.testing = True
    ETag(pages)
    pages.get("/<name>", endpoint="read")(etag_resource(find_note)(show))

    @pages.put("/<name>")
    @require_if_match(find_note)
    def write(note: dict[str, Any]) -> Response:
        note["a"] = "second"
        return show(note)

    client = pages.test_client()
    answer = client.get("/one")
    assert answer.text == '{"a":"first","b":1}'
    assert len(dumped) == 1
    assert client.get("/one", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert len(dumped) == 2
    written = client.put("/one", headers={"If-Match": answer.headers["ETag"]})
    assert written.text == '{"a":"second","b":1}'


def test_what_is_not_tagged_by_its_content_has_none() -> None:
    @resource(etag=lambda _: "v1")
    def find_page() -> str:
        return "page"

    pages = Flask("pages")
    with pages.test_request_context(), pytest.raises(TypeError, match="find_page has no content_of"):
        find_page.content_of("page")
