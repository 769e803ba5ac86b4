"""The table of cases that the clients in Python and in JavaScript are held to: cases.json.

Each runs against a real server, through a proxy that breaks what the case says. The browser's are in
``tests/browser/test_client.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from flask_etag import client
from flask_etag.client import ABSENT, Copy
from tests.client.papers import create_app
from tests.client.proxy import Proxy, between
from tests.servers.loopback import serving

TABLE: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "cases.json").read_text())
OUTCOMES = {
    client.Clash: "clash",
    client.Unknown: "unknown",
    client.GaveUp: "gave up",
    client.Unreachable: "unreachable",
    client.Refused: "refused",
    client.Untagged: "untagged",
}


def cases(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", TABLE[kind], ids=[case["name"] for case in TABLE[kind]])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(create_app(f"sqlite:///{tmp_path_factory.mktemp('papers') / 'papers.db'}")) as url:
        yield url


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


class Stage:
    """A paper at the server, the proxy before it as the case says, and who else writes it."""

    def __init__(self, server: str, proxy: Proxy, case: dict[str, Any]) -> None:
        name = f"/{'known' if case.get('replay') else 'papers'}/{uuid4()}"
        self.direct, self.url = server + name, proxy.url + name
        self.start = case.get("start", {"n": 1, "title": "Plan"})
        if self.start is not None:
            requests.put(
                self.direct, json=self.start, headers={"If-None-Match": "*"}, timeout=20
            ).raise_for_status()
        proxy.requests.clear()
        proxy.faults = case.get("faults", {})
        proxy.rivals = {}
        for moment, members in case.get("before", {}).items():
            method, number = moment.split()
            proxy.rivals[method, int(number)] = partial(self.rival, members)
        self.proxy = proxy

    def rival(self, members: dict[str, Any] | None) -> None:
        """Write what somebody else writes: some members, or all of it, or delete it."""
        there = requests.get(self.direct, timeout=20)
        seen = {"If-Match": there.headers["ETag"]} if there.ok else {"If-None-Match": "*"}
        if members is None:
            answer = requests.delete(self.direct, headers=seen, timeout=20)
        else:
            answer = requests.put(
                self.direct, json={**(there.json() if there.ok else {}), **members}, headers=seen, timeout=20
            )
        answer.raise_for_status()

    def stored(self) -> dict[str, Any] | None:
        answer = requests.get(self.direct, timeout=20)
        return {name: value for name, value in answer.json().items() if name != "edited"} if answer.ok else None

    def shown(self) -> dict[str, Any] | None:
        """Return what there is, as a copy, whichever language has that."""
        answer = requests.get(self.direct, timeout=20)
        return {"content": answer.json(), "etag": answer.headers["ETag"]} if answer.ok else None

    def check_stored(self, case: dict[str, Any]) -> None:
        stored = self.stored()
        found = {name: len((stored or {}).get(name, ())) for name in ("items", "claims") if name in case}
        assert found == {name: case[name] for name in found}
        assert found or stored == case["stored"]

    def counts(self, case: dict[str, Any]) -> dict[str, int]:
        return {
            f"{method.lower()}s": self.proxy.count(method)
            for method in ("PUT", "GET")
            if f"{method.lower()}s" in case
        }


@pytest.fixture(scope="module")
def proxy(server: str) -> Iterator[Proxy]:
    with between(server) as proxy:
        yield proxy


@cases("merges")
def test_merges(case: dict[str, Any]) -> None:
    found = client.merge(case["base"], case["mine"], case["theirs"], case.get("key", {}).get)
    assert found == (case["merged"], case["clashes"])


@cases("saves")
def test_saves(server: str, proxy: Proxy, session: requests.Session, case: dict[str, Any]) -> None:
    stage = Stage(server, proxy, case)
    outcome, clashes = "saved", []
    base = client.read(session, stage.url)
    mine = {**(base.content or {}), **case["mine"]}
    try:
        copy = client.save(session, stage.url, base, mine, attempts=case.get("attempts", 20))
        there = requests.get(stage.direct, timeout=20)
        assert copy == Copy(there.json(), there.headers["ETag"])
    except client.ClientError as error:
        outcome = OUTCOMES[type(error)]
        clashes = error.pointers if isinstance(error, client.Clash) else []
    assert (outcome, clashes) == (case["outcome"], case.get("clashes", []))
    assert stage.stored() == case["stored"]
    assert stage.counts(case) == {name: case[name] for name in ("puts", "gets") if name in case}


@cases("removals")
def test_removals(server: str, proxy: Proxy, session: requests.Session, case: dict[str, Any]) -> None:
    stage, outcome = Stage(server, proxy, case), "gone"
    base = client.read(session, stage.url)
    try:
        client.delete(session, stage.url, base)
    except client.ClientError as error:
        outcome = OUTCOMES[type(error)]
    assert (outcome, stage.stored()) == (case["outcome"], case["stored"])


def add(content: dict[str, Any]) -> None:
    content["n"] += 1


def mark(content: dict[str, Any]) -> None:
    if "mine" not in content.setdefault("marks", []):
        content["marks"].append("mine")


def append(content: dict[str, Any]) -> None:
    content["items"] = [*content.get("items", []), {"id": str(uuid4())}]


def claim(content: dict[str, Any]) -> None:
    content["claims"] = [*content.get("claims", []), str(uuid4())]


def line(content: dict[str, Any]) -> None:
    content["lines"] = [*content.get("lines", []), {"id": str(uuid4())}]


def sell(ticks: Iterator[int], content: dict[str, Any]) -> None:
    content.update(n=content["n"] - 1, at=next(ticks))


def take(content: dict[str, Any]) -> None:
    content["n"] = max(0, content["n"] - 1)


def sell_if_any(content: dict[str, Any]) -> None:
    if content["n"] > 0:
        content["n"] -= 1


def own(content: dict[str, Any]) -> None:
    if content["owner"] is None:
        content["owner"] = "me"


def job(content: dict[str, Any]) -> None:
    if content["jobs"]:
        content["jobs"].pop(0)


def work(content: dict[str, Any]) -> None:
    for each in content["jobs"]:
        if each["by"] is None:
            each["by"] = "me"
            break


def seat(content: dict[str, Any]) -> None:
    if len(content["seats"]) < 2 and "me" not in content["seats"]:
        content["seats"].append("me")


def move(content: dict[str, Any]) -> None:
    content.update(paid=content["paid"] + content["owed"], owed=0)


def part(content: dict[str, Any]) -> None:
    for each in content["parts"]:
        if each["id"] == "b":
            each["n"] = 5


def drop(content: dict[str, Any]) -> None:
    content.pop("note", None)


def leave(content: dict[str, Any]) -> None:
    content["seats"] = [seat for seat in content["seats"] if seat != "me"]


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "sell if any": sell_if_any,
    "own": own,
    "job": job,
    "work": work,
    "seat": seat,
    "move": move,
    "part": part,
    "drop": drop,
    "leave": leave,
    "claim": claim,
    "line": line,
    "take": take,
    "add": add,
    "set": lambda content: {**content, "n": 5},
    "price": lambda content: {**content, "price": "7"},
    "mark": mark,
    "append": append,
}


@cases("updates")
def test_updates(server: str, proxy: Proxy, session: requests.Session, case: dict[str, Any]) -> None:
    stage = Stage(server, proxy, case)
    outcome, theirs = "saved", ABSENT
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        **CHANGES,
        "sell": partial(sell, count(1000)),
    }  # by a clock
    try:
        copy = client.update(
            session,
            stage.url,
            changes[case["change"]],
            unique_tags=case.get("uniqueTags", False),
            attempts=case.get("attempts", 20),
        )
        there = requests.get(stage.direct, timeout=20)
        assert copy == Copy(there.json(), there.headers["ETag"])
    except client.ClientError as error:
        outcome = OUTCOMES[type(error)]
        theirs = getattr(error, "theirs", ABSENT)
    assert outcome == case["outcome"]
    if outcome == "unknown":
        there = requests.get(stage.direct, timeout=20)
        assert theirs == (Copy(there.json(), there.headers["ETag"]) if there.ok else ABSENT)
    stage.check_stored(case)
    assert stage.counts(case) == {name: case[name] for name in ("puts", "gets") if name in case}
