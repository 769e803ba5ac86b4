"""``flask etag explain``: what a request would be answered, without its view being run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, request

from flask_etag import ETag, decided, etag_resource, require_if_match, resource, version_column
from flask_etag.batches import Item
from tests.world.application import World
from tests.world.models import Note


def explained(app: Flask, *arguments: str) -> dict[str, str]:
    """Return the facts that the command prints, by their headings."""
    ran = app.test_cli_runner().invoke(args=["etag", "explain", *arguments])
    assert ran.exit_code == 0, (ran.output, ran.exception)
    return {line[:24].split("  ")[0]: line.split("  ", 1)[1].strip() for line in ran.output.splitlines()}


@pytest.fixture
def world(world_on: Callable[[str], str]) -> Any:
    world = World(world_on("sqlite"))
    yield world
    world.close()


def test_a_stale_save_is_explained(world: World) -> None:
    etag = world.etag()
    assert explained(world.app, "put", "/notes/1", "--if-match", '"old"') == {
        "Resource": "find_note",
        "Current tag": f"{etag}, by its version",
        "If-Match": '"old" fails: stale',
        "Guard": "guarded: its version",
        "Answer": "412 PRECONDITION FAILED: stale. The resource has changed",
        "See": "https://flask-etag.readthedocs.io/errors#stale",
    }
    missing = explained(world.app, "PUT", "/notes/1")
    assert missing["Conditions"] == "none"
    assert missing["Answer"] == "428 PRECONDITION REQUIRED: missing. Precondition required"


def test_a_save_that_would_pass_writes_nothing_and_holds_nothing(world: World, tmp_path: Path) -> None:
    told: list[object] = []
    with decided.connected_to(lambda _, decision: told.append(decision), world.app):
        facts = explained(world.app, "PUT", "/notes/1", "--if-match", world.etag(), "--data", "second")
        paper = explained(world.app, "PUT", "/papers/plan", "--if-match", world.paper_etag())
    assert facts["If-Match"].endswith(" holds")
    assert facts["Answer"] == "the view runs; if another request is first to commit, 412"
    assert paper["Guard"] == "held: its row"
    assert world.body() == "first"
    assert len(told) == 2  # the two reads of this test
    other = sqlite3.connect(tmp_path / "world.db", timeout=0)
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_reads_are_explained_too(world: World) -> None:
    etag = world.etag()
    fresh = explained(world.app, "GET", "/notes/1", "--if-none-match", etag)
    assert fresh["If-None-Match"] == f"{etag} says that the sender has it already"
    assert fresh["Answer"] == "304 NOT MODIFIED: the sender has it already, and the view does not run"
    assert "Guard" not in fresh
    assert explained(world.app, "GET", "/notes/1")["Answer"] == "the view runs"


def test_a_creation_is_explained(world: World) -> None:
    facts = explained(world.app, "PUT", "/papers/new", "--if-none-match", "*")
    assert facts["Current tag"] == "none: the loader finds nothing"
    assert facts["If-None-Match"] == "* holds"
    assert facts["Answer"].startswith("the view runs")
    absent = explained(world.app, "PUT", "/papers/new", "--if-match", "*")
    assert absent["Answer"].startswith("412 PRECONDITION FAILED: absent")


def test_a_date_beside_a_tag_is_ignored(world: World) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    facts = explained(
        world.app, "GET", "/notes/1", "--if-none-match", '"a"', "--header", f"If-Modified-Since: {date}"
    )
    assert facts["If-Modified-Since"] == f"{date} is ignored beside If-None-Match"


class Secret:
    revision = 7


def guarded_by_a_password() -> Flask:
    app = Flask("secrets", static_folder=None)
    ETag(app)

    @app.before_request
    def authenticate() -> None:
        if request.authorization is None:
            abort(401)

    @resource(etag=version_column("revision"))
    def find_secret(name: str) -> Secret:
        if name == "theirs":
            abort(403)
        return Secret()

    app.put("/secrets/<name>", endpoint="write")(require_if_match(find_secret)(lambda _: ""))
    app.get("/report", endpoint="report")(etag_resource(lambda: "report"))
    return app


def test_the_request_goes_through_the_whole_application() -> None:
    app = guarded_by_a_password()
    path, alice = "/secrets/mine", ("--header", "Authorization: Bearer alice")
    stranger = explained(app, "PUT", path)
    assert stranger.keys() == {"Answer", "See"}
    assert stranger["Answer"].startswith("401 UNAUTHORIZED, before the request gets to a decorated view")
    assert explained(app, "PUT", path, *alice)["Guard"] == "judged only"
    theirs = explained(app, "PUT", "/secrets/theirs", *alice)
    assert theirs["Loader"] == "answers 403"
    assert theirs["Answer"] == "403 FORBIDDEN, by the loader: no condition is judged"
    report = explained(app, "GET", "/report", *alice)
    assert report["Tag"] == "the digest of the body, which is known once the view has run"
    assert report["Answer"] == "the view runs"


def test_a_field_that_is_none_is_refused() -> None:
    runner = guarded_by_a_password().test_cli_runner()
    ran = runner.invoke(args=["etag", "explain", "GET", "/", "--header", "nonsense"])
    assert ran.exit_code == 2
    assert "'nonsense' is no field" in ran.output


def test_a_write_of_several_is_explained_by_its_items(world: World) -> None:
    def each() -> list[Item]:
        return [(tag, {"note_id": 1}) for tag in request.get_json()]

    def replace_all(notes: list[Note]) -> str:
        raise AssertionError("its view runs")

    world.app.patch("/notes")(require_if_match(world.find_note, each=each)(replace_all))
    current = world.etag()

    def sent(*tags: str | None) -> dict[str, str]:
        content = ("--header", "Content-Type: application/json", "--data", json.dumps(tags))
        return explained(world.app, "PATCH", "/notes", *content)

    stale = sent(current, '"old"')
    assert stale["Content"].startswith("has the items")
    assert "Item 0" not in stale
    assert stale["Item 1"] == f"note_id=1 fails: stale; current tag {current}"
    assert stale["Answer"].startswith("412 PRECONDITION FAILED: stale")
    missing = sent(current, None)
    assert missing["Item 1"] == "note_id=1 fails: missing"
    assert missing["Answer"].startswith("428 PRECONDITION REQUIRED: missing")
    passed = sent(current, current)
    assert passed["Items"] == "the condition of each of the 2 holds"
    assert passed["Answer"].startswith("the view runs")
