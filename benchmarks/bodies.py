"""The same view without us, by hand, and with us, in three sizes; in process, with no database."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from flask import Response, jsonify, request

from benchmarks.cases import Case, plain, reads, serving
from benchmarks.contents import Content
from benchmarks.measure import Promise
from flask_etag import content_hash, etag_resource, resource, version_column

BARE = "bare view"
DUMPS = "bare view that dumps by a schema"
BODY_BY_HAND = "body hash by hand"
OURS = ("etag_resource", "version, ", "content_hash", "collection")  # so begin the names of our own cases
CACHE_CONTROL = "private, max-age=0, must-revalidate"  # ours sets it by default, so who does it by hand does, too

AT_MOST: dict[tuple[str, str], tuple[float | None, float | None]] = {
    ("192 B", "etag_resource"): (1.20, 1.28),
    ("192 B", "version"): (1.20, 1.00),
    ("192 B", "content_hash"): (1.40, None),
    ("192 B", "content_of"): (1.10, None),
    ("64 KiB", "version"): (1.02, 0.07),
    ("64 KiB", "content_of"): (1.10, None),
}
"""The highest ratios that are good enough, of a 200 and of a 304."""

ABOVE_BY_HAND = Promise(
    "etag_resource, 200: its ratio, above that of the body hash by hand",
    0.03,
    lambda each: (each["etag_resource, 200"] - each[f"{BODY_BY_HAND}, 200"]) / each[BARE],
)


def bodies(size: str, content: Content) -> list[Case]:
    """Return the cases of one content."""
    data, thing, schema, body = content.data, content.thing, content.schema, content.body

    def at_most(what: str) -> tuple[float | None, float | None]:
        return AT_MOST.get((size, what), (None, None))

    @resource
    def find_tagged(record_id: int) -> Any:
        return thing

    @resource(etag=version_column("revision"))
    def find_versioned(record_id: int) -> Any:
        return thing

    @resource(etag=content_hash(schema))
    def find_content(record_id: int) -> Any:
        return thing

    @resource(etag=version_column("revision"))
    def find_all(record_id: int) -> list[Any]:
        return thing.records  # type: ignore[no-any-return]

    def view(record_id: int) -> Response:
        return jsonify(data)

    def view_of(thing: Any) -> Response:
        return jsonify(data)

    def dumps(record_id: int) -> Response:
        return jsonify(schema.dump(thing))

    def dumps_again(thing: Any) -> Response:
        return jsonify(schema.dump(thing))

    def answers_with_what_was_hashed(thing: Any) -> Response:
        return Response(find_content.content_of(thing), mimetype="application/json")

    def body_by_hand(record_id: int) -> Response:
        return by_hand(jsonify(data))

    def version_by_hand(record_id: int) -> Response:
        etag = f'"r{thing.revision}"'
        if request.headers.get("If-None-Match") == etag:
            return marked(Response(status=304), etag)
        return marked(jsonify(data), etag)

    cases = [
        plain(BARE, serving(view), body),
        *reads("version by hand", serving(version_by_hand), body, BARE),
        *reads(BODY_BY_HAND, serving(body_by_hand), body, BARE),
        *reads("etag_resource", serving(etag_resource(view), etag=True), body, BARE, at_most("etag_resource")),
        *reads(
            "version, __etag__",
            serving(etag_resource(find_tagged)(view_of), etag=True),
            body,
            BARE,
            at_most("version"),
        ),
        *reads(
            "version, version_column",
            serving(etag_resource(find_versioned)(view_of), etag=True),
            body,
            BARE,
            at_most("version"),
        ),
        plain(DUMPS, serving(dumps), body),
        *reads(
            "content_hash",
            serving(etag_resource(find_content)(dumps_again), etag=True),
            body,
            DUMPS,
            at_most("content_hash"),
        ),
        *reads(
            "content_hash, content_of",
            serving(etag_resource(find_content)(answers_with_what_was_hashed), etag=True),
            body.rstrip(),
            DUMPS,
            at_most("content_of"),
        ),
    ]
    if hasattr(thing, "records"):
        collection = serving(etag_resource(find_all)(view_of), etag=True)
        cases += reads(f"collection of {len(thing.records):,}", collection, body, BARE)
    return cases


def by_hand(response: Response) -> Response:
    """Tag a response by its body, as one does who knows that there is one tag in If-None-Match at most."""
    etag = f'"{sha256(response.get_data()).hexdigest()}"'
    if request.headers.get("If-None-Match") == etag:
        response = Response(status=304)
    return marked(response, etag)


def marked(response: Response, etag: str) -> Response:
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = CACHE_CONTROL
    return response
