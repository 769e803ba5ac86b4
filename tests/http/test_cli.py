from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Any

import pytest
from flask import Flask
from flask.views import MethodView

from flask_etag import ETag, content_hash, etag_resource, exempt, require_if_match, resource, version_column
from flask_etag.audit import unprotected_routes
from tests.world.models import Note, Paper


@resource
def find_note(note_id: int) -> Note | None:
    raise NotImplementedError


@resource(etag=content_hash(str))
def find_paper(note_id: int) -> Paper:
    raise NotImplementedError


@resource(etag=version_column("revision"), lock=lambda **_: nullcontext())
def find_memo(note_id: int) -> dict[str, int]:
    raise NotImplementedError


@resource(etag=lambda _: "v1")
def find_page(note_id: int) -> dict[str, int]:
    raise NotImplementedError


@resource
def find_something(note_id):  # type: ignore[no-untyped-def]
    raise NotImplementedError


def audited(**config: str) -> Flask:
    audited = Flask("audited", static_folder=None)
    audited.config.update(config)
    ETag(audited)

    def view(target: object) -> str:
        raise NotImplementedError

    for found in (find_note, find_paper, find_memo, find_page, find_something):
        audited.put(f"/{found.name}/<int:note_id>", endpoint=found.name)(require_if_match(found)(view))
    audited.get("/notes/<int:note_id>", endpoint="read")(etag_resource(find_note)(view))
    many = require_if_match(find_note, each=lambda: [])(view)
    audited.patch("/notes", endpoint="many")(many)
    audited.get("/report", endpoint="report")(etag_resource(lambda: ""))

    @require_if_match(find_note)
    class NoteView(MethodView):
        def get(self, note: Note) -> str:
            raise NotImplementedError

        def delete(self, note: Note) -> str:
            raise NotImplementedError

    audited.add_url_rule("/class/<int:note_id>", view_func=NoteView.as_view("class"))
    return audited


def rows(output: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in output.splitlines() if line]


def test_routes_tells_of_each_what_protects_it() -> None:
    ran = audited().test_cli_runner().invoke(args=["etag", "routes"])
    assert ran.exit_code == 0, ran.output
    assert rows(ran.output) == [
        ["Route", "Method", "Resource", "Tag", "Protection"],
        ["/class/<int:note_id>", "DELETE", "find_note", "version", "guarded: its version"],
        ["/class/<int:note_id>", "GET", "find_note", "version"],
        ["/find_memo/<int:note_id>", "PUT", "find_memo", "column revision", "locked: lock="],
        ["/find_note/<int:note_id>", "PUT", "find_note", "version", "guarded: its version"],
        ["/find_page/<int:note_id>", "PUT", "find_page", "<lambda>", "judged only"],
        ["/find_paper/<int:note_id>", "PUT", "find_paper", "content", "held: its row"],
        [
            "/find_something/<int:note_id>",
            "PUT",
            "find_something",
            "version",
            "guarded if mapped: the loader's annotation does not say",
        ],
        ["/notes", "PATCH", "find_note", "version", "guarded: its version"],
        ["/notes/<int:note_id>", "GET", "find_note", "version"],
        ["/report", "GET", "body"],
    ]


def test_check_fails_where_a_write_is_not_protected() -> None:
    unprotected = audited()
    unprotected.delete("/plain/<int:note_id>", endpoint="plain")(lambda **_: "")
    unprotected.patch("/lax/<int:note_id>", endpoint="lax")(etag_resource(find_note)(lambda _: ""))
    runner = unprotected.test_cli_runner()
    ran = runner.invoke(args=["etag", "routes", "--check"])
    assert ran.exit_code == 1
    assert unprotected_routes(unprotected) == [
        "PATCH /lax/<int:note_id>",
        "DELETE /plain/<int:note_id>",
        "PUT /find_page/<int:note_id>",
        "PUT /find_something/<int:note_id>",
    ]
    assert ran.stderr.splitlines() == [
        "",
        "Not protected: PATCH /lax/<int:note_id>, DELETE /plain/<int:note_id>",
        "Judged, not guarded (its resource wants lock= or swaps=): PUT /find_page/<int:note_id>",
        "Cannot be told (annotate what its loader returns): PUT /find_something/<int:note_id>",
    ]
    assert ["/plain/<int:note_id>", "DELETE", "not at all"] in rows(ran.output)
    assert runner.invoke(args=["etag", "routes"]).exit_code == 0


