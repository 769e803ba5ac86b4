"""The same view without us, by hand, and with us, in three sizes; in process, with no database."""

from __future__ import annotations

from hashlib import sha256
from itertools import count
from typing import Any

from flask import Response, jsonify, request

from benchmarks.cases import Case, copies_of, environ_of, plain, reads, serving
from benchmarks.contents import Content, Thing
from benchmarks.measure import Promise
from flask_etag import content_hash, etag_resource, resource, version_column

BARE = "bare view"
DUMPS = "bare view that dumps by a schema"
BODY_BY_HAND = "body hash by hand"
OURS = ("etag_resource", "version, ", "content_hash", "collection")  # so begin the names of our own cases
CACHE_CONTROL = "private, max-age=0, must-revalidate"  # ours sets it by default, so who does it by hand does, too

NO_LIMITS = (None, None)
AT_MOST: dict[tuple[str, str], tuple[float | None, float | None]] = {
    ("192 B", "etag_resource"): (1.20, 1.28),
    ("192 B", "version, __etag__"): (1.15, 0.95),
    ("192 B", "version, version_column"): (1.15, 0.95),
    ("192 B", "version, another each time"): (1.20, None),
    ("192 B", "content_hash"): (1.40, None),
    ("192 B", "content_hash, content_of"): (1.08, None),
    ("64 KiB", "version, __etag__"): (1.02, 0.07),
    ("64 KiB", "version, version_column"): (1.02, 0.07),
    ("64 KiB", "version, another each time"): (1.02, None),
    ("64 KiB", "content_hash, content_of"): (1.10, None),
}
"""The highest ratios that are good enough, of a 200 and of a 304."""

ABOVE_BY_HAND = Promise(
    "etag_resource, 200: its ratio, above that of the body hash by hand",
    0.03,
    lambda each: (each["etag_resource, 200"] - each[f"{BODY_BY_HAND}, 200"]) / each[BARE],
)


def bodies(size: str, content: Content) -> list[Case]:
    """Return the cases of a content whose JSON is made at once."""
    data, thing, body = content.data, content.thing, content.body

    @resource
    def find_tagged(record_id: int) -> Any:
        return thing

    @resource(etag=version_column("revision"))
    def find_versioned(record_id: int) -> Any:
        return thing

    revisions = count()

    @resource(etag=version_column("revision"))
    def find_changed(record_id: int) -> Any:
        return Thing(revision=next(revisions))

    def view(record_id: int) -> Response:
        return jsonify(data)

    def view_of(thing: Any) -> Response:
        return jsonify(data)

    def body_by_hand(record_id: int) -> Response:
        response = jsonify(data)
        etag = f'"{sha256(response.get_data()).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            response = Response(status=304)
        return marked(response, etag)

    def version_by_hand(record_id: int) -> Response:
        etag = f'"r{thing.revision}"'
        if request.headers.get("If-None-Match") == etag:
            return marked(Response(status=304), etag)
        return marked(jsonify(data), etag)

    ours = {
        "etag_resource": etag_resource(view),
        "version, __etag__": etag_resource(find_tagged)(view_of),
        "version, version_column": etag_resource(find_versioned)(view_of),
    }
    changed = serving(etag_resource(find_changed)(view_of), etag=True)
    another = "version, another each time"
    at_most, _ = AT_MOST.get((size, another), NO_LIMITS)
    return [
        plain(BARE, serving(view), body),
        *reads("version by hand", serving(version_by_hand), body, BARE),
        *reads(BODY_BY_HAND, serving(body_by_hand), body, BARE),
        *(
            case
            for name, view in ours.items()
            for case in reads(name, serving(view, etag=True), body, BARE, AT_MOST.get((size, name), NO_LIMITS))
        ),
        Case(f"{another}, 200", BARE, changed, copies_of(environ_of()), 200, True, body, at_most),
    ]


def dumps(size: str, content: Content) -> list[Case]:
    """Return the cases of a content that a schema dumps first."""
    thing, schema, body = content.thing, content.schema, content.body

    @resource(etag=content_hash(schema))
    def find_content(record_id: int) -> Any:
        return thing

    @resource(etag=version_column("revision"))
    def find_members(record_id: int) -> Any:
        return getattr(thing, "records", [thing])

    def view(record_id: int) -> Response:
        return jsonify(schema.dump(thing))

    def view_of(_: Any) -> Response:
        return jsonify(schema.dump(thing))

    def answers_with_what_was_hashed(thing: Any) -> Response:
        return Response(find_content.content_of(thing), mimetype="application/json")

    ours = {
        "content_hash": (find_content, view_of, body),
        "content_hash, content_of": (find_content, answers_with_what_was_hashed, body.rstrip()),
        "collection": (find_members, view_of, body),
    }
    return [
        plain(DUMPS, serving(view), body),
        *(
            case
            for name, (find, view, expected) in ours.items()
            for case in reads(
                name,
                serving(etag_resource(find)(view), etag=True),
                expected,
                DUMPS,
                AT_MOST.get((size, name), NO_LIMITS),
            )
        ),
    ]


def marked(response: Response, etag: str) -> Response:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response
