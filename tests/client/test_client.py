"""The client with each library that it is made for, and what cases.json does not say."""

from __future__ import annotations

import ast
import asyncio
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any
from uuid import uuid4

import hishel
import hishel.httpx
import hishel.httpx2
import hishel.requests
import httpx
import httpx2
import pytest
import requests
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from sqlalchemy.orm import close_all_sessions
from urllib3.util import Retry

from flask_etag import client
from flask_etag.client import ABSENT, Copy, _Answer, _refused_items, update
from tests import ROOT
from tests.client.papers import create_app
from tests.client.proxy import Fault, Proxy, between
from tests.servers.loopback import serving

OBEYING = hishel.CacheOptions(shared=False)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(f"sqlite:///{tmp_path_factory.mktemp('papers') / 'papers.db'}")


@pytest.fixture(scope="module")
def server(app: Flask) -> Iterator[str]:
    with serving(app) as url:
        yield url
    close_all_sessions()


@pytest.fixture
def proxy(server: str) -> Iterator[Proxy]:
    with between(server) as proxy:
        yield proxy


@pytest.fixture
def url(server: str, proxy: Proxy) -> str:
    """The URL of a paper, through the proxy; ``direct`` is the one past it."""
    name = f"/papers/{uuid4()}"
    made = requests.put(server + name, json={"n": 1, "title": "Plan"}, headers={"If-None-Match": "*"}, timeout=20)
    made.raise_for_status()
    return proxy.url + name


def direct(url: str, server: str) -> str:
    return f"{server}/papers/{url.rpartition('/')[2]}"


def add(content: dict[str, Any]) -> None:
    content["n"] += 1


def mark(content: dict[str, Any]) -> None:
    if "mine" not in content.setdefault("marks", []):
        content["marks"].append("mine")


def requests_with_hishel(_: hishel.SqliteStorage) -> requests.Session:
    session = requests.Session()
    session.mount("http://", hishel.requests.CacheAdapter(storage=_, rfc=OBEYING))
    return session


CLIENTS: dict[str, Callable[[Any], Any]] = {
    "requests": lambda _: requests.Session(),
    "httpx": lambda _: httpx.Client(),
    "httpx2": lambda _: httpx2.Client(),
    "hishel, requests": requests_with_hishel,
    "hishel, httpx": lambda storage: hishel.httpx.CacheClient(storage=storage, rfc=OBEYING),
    "hishel, httpx2": lambda storage: hishel.httpx2.CacheClient(storage=storage, rfc=OBEYING),
}
ASYNC_CLIENTS: dict[str, Callable[[Any], Any]] = {
    "httpx": lambda _: httpx.AsyncClient(),
    "httpx2": lambda _: httpx2.AsyncClient(),
    "hishel, httpx": lambda storage: hishel.httpx.AsyncCacheClient(storage=storage, rfc=OBEYING),
    "hishel, httpx2": lambda storage: hishel.httpx2.AsyncCacheClient(storage=storage, rfc=OBEYING),
}


@pytest.fixture
def storage(tmp_path: Path) -> hishel.SqliteStorage:
    return hishel.SqliteStorage(database_path=tmp_path / "cache.db")


def lose(proxy: Proxy) -> None:
    """Lose the first answer, the request of the second attempt, and the third answer is a proxy's."""
    proxy.faults = {"PUT": ["answer lost", "request lost", 502]}


@pytest.mark.parametrize("library", CLIENTS)
def test_every_story_with_every_library(
    library: str, storage: hishel.SqliteStorage, proxy: Proxy, url: str, server: str
) -> None:
    with CLIENTS[library](storage) as session:
        first = client.read(session, url)
        assert client.read(session, url, known=first) == first
        lose(proxy)
        second = update(session, url, mark, known=first)
        requests.put(
            direct(url, server), json={"n": 5}, headers={"If-Match": str(second.etag)}, timeout=20
        ).raise_for_status()
        with pytest.raises(client.Clash) as clash:
            client.save(session, url, second, {**second.content, "n": 9})
        assert clash.value.pointers == ["/n"]
        patched = client.patch(session, url, clash.value.theirs, {"n": 7, "extra": {"a": 1}})
        assert (patched.content["n"], patched.content["extra"]) == (7, {"a": 1})
        with pytest.raises(client.Clash, match="exists already"):
            client.create(session, url, {"n": 1})
        client.delete(session, url, patched)
        assert client.read(session, url) == ABSENT
        assert client.create(session, url, {"n": 1}).content["n"] == 1


