"""What the views serve: pages of the records in ``records.json``, in three sizes to the byte.

A record is 191 B of JSON: with jsonify's newline 192 B, and 341 of them on a page 64 KiB. 1 MiB takes 5,461: the
same records again, in the place of a file that would say no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from marshmallow import Schema
from marshmallow.fields import Float, Integer, List, Nested, String

RECORDS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "records.json").read_text("ascii"))


class Thing(SimpleNamespace):
    """An object of the application, with a version in it."""

    revision = 7


class Tagged(Thing):
    """An object that says itself what its tag is."""

    def __etag__(self) -> str:
        return f"r{self.revision}"


class RecordSchema(Schema):
    id = Integer()
    at = Integer()
    place = String()
    co2 = Float()
    dew = Float()
    gust = Float()
    lux = Float()
    noise = Float()
    pm10 = Float()
    pm25 = Float()
    rain = Float()
    snow = Float()
    temp = Float()
    uv = Float()
    wind = Float()


class PageSchema(Schema):
    next = String()
    records = List(Nested(RecordSchema))


@dataclass(frozen=True)
class Content:
    """What one view serves.

    :ivar data: what jsonify makes a body of.
    :ivar thing: the same as an object.
    :ivar schema: makes the data of the object.
    """

    data: dict[str, Any]
    thing: Tagged
    schema: Schema

    @property
    def body(self) -> bytes:
        """The body that jsonify makes."""
        return f"{json.dumps(self.data, sort_keys=True, separators=(',', ':'))}\n".encode()


def page_of(number: int) -> Content:
    """Return a page of a number of records."""
    records = list(islice(cycle(RECORDS), number))
    following = f"/records?after={records[-1]['id']}&page_length={number:06}"
    things = [Tagged(**record) for record in records]
    return Content({"next": following, "records": records}, Tagged(next=following, records=things), PageSchema())


def contents() -> Iterator[tuple[str, Content]]:
    """Make the contents, by size."""
    yield "192 B", Content(RECORDS[0], Tagged(**RECORDS[0]), RecordSchema())
    yield "64 KiB", page_of(341)
    yield "1 MiB", page_of(5461)
