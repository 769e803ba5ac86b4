from __future__ import annotations

from contextlib import nullcontext

from flask import Flask
from flask.views import MethodView

from flask_etag import ETag, content_hash, etag_resource, require_if_match, resource, version_column
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
    ran = audited().test_cli_runner().invoke(args=["etag", "routes", "--check"])
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
    assert "Not protected: PATCH /lax/<int:note_id>, DELETE /plain/<int:note_id>" in ran.output
    assert ["/plain/<int:note_id>", "DELETE", "not at all"] in rows(ran.output)
    assert runner.invoke(args=["etag", "routes"]).exit_code == 0


def test_check_fails_where_nothing_is_enforced() -> None:
    ran = audited(ETAG_REQUIRE="report").test_cli_runner().invoke(args=["etag", "routes", "--check"])
    assert ran.exit_code == 1
    assert 'not at all: ETAG_REQUIRE is "report"' in ran.output


def test_an_annotation_that_cannot_be_resolved_does_not_say() -> None:
    @resource
    def find(note_id: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    lost = Flask("lost", static_folder=None)
    ETag(lost)
    lost.put("/<int:note_id>")(require_if_match(find)(lambda _: ""))
    assert "does not say" in lost.test_cli_runner().invoke(args=["etag", "routes"]).output
