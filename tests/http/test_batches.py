"""Several resources judged and written in one request, of what is in no database."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from flask import Flask, abort, request
from flask.views import MethodView
from werkzeug.test import TestResponse

from flask_etag import (
    EntityTag,
    ETag,
    PreconditionFailed,
    PreconditionRequired,
    require_if_match,
    resource,
)
from tests.world.racing import Racer


@pytest.fixture
def shelf() -> Flask:
    return shelf_with()


def shelf_with(**config: Any) -> Flask:
    """Return an application with three books, each under a lock of its own."""
    shelf = Flask("shelf")
    shelf.testing = True
    shelf.config.update(config)
    ETag(shelf)
    books = shelf.extensions["books"] = {"a": "1", "b": "1", "c": "1"}
    locks = shelf.extensions["locks"] = {name: threading.Lock() for name in (*books, "gone", "hidden")}

    class Waiting:
        """A lock that is not waited for."""

        def __init__(self, name: str) -> None:
            self.lock = locks[name]

        def __enter__(self) -> None:
            if not self.lock.acquire(timeout=0):
                raise TimeoutError

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    def lock(section: str, name: str, number: UUID) -> Any:
        return Waiting(name)

    @resource(etag=lambda book: f"v{book['version']}", lock=lock)
    def find_book(section: str, name: str, number: UUID) -> Any:
        if name == "hidden":
            abort(403)
        return {"name": name, "version": books[name]} if name in books else None

    def each(section: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
        """Take the tags from the query."""
        for name, etag in request.args.items(multi=True):
            arguments = {"section": section, "name": name, "number": UUID(int=7)}
            yield (EntityTag(etag) if etag else None), arguments

    @shelf.patch("/<section>")
    @require_if_match(find_book, each=each)
    def replace_books(found: list[dict[str, str]], section: str) -> list[str]:
        for book in found:
            books[book["name"]] = str(int(books[book["name"]]) + 1)
        return [section, *(str(find_book.etag_of({"version": books[book["name"]]})) for book in found)]

    return shelf


def books_of(shelf: Flask) -> str:
    return "".join(shelf.extensions["books"].values())


def test_the_view_gets_them_in_order_and_the_url_s_arguments(shelf: Flask) -> None:
    answer = shelf.test_client().patch("/s?c=v1&a=v1")
    assert answer.json == ["s", '"v2"', '"v2"']
    assert books_of(shelf) == "212"


def test_what_names_an_item_is_what_a_client_can_have_sent(shelf: Flask) -> None:
    problem = shelf.test_client().patch("/s?a=v0&gone=v1").get_json()
    names = {"section": "s", "number": str(UUID(int=7))}
    assert problem["items"] == [
        {"index": 0, "name": "a", "reason": "stale", "etag": '"v1"', **names},
        {"index": 1, "name": "gone", "reason": "absent", "etag": None, **names},
    ]


def test_what_a_client_cannot_have_sent_names_no_item() -> None:
    app = Flask("secret")
    app.testing = True
    ETag(app)

    @resource(etag=lambda text: text)
    def find(name: str, secret: object) -> str:
        return name

    @app.put("/")
    @require_if_match(find, each=lambda: [('"b"', {"name": "a", "secret": object()})])
    def put(found: list[str]) -> str:
        raise NotImplementedError

    assert app.test_client().put("/").get_json()["items"] == [
        {"index": 0, "name": "a", "reason": "stale", "etag": '"a"'}
    ]


def memos_under(lock: Callable[[Any], AbstractContextManager[Any]]) -> Flask:
    """Return an application whose memos are named by the content, whatever that has for a name."""
    app = Flask("memos")
    app.testing = True
    ETag(app)

    @resource(etag=lambda memo: memo, lock=lock)
    def find_memo(name: Any) -> str:
        return "memo"

    @app.patch("/")
    @require_if_match(find_memo, each=lambda: [("*", {"name": name}) for name in request.get_json()])
    def patch(found: list[str]) -> list[str]:
        return found

    return app


@pytest.mark.parametrize(
    ("names", "status"),
    [
        ([1, 1], 200),
        ([1, 2, 1], 200),
        ([1, 1.0], 400),
        ([1, True], 400),
        ([1, "1"], 400),
        ([1.0], 400),
        ([None], 400),
        ([[1]], 400),
    ],
    ids=str,
)
def test_a_batch_never_waits_for_its_own_locks(names: list[Any], status: int) -> None:
    """Neither where 1 and 1.0 are one key, as in a dict, nor where 1 and "1" are, as in the name of a file."""
    by_key: defaultdict[Any, threading.Lock] = defaultdict(threading.Lock)
    by_text: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
    for lock in (
        lambda name: by_key[str(name) if isinstance(name, list) else name],
        lambda name: by_text[str(name)],
    ):
        app = memos_under(lock)
        answer = Racer(lambda: app.test_client().patch("/", json=names)).answer()  # noqa: B023 - sent at once
        assert answer.status_code == status
        assert app.test_client().patch("/", json=[1]).status_code == 200


def test_one_lock_for_all_is_taken_once() -> None:
    lock = threading.Lock()
    app = memos_under(lambda name: lock)  # noqa: ARG005
    answer = Racer(lambda: app.test_client().patch("/", json=[1, 2])).answer()
    assert answer.status_code == 200
    assert not lock.locked()


def test_locks_that_several_items_share_are_taken_in_one_order() -> None:
    """Two batches whose items come in other orders than their locks do not wait for each other."""
    locks = sorted((threading.Lock(), threading.Lock()), key=id)
    stripe_of = {"a": 0, "b": 1, "c": 1, "d": 0}
    app = memos_under(lambda name: locks[stripe_of[name]])
    taken: list[int] = []
    with locks[0]:
        racers = [Racer(lambda names=names: app.test_client().patch("/", json=names)) for names in ("ab", "cd")]  # type: ignore[misc]
        for racer in racers:
            racer.join(0.2)
        taken += [lock.locked() for lock in locks]
    assert taken == [True, False]  # neither has taken the second, and waits for the first
    assert [racer.answer().status_code for racer in racers] == [200, 200]


def test_one_that_is_named_twice_is_locked_once(shelf: Flask) -> None:
    assert shelf.test_client().patch("/s?a=v1&b=v1&a=v1").status_code == 200
    assert books_of(shelf) == "321"


def test_a_lock_that_is_waited_for_too_long_is_409(shelf: Flask) -> None:
    with shelf.extensions["locks"]["b"]:
        answer = shelf.test_client().patch("/s?a=v1&b=v1")
    assert answer.status_code == 409
    assert books_of(shelf) == "111"
    assert shelf.test_client().patch("/s?a=v1&b=v1").status_code == 200


def test_no_item_is_nothing_to_refuse(shelf: Flask) -> None:
    assert shelf.test_client().patch("/s").json == ["s"]


def test_a_loader_s_own_refusal_of_an_item_is_that_of_the_request(shelf: Flask) -> None:
    assert shelf.test_client().patch("/s?a=v0&hidden=v1").status_code == 403


@pytest.mark.parametrize(
    ("field", "status"),
    [
        ({"If-Match": '"v1"'}, 412),
        ({"If-Match": "malformed"}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-None-Match": '"v1"'}, 200),
        ({"If-Unmodified-Since": "Sat, 29 Oct 1994 19:43:31 GMT"}, 200),
    ],
)
def test_2_13_a_condition_in_the_fields_is_for_what_the_url_names(
    shelf: Flask, field: dict[str, str], status: int
) -> None:
    """It is there, and its tag is not known: what cannot be judged is refused, before the content is read."""
    answer = shelf.test_client().patch("/s?a=v1", headers=field)
    assert answer.status_code == status
    assert books_of(shelf) == ("211" if status == 200 else "111")
    assert shelf.test_client().patch("/s?a=", headers={"If-Match": "*"}).status_code == 428


def test_where_nothing_is_enforced_an_item_without_a_tag_passes(caplog: pytest.LogCaptureFixture) -> None:
    shelf = shelf_with(ETAG_REQUIRE="report")
    caplog.set_level(logging.INFO, "flask_etag")
    assert shelf.test_client().patch("/s?a=&b=v1").status_code == 200
    assert [item["index"] for item in shelf.test_client().patch("/s?a=&b=v1").get_json()["items"]] == [1]
    assert shelf.test_client().patch("/s?gone=").get_json()["reason"] == "absent"
    assert caplog.messages == [
        "missing, let pass: PATCH replace_books",
        "stale: PATCH replace_books",
        "absent: PATCH replace_books",
    ]


def test_the_log_has_one_record_for_a_refusal_and_no_values(
    shelf: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    shelf.test_client().patch("/s?a=v0&b=v0")
    shelf.test_client().patch("/s?a=&b=")
    assert caplog.messages == ["stale: PATCH replace_books", "missing: PATCH replace_books"]


def test_an_application_s_own_handler_knows_the_items(shelf: Flask) -> None:
    def own_answer(error: PreconditionFailed | PreconditionRequired) -> list[str]:
        return [f"{item['name']} is {item['reason']}" for item in error.items]

    shelf.register_error_handler(412, own_answer)
    shelf.register_error_handler(428, own_answer)
    assert shelf.test_client().patch("/s?a=v0&b=v1&c=v0").json == ["a is stale", "c is stale"]
    assert shelf.test_client().patch("/s?a=&b=v1").json == ["a is missing"]


def test_a_class_may_have_a_method_for_many() -> None:
    app = Flask("class")
    app.testing = True
    ETag(app)

    @resource(etag=lambda text: text.lower())
    def find(text: str) -> str:
        return text

    class Texts(MethodView):
        @require_if_match(find, each=lambda: [('"a"', {"text": "a"}), ("*", {"text": "b"})])
        def put(self, texts: list[str]) -> list[str]:
            return texts

    app.add_url_rule("/texts", view_func=Texts.as_view("texts"))
    assert app.test_client().put("/texts").json == ["a", "b"]


@resource
def find_name(name: str) -> str:
    raise NotImplementedError


def view_of_many(found: list[str]) -> str:
    raise NotImplementedError


@pytest.mark.parametrize(
    "options",
    [{"each": 7}, {"each": lambda: [], "create": True}, {"each": "async"}],
    ids=["no function", "with create", "async"],
)
def test_misuse_is_refused_with_advice(options: dict[str, Any]) -> None:
    async def each() -> list[Any]:
        raise NotImplementedError

    if options["each"] == "async":
        options = {"each": each}
    with pytest.raises(TypeError, match="each= takes a function, not async"):
        require_if_match(find_name, **options)


def put_to_many(items: Any) -> TestResponse:
    app = Flask("shape")
    app.testing = True
    ETag(app)
    app.put("/")(require_if_match(find_name, each=lambda: items)(view_of_many))
    return app.test_client().put("/")


@pytest.mark.parametrize("item", ["abc", ("*", "name"), ["*", {}], ("*", {}, 1)])
def test_an_item_of_another_shape_is_refused_with_advice(item: object) -> None:
    with pytest.raises(TypeError, match=r"each= gave .* for an item: it has to give the ETag"):
        put_to_many([item])


def test_what_are_no_items_is_refused_with_advice() -> None:
    with pytest.raises(TypeError, match="each= gave None: it has to give an item for each resource"):
        put_to_many(None)


def test_a_read_of_many_is_refused_with_advice(shelf: Flask) -> None:
    app = Flask("read")
    app.testing = True
    ETag(app)
    view = require_if_match(find_name, each=lambda: [])(view_of_many)
    app.get("/")(view)
    with pytest.raises(RuntimeError, match="each= is for writes, and this is GET"):
        app.test_client().get("/")
