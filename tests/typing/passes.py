"""What type checkers accept, strict as they can be. Only they read this."""

# pyright: strict

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, assert_type

from flask import Blueprint, Flask, Response, abort
from flask.views import MethodView
from marshmallow import Schema, fields

from flask_etag import (
    ConditionalRequestError,
    EntityTag,
    ETag,
    PreconditionFailed,
    PreconditionRequired,
    Resource,
    WriteConflict,
    content_hash,
    etag_resource,
    exempt,
    require_if_match,
    resource,
    version_column,
)

app = Flask("notes")
store = Blueprint("store", "notes")
ETag(app)
ETag().init_app(app)


class Note:
    body: str
    updated_at: datetime

    def __etag__(self) -> str:
        return self.body


class NoteSchema(Schema):
    body = fields.String()


NOTES: dict[int, Note] = {}
LOCK = threading.Lock()


# Loaders: what they return, and what they take, stays known.


@resource
def find_note(note_id: int) -> Note:
    return NOTES[note_id]


@resource
def find_perhaps(note_id: int) -> Note | None:
    return NOTES.get(note_id)


@resource
def find_all() -> list[Note]:
    return list(NOTES.values())


@resource
def find_line(note_id: int, *, number: str = "1") -> Note:
    return find_note(note_id)


@resource
async def find_slowly(note_id: int) -> Note:
    return NOTES[note_id]


@resource
async def find_perhaps_slowly(note_id: int) -> Note | None:
    return NOTES.get(note_id)


@resource()
def find_without_options(note_id: int) -> Note:
    return NOTES[note_id]


@resource(etag=version_column("revision"), last_modified="updated_at", headers={"Vary": "Accept"})
def find_by_column(note_id: int) -> Note:
    return NOTES[note_id]


@resource(etag=content_hash(NoteSchema()))
def find_by_content(note_id: int) -> Note | None:
    return NOTES.get(note_id)


def content_of(note: Note) -> dict[str, str]:
    return {"body": note.body}


@resource(etag=content_hash(content_of))
async def find_by_content_slowly(note_id: int) -> Note:
    return NOTES[note_id]


def etag_of_note(note: Note) -> str | None:
    return note.body or None


def last_modified(note: Note) -> datetime | None:
    return note.updated_at


def headers_of(note: Note) -> Mapping[str, str]:
    return {"Content-Language": note.body}


def variant_of(note: Note) -> str | None:
    return note.body


def lock_of(note_id: int) -> AbstractContextManager[object]:
    return LOCK


@resource(etag=etag_of_note, last_modified=last_modified, headers=headers_of, variant=variant_of, lock=lock_of)
def find_with_all_options(note_id: int) -> Note:
    return NOTES[note_id]


@resource(etag=lambda note: EntityTag("v1", weak=True), variant=lambda note: None, headers=lambda note: {})
def find_weak(note_id: int) -> Note:
    return NOTES[note_id]


assert_type(find_note(1), Note)
assert_type(find_note(note_id=1), Note)
assert_type(find_perhaps(1), Note | None)
assert_type(find_all(), list[Note])
assert_type(find_line(1, number="2"), Note)
assert_type(find_slowly(1), Awaitable[Note])
assert_type(find_perhaps_slowly(1), Awaitable[Note | None])
assert_type(find_without_options(1), Note)
assert_type(find_by_column(1), Note)
assert_type(find_by_content(1), Note | None)
assert_type(find_by_content_slowly(1), Awaitable[Note])
assert_type(find_with_all_options(1), Note)
assert_type(find_weak(1), Note)


async def compose() -> None:
    assert_type(await find_slowly(1), Note)
    assert_type(await find_perhaps_slowly(1), Note | None)


@resource
def find_own_note(note_id: int) -> Note:
    note = find_perhaps(note_id)
    if note is None:
        abort(404)
    return note


as_an_annotation: Resource[[int], Note] = find_note
of_anything: Resource[..., object] = find_note
of_an_optional: Resource[[int], Note | None] = find_note
of_a_sequence: Resource[[], Sequence[Note]] = find_all
of_an_async_one: Resource[[int], Note] = find_slowly