@pytest.mark.parametrize("library", ASYNC_CLIENTS)
def test_every_story_with_every_asynchronous_library(
    library: str, tmp_path: Path, proxy: Proxy, url: str, server: str
) -> None:
    async def stories() -> None:
        storage = hishel.AsyncSqliteStorage(database_path=tmp_path / "cache.db")
        async with ASYNC_CLIENTS[library](storage) as session:
            first = await client.aread(session, url)
            lose(proxy)
            second = await client.aupdate(session, url, mark, known=first)
            assert second.content["marks"] == ["mine"]
            saved = await client.asave(session, url, first, {**first.content, "title": "B"})
            assert (saved.content["title"], saved.content["marks"]) == ("B", ["mine"])
            patched = await client.apatch(session, url, saved, {"n": 7})
            other = f"{url}-other"
            await client.acreate(session, other, {"n": 1})
            both = [url.rpartition("/")[2], other.rpartition("/")[2]]
            answered = await client.aupdate_each(
                session, proxy.url + "/papers", [url, other], plus_one, body=items(both)
            )
            assert [content["n"] for content in answered] == [8, 2]
            with pytest.raises(client.Clash):
                await client.adelete(session, url, patched)
            await client.adelete(session, url, await client.aread(session, url))
            assert await client.aread(session, url) == ABSENT

    asyncio.run(stories())


def test_flask_s_test_client(app: Flask) -> None:
    tester = app.test_client()
    path = f"/papers/{uuid4()}"
    made = client.create(tester, path, {"n": 1})
    assert update(tester, path, add).content["n"] == 2
    merged = client.save(tester, path, made, {**made.content, "title": "B"})
    assert (merged.content["n"], merged.content["title"]) == (2, "B")
    assert client.patch(tester, path, merged, {"title": None}).content["n"] == 2
    client.delete(tester, path, client.read(tester, path))


def test_a_patch_that_was_overtaken_sends_only_what_is_still_its_own(app: Flask) -> None:
    tester = app.test_client()
    path = f"/papers/{uuid4()}"
    made = client.create(tester, path, {"n": 1, "title": "A", "lines": [{"id": 1, "of": 1}]})
    client.save(tester, path, made, {**made.content, "n": 5, "lines": [{"id": 1, "of": 1}, {"id": 2, "of": 5}]})
    form = {"n": 1, "title": "B", "lines": [{"id": 1, "of": 2}]}  # which sends all of its fields
    patched = client.patch(tester, path, made, form, key={"/lines": "id"}.get)
    assert (patched.content["n"], patched.content["title"]) == (5, "B")
    assert patched.content["lines"] == [{"id": 1, "of": 2}, {"id": 2, "of": 5}]


def plus_one(contents: list[dict[str, Any]]) -> None:
    for content in contents:
        content["n"] += 1


def items(names: list[str]) -> Callable[[list[Copy]], Any]:
    return lambda copies: [
        {**copy.content, "name": name, "etag": copy.etag} for name, copy in zip(names, copies, strict=True)
    ]


@pytest.fixture
def pair(url: str, server: str) -> list[str]:
    """The URLs of two papers, which have their own name as a member."""
    urls = [f"{url}-{number}" for number in range(2)]
    for each in urls:
        name = each.rpartition("/")[2]
        requests.put(
            direct(each, server), json={"name": name, "n": 1}, headers={"If-None-Match": "*"}, timeout=20
        ).raise_for_status()
    return urls


def write(url: str, server: str, **members: Any) -> None:
    there = requests.get(direct(url, server), timeout=20)
    requests.put(
        direct(url, server),
        json={**there.json(), **members},
        headers={"If-Match": there.headers["ETag"]},
        timeout=20,
    ).raise_for_status()


def delete(url: str, server: str) -> None:
    there = requests.get(direct(url, server), timeout=20)
    headers = {"If-Match": there.headers["ETag"]}
    requests.delete(direct(url, server), headers=headers, timeout=20).raise_for_status()


def numbers(urls: list[str], server: str) -> list[int]:
    return [requests.get(direct(each, server), timeout=20).json()["n"] for each in urls]


def test_of_a_batch_what_was_stale_alone_is_read_again(proxy: Proxy, server: str, pair: list[str]) -> None:
    proxy.rivals = {("PATCH", 1): lambda: write(pair[1], server, n=7)}
    answered = client.update_each(requests.Session(), proxy.url + "/papers", pair, plus_one)
    assert [content["n"] for content in answered] == [2, 8] == numbers(pair, server)
    assert (proxy.count("GET"), proxy.count("PATCH")) == (3, 2)


def test_a_batch_whose_answer_is_lost_is_not_done_twice(proxy: Proxy, server: str, pair: list[str]) -> None:
    def give_mark(contents: list[dict[str, Any]]) -> None:
        for content in contents:
            content.update(n=content["n"] + 1, mark=str(uuid4()))

    proxy.faults = {"PATCH": ["answer lost"]}
    answered = client.update_each(requests.Session(), proxy.url + "/papers", pair, give_mark)
    assert [content["n"] for content in answered] == [2, 2] == numbers(pair, server)
    rival = {("PATCH", 2): partial(write, pair[0], server, n=9)}
    met: list[tuple[dict[tuple[str, int], Callable[[], object]], list[int]]] = [({}, [3, 3]), ({**rival}, [9, 4])]
    for rivals, there in met:
        proxy.requests.clear()
        proxy.rivals = rivals
        with pytest.raises(client.Unknown) as unknown:  # somebody else may have added one as well
            client.update_each(requests.Session(), proxy.url + "/papers", pair, plus_one, unique_tags=True)
        assert unknown.value.theirs is not None
        assert [content["n"] for content in unknown.value.theirs.content] == there == numbers(pair, server)