def guarded(**config: str) -> Flask:
    app = Flask("guarded", static_folder=None)
    app.config.update(config)
    ETag(app)
    app.put("/notes/<int:note_id>", endpoint="replace")(require_if_match(find_note)(lambda _: ""))
    return app


def check(app: Flask, *options: str) -> Any:
    return app.test_cli_runner().invoke(args=["etag", "routes", "--check", *options])


def test_check_passes_where_every_write_is_guarded_or_excused() -> None:
    app = guarded()
    app.put("/stars/<int:note_id>", endpoint="star")(exempt("adds only the caller's own star")(lambda **_: ""))

    class LogView(MethodView):
        @exempt("appends")
        def put(self) -> str:
            raise NotImplementedError

    @exempt("deletes what nobody edits")
    class HeapView(MethodView):
        def delete(self) -> str:
            raise NotImplementedError

    app.add_url_rule("/log", view_func=LogView.as_view("log"))
    app.add_url_rule("/heap", view_func=HeapView.as_view("heap"))
    app.patch("/lax/<int:note_id>", endpoint="lax")(exempt("it counts")(etag_resource(find_note)(lambda _: "")))
    ran = check(app)
    assert ran.exit_code == 0, ran.output
    told = [(row[1], row[-1]) for row in rows(ran.output)[1:]]
    assert told == [
        ("DELETE", "exempt: deletes what nobody edits"),
        ("PATCH", "exempt: it counts"),
        ("PUT", "exempt: appends"),
        ("PUT", "guarded: its version"),
        ("PUT", "exempt: adds only the caller's own star"),
    ]


def test_what_is_only_reported_fails_until_it_is_allowed() -> None:
    for app in (guarded(ETAG_REQUIRE="report"), guarded()):
        if app.config.get("ETAG_REQUIRE") is None:
            view = require_if_match(find_note, enforce=False)(lambda _: "")
            app.patch("/notes/<int:note_id>", endpoint="lenient")(view)
        ran = check(app)
        assert ran.exit_code == 1
        assert "Only reported: P" in ran.stderr
        assert "only reported, guarded: its version" in ran.output
        assert check(app, "--allow-reported").exit_code == 0
    app.delete("/plain", endpoint="plain")(lambda: "")
    assert check(app, "--allow-reported").exit_code == 1


def test_the_table_can_be_had_as_json() -> None:
    ran = check(audited(), "--json")
    assert ran.exit_code == 1
    found = {(each["method"], each["route"]): each for each in json.loads(ran.stdout)}
    assert found["PUT", "/find_paper/<int:note_id>"] == {
        "route": "/find_paper/<int:note_id>",
        "method": "PUT",
        "endpoint": "find_paper",
        "resource": "find_paper",
        "tag": "content",
        "protection": "held",
        "detail": "its row",
        "enforced": True,
    }
    assert found["GET", "/report"]["protection"] is None
    assert found["GET", "/report"]["tag"] == "body"


def test_a_reason_is_a_sentence_and_contradicts_nothing() -> None:
    for reason in ("", " ", None, guarded):
        with pytest.raises(TypeError, match="takes the reason why a view needs no condition"):
            exempt(reason)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="7 is no view"):
        exempt("it counts")(7)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="is exempt and requires If-Match"):
        exempt("it counts")(require_if_match(find_note)(lambda _: ""))
    with pytest.raises(TypeError, match="is exempt and requires If-Match"):
        require_if_match(find_note)(exempt("it counts")(lambda _: ""))
    with pytest.raises(TypeError, match="enforce= takes True or False, and was given 'no'"):
        require_if_match(find_note, enforce="no")  # type: ignore[call-overload]


def test_an_annotation_that_cannot_be_resolved_does_not_say() -> None:
    @resource
    def find(note_id: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    lost = Flask("lost", static_folder=None)
    ETag(lost)
    lost.put("/<int:note_id>")(require_if_match(find)(lambda _: ""))
    assert "does not say" in lost.test_cli_runner().invoke(args=["etag", "routes"]).output
