"""Objects that are in no database: what ``lock=`` guards, and what is judged only."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, abort, request

from flask_etag import ETag, backend, content_hash, require_if_match, resource, version_column
from tests.world.racing import Racer


class Memo:
    """An application that keeps its memos in a dictionary, under a lock for each."""

    def __init__(self, **options: Any) -> None:
        self.memos: dict[str, dict[str, Any]] = {"one": {"text": "first", "revision": 1}}
        self.locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.app = Flask("memos")
        self.app.testing = True
        ETag(self.app)

        @resource(**{"etag": content_hash(dict), "lock": lambda name: self.locks[name], **options})
        def find_memo(name: str) -> dict[str, Any] | None:
            return self.memos.get(name)

        @self.app.put("/<name>")
        @require_if_match(find_memo, create=True)
        def replace(memo: dict[str, Any] | None, name: str) -> tuple[str, int]:
            body = request.get_data(as_text=True)
            if body == "wait":
                self.entered.set()
                assert self.go_on.wait(20)
            revision = 1 if memo is None else memo["revision"] + 1
            self.memos[name] = {"text": body, "revision": revision}
            return "", 201 if memo is None else 200

        @self.app.delete("/<name>")
        @require_if_match(find_memo)
        def delete(memo: dict[str, Any], name: str) -> tuple[str, int]:
            if name == "kept":
                abort(403)
            del self.memos[name]
            return "", 204

    def put(self, body: str, name: str = "one", **headers: str) -> Any:
        fields = {field.replace("_", "-"): value for field, value in headers.items()}
        return self.app.test_client().put(f"/{name}", data=body, headers=fields)

    def etag(self, name: str = "one") -> str:
        return str(self.put("", name, if_match='"stale"').headers["ETag"])


def test_under_a_lock_a_write_has_its_tag(caplog: pytest.LogCaptureFixture) -> None:
    memo = Memo()
    answer = memo.put("second", if_match=memo.etag())
    assert answer.status_code == 200
    assert answer.headers["ETag"] == memo.etag()
    answer = memo.put("new", "two", if_none_match="*")
    assert answer.status_code == 201
    assert answer.headers["ETag"] == memo.etag("two")
    assert memo.put("again", "two", if_none_match="*").status_code == 412
    assert memo.put("", "three", if_match="*").get_json()["reason"] == "absent"
    answer = memo.app.test_client().delete("/two", headers={"If-Match": memo.etag("two")})
    assert answer.status_code == 204
    assert "ETag" not in answer.headers
    assert not any(lock.locked() for lock in memo.locks.values())
    assert caplog.messages == []


def test_of_two_writers_with_one_tag_one_is_refused() -> None:
    memo = Memo()
    etag = memo.etag()
    slow = Racer(lambda: memo.put("wait", if_match=etag))
    assert memo.entered.wait(20)
    fast = Racer(lambda: memo.put("fast", if_match=etag))
    fast.join(0.2)
    assert fast.is_alive()
    memo.go_on.set()
    assert slow.answer().status_code == 200
    assert fast.answer().status_code == 412
    assert memo.memos["one"]["text"] == "wait"


def test_a_lock_that_is_waited_for_too_long_is_409() -> None:
    @contextmanager
    def impatient(name: str) -> Iterator[None]:
        raise TimeoutError
        yield

    memo = Memo(lock=impatient)
    answer = memo.put("second", if_match="*")
    assert answer.status_code == 409
    assert answer.get_json()["reason"] == "busy"
    assert answer.headers["Retry-After"] == "1"
    assert memo.memos["one"]["text"] == "first"


def test_a_lock_is_let_go_of_when_the_view_fails() -> None:
    memo = Memo()
    memo.memos["kept"] = {"text": "", "revision": 1}
    client = memo.app.test_client()
    assert client.delete("/kept", headers={"If-Match": "*"}).status_code == 403
    assert not any(lock.locked() for lock in memo.locks.values())


def test_version_column_of_a_mapping_and_of_an_object() -> None:
    memo = Memo(etag=version_column("revision"))
    etag = memo.etag()
    assert memo.put("second", if_match=etag).status_code == 200
    assert memo.put("third", if_match=etag).status_code == 412
    memo.memos["one"] = {"text": "no revision"}
    with pytest.raises(TypeError, match="dict has no 'revision'"):
        memo.etag()
    memo.memos["one"] = {"revision": None}
    with pytest.raises(ValueError, match="is None, so it has no ETag"):
        memo.etag()


def test_a_tag_of_the_application_s_own_is_sent_as_it_is() -> None:
    memo = Memo(etag=lambda memo: f"r{memo['revision']}")
    assert memo.etag() == '"r1"'
    assert memo.put("second", if_match='"r1"').headers["ETag"] == '"r2"'


def test_what_gives_no_tag_is_told_what_to_give() -> None:
    memo = Memo(etag=lambda memo: memo["revision"])
    with pytest.raises(TypeError, match="gave int for an ETag: it takes a str, an EntityTag or None"):
        memo.etag()


def test_without_a_lock_it_is_judged_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    memo = Memo(lock=None)
    for body in ("second", "third"):
        answer = memo.put(body, if_match=memo.etag())
        assert answer.status_code == 200
        assert "ETag" not in answer.headers
    assert [message.partition(",")[0] for message in caplog.messages] == ["replace: judged"]


def test_where_no_sqlalchemy_is_installed_a_lock_guards_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_backend", None)
    memo = Memo()
    made = memo.put("new", "two", if_none_match="*")
    assert (made.status_code, made.headers["ETag"]) == (201, memo.etag("two"))
    assert memo.put("again", "two", if_none_match="*").status_code == 412
    answer = memo.put("second", "two", if_match=made.headers["ETag"])
    assert (answer.status_code, answer.headers["ETag"]) == (200, memo.etag("two"))
    assert memo.put("stale", "two", if_match=made.headers["ETag"]).status_code == 412
