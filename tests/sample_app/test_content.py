"""Bad input of every kind is refused with a problem document, changes nothing, and is never a server error."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from tests.sample_app.shop import MEMO, NEW, POT, opened

PRODUCTS = "/api/products"
POT_URL = "/api/products/pot"
MEMO_URL = "/api/documents/memo"
LIMIT = 1_000_000


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A shop with a pot and a memo, which no test here manages to change."""
    with opened(f"sqlite:///{tmp_path_factory.mktemp('shop') / 'store.db'}") as client:
        client.put(POT_URL, json=POT, headers=NEW)
        client.put(MEMO_URL, json=MEMO, headers=NEW)
        yield client


@pytest.fixture(autouse=True)
def nothing_changes(shop: FlaskClient) -> Iterator[None]:
    def everything() -> list[object]:
        return [(shop.get(url).json, shop.get(url).headers["ETag"]) for url in (PRODUCTS, MEMO_URL)]

    before = everything()
    yield
    assert everything() == before


def refused(answer: TestResponse, status: int) -> dict[str, Any]:
    """Check that an answer is a problem document of the right status, and return it."""
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = answer.json or {}
    assert problem["status"] == status
    return problem


WRONG: dict[str, list[Any]] = {
    "name": [None, "", 5, [], {}, True, "a\0b", "\ud800", "x" * 201],
    "description": [None, 5, "\0", "\udfff", "x" * 20_001],
    "price": [
        *(None, 9.99, 9, True, [], "", "NaN", "Infinity", "-Infinity", "-1", "-0", "-0.00", "1e2", "1E400"),
        *("19.999", "9.990", "100000000", "99999999.999", "1_000", " 9.99", "9.99 ", "9.99\n", "+1", "09", ".5"),
        *("5.", "0x10", "1,5", "\N{FULLWIDTH DIGIT NINE}", "9" * 5000, float("nan"), 10**30),
    ],
    "stock": [
        *(
            None,
            -1,
            2**31,
            10**30,
            1.5,
            2.0,
            float("nan"),
            float("inf"),
            -float("inf"),
            True,
            "3",
            "1_000",
            [],
            {},
        ),
    ],
    "colour": ["blue", None],
    "version": ["00000000-0000-0000-0000-000000000000"],
    "a\0b": [1],
    "\ud800": [1],
    "": [1],
}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    ("member", "value"), [(member, value) for member, values in WRONG.items() for value in values]
)
def test_a_wrong_or_unknown_member_is_422_and_named(
    shop: FlaskClient, method: str, member: str, value: object
) -> None:
    answer = shop.open(POT_URL, method=method, json={**POT, member: value}, headers={"If-Match": "*"})
    assert set(refused(answer, 422)["errors"]) == {member}


@pytest.mark.parametrize("member", list(POT))
def test_a_missing_member_is_422_and_named(shop: FlaskClient, member: str) -> None:
    others = {name: value for name, value in POT.items() if name != member}
    for answer in (
        shop.put(POT_URL, json=others, headers={"If-Match": "*"}),
        shop.put(f"{PRODUCTS}/new", json=others, headers=NEW),
        shop.post(PRODUCTS, json={"sku": "new", **others}),
    ):
        assert set(refused(answer, 422)["errors"]) == {member}


WRONG_IN_DOCUMENTS: dict[str, list[Any]] = {
    "body": [None, 5, [], "\0", "\ud800"],
    "edits": [None, -1, 2**31, 1.0, True, "1", float("nan")],
    "updated_at": ["2026-01-01T00:00:00+00:00"],
}


@pytest.mark.parametrize(
    ("member", "value"), [(member, value) for member, values in WRONG_IN_DOCUMENTS.items() for value in values]
)
def test_a_wrong_or_unknown_member_of_a_document_is_422_and_named(
    shop: FlaskClient, member: str, value: object
) -> None:
    answer = shop.put(MEMO_URL, json={**MEMO, member: value}, headers={"If-Match": "*"})
    assert set(refused(answer, 422)["errors"]) == {member}


NOT_KEYS = ["x" * 41, "a\0b", "a/b", "\ud800", "pot ", ".", "..", "\N{REPLACEMENT CHARACTER}", "a\tb", ""]


@pytest.mark.parametrize("sku", [*NOT_KEYS, None, 5, []])
def test_a_sku_that_is_no_key_is_422(shop: FlaskClient, sku: object) -> None:
    assert set(refused(shop.post(PRODUCTS, json={"sku": sku, **POT}), 422)["errors"]) == {"sku"}