def test_of_a_batch_without_attempts_left_is_told_what_each_is(proxy: Proxy, server: str, pair: list[str]) -> None:
    def seven(contents: list[dict[str, Any]]) -> None:
        for content in contents:
            content["n"] = 7

    send, url = requests.Session(), proxy.url + "/papers"
    proxy.always = lambda method: "answer lost" if method == "PATCH" else None
    answered = client.update_each(send, url, pair, seven, attempts=1)
    assert [content["n"] for content in answered] == [7, 7]
    with pytest.raises(client.Unknown) as unknown:
        client.update_each(send, url, pair, plus_one, attempts=1)
    assert unknown.value.theirs is not None
    assert [content["n"] for content in unknown.value.theirs.content] == [8, 8]
    proxy.rivals = {("PATCH", 3): lambda: delete(pair[0], server)}
    with pytest.raises(client.Unknown) as unknown:
        client.update_each(send, url, pair, plus_one)
    assert unknown.value.theirs == ABSENT


def test_a_batch_of_weakened_tags_is_sent_with_those_of_the_refusal(
    proxy: Proxy, server: str, pair: list[str]
) -> None:
    proxy.faults = {"GET": ["weakened", None]}
    client.update_each(requests.Session(), proxy.url + "/papers", pair, plus_one)
    assert numbers(pair, server) == [2, 2]
    assert (proxy.count("GET"), proxy.count("PATCH")) == (2, 2)


def test_a_batch_that_is_refused_as_a_whole(proxy: Proxy, pair: list[str]) -> None:
    send = requests.Session()
    assert client.update_each(send, proxy.url + "/papers", pair, lambda contents: contents)[0]["n"] == 1
    assert proxy.count("PATCH") == 0
    for fault in ({"status": 403}, {"status": 409, "reason": "its own"}):
        proxy.requests.clear()
        proxy.faults = {"PATCH": [fault]}
        with pytest.raises(client.Refused):
            client.update_each(send, proxy.url + "/papers", pair, plus_one)
    proxy.requests.clear()
    with pytest.raises(TypeError, match="body="):
        client.update_each(send, proxy.url + "/papers", pair, lambda _: [[1], [2]])
    assert proxy.count("PATCH") == 0
    with pytest.raises(client.Refused) as refused:
        client.update_each(send, proxy.url + "/papers", [f"{pair[0]}-gone"], plus_one)
    assert refused.value.status == 404


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ({"status": 200}, client.Unknown),
        ({"status": 200, "reason": "log in"}, client.Unknown),
        ({"status": 207}, client.Refused),
        (200, None),
        (207, None),
    ],
)
def test_a_batch_is_done_when_more_than_a_page_says_so(
    proxy: Proxy, server: str, pair: list[str], fault: Any, raised: Any
) -> None:
    proxy.faults = {"PATCH": [fault]}

    def set_each(contents: list[dict[str, Any]]) -> None:
        for content in contents:
            content["n"] = 5

    def send() -> Any:
        return client.update_each(requests.Session(), f"{proxy.url}/papers", pair, set_each, attempts=4)

    if raised is None:
        assert [content["n"] for content in send()] == numbers(pair, server) == [5, 5]
    else:
        before = numbers(pair, server)
        with pytest.raises(raised):
            send()
        assert numbers(pair, server) == before != [5, 5]


@pytest.mark.parametrize(("shown", "reads"), [("contents", 2), ("tags", 2), ("word", 4)])
def test_a_batch_that_is_told_to_be_done_is_looked_at_unless_its_answer_shows_it(
    proxy: Proxy, server: str, pair: list[str], shown: str, reads: int
) -> None:
    answered = client.update_each(requests.Session(), f"{proxy.url}/papers?shown={shown}", pair, plus_one)
    assert numbers(pair, server) == [2, 2]
    assert (proxy.count("GET"), proxy.count("PATCH")) == (reads, 1)
    assert ("items" in answered, "saved" in answered) == (shown == "tags", shown == "word")


def test_what_is_read_after_a_refusal_comes_from_no_cache(proxy: Proxy, url: str, server: str) -> None:
    proxy.rivals = {("PUT", 1): lambda: write(url, server, title="B")}
    update(requests.Session(), url, add)
    reads = [headers.get("Cache-Control") for method, headers in proxy.requests if method == "GET"]
    assert reads == [None, "no-cache"]


@pytest.mark.parametrize("library", [hishel.httpx, hishel.httpx2])
def test_a_cache_that_does_not_obey_http_loses_nothing_and_is_named(
    library: Any, storage: hishel.SqliteStorage, url: str, server: str
) -> None:
    """That is hishel as it comes: it answers every GET from its store."""
    with library.CacheClient(storage=storage) as session:
        client.read(session, url)
        write(url, server, n=7)
        with pytest.raises(client.Refused, match=r"rfc=CacheOptions\(shared=False\)"):
            update(session, url, add)
    assert numbers([url], server) == [7]


