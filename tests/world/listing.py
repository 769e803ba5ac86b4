"""An application with pages of notes."""

from __future__ import annotations

from typing import Any

from flask import request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from flask_etag import etag_resource, require_if_match, resource
from flask_etag.sqlalchemy import Page
from tests.world.application import World
from tests.world.models import Note


class Listing(World):
    """Notes 1 to 5, in pages."""

    def __init__(self, url: str, **engine_options: Any) -> None:
        super().__init__(url, **engine_options)

        @resource
        def find_notes() -> Page[Note]:
            args = request.args
            order = Note.id.desc() if args.get("sort") == "-id" else Note.id
            found = select(Note).where(Note.body != args.get("without", "")).order_by(order)
            per_page = args.get("per_page", None, int)
            return Page(
                self.db.session, found, page=args.get("page", 1, int), per_page=per_page, counted="n" in args
            )

        @self.app.get("/notes")
        @etag_resource(find_notes)
        def read_notes(notes: Page[Note]) -> dict[str, Any]:
            assert len(notes) == len(notes.items)
            return {"notes": [note.id for note in notes], "total": notes.total, "page": notes.page}

        @self.app.post("/notes")
        @require_if_match(find_notes)
        def add_note(notes: Page[Note]) -> tuple[str, int]:
            self.db.session.add(Note(id=20, body="added"))
            self.db.session.commit()
            return "", 201

        with Session(self.engine) as session:
            session.add_all(Note(id=number, body=str(number)) for number in range(2, 6))
            session.commit()

    def list(self, query: str = "", **headers: str) -> TestResponse:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.app.test_client().get(f"/notes{query}", headers=fields)
