"""``flask etag explain``: what a request would be answered, without its view being run."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, abort, redirect, request
from flask.views import MethodView
from werkzeug.middleware.dispatcher import DispatcherMiddleware

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


@pytest.mark.parametrize("field", ["nonsense", ": without a name", "a name: x", "X: two\nlines", "X: 日本"])
def test_a_field_that_is_none_is_refused(field: str) -> None:
    runner = guarded_by_a_password().test_cli_runner()
    ran = runner.invoke(args=["etag", "explain", "GET", "/", "--header", field])
    assert ran.exit_code == 2
    assert f"{field!r} is no field" in ran.output


class Bare(MethodView):
    @etag_resource
    def get(self) -> str:
        return "read"

    def delete(self) -> str:
        raise AssertionError("it runs")


def test_a_view_that_is_not_decorated_does_not_run_either() -> None:
    app = Flask("bare", static_folder=None)
    ETag(app)
    written: list[str] = []

    @app.put("/notes")
    def write() -> str:
        written.append("by hand")
        return "done"

    app.add_url_rule("/reports", view_func=Bare.as_view("reports"))
    views = dict(app.view_functions)
    other = Flask("above", static_folder=None)
    ETag(other)
    other.wsgi_app = DispatcherMiddleware(other.wsgi_app, {"/below": app.wsgi_app})  # type: ignore[method-assign]
    for asked, method, path in (
        (app, "PUT", "/notes"),
        (app, "DELETE", "/reports"),
        (other, "PUT", "/below/notes"),
    ):
        assert explained(asked, method, path) == {
            "Answer": "the view runs: it is not decorated for this method, so that no condition is judged",
            "See": "https://flask-etag.readthedocs.io/configuration#the-audit",
        }
    assert explained(app, "GET", "/reports")["Answer"] == "the view runs"
    assert written == []
    assert app.view_functions == views
    assert app.test_client().put("/notes").text == "done"


class Page:
    revision = 7
    changed = datetime(2026, 1, 1, tzinfo=UTC)


def kinds_of_guards() -> Flask:
    """Return an application with a view of each kind, under names that say which."""
    app = Flask("kinds", static_folder=None)
    ETag(app)

    def find(name: str) -> Page:
        if name == "moved":
            abort(redirect("/elsewhere"))
        if name == "broken":
            raise LookupError(name)
        return Page()

    @resource(etag=version_column("revision"), last_modified="changed", lock=lambda **_: nullcontext())
    def find_page(name: str) -> Page:
        return find(name)

    def write(_: Page) -> str:
        raise AssertionError("its view runs")

    judged_only = resource(etag=version_column("revision"))(find)
    app.put("/locked/<name>", endpoint="locked")(require_if_match(find_page)(write))
    app.put("/reported/<name>", endpoint="reported")(require_if_match(find_page, enforce=False)(write))
    app.put("/free/<name>", endpoint="free")(etag_resource(find_page)(write))
    app.put("/judged/<name>", endpoint="judged")(require_if_match(judged_only)(write))
    return app


@pytest.mark.parametrize(
    ("path", "if_match", "then", "page"),
    [
        ("/locked/a", "7", "the view runs; if another request is first to commit, 412", "guards"),
        ("/locked/a", "*", "the view runs, and replaces whatever is there by then", "judging"),
        (
            "/judged/a",
            "7",
            "the view runs; another request that does so at the same moment may be overwritten",
            "guards#other-stores",
        ),
        (
            "/reported/a",
            None,
            "the view runs, and this is reported: missing. It overwrites what is there by then",
            "rollout",
        ),
        (
            "/free/a",
            None,
            "the view runs: no condition is sent, and none is needed. It overwrites what is there by then",
            "views",
        ),
    ],
)
def test_what_becomes_of_a_save_that_passes_is_said_of_each_guard(
    path: str, if_match: str | None, then: str, page: str
) -> None:
    app = kinds_of_guards()
    tag = explained(app, "PUT", path)["Current tag"].partition(",")[0]
    sent = {None: (), "*": ("--if-match", "*")}.get(if_match, ("--if-match", tag))
    facts = explained(app, "PUT", path, *sent)
    assert facts["Answer"] == then
    assert facts["See"] == f"https://flask-etag.readthedocs.io/{page}"


@pytest.mark.parametrize("debug", [False, True])
def test_a_loader_that_raises_is_told_as_what_it_is(debug: bool) -> None:
    app = kinds_of_guards()
    app.debug = debug
    assert explained(app, "PUT", "/locked/moved")["Loader"] == "answers 302"
    assert explained(app, "PUT", "/locked/moved")["Answer"] == "302 FOUND, by the loader: no condition is judged"
    assert explained(app, "PUT", "/locked/broken")["Answer"] == (
        "500 INTERNAL SERVER ERROR, by an error in the loader, or in what makes the tag: the log has it"
    )


def test_an_error_of_ours_before_the_view_is_not_the_loader_s(world: World) -> None:
    world.app.put("/again/<int:note_id>")(require_if_match(world.find_note, replay=True)(lambda _: ""))
    facts = explained(world.app, "PUT", "/again/1", "--if-match", world.etag())  # there is no ETAG_KEY
    assert facts["Answer"] == "500 INTERNAL SERVER ERROR, by an error before the view: the log has it"


def test_a_date_that_says_nothing_is_ignored(world: World) -> None:
    date = "Thu, 01 Jan 2026 00:00:00 GMT"
    for path, sent, says in [
        ("/notes/1", date, f"{date} is ignored: the resource has no last_modified="),
        ("/notes/1", "yesterday", "yesterday is no date, and is ignored"),
    ]:
        facts = explained(world.app, "PUT", path, "--header", f"If-Unmodified-Since: {sent}")
        assert facts["If-Unmodified-Since"] == says
    facts = explained(kinds_of_guards(), "PUT", "/free/a", "--header", f"If-Unmodified-Since: {date}")
    assert facts["If-Unmodified-Since"] == f"{date} holds"


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


@pytest.mark.parametrize(("kind", "status"), [("function", 200), ("class", 200), ("none", 204), ("batch", 200)])
def test_a_write_that_was_done_before_is_explained_as_such(
    kind: str, status: int, world_on: Callable[[str], str]
) -> None:
    """It is answered by what a GET gives, whose view does not run either; or by its tag alone, or its items."""
    world = World(world_on("sqlite"), config={"ETAG_KEY": "a secret"})
    ran: list[str] = []

    @resource
    def find_note(note_id: int) -> Note | None:
        return world.db.session.get(Note, note_id)

    def read(_: Note) -> str:
        ran.append("GET")
        return "read"

    class Reading(MethodView):
        @etag_resource(find_note)
        def get(self, note: Note) -> str:
            return read(note)

    def replace(note: Note) -> str:
        note.body = "second"
        world.db.session.commit()
        return "done"

    def replace_each(notes: list[Note]) -> str:
        return replace(notes[0])

    def each() -> list[Item]:
        return [(request.get_json(), {"note_id": 1})]

    url = "/other/<int:note_id>"
    if kind == "function":
        world.app.get(url, endpoint="read other")(etag_resource(find_note)(read))
    if kind == "class":
        world.app.add_url_rule(url, view_func=Reading.as_view("reading"))
    if kind == "batch":
        world.app.patch("/other/1")(require_if_match(find_note, each=each, replay=True)(replace_each))
    else:
        world.app.patch(url)(require_if_match(find_note, replay=True)(replace))

    tag = world.etag()
    fields = {"Content-Type": "application/json"} | ({} if kind == "batch" else {"If-Match": tag})
    options = [part for name, value in fields.items() for part in ("--header", f"{name}: {value}")]
    body = json.dumps(tag)
    client = world.app.test_client()
    assert client.patch("/other/1", data=body, headers=fields).text == "done"
    ran.clear()
    facts = explained(world.app, "PATCH", "/other/1", "--data", body, *options)
    assert ran == []
    assert facts["Answer"].startswith(f"{status} ")
    assert "this very request was done before" in facts["Answer"]
    assert facts["See"].endswith("/lost-answers")
    assert client.patch("/other/1", data=body, headers=fields).status_code == status
    world.close()