def test_a_copy_that_is_still_there_costs_no_body(proxy: Proxy, url: str) -> None:
    session = requests.Session()
    copy = client.read(session, url)
    assert client.read(session, url, known=copy) is copy
    assert proxy.requests[-1][1]["If-None-Match"] == copy.etag
    assert update(session, url, add, known=copy).content["n"] == 2
    assert client.read(session, url, known=copy).content["n"] == 2


@pytest.mark.parametrize("fault", ["answer lost", 500])
def test_a_deletion_whose_answer_is_lost_is_done(proxy: Proxy, url: str, fault: Fault) -> None:
    session = requests.Session()
    copy = client.read(session, url)
    proxy.faults = {"DELETE": [fault]}
    client.delete(session, url, copy)
    assert client.read(session, url) == ABSENT
    client.delete(session, url, copy)


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ({"status": 403}, client.Refused),
        ({"status": 409}, client.Refused),
        ({"status": 409, "reason": "conflict"}, None),
        ({"status": 412, "reason": "absent"}, client.Refused),
    ],
)
def test_a_deletion_that_is_refused(proxy: Proxy, url: str, fault: Any, raised: Any) -> None:
    session = requests.Session()
    copy = client.read(session, url)
    proxy.faults = {"DELETE": [fault]}
    if raised is None:
        client.delete(session, url, copy)
        assert client.read(session, url) == ABSENT
    else:
        with pytest.raises(raised):
            client.delete(session, url, copy)


def test_a_deletion_that_a_rival_answers_with_a_new_one(proxy: Proxy, url: str, server: str) -> None:
    session = requests.Session()
    copy = client.read(session, url)

    def make_again() -> None:
        requests.put(direct(url, server), json={"n": 3}, headers={"If-None-Match": "*"}, timeout=20)

    proxy.faults = {"DELETE": ["answer lost"]}
    proxy.rivals = {("DELETE", 2): make_again}
    with pytest.raises(client.Unknown) as unknown:
        client.delete(session, url, copy)
    assert unknown.value.theirs is not None
    assert unknown.value.theirs.content["n"] == 3
    proxy.requests.clear()
    proxy.faults, proxy.rivals = (
        {"DELETE": [None, "answer lost"]},
        {("DELETE", 1): lambda: write(url, server, n=4)},
    )
    with pytest.raises(client.Clash):
        client.delete(session, url, client.read(session, url))


@pytest.mark.parametrize(
    ("faults", "raised"),
    [
        ([{"status": 403}], client.Refused),
        ([{"status": 409}], client.Refused),
        ([{"status": 412, "reason": "exists"}], None),
        (["answer lost"], None),
    ],
)
def test_a_creation_that_is_refused_or_lost(proxy: Proxy, url: str, faults: Any, raised: Any) -> None:
    session, new = requests.Session(), f"{url}-new"
    proxy.faults = {"PUT": faults}
    content = {"price": "7", "of": str(uuid4())}
    if raised is None:
        assert client.create(session, new, content).content["price"] == "7.00"
    else:
        with pytest.raises(raised):
            client.create(session, new, content)


@pytest.mark.parametrize("fault", ["answer lost", "request lost", 500, {"status": 500}])
@pytest.mark.parametrize("rival", [{"taken": True}, {"taken": True, "by": "Bob"}, None])
def test_of_those_who_create_the_same_at_most_one_is_told_so(
    proxy: Proxy, url: str, server: str, fault: Fault, rival: Any
) -> None:
    """One whose answer is lost is not told so for what another has created, nor if nothing is there."""
    new = f"{url}-new"

    def meddle() -> None:
        there = requests.get(direct(new, server), timeout=20)
        if there.ok:
            requests.delete(direct(new, server), headers={"If-Match": there.headers["ETag"]}, timeout=20)
        if rival is not None:
            requests.put(direct(new, server), json=rival, headers={"If-None-Match": "*"}, timeout=20)

    proxy.faults, proxy.rivals = {"PUT": [fault]}, {("GET", 1): meddle}
    with pytest.raises(client.Unknown) as unknown:
        client.create(requests.Session(), new, {"taken": True})
    assert proxy.count("PUT") == 1
    assert unknown.value.theirs == client.read(requests.Session(), new)


def test_a_creation_that_is_lost_and_that_a_rival_has_made_otherwise(proxy: Proxy, url: str, server: str) -> None:
    new = f"{url}-new"
    proxy.faults = {"PUT": ["request lost"]}
    proxy.rivals = {
        ("PUT", 2): lambda: requests.put(
            direct(new, server), json={"n": 3}, headers={"If-None-Match": "*"}, timeout=20
        )
    }
    with pytest.raises(client.Unknown):
        client.create(requests.Session(), new, {"n": 1})


def test_what_a_change_raises_ends_the_update(proxy: Proxy, url: str) -> None:
    def sell_out(content: dict[str, Any]) -> None:
        raise LookupError("none left")

    with pytest.raises(LookupError):
        update(requests.Session(), url, sell_out)
    assert proxy.count("PUT") == 0