@pytest.mark.parametrize(("collection", "content"), [(PRODUCTS, POT), ("/api/documents", MEMO)])
@pytest.mark.parametrize(
    "segment", ["x" * 41, "a%00b", "%ff", "%ed%a0%80", "pot%20", "a%09b", "%20", "...", "\\\0"]
)
def test_nothing_is_created_under_a_url_that_is_no_key(
    shop: FlaskClient, collection: str, content: dict[str, Any], segment: str
) -> None:
    url = f"{collection}/{segment}"
    member = "sku" if content is POT else "name"
    assert set(refused(shop.put(url, json=content, headers=NEW), 422)["errors"]) == {member}
    refused(shop.get(url), 404)


MALFORMED = {
    "nothing": b"",
    "a bracket": b"{",
    "100,000 brackets": b"[" * 100_000,
    "100,000 objects": b'{"name":' * 100_000,
    "100,000 brackets in a member": b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "two values": b"{}{}",
    "a comment": b"{/**/}",
    "UTF-16": json.dumps(POT).encode("utf-16"),
    "UTF-32": json.dumps(POT).encode("utf-32-le"),
    "Latin-1": json.dumps({**POT, "name": "Pött"}, ensure_ascii=False).encode("latin-1"),
    "encoded surrogates": b'{"name": "\xed\xa0\x80"}',
    "a byte order mark": json.dumps(POT).encode("utf-8-sig"),
    "a NUL": b'{"name": "a\0b"}',
    "gzip": b"\x1f\x8b\x08\x00",
}


@pytest.mark.parametrize("kind", list(MALFORMED))
@pytest.mark.parametrize(
    "send",
    [
        lambda shop, **content: shop.post(PRODUCTS, **content),
        lambda shop, **content: shop.put(POT_URL, headers={"If-Match": "*"}, **content),
        lambda shop, **content: shop.patch(POT_URL, headers={"If-Match": "*"}, **content),
        lambda shop, **content: shop.put(MEMO_URL, headers={"If-Match": "*"}, **content),
    ],
    ids=["POST", "PUT", "PATCH", "PUT a document"],
)
def test_malformed_json_is_400(shop: FlaskClient, send: Callable[..., TestResponse], kind: str) -> None:
    refused(send(shop, data=MALFORMED[kind], content_type="application/json"), 400)


@pytest.mark.parametrize("content", ["[]", "null", "5", '"pot"', "true", "NaN", "1" * 5000, "[" * 500 + "]" * 500])
def test_json_that_is_no_object_is_422(shop: FlaskClient, content: str) -> None:
    for method in ("PUT", "PATCH"):
        for url in (POT_URL, PRODUCTS):
            answer = shop.open(
                url,
                method="POST" if url == PRODUCTS else method,
                data=content,
                content_type="application/json",
                headers={"If-Match": "*"},
            )
            assert refused(answer, 422)["errors"]


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "1" * 5000, "1e999", "-1e999", "1e-999", "Infinity"])
def test_a_number_that_no_machine_can_hold_is_422(shop: FlaskClient, number: str) -> None:
    content = json.dumps(POT).replace(": 3", f": {number}")
    answer = shop.put(POT_URL, data=content, content_type="application/json", headers={"If-Match": "*"})
    assert set(refused(answer, 422)["errors"]) == {"stock"}


def test_of_a_member_that_comes_twice_the_last_one_counts(shop: FlaskClient) -> None:
    content = json.dumps(POT).replace("{", '{"stock": -5, ', 1)
    answer = shop.put(POT_URL, data=content, content_type="application/json", headers={"If-Match": "*"})
    assert answer.status_code == 200


TYPES = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "x",
]


@pytest.mark.parametrize("content_type", [*TYPES, None])
@pytest.mark.parametrize("headers", [{}, {"If-Match": '"stale"'}, {"If-Match": "*"}])
def test_1_1_another_content_type_is_415_before_any_precondition(
    shop: FlaskClient, content_type: str | None, headers: dict[str, str]
) -> None:
    for method, url in (("PUT", POT_URL), ("PATCH", POT_URL), ("PUT", MEMO_URL), ("POST", PRODUCTS)):
        answer = shop.open(url, method=method, data=json.dumps(POT), content_type=content_type, headers=headers)
        refused(answer, 415)
        if method == "PATCH":
            assert answer.headers["Accept-Patch"] == "application/merge-patch+json, application/json"
        else:
            assert answer.headers["Accept"] == "application/json"