assert_type(find_note.etag_of(NOTES[1]), EntityTag)
assert_type(find_slowly.etag_of(NOTES[1]), EntityTag)
assert_type(str(find_note.etag_of(NOTES[1])), str)


# Views: they take what the loader returned, alone or followed by all that the loader took.


@app.get("/notes/<int:note_id>")
@etag_resource(find_note)
def read_note(note: Note) -> dict[str, str]:
    return {"body": note.body}


@app.get("/again/<int:note_id>")
@etag_resource(find_note)
def read_with_arguments(note: Note, note_id: int) -> str:
    return note.body


@app.get("/perhaps/<int:note_id>")
@etag_resource(find_perhaps)
def read_perhaps(note: Note) -> str:
    return note.body


@app.get("/generous/<int:note_id>")
@etag_resource(find_note)
def read_anything(note: object) -> str:
    return str(note)


@app.get("/notes")
@etag_resource(find_all)
def read_all(notes: Sequence[Note]) -> list[str]:
    return [note.body for note in notes]


@app.get("/notes/<int:note_id>/lines/<number>")
@etag_resource(find_line)
def read_line(note: Note, note_id: int, *, number: str = "1") -> str:
    return note.body


@app.get("/slow/<int:note_id>")
@etag_resource(find_slowly)
def read_slowly_found(note: Note) -> str:
    return note.body


@app.get("/slow-perhaps/<int:note_id>")
@etag_resource(find_perhaps_slowly)
def read_perhaps_slowly_found(note: Note) -> str:
    return note.body


@app.get("/async/<int:note_id>")
@etag_resource(find_note)
async def read_in_async_view(note: Note) -> tuple[dict[str, str], int, dict[str, str]]:
    return {"body": note.body}, 200, {}


@store.put("/notes/<int:note_id>")
@require_if_match(find_note)
def replace_note(note: Note) -> Response:
    return Response(note.body)


@store.patch("/perhaps/<int:note_id>")
@require_if_match(find_perhaps)
def change_perhaps(note: Note, note_id: int) -> tuple[str, int]:
    return note.body, 200


@store.put("/create/<int:note_id>")
@require_if_match(find_perhaps, create=True)
def create_or_replace(note: Note | None, note_id: int) -> tuple[str, int]:
    return ("", 201) if note is None else (note.body, 200)


@store.put("/reported/<int:note_id>")
@require_if_match(find_perhaps, create=True, enforce=False)
def create_and_report(note: Note | None) -> str:
    return "" if note is None else note.body


@store.delete("/star/<int:note_id>")
@exempt("takes away only the caller's own star")
def remove_star(note_id: int) -> str:
    return str(note_id)


@store.put("/not-create/<int:note_id>")
@require_if_match(find_perhaps, create=False)
def replace_only(note: Note) -> str:
    return note.body


@store.put("/create-async/<int:note_id>")
@require_if_match(find_perhaps_slowly, create=True)
async def create_slowly(note: Note | None) -> str:
    return "" if note is None else note.body


@app.get("/report")
@etag_resource
def report() -> str:
    return "report"


@app.get("/report/<int:number>")
@etag_resource
async def report_of(number: int) -> str:
    return str(number)


# The decorated view is one of the URL's arguments, and answers a response.

by_position: Callable[[int], Response] = read_note
with_arguments: Callable[[int], Response] = read_with_arguments
of_all: Callable[[], Response] = read_all
in_async_view: Callable[[int], Response] = read_in_async_view
bare: Callable[[], Response] = report
bare_async: Callable[[int], Response] = report_of

assert_type(read_note(1), Response)
assert_type(read_note(note_id=1), Response)
assert_type(read_with_arguments(note_id=1), Response)
assert_type(read_perhaps(1), Response)
assert_type(read_all(), Response)
assert_type(read_line(1, number="2"), Response)
assert_type(read_slowly_found(1), Response)
assert_type(read_in_async_view(1), Response)
assert_type(replace_note(1), Response)
assert_type(create_or_replace(1), Response)
assert_type(create_slowly(1), Response)
assert_type(report(), Response)
assert_type(report_of(1), Response)