def test_what_a_change_raises_after_a_lost_answer_leaves_it_unknown(proxy: Proxy, url: str, server: str) -> None:
    def sell(content: dict[str, Any]) -> None:
        if content["n"] == 0:
            raise LookupError("none left")
        content["n"] -= 1

    proxy.faults = {"PUT": ["answer lost"]}
    with pytest.raises(client.Unknown) as unknown:
        update(requests.Session(), url, sell)
    assert isinstance(unknown.value.__cause__, LookupError)
    assert unknown.value.theirs is not None
    assert unknown.value.theirs.content["n"] == 0


@pytest.mark.parametrize("value", [("a", "b"), {1: "x"}, [("a", 1)]])
def test_what_json_spells_otherwise_is_known_as_it_comes_back(
    proxy: Proxy, url: str, server: str, value: Any
) -> None:
    session = requests.Session()

    def put_value(content: dict[str, Any]) -> None:
        content["value"] = value

    base = client.read(session, url)
    proxy.faults = {"PUT": ["answer lost"], "PATCH": ["answer lost"]}
    saved = client.save(session, url, base, {**base.content, "value": value})
    assert update(session, url, put_value) == saved  # there is nothing left to do
    saved = client.patch(session, url, saved, {"other": value})
    proxy.rivals = {("PUT", proxy.count("PUT") + 1): partial(write, url, server, third=saved.content["value"])}
    assert (
        client.save(session, url, saved, {**saved.content, "third": value}).content["third"]
        == saved.content["value"]
    )
    proxy.faults, new = (
        {"PUT": [*[None] * proxy.count("PUT"), "answer lost"]},
        {"id": str(uuid4()), "value": value},
    )
    assert client.create(session, f"{url}-{uuid4()}", new).content["value"] == saved.content["value"]


def test_a_change_gets_a_copy(url: str) -> None:
    session = requests.Session()
    copy = client.read(session, url)
    update(session, url, mark, known=copy)
    assert "marks" not in copy.content