def test_a_merge_patch_is_for_patch_alone(shop: FlaskClient) -> None:
    for method, url in (("PUT", POT_URL), ("POST", PRODUCTS)):
        answer = shop.open(url, method=method, json=POT, content_type="application/merge-patch+json")
        refused(answer, 415)


def test_a_content_type_may_have_parameters_and_capitals(shop: FlaskClient) -> None:
    answer = shop.put(
        POT_URL, data="{}", content_type="Application/JSON; charset=utf-8", headers={"If-Match": "*"}
    )
    refused(answer, 422)


@pytest.mark.parametrize("headers", [{}, {"If-Match": '"stale"'}, {"If-Match": "*"}])
@pytest.mark.parametrize("chunked", [False, True])
def test_1_1_a_body_over_1_mb_is_413_before_any_precondition(
    shop: FlaskClient, headers: dict[str, str], chunked: bool
) -> None:
    for method, url in (("PUT", POT_URL), ("PATCH", POT_URL), ("PUT", MEMO_URL), ("POST", PRODUCTS)):
        answer = shop.open(url, method=method, **content_of(LIMIT + 1, chunked, headers))
        refused(answer, 413)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_1_mb_is_read(shop: FlaskClient, chunked: bool) -> None:
    url = f"/api/documents/long {chunked}"
    answer = shop.put(url, **content_of(LIMIT, chunked, NEW))
    assert answer.status_code == 201
    assert shop.get(url).json == answer.json


def content_of(size: int, chunked: bool, headers: dict[str, str]) -> dict[str, Any]:
    """Make a request of a document that takes so many bytes; a chunked one does not say how many."""
    start, end = b'{"edits": 1, "body": "', b'"}'
    request: dict[str, Any] = {
        "input_stream": BytesIO(start + b"x" * (size - len(start + end)) + end),
        "content_type": "application/json",
        "headers": headers,
    }
    if chunked:
        request["headers"] = {**headers, "Transfer-Encoding": "chunked"}
        request["environ_overrides"] = {"wsgi.input_terminated": True}
    return request


def test_the_largest_values_of_a_product_are_kept(empty_url: str) -> None:
    largest = {"name": "🏺" * 200, "description": "🏺" * 20_000, "price": "99999999.99", "stock": 2**31 - 1}
    memo = {"body": "🏺" * 80_000, "edits": 2**31 - 1}
    with opened(empty_url) as shop:
        for url, content in ((f"{PRODUCTS}/{'🏺' * 40}", largest), (f"/api/documents/{'🏺' * 40}", memo)):
            answer = shop.put(
                url,
                data=json.dumps(content, ensure_ascii=False).encode(),
                content_type="application/json",
                headers=NEW,
            )
            assert answer.status_code == 201
            again = shop.get(url)
            assert again.json == answer.json
            assert content.items() <= (again.json or {}).items()
            assert again.headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize(("price", "kept"), [("0", "0.00"), ("9.9", "9.90"), ("0.05", "0.05"), ("5", "5.00")])
def test_a_price_is_answered_as_it_reads_back(empty_url: str, price: str, kept: str) -> None:
    with opened(empty_url) as shop:
        answer = shop.put(POT_URL, json={**POT, "price": price}, headers=NEW)
        assert (answer.json or {})["price"] == (shop.get(POT_URL).json or {})["price"] == kept


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_1_mb_is_413_over_http(shop: FlaskClient, chunked: bool) -> None:
    server = make_server("127.0.0.1", 0, shop.application, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    body: Any = iter([b"x" * 65_536] * 20) if chunked else b"x" * 1_300_000
    try:
        connection.request("PUT", POT_URL, body, {"Content-Type": "application/json", "If-Match": "*"})
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.load(answer)["status"] == 413
    finally:
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_path_and_method_has_an_answer(shop: FlaskClient, tmp_path: Path) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"):
        for path in ("", "/", "/products", "/products/", "/products/a/b", "/documents", "/documents/memo", "/%00"):
            answer = shop.open(f"/api{path}", method=method)
            assert answer.status_code < 500
            if answer.status_code >= 400 and method != "HEAD" and path:
                assert answer.content_type == "application/problem+json"


def test_content_that_the_server_cannot_read_is_400(shop: FlaskClient) -> None:
    """A server has errors of its own for that: gunicorn, for a chunk whose size is none."""

    class Broken(BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            raise RuntimeError("no chunk")

        readinto = readline = read  # type: ignore[assignment]

    answer = shop.put(
        "/api/documents/broken",
        headers={**NEW, "Transfer-Encoding": "chunked"},
        content_type="application/json",
        input_stream=Broken(),
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
