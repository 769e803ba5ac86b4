"""The sample app: its API in process, and over HTTP by the README's own words."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from flask import Response
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests import ROOT
from tests.sample_app.shop import MEMO, NEW, POT, engine_of, opened
from tests.servers import unavailable

URL = "/api/products/teapot"
PRODUCTS = "/api/products"
MEMO_URL = "/api/documents/memo"


@pytest.fixture
def shop(empty_url: str) -> Iterator[FlaskClient]:
    with opened(empty_url) as client:
        yield client


def is_problem(answer: TestResponse) -> bool:
    return (
        answer.content_type == "application/problem+json" and (answer.json or {})["status"] == answer.status_code
    )


def test_a_product_has_exactly_its_members_and_a_long_description(shop: FlaskClient) -> None:
    product = shop.get(URL).json or {}
    assert set(product) == {"sku", "name", "description", "price", "stock", "updated_at"}
    assert product["price"] == "34.50"
    assert len(product["description"].encode()) > 1024


@pytest.mark.parametrize("sku", ["nothing", "a%00b", "%ff", "x" * 41, "teapot%20", "%ED%A0%80"])
def test_an_unknown_product_is_404(shop: FlaskClient, sku: str) -> None:
    for send in (shop.get, shop.patch, shop.delete):
        answer = send(f"{PRODUCTS}/{sku}", headers={"If-Match": "*"})
        assert answer.status_code == 404
        assert is_problem(answer)


def test_what_has_no_route_is_a_problem_document_too(shop: FlaskClient) -> None:
    assert is_problem(shop.get("/api/nothing"))
    answer = shop.post(URL)
    assert answer.status_code == 405
    assert is_problem(answer)
    assert "PATCH" in answer.headers["Allow"]
    assert shop.get("/nothing").mimetype == "text/html"  # which is not the store's


def test_a_product_is_replaced_and_may_be_sent_back_as_it_was_read(shop: FlaskClient) -> None:
    seen = shop.get(URL)
    answer = shop.put(URL, json={**(seen.json or {}), **POT}, headers={"If-Match": seen.headers["ETag"]})
    assert answer.status_code == 200
    again = shop.get(URL)
    assert answer.json == again.json
    assert answer.headers["ETag"] == again.headers["ETag"]
    assert again.json is not None
    assert {name: again.json[name] for name in POT} == POT
    assert again.json["sku"] == "teapot"
    assert again.json["updated_at"] > (seen.json or {})["updated_at"]


def test_a_merge_patch_replaces_the_members_that_it_has(shop: FlaskClient) -> None:
    seen = shop.get(URL)
    answer = shop.patch(
        URL,
        data='{"stock": 1}',
        content_type="application/merge-patch+json",
        headers={"If-Match": seen.headers["ETag"]},
    )
    assert answer.status_code == 200
    again = shop.get(URL)
    assert answer.json == again.json
    assert answer.headers["ETag"] == again.headers["ETag"]
    changed = {name for name, value in (again.json or {}).items() if value != (seen.json or {})[name]}
    assert changed == {"stock", "updated_at"}

    answer = shop.patch(URL, json={"stock": 2}, headers={"If-Match": answer.headers["ETag"]})
    assert (answer.json or {})["stock"] == 2


def test_rfc_7396_a_null_would_remove_what_has_to_be_there(shop: FlaskClient) -> None:
    etag = shop.get(URL).headers["ETag"]
    answer = shop.patch(URL, json={"stock": 1, "name": None}, headers={"If-Match": etag})
    assert answer.status_code == 422
    assert set((answer.json or {})["errors"]) == {"name"}
    assert shop.get(URL).headers["ETag"] == etag


@pytest.mark.parametrize(("url", "content"), [(f"{PRODUCTS}/pot", POT), (MEMO_URL, MEMO)])
def test_what_a_url_names_is_created_and_deleted_and_created_again(
    shop: FlaskClient, url: str, content: dict[str, object]
) -> None:
    assert shop.put(url, json=content).status_code == 428
    assert shop.put(url, json=content, headers={"If-Match": "*"}).status_code == 412

    created = shop.put(url, json=content, headers=NEW)
    assert created.status_code == 201
    read = shop.get(url)
    assert read.json == created.json
    assert read.headers["ETag"] == created.headers["ETag"]
    assert content.items() <= (read.json or {}).items()
    assert shop.put(url, json=content, headers=NEW).status_code == 412

    assert shop.delete(url).status_code == 428
    deleted = shop.delete(url, headers={"If-Match": read.headers["ETag"]})
    assert (deleted.status_code, deleted.text) == (204, "")
    assert "ETag" not in deleted.headers
    assert shop.get(url).status_code == 404
    assert shop.put(url, json=content, headers=NEW).status_code == 201


def test_a_document_has_exactly_its_members_and_is_replaced(shop: FlaskClient) -> None:
    created = shop.put(MEMO_URL, json=MEMO, headers=NEW)
    assert created.json == {**MEMO, "name": "memo"}

    changed = {"name": "ignored", "body": "Buy more clay. \r\n", "edits": 2}
    answer = shop.put(MEMO_URL, json=changed, headers={"If-Match": created.headers["ETag"]})
    assert answer.status_code == 200
    again = shop.get(MEMO_URL)
    assert again.json == answer.json == {**changed, "name": "memo"}
    assert again.headers["ETag"] == answer.headers["ETag"] != created.headers["ETag"]

    stale = shop.put(MEMO_URL, json=MEMO, headers={"If-Match": created.headers["ETag"]})
    assert stale.status_code == 412
    assert stale.headers["ETag"] == again.headers["ETag"]
    assert shop.get(MEMO_URL).json == again.json


def test_a_product_is_created_under_a_new_sku(shop: FlaskClient) -> None:
    before = shop.get(PRODUCTS)
    answer = shop.post(PRODUCTS, json={"sku": "pot, blue", **POT})
    assert answer.status_code == 201
    read = shop.get(answer.headers["Location"])
    assert read.status_code == 200
    assert read.json == answer.json
    assert read.headers["ETag"] == answer.headers["ETag"]

    again = shop.post(PRODUCTS, json={"sku": "pot, blue", **POT, "stock": 0})
    assert again.status_code == 409
    assert is_problem(again)
    assert shop.get(answer.headers["Location"]).json == answer.json

    after = shop.get(PRODUCTS)
    assert {**(answer.json or {}), "etag": read.headers["ETag"]} in (after.json or [])
    assert len(after.json or []) == len(before.json or []) + 1
    assert after.headers["ETag"] != before.headers["ETag"]


def test_the_collection_has_a_tag_that_moves_with_every_member(shop: FlaskClient) -> None:
    tags = [shop.get(PRODUCTS).headers["ETag"]]
    assert shop.get(PRODUCTS, headers={"If-None-Match": tags[0]}).status_code == 304
    shop.patch(URL, json={"stock": 1}, headers={"If-Match": "*"})
    tags.append(shop.get(PRODUCTS).headers["ETag"])
    assert shop.post(PRODUCTS, json={"sku": "pot", **POT}, headers={"If-Match": tags[0]}).status_code == 412
    assert shop.post(PRODUCTS, json={"sku": "pot", **POT}, headers={"If-Match": tags[1]}).status_code == 201
    shop.delete(f"{PRODUCTS}/pot", headers={"If-Match": "*"})
    for product in shop.get(PRODUCTS).json or []:
        shop.delete(f"{PRODUCTS}/{product['sku']}", headers={"If-Match": "*"})
    empty = shop.get(PRODUCTS)
    assert empty.json == []
    assert empty.headers["ETag"] not in tags


@pytest.mark.parametrize("path", [PRODUCTS, URL, MEMO_URL])
def test_a_304_has_what_its_200_has_and_head_is_get_without_a_body(shop: FlaskClient, path: str) -> None:
    @shop.application.after_request
    def vary(response: Response) -> Response:
        response.vary.add("Origin")
        return response

    shop.put(MEMO_URL, json=MEMO, headers=NEW)
    full = shop.get(path)
    head = shop.head(path)
    unchanged = shop.get(path, headers={"If-None-Match": full.headers["ETag"]})
    assert (full.status_code, head.status_code, unchanged.status_code) == (200, 200, 304)
    assert head.headers == full.headers
    assert head.data == unchanged.data == b""
    assert "Content-Type" not in unchanged.headers
    for name in ("ETag", "Cache-Control", "Vary"):
        assert unchanged.headers[name] == full.headers[name]


def test_what_differs_in_case_or_accent_is_another_product(shop: FlaskClient) -> None:
    for number, sku in enumerate(["pot", "Pot", "pöt", "po\N{COMBINING DIAERESIS}t", "🏺"]):
        answer = shop.put(f"{PRODUCTS}/{sku}", json={**POT, "stock": number}, headers=NEW)
        assert answer.status_code == 201
        assert (answer.json or {})["sku"] == sku
    assert (shop.get(f"{PRODUCTS}/pot").json or {})["stock"] == 0


def test_4_5_a_database_that_is_broken_is_a_500_that_leaks_nothing(shop: FlaskClient) -> None:
    shop.application.testing = False
    with engine_of(shop.application).begin() as connection:
        connection.execute(text("DROP TABLE product"))
    answer = shop.get(PRODUCTS)
    assert answer.status_code == 500
    assert is_problem(answer)
    assert "product" not in answer.text.lower()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The sample app, started as its own process; yields the URL that it serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "FLASK_RUN_PORT": str(port),
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'store.db'}",
    }
    command = [sys.executable, "-m", "flask", "--app", "sample_app", "run"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while True:
            try:
                urlopen(url + URL).close()  # noqa: S310 - the server that was started here
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.1)
        yield url
        process.terminate()


def test_the_readme_s_commands_answer_what_it_says(server: str, tmp_path: Path) -> None:
    if not shutil.which("curl") or not shutil.which("bash"):
        unavailable("curl", "apt-get install curl")
    [console] = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    said = re.findall(r"# (\d\d\d)\b", console)
    script = "\n".join(line.removeprefix("$ ") for line in console.splitlines())
    ran = subprocess.run(
        ["bash", "-eu"],
        input=script.replace("http://127.0.0.1:5000", server),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = re.findall(r"HTTP/1\.1 (\d\d\d)", ran.stdout)  # a body may end without a new line
    assert answers == said == ["201", "200", "304", "428", "200", "412"]


def test_the_collection_in_pages_sorted_and_searched(shop: FlaskClient) -> None:
    everything = shop.get(PRODUCTS).get_json()
    names = sorted(product["name"] for product in everything)
    assert [product["name"] for product in shop.get(f"{PRODUCTS}?sort=name").get_json()] == names
    assert [
        product["name"] for product in shop.get(f"{PRODUCTS}?sort=name&per_page=1&page=2").get_json()
    ] == names[1:2]
    assert [product["sku"] for product in shop.get(f"{PRODUCTS}?q=TEAP").get_json()] == ["teapot"]
    assert shop.get(f"{PRODUCTS}?q=%25").get_json() == []
    for wrong in ("page=0", "per_page=1000", "page=x", "sort=secret", "q=%00"):
        answer = shop.get(f"{PRODUCTS}?{wrong}")
        assert answer.status_code == 422
        assert wrong.partition("=")[0] in answer.get_json()["errors"]


def test_a_member_of_the_collection_can_be_saved_by_its_own_tag(shop: FlaskClient) -> None:
    product = shop.get(PRODUCTS).get_json()[0]
    etag = product.pop("etag")
    path = f"{PRODUCTS}/{product['sku']}"
    assert shop.get(path).headers["ETag"] == etag
    assert shop.put(path, json=product, headers={"If-Match": etag}).status_code == 200
    assert shop.put(path, json={**product, "stock": 1}, headers={"If-Match": etag}).status_code in (200, 412)


def test_several_products_are_changed_or_none(shop: FlaskClient) -> None:
    seen = shop.get(PRODUCTS).get_json()
    changes = [{"sku": one["sku"], "etag": one["etag"], "stock": one["stock"] + 1} for one in seen]
    answer = shop.patch(PRODUCTS, json=changes)
    assert answer.status_code == 200
    assert answer.json == shop.get(PRODUCTS).json
    assert [one["stock"] for one in answer.get_json()] == [one["stock"] + 1 for one in seen]

    fresh = [{**change, "etag": one["etag"]} for change, one in zip(changes, answer.get_json(), strict=True)]
    shop.patch(f"{PRODUCTS}/{fresh[1]['sku']}", json={"stock": 0}, headers={"If-Match": "*"})
    refused = shop.patch(PRODUCTS, json=fresh)
    assert refused.status_code == 412
    assert is_problem(refused)
    [item] = refused.get_json()["items"]
    assert (item["sku"], item["index"], item["reason"]) == (fresh[1]["sku"], 1, "stale")
    assert item["etag"] == shop.get(f"{PRODUCTS}/{item['sku']}").headers["ETag"]
    assert shop.get(f"{PRODUCTS}/{fresh[0]['sku']}").headers["ETag"] == fresh[0]["etag"]


def test_what_a_list_of_changes_may_be(shop: FlaskClient) -> None:
    etag = shop.get(URL).headers["ETag"]
    teapot = {"sku": "teapot", "etag": "*"}
    wrong: list[tuple[Any, str]] = [
        ({}, "_schema"),
        ([3], "_schema"),
        ([teapot, {**teapot, "stock": 3}], "_schema"),
        ([{"sku": str(number), "etag": "*"} for number in range(101)], "_schema"),
        ([{"etag": "*"}], "0"),
        ([teapot | {"sku": 3}], "0"),
        ([teapot | {"price": 3}], "0"),
        ([teapot | {"color": "blue"}], "0"),
    ]
    for content, member in wrong:
        answer = shop.patch(PRODUCTS, json=content)
        assert answer.status_code == 422
        assert list(answer.get_json()["errors"]) == [member]
    assert shop.patch(PRODUCTS, json=[{"sku": "teapot", "stock": 3}]).status_code == 428
    assert shop.patch(PRODUCTS, json=[teapot, {"sku": "nothing", "etag": "*"}]).status_code == 412
    assert shop.patch(PRODUCTS, data="[]", content_type="text/plain").status_code == 415
    assert shop.patch(PRODUCTS, json=[teapot]).get_json()[0]["etag"] == etag
    assert shop.patch(PRODUCTS, json=[]).json == []