def test_a_mistake_in_the_call_is_no_lost_answer(url: str) -> None:
    with pytest.raises(requests.exceptions.MissingSchema):
        client.read(requests.Session(), "no-scheme")
    with pytest.raises(TypeError):
        client.read(requests.Session(), url, attemps=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        update(requests.Session(), url, lambda content: {**content, "n": object()})


def test_of_many_increments_none_is_claimed_that_was_not_made(proxy: Proxy, url: str, server: str) -> None:
    """Clients that make the very same change of the very same, while requests and answers are lost."""
    chance = random.Random(1)  # noqa: S311
    fates: list[Fault | None] = ["request lost", "answer lost", None, None]
    proxy.always = lambda method: chance.choice(fates) if method == "PUT" else None
    told: dict[str, list[str]] = {"saved": [], "unknown": []}

    def increment(_: int) -> None:
        for _ in range(6):
            with requests.Session() as session:
                session.headers["Who"] = who = str(uuid4())
                try:
                    update(session, url, add)
                    told["saved"].append(who)
                except client.Unknown:
                    told["unknown"].append(who)

    with ThreadPoolExecutor(5) as threads:
        list(threads.map(increment, range(5)))
    done = [fields["Who"] for fields in proxy.done if "Content-Length" in fields]
    assert sorted({*told["saved"]} - {*done}) == []
    assert len(done) == len({*done}) == requests.get(direct(url, server), timeout=20).json()["n"] - 1
    assert told["unknown"]


def retrying() -> requests.Session:
    """A session that sends a request again by itself, as many are told to."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[502], raise_on_status=False)))
    return session


def test_an_answer_that_was_lost_to_the_library_alone_is_a_lost_answer_too(proxy: Proxy, url: str) -> None:
    """The proxy has seen two PUTs, the client one, whose answer is the 412 of the second."""
    proxy.faults = {"PUT": [502]}
    with retrying() as session, pytest.raises(client.Unknown):
        update(session, url, add)
    assert proxy.count("PUT") == 2
    proxy.requests.clear()
    with retrying() as session:
        assert update(session, url, mark).content["marks"] == ["mine"]
    assert client.read(requests.Session(), url).content["n"] == 2


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_session_that_raises_for_a_status_is_understood(
    proxy: Proxy, url: str, server: str, library: str
) -> None:
    def raise_for_status(answer: Any, *_: object, **__: object) -> None:
        getattr(answer, "read", bytes)()
        answer.raise_for_status()

    session: Any
    if library == "requests":
        session = requests.Session()
        session.hooks["response"] = [raise_for_status]
    else:
        session = import_module(library).Client(event_hooks={"response": [raise_for_status]})
    with session:
        proxy.rivals = {("PUT", 1): lambda: write(url, server, n=7)}
        assert update(session, url, add).content["n"] == 8
        proxy.faults = {"PUT": [None, None, {"status": 403}]}
        with pytest.raises(client.Refused) as refused:
            update(session, url, add)
        assert refused.value.status == 403
        assert client.read(session, f"{url}-nothing") == ABSENT
    assert proxy.count("PUT") == 3


def test_an_answer_that_no_parser_takes_is_no_json(proxy: Proxy, url: str) -> None:
    class Deep:
        status_code, headers, content = 200, {"ETag": '"deep"'}, b"[" * 200_000

    class Session(requests.Session):
        def request(self, method: Any, *arguments: Any, **more: Any) -> Any:
            return Deep if method == "PUT" else super().request(method, *arguments, **more)

    with Session() as session:
        assert client.save(session, url, client.read(session, url), {"n": 3}, attempts=2) == Copy({"n": 3}, None)


def test_what_cannot_be_sent_is_no_lost_answer_either(proxy: Proxy, url: str) -> None:
    """JSON has no such number, which ``requests`` tells by an ``OSError``."""
    with pytest.raises(requests.exceptions.InvalidJSONError):
        update(requests.Session(), url, lambda content: {**content, "n": float("nan")})
    assert proxy.count("PUT") == 0


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_a_redirect_is_no_success(proxy: Proxy, url: str, library: str, follows: bool) -> None:
    """To log in, say: the library follows it, by a GET, and is answered 200."""
    with ExitStack() as stack:
        if library == "requests":
            session: Any = stack.enter_context(requests.Session())
        else:
            session = stack.enter_context(import_module(library).Client(follow_redirects=follows))
        for send in (
            partial(update, change=add, unique_tags=True),
            partial(client.save, base=client.read(session, url), mine={"n": 9}),
        ):
            proxy.requests.clear()
            proxy.faults = {"PUT": [{"status": 302, "headers": {"Location": "?log-in"}}]}
            with pytest.raises(client.Refused) as refused:
                send(session, url)
            assert (refused.value.status, proxy.count("PUT")) == (302, 1)
        assert client.read(session, url).content["n"] == 1
        proxy.requests.clear()
        proxy.faults = {"PUT": [303]}  # it was done, as those mean who show the result elsewhere
        assert update(session, url, lambda content: {**content, "n": 5}).content["n"] == 5


@pytest.mark.parametrize(
    "wait", ["9" * 5000, "Thu, 01 Jan 2026 00:00:99999999999999999999 GMT", "1e400", "\u0663"]
)
def test_no_time_to_wait_is_too_odd(wait: str) -> None:
    assert client._seconds(wait) >= 0


def test_a_deadline_ends_the_attempts(proxy: Proxy, url: str) -> None:
    proxy.always = lambda method: {"status": 409, "reason": "conflict"} if method == "PUT" else None
    start = time.monotonic()
    with pytest.raises(client.GaveUp) as gave_up:
        update(requests.Session(), url, add, attempts=1000, deadline=1)
    assert time.monotonic() - start < 10
    assert gave_up.value.theirs.content["n"] == 1
    assert 1 < proxy.count("PUT") < 100


@contextmanager
def saying(head: bytes, body: bytes = b"", pause: float = 0) -> Iterator[tuple[str, list[bytes]]]:
    """Answer whatever is asked by these bytes, the body's one by one; yield the URL, and what was asked."""
    asked: list[bytes] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            asked.append(self.request.recv(65536))
            with suppress(OSError):
                self.wfile.write(head)
                for number in range(len(body)):
                    time.sleep(pause)
                    self.wfile.write(body[number : number + 1])

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
        server.shutdown()


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
@pytest.mark.parametrize("tag", ["\xe9t\xe9".encode("latin-1"), "\xe9t\xe9".encode()], ids=["latin-1", "utf-8"])
def test_8_8_3_a_tag_s_bytes_come_back_as_they_were(library: str, tag: bytes) -> None:
    head = b'HTTP/1.1 200 OK\r\nConnection: close\r\nETag: "%b"\r\nContent-Length: 7\r\n\r\n' % tag
    with saying(head, b'{"n":1}') as (url, asked), CLIENTS[library](None) as session:
        update(session, url, add)
    assert b': "%b"\r\n' % tag in asked[1]


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_the_deadline_holds_for_an_answer_that_trickles_in(library: str) -> None:
    async def read_trickle(url: str) -> None:
        async with ASYNC_CLIENTS[library](None) as session:
            await client.aread(session, url, deadline=1)

    head = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"
    start = time.monotonic()
    with saying(head, b" " * 50, 0.2) as (url, _), pytest.raises(client.Unreachable):
        asyncio.run(read_trickle(url))
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("library", ["requests", "httpx", "httpx2"])
def test_the_deadline_holds_for_an_answer_that_does_not_come(library: str) -> None:
    start = time.monotonic()
    with saying(b"", b" ", 20) as (url, _), CLIENTS[library](None) as session, pytest.raises(client.Unreachable):
        client.read(session, url, deadline=1)
    assert time.monotonic() - start < 4


@pytest.mark.parametrize("send", ["update", "save", "delete"])
def test_who_gives_up_tells_what_was_there(proxy: Proxy, url: str, send: str) -> None:
    proxy.always = lambda method: None if method == "GET" else {"status": 409, "reason": "busy"}
    session = requests.Session()
    base = client.read(session, url)
    tries: dict[str, Callable[..., object]] = {
        "update": partial(update, change=add),
        "save": partial(client.save, base=base, mine={"n": 5}),
        "delete": partial(client.delete, base=base),
    }
    with pytest.raises(client.GaveUp) as gave_up:
        tries[send](session, url, attempts=2)
    assert gave_up.value.theirs == base


@pytest.mark.parametrize(
    "wait", ["60", format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)], ids=["seconds", "date"]
)
def test_a_server_that_asks_for_longer_than_there_is_time_is_not_waited_for(
    proxy: Proxy, url: str, wait: str
) -> None:
    busy = {"status": 409, "reason": "busy", "headers": {"Retry-After": wait}}
    proxy.faults = {"PUT": [busy]}
    start = time.monotonic()
    with pytest.raises(client.GaveUp):
        update(requests.Session(), url, add, deadline=30)
    assert time.monotonic() - start < 30
    assert proxy.count("PUT") == 1


