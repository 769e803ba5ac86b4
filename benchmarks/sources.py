"""Where the time goes: what each step of a read adds to the same view, up to all that Flask-ETag does.

The steps are those of ``flask_etag.reading``, which are called here one by one; the last of each is the decorator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from flask import Response, jsonify

from benchmarks.cases import Case, copies_of, environ_of, serving
from benchmarks.contents import Content
from benchmarks.measure import Round, Spread
from benchmarks.tables import table
from flask_etag import etag_resource, resource, version_column
from flask_etag.backend import owner_of
from flask_etag.entity_tags import field_of
from flask_etag.exchange import Exchange
from flask_etag.fingerprints import digest_of_body

View = Callable[..., Response]


def of_a_version(content: Content) -> dict[str, View]:
    """Return the views of a version, each with one step more than the one before it."""
    thing, data = content.thing, content.data

    @resource(etag=version_column("revision"))
    def find_record(record_id: int) -> Any:
        return thing

    def view(_: Any) -> Response:
        return jsonify(data)

    def bare_view(**_: Any) -> Response:
        return jsonify(data)

    def called(**arguments: Any) -> Response:
        return view(find_record.load(arguments))

    def looked_up(**arguments: Any) -> Response:
        exchange = Exchange(view, arguments, {})
        return exchange.serve(find_record.load(arguments))

    def tagged(**arguments: Any) -> Response:
        exchange = Exchange(view, arguments, {})
        target = find_record.load(arguments)
        fingerprint: Any = find_record.validator.fingerprint(target, owner_of(target))
        find_record.field(target, fingerprint, exchange.settings)
        return exchange.serve(target)

    def described(**arguments: Any) -> Response:
        exchange = Exchange(view, arguments, {})
        target = find_record.load(arguments)
        fingerprint: Any = find_record.validator.fingerprint(target, owner_of(target))
        etag = find_record.field(target, fingerprint, exchange.settings)
        response = exchange.serve(target)
        exchange.describe(response, etag, {})
        return response

    return {
        "bare view": bare_view,
        "the calls of a loader and of a view": called,
        "the request, the application and its settings": looked_up,
        "the tag of a version": tagged,
        "two fields, ETag and Cache-Control": described,
        "whether there are conditions, and all else": etag_resource(find_record)(view),
    }


def of_a_body(content: Content) -> dict[str, View]:
    """Return the views of a body hash, each with one step more than the one before it."""
    data = content.data

    def view(record_id: int) -> Response:
        return jsonify(data)

    def looked_up(**arguments: Any) -> Response:
        return Exchange(view, arguments, arguments).serve()

    def hashed(**arguments: Any) -> Response:
        response = Exchange(view, arguments, arguments).serve()
        field_of(digest_of_body(b"".join(response.response)))  # type: ignore[arg-type]
        return response

    def described(**arguments: Any) -> Response:
        exchange = Exchange(view, arguments, arguments)
        response = exchange.serve()
        exchange.describe(response, field_of(digest_of_body(b"".join(response.response))), {})  # type: ignore[arg-type]
        return response

    return {
        "bare view": view,
        "the request, the application and its settings": looked_up,
        "SHA-256 of the body": hashed,
        "two fields, ETag and Cache-Control": described,
        "whether there are conditions, and all else": etag_resource(view),
    }


def steps(views: dict[str, View], body: bytes) -> list[Case]:
    """Return a case for each view; the last two answer with an ETag."""
    tagged = list(views)[-2:]
    return [
        Case(name, name, serving(view, etag=True), copies_of(environ_of()), is_tagged=name in tagged, body=body)
        for name, view in views.items()
    ]


def added(cases: Sequence[Case], rounds: Sequence[Round]) -> str:
    """Make a table of what each step adds."""
    rows = []
    names = [case.name for case in cases]
    for before, name in pairwise(names):
        spread = Spread.of((each[name] - each[before]) * 1e6 for each in rounds)
        rows.append([name, f"{spread.middle:.1f}", f"{spread.low:.1f} to {spread.high:.1f}"])
    whole = Spread.of((each[names[-1]] - each[names[0]]) * 1e6 for each in rounds)
    rows.append(["all of it", f"{whole.middle:.1f}", f"{whole.low:.1f} to {whole.high:.1f}"])
    return table(["", "µs", "quartiles"], rows)