# Several at once: the view takes the list, and the arguments of the URL and not the loader's.


def each_in_shelf(shelf_id: str) -> list[tuple[str | None, dict[str, int]]]:
    return [('"v1"', {"note_id": 1})]


def each_tag() -> Iterator[tuple[EntityTag, Mapping[str, int]]]:
    yield EntityTag("v1"), {"note_id": 1}


@require_if_match(find_perhaps, each=each_in_shelf)
def patch_notes(notes: list[Note]) -> list[str]:
    return [note.body for note in notes]


@require_if_match(find_slowly, each=each_in_shelf)
async def patch_slowly(notes: list[Note], shelf_id: str) -> str:
    return shelf_id + notes[0].body


@require_if_match(find_note, each=each_tag)
def patch_all(notes: Sequence[Note]) -> str:
    return notes[0].body


class ShelfView(MethodView):
    @require_if_match(find_note, each=each_in_shelf)
    def patch(self, notes: list[Note], shelf_id: str) -> str:
        return shelf_id + notes[0].body


assert_type(patch_notes(shelf_id="a"), Response)
assert_type(patch_slowly("a"), Response)
assert_type(patch_all(), Response)
assert_type(ShelfView().patch("a"), Response)


# Classes, and single methods of them.


class NoteView(MethodView):
    init_every_request = False

    @etag_resource(find_perhaps)
    def get(self, note: Note) -> str:
        return note.body

    @require_if_match(find_perhaps, create=True)
    def put(self, note: Note | None, note_id: int) -> str:
        return "" if note is None else note.body

    @require_if_match(find_slowly)
    async def patch(self, note: Note) -> str:
        return note.body

    @require_if_match(find_note)
    def delete(self, note: Note) -> tuple[str, int]:
        return "", 204


@require_if_match(find_note)
class ProtectedView(MethodView):
    greeting = "hello"

    def get(self, note: Note) -> str:
        return note.body

    def put(self, note: Note, note_id: int) -> str:
        return note.body


@etag_resource(find_note)
class ServedView(MethodView):
    def get(self, note: Note) -> str:
        return note.body


@etag_resource
class ReportView(MethodView):
    def get(self) -> str:
        return "report"


class OtherReportView(MethodView):
    @etag_resource
    def get(self, number: int) -> str:
        return "report"


assert_type(NoteView().get(1), Response)
assert_type(NoteView().put(note_id=1), Response)
assert_type(NoteView().patch(1), Response)
assert_type(NoteView().delete(1), Response)
assert_type(OtherReportView().get(1), Response)
assert_type(ProtectedView().greeting, str)
protected_class: type[ProtectedView] = ProtectedView
app.add_url_rule("/class/<int:note_id>", view_func=NoteView.as_view("note"))
app.add_url_rule("/protected/<int:note_id>", view_func=ProtectedView.as_view("protected"))
app.add_url_rule("/served/<int:note_id>", view_func=ServedView.as_view("served"))
app.add_url_rule("/class-report", view_func=ReportView.as_view("report"))
app.add_url_rule("/function/<int:note_id>", view_func=read_note)


# Errors: handlers know what they carry.


@app.errorhandler(PreconditionFailed)
def answer_412(error: PreconditionFailed) -> tuple[str, int]:
    assert_type(error.etag, EntityTag | None)
    assert_type(error.reason, str)
    return error.reason, 412


@app.errorhandler(ConditionalRequestError)
def answer_all(error: ConditionalRequestError) -> Response:
    assert_type(error.items, Sequence[Mapping[str, Any]])
    return Response(error.reason)


every_refusal: list[ConditionalRequestError] = [
    PreconditionFailed("stale", EntityTag("v1")),
    PreconditionRequired(),
    WriteConflict(),
]