def test_a_server_that_asks_to_wait_is_waited_for(proxy: Proxy, url: str) -> None:
    long_ago = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    waits = ("1", "soon", long_ago)
    proxy.faults = {"PUT": [{"status": 429, "headers": {"Retry-After": wait}} for wait in waits]}
    start = time.monotonic()
    assert update(requests.Session(), url, add, unique_tags=True).content["n"] == 2
    assert time.monotonic() - start > 1


def test_the_pauses_are_random_and_grow(proxy: Proxy, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who collided do not do so again: each waits some part of a time that doubles, up to two seconds."""
    waits: list[float] = []
    monkeypatch.undo()  # the pauses are what they are
    monkeypatch.setattr("flask_etag.client.time.sleep", waits.append)
    proxy.always = lambda method: {"status": 409, "reason": "conflict"} if method == "PUT" else None
    with pytest.raises(client.GaveUp, match="in 12 attempts"):
        update(requests.Session(), url, add, attempts=12)
    assert len(waits) == len(set(waits)) == 11
    assert all(0 <= wait <= min(2, 0.05 * 2**number) for number, wait in enumerate(waits, 1))


def test_the_log_says_that_a_tag_was_altered(proxy: Proxy, url: str, caplog: pytest.LogCaptureFixture) -> None:
    proxy.faults = {"GET": ["weakened"]}
    update(requests.Session(), url, add)
    [record] = [record for record in caplog.records if record.name == "flask_etag.client"]
    assert "ETAG_ACCEPT_WEAKENED" in record.getMessage()


def test_what_was_saved_is_returned_even_if_it_cannot_be_read_any_more(proxy: Proxy, url: str) -> None:
    copy = client.read(requests.Session(), url)
    proxy.faults = {"PUT": ["no content"], "GET": [None, {"status": 403}]}
    assert client.save(requests.Session(), url, copy, {"n": 3}) == Copy({"n": 3}, None)


@pytest.mark.parametrize("content", [{"n": 3}, [1]])
def test_what_was_saved_and_is_not_shown_is_what_was_sent_and_has_no_tag(
    proxy: Proxy, url: str, content: Any
) -> None:
    copy = client.read(requests.Session(), url)
    proxy.faults = {"PUT": [{"status": 204, "headers": {"ETag": '"new"'}}], "GET": [None, {"status": 403}]}
    assert client.save(requests.Session(), url, copy, content) == Copy(content, None)


@pytest.mark.parametrize("send", [update, client.create])
def test_what_the_server_forbids_is_refused_at_once(proxy: Proxy, url: str, send: Any) -> None:
    proxy.faults = {"PUT": [{"status": 403}, {"status": 403}]}
    with pytest.raises(client.Refused, match="403"):
        send(requests.Session(), url, add if send is update else {"n": 1})
    assert proxy.count("PUT") == 1


@pytest.mark.parametrize("module", ["client", "merging"])
def test_the_client_imports_the_standard_library_alone(module: str) -> None:
    tree = ast.parse((ROOT / "flask_etag" / f"{module}.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {"flask_etag.merging"} if module == "client" else set()
    assert {name.partition(".")[0] for name in names - own} <= sys.stdlib_module_names
    assert own <= names


def test_errors_say_what_to_do(proxy: Proxy, url: str) -> None:
    session = requests.Session()
    proxy.always = lambda _: {"status": 200, "headers": {}}
    with pytest.raises(client.Refused, match="answered 200, without JSON") as refused:
        client.read(session, url)
    assert (refused.value.status, refused.value.reason, refused.value.problem) == (200, None, None)
    proxy.always = lambda _: "request lost"
    with pytest.raises(client.Unreachable, match=r"in 2 attempts") as unreachable:
        client.read(session, url, attempts=2)
    assert isinstance(unreachable.value.__cause__, requests.ConnectionError)
    clashes = {
        "Save on ABSENT": client.Clash(Copy({}, '"1"'), {}, ABSENT, [""]),
        "exists already": client.Clash(ABSENT, {}, Copy({}, '"1"'), [""]),
        "the same: /a, the whole": client.Clash(Copy({}, '"1"'), {}, Copy({}, '"2"'), ["/a", ""]),
    }
    for told, error in clashes.items():
        assert told in str(error)
    assert "nothing could be read" in str(client.Unknown({}, None))


@pytest.mark.parametrize(
    "act",
    [
        lambda url, copy: client.save(requests.Session(), url, copy, None),
        lambda url, copy: client.patch(requests.Session(), url, copy, None),
        lambda url, _: client.create(requests.Session(), url, None),
    ],
)
def test_null_is_no_content_and_nothing_is_sent(
    proxy: Proxy, url: str, act: Callable[[str, Copy], object]
) -> None:
    copy = client.read(requests.Session(), url)
    with pytest.raises(ValueError, match=r"delete\(\)"):
        act(url, copy)
    assert {method for method, _ in proxy.requests} == {"GET"}


def may_be_made_twice(content: Any, change: client.Change) -> bool:
    mine = client._changed(change, content)
    return client._Changed(Copy(content, '"1"'), mine, change, unique_tags=False).may_be_sent_again()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES)


@settings(deadline=None)  # a machine that is busy
@given(OBJECTS, OBJECTS)
def test_a_change_that_sets_members_may_be_made_twice_whatever_was_there(
    content: dict[str, Any], members: dict[str, Any]
) -> None:
    assert may_be_made_twice(content, lambda there: {**there, **members})


@settings(deadline=None)  # a machine that is busy
@given(st.integers(-(10**6), 10**6), st.integers(1, 100), st.integers(-(10**8), 10**8), st.integers(1, 10**8))
def test_a_change_that_counts_may_not_be_made_twice_within_whatever_bounds(
    number: int, step: int, low: int, width: int
) -> None:
    def count(there: dict[str, Any]) -> None:
        there["n"] = max(low, min(low + width, there["n"] + step))

    def count_within(there: dict[str, Any]) -> None:
        if low < there["n"] <= low + width:
            there["n"] += step

    def of_an_item(change: client.Change, there: dict[str, Any]) -> None:
        change(there["a"][0])

    for change in (count, count_within):
        if client._changed(change, {"n": number}) != {"n": number}:
            assert not may_be_made_twice({"n": number}, change)
            assert not may_be_made_twice({"a": [{"id": 1, "n": number}]}, partial(of_an_item, change))


def test_to_find_out_what_a_change_does_takes_no_time_to_speak_of() -> None:
    lines = [{"id": number, "sku": f"{number}", "done": False, "marks": ["a"]} for number in range(1000)]

    def finish(there: dict[str, Any]) -> None:
        for line in there["lines"]:
            line["done"] = True

    def mark(there: dict[str, Any]) -> None:
        if "mine" not in there["marks"]:
            there["marks"].append("mine")

    start = time.process_time()
    assert may_be_made_twice({"lines": lines}, finish)
    assert may_be_made_twice({"marks": [f"{number}" for number in range(2000)]}, mark)
    assert time.process_time() - start < 5


WAIT = {"status": 429, "headers": {"Retry-After": "0"}}
BUSY = {"status": 409, "reason": "busy", "headers": {"Retry-After": "0"}}
LOST = ["request lost"] * 9


@pytest.mark.parametrize(
    ("does", "faults", "raised"),
    [
        ("read", {"GET": [WAIT] * 3}, client.GaveUp),
        ("read", {"GET": [BUSY] * 3}, client.GaveUp),
        ("delete", {"DELETE": [BUSY] * 3}, client.GaveUp),
        ("create", {"PUT": [BUSY] * 3}, client.GaveUp),
        ("save", {"PUT": LOST, "GET": LOST}, client.Unknown),
        ("create", {"PUT": LOST, "GET": LOST}, client.Unknown),
        ("delete", {"DELETE": LOST, "GET": LOST}, client.Unknown),
        ("save nothing", {}, ValueError),
        ("create nothing", {}, ValueError),
    ],
)
def test_what_the_docstrings_name_is_raised(
    url: str, proxy: Proxy, does: str, faults: dict[str, list[Fault | None]], raised: type[Exception]
) -> None:
    sent_by = requests.Session()
    content = None if does.endswith("nothing") else {"n": 2}
    base = client.read(sent_by, url)
    proxy.requests.clear()
    proxy.faults = faults
    ways: dict[str, Callable[[], Any]] = {
        "read": lambda: client.read(sent_by, url, attempts=3),
        "delete": lambda: client.delete(sent_by, url, base, attempts=3),
        "create": lambda: client.create(sent_by, f"{url}-new", content, attempts=3),
        "save": lambda: client.save(sent_by, url, base, content, attempts=3),
    }
    with pytest.raises(raised):
        ways[does.partition(" ")[0]]()


def test_what_is_no_item_among_those_that_a_refusal_names_is_none() -> None:
    told = ["stale", {"index": "0"}, {"index": 1}, {"index": 2, "reason": "weakened", "etag": '"a"'}]
    assert _refused_items(_Answer(412, content={"items": told})) == {1: None, 2: '"a"'}
