"""One product in several shapes, and one document in the very text that was hashed: rules 3.1 to 3.3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request, stream_with_context
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


def test_what_was_hashed_for_one_resource_is_no_other_s_content() -> None:
    user = {"name": "Ann", "salary": 9000}
    find_card = resource(etag=content_hash(lambda found: {"name": found["name"]}))(lambda: user)
    find_user = resource(etag=content_hash(dict))(lambda: user)

    def card(found: dict[str, Any]) -> str:
        assert find_user.etag_of(found) != find_card.etag_of(found)
        find_user.etag_of(found)
        assert find_user.content_of(found) == '{"name":"Ann","salary":9000}'
        assert find_card.content_of({"name": "Bob"}) == '{"name":"Bob"}'
        return find_card.content_of(found)

    pages = Flask("pages")
    ETag(pages)
    pages.get("/")(etag_resource(find_card)(card))
    assert pages.test_client().get("/").text == '{"name":"Ann"}'
    assert find_user.content_of(user) == '{"name":"Ann","salary":9000}'  # outside of any request


def test_the_text_that_was_hashed_is_that_of_one_request() -> None:
    notes = {"one": {"number": 1}}
    find_note = resource(etag=content_hash(dict))(lambda name: notes[name])
    pages = Flask("pages")
    ETag(pages)
    client = pages.test_client()

    @pages.get("/<name>")
    @etag_resource(find_note)
    def read(note: dict[str, int]) -> Response:
        def parts() -> Iterator[str]:
            written = client.put("/one", headers={"If-Match": "*"})
            yield f"{written.text} while this is "
            yield find_note.content_of(note)

        return Response(stream_with_context(parts()))

    @pages.put("/<name>")
    @require_if_match(find_note)
    def write(note: dict[str, int]) -> str:
        note["number"] += 1
        return find_note.content_of(note)

    assert client.get("/one").text == '{"number":2} while this is {"number":1}'


@pytest.mark.parametrize("config", [{}, {"ETAG_KEY": "secret", "ETAG_EPOCH": "1"}, {"ETAG_ACCEPT_WEAKENED": True}])
@pytest.mark.parametrize("prepare", ["digest", "digest and variant", "digest-gzip", "tag"])
def test_a_text_of_the_application_s_own_that_looks_like_a_tag_of_ours_opens_nothing(
    config: dict[str, Any], prepare: str
) -> None:
    """Somebody who may write the text makes it such that a tag of it could pass for one of the next state."""
    row = {"text": "A"}
    find_row = resource(etag=lambda found: found["text"], lock=nullcontext)(lambda: row)
    pages = Flask("pages")
    pages.config.update(config)
    ETag(pages)
    pages.get("/", endpoint="read")(etag_resource(find_row)(lambda found: found["text"]))

    @pages.put("/")
    @require_if_match(find_row)
    def write(found: dict[str, str]) -> str:
        found["text"] = request.get_data(as_text=True)
        return ""

    client = pages.test_client()
    with_epoch = Flask("with epoch")
    with_epoch.config["ETAG_EPOCH"] = "1"  # so that a text is hashed
    ETag(with_epoch)
    with with_epoch.app_context():
        future = str(find_row.etag_of({"text": "B"})).strip('"').partition(".")[0]
    assert len(future) == 32
    row["text"] = {
        "digest": future, "digest and variant": f"{future}.{future}", "digest-gzip": f"{future}-gzip", "tag": "A",
    }[prepare]  # fmt: skip
    held = client.get("/").headers["ETag"]
    following = held.strip('"') if prepare == "tag" else "B"
    if following == row["text"]:
        following = "B"
    assert client.put("/", data=following, headers={"If-Match": held}).status_code == 200
    assert client.put("/", data="lost", headers={"If-Match": held}).status_code == 412
    assert row["text"] == following


def test_a_variant_is_what_json_can_say() -> None:
    find_page = resource(etag=lambda _: "v1", variant=lambda _: frozenset("ab"))(lambda: "page")
    pages = Flask("pages")
    ETag(pages)
    with pages.test_request_context(), pytest.raises(TypeError, match="which JSON cannot say"):
        find_page.etag_of("page")


def test_the_collection_is_the_same_whatever_shape_is_asked_for(shop: FlaskClient) -> None:
    lists = [shop.get(f"/api/products{query}", headers={"Accept": accept}) for query, accept in SHAPES]
    assert len({answer.headers["ETag"] for answer in lists[:2]}) == 1
    assert lists[0].data == lists[1].data == lists[2].data
