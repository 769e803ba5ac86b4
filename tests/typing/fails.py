"""What type checkers refuse: the lines that say so, and no others. Only they read this."""

# pyright: strict

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from flask import Flask, Response
from flask.views import MethodView

from flask_etag import EntityTag, ETag, Resource, etag_resource, require_if_match, resource, version_column

app = Flask("notes")
LOCK = threading.Lock()


class Note:
    body: str


class Shelf:
    label: str


def load_note(note_id: int) -> Note:
    return Note()


@resource
def find_note(note_id: int) -> Note:
    return Note()


@resource
def find_perhaps(note_id: int) -> Note | None:
    return None


@resource
async def find_slowly(note_id: int) -> Note:
    return Note()


@resource
def find_line(note_id: int, number: str) -> Note:
    return Note()


# A view takes what the loader returns.


@etag_resource(find_note)  # refused
def read_shelf(shelf: Shelf) -> str:
    return shelf.label


@require_if_match(find_note)  # refused
def replace_shelf(shelf: Shelf) -> str:
    return shelf.label


@etag_resource(find_slowly)  # refused
def read_shelf_of_async_loader(shelf: Shelf) -> str:
    return shelf.label


@etag_resource(find_note)  # refused
async def read_shelf_in_async_view(shelf: Shelf) -> str:
    return shelf.label


@app.get("/shelves/<int:note_id>")
@etag_resource(find_note)  # refused
def read_id(note_id: int) -> str:
    return str(note_id)


@etag_resource(find_note)  # refused
def read_nothing() -> str:
    return ""


@require_if_match(find_perhaps, create=True)  # refused
def create_without_none(note: Note) -> str:
    return note.body


# It may take the loader's arguments: all of them, as they are.


@etag_resource(find_note)  # refused
def read_with_text(note: Note, note_id: str) -> str:
    return note.body


@etag_resource(find_line)  # refused
def read_with_some_arguments(note: Note, number: str) -> str:
    return note.body


@etag_resource(find_note)  # refused
def read_with_more_arguments(note: Note, note_id: int, number: str) -> str:
    return note.body


class NoteView(MethodView):
    def get(self, shelf: Shelf) -> str:
        return shelf.label

    def put(self, note: Note) -> str:
        return note.body

    def patch(self, note: Note, note_id: str) -> str:
        return note.body

    def delete(self, note: Note, number: str) -> str:
        return note.body


etag_resource(find_note)(NoteView.get)  # refused
require_if_match(find_perhaps, create=True)(NoteView.put)  # refused
require_if_match(find_note)(NoteView.patch)  # refused
require_if_match(find_line)(NoteView.delete)  # refused


# A view of several takes the list of them, and the arguments of the URL.


def each_in_shelf(shelf_id: str) -> list[tuple[str | None, dict[str, int]]]:
    return []


def each_key() -> list[int]:
    return [1]


@require_if_match(find_note, each=each_in_shelf)  # refused
def patch_one(note: Note) -> str:
    return note.body


@require_if_match(find_perhaps, each=each_in_shelf)  # refused
def patch_shelves(shelves: list[Shelf]) -> str:
    return shelves[0].label


@require_if_match(find_note, each=each_in_shelf)  # refused
def patch_with_loader_s_argument(notes: list[Note], note_id: int) -> str:
    return notes[0].body


@require_if_match(find_note, each=each_in_shelf)
def patch_notes(notes: list[Note]) -> str:
    return notes[0].body


patch_notes(1)  # refused
require_if_match(find_note, each=each_key)  # refused
require_if_match(find_note, create=True, each=each_in_shelf)  # refused


# The decorated view takes the URL's arguments.


@etag_resource(find_note)
def read_note(note: Note) -> str:
    return note.body


read_note("1")  # refused
read_note()  # refused
read_note(Note())  # refused
read_note(1, 2)  # refused
read_note(1).upper()  # refused
of_text: Callable[[str], Response] = read_note  # refused
find_note("1")  # refused
find_note(1).label  # refused
find_perhaps(1).body  # refused
find_slowly(1).body  # refused


# The decorators take a resource.

require_if_match(load_note)  # refused
require_if_match("note")  # refused
etag_resource("note")  # refused
etag_resource(find_note, create=True)  # refused
require_if_match(find_note, create="yes")  # refused
require_if_match()  # refused
etag_resource(load_note)(read_note)  # refused


@require_if_match  # refused
def replace_note(note: Note) -> str:
    return note.body


# Options have types.

resource(etag="revision")  # refused
resource(etag=7)  # refused
resource(last_modified=7)  # refused
resource(headers="Vary")  # refused
resource(headers={"Max-Age": 60})  # refused
resource(variant="de")  # refused
resource(lock=LOCK)  # refused
resource(lock=7)  # refused
resource(tag=version_column("revision"))  # refused
resource("note")  # refused
version_column(7)  # refused
version_column()  # refused


def numbered(note: Note) -> int:
    return 1


resource(etag=numbered)  # refused
resource(last_modified=numbered)  # refused


# An annotation says which loader it may be.

of_shelves: Resource[[int], Shelf] = find_note  # refused
by_name: Resource[[str], Note] = find_note  # refused
never_none: Resource[[int], Note] = find_perhaps  # refused


def lock_of(name: str) -> AbstractContextManager[object]:
    return LOCK


# A tag is no extension.

ETag("abc")  # refused
EntityTag(7)  # refused
find_note.etag_of()  # refused
