"""Promise 7: no release, process or machine changes the tag of a state; no line of ``golden_tags.json`` changes.

New kinds of states get new lines: the test says which are missing. Pages have none, since their tags cover the
text of a statement, and that is SQLAlchemy's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from flask_etag import ETag, content_hash, etag_resource, resource, version_column
from tests.world.models import Note, Order, Paper

GOLDEN: dict[str, str] = json.loads((Path(__file__).parent / "golden_tags.json").read_text("utf-8"))

REVISIONS: dict[str, object] = {
    "integer": 7,
    "text": "sieben ō",
    "bytes": b"\x00\xff",
    "UUID": UUID(int=7),
    "Decimal": Decimal("7.00"),
    "time in UTC": datetime(2026, 1, 1, 12, 30, 0, 5, tzinfo=UTC),
    "time elsewhere": datetime(2026, 1, 1, 12, 30, tzinfo=timezone(timedelta(hours=-5))),
}
CONTENT: dict[str, Any] = {
    "name": "Blue pot ō",
    "price": Decimal("9.90"),
    "made_at": datetime(2026, 1, 1, tzinfo=UTC),
    "key": UUID(int=1),
    "parts": [1, 2.5, None, True, {"b": 1, "a": []}],
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "": {},
    ", keyed": {"ETAG_KEY": "secret"},
    ", of an epoch": {"ETAG_EPOCH": "2"},
    ", keyed, of an epoch": {"ETAG_KEY": b"secret", "ETAG_EPOCH": "2"},
}


class Revised:
    def __init__(self, revision: object) -> None:
        self.revision = revision


find_revised = resource(etag=version_column("revision"))(lambda: Revised(7))
find_varied = resource(etag=version_column("revision"), variant=lambda _: "de")(lambda: Revised(7))
find_content = resource(etag=content_hash(dict))(lambda: CONTENT)
find_verbatim = resource(etag=lambda _: "v7")(lambda: "page")
find_mapped = resource(lambda: None)
find_paper = resource(etag=content_hash(lambda paper: [paper.name, paper.body, paper.price]))(lambda: None)


@pytest.fixture
def session(world_on: Callable[[str], str]) -> Iterator[Session]:
    """A session of rows whose versions are known."""
    engine = create_engine(world_on("sqlite"))
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO note (id, body, version) VALUES (1, 'first', 'one'), (2, 'second', 'two')",
            "INSERT INTO order_ (id, name, version) VALUES (1, 'first', 'one')",
            "INSERT INTO paper (name, body, price, revision) VALUES ('plan', 'first', 5, 1)",
        ):
            connection.execute(text(statement))
    with Session(engine) as session:
        yield session
    engine.dispose()


def tags(session: Session) -> Iterator[tuple[str, str]]:
    for configured, config in CONFIGURATIONS.items():
        app = Flask("golden")
        app.config.update(config)
        ETag(app)
        app.get("/body")(etag_resource(lambda: "the body"))
        with app.app_context():
            for name, revision in REVISIONS.items():
                yield f"a revision: {name}{configured}", str(find_revised.etag_of(Revised(revision)))
            yield f"a variant{configured}", str(find_varied.etag_of(Revised(7)))
            yield f"content{configured}", str(find_content.etag_of(CONTENT))
            yield f"a text of the application{configured}", str(find_verbatim.etag_of("page"))
            note, order = session.get(Note, 1), session.get(Order, 1)
            yield f"a version{configured}", str(find_mapped.etag_of(note))
            yield f"a version of another model{configured}", str(find_mapped.etag_of(order))
            notes: Any = session.scalars(select(Note).order_by(Note.id)).all()
            yield f"a list{configured}", str(find_mapped.etag_of(notes))
            yield f"an empty list{configured}", str(find_mapped.etag_of([]))
            yield f"a row by its content{configured}", str(find_paper.etag_of(session.get(Paper, "plan")))
        yield f"a body{configured}", app.test_client().get("/body").headers["ETag"]


def test_p7_no_tag_of_a_state_has_changed(session: Session) -> None:
    found = dict(tags(session))
    assert found == GOLDEN
    assert len(set(found.values())) == len(found) - 1  # a key does not touch a text of the application's own
