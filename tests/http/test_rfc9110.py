"""RFC 9110 as an origin server's clients see it: each id or name begins with the section that says so.

Sections 8.8 (validators), 13 (conditional requests), 15.4.5 (304), 15.5.13 (412); RFC 6585 section 3 (428).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from threading import Lock
from typing import Any

import pytest
from flask import Flask, Response, abort, request
from werkzeug.http import http_date, parse_date
from werkzeug.test import TestResponse

from flask_etag import EntityTag, ETag, etag_resource, require_if_match, resource, version_column
from flask_etag.entity_tags import MAX_FIELD_LENGTH, MAX_MEMBERS, TagList
from tests.http.fuzz import Letters, check, fuzz

THEN = datetime(2026, 2, 28, 23, 59, 58, 500_000, tzinfo=UTC)
AT = "Sat, 28 Feb 2026 23:59:58 GMT"
AT_850 = "Saturday, 28-Feb-26 23:59:58 GMT"
AT_ASCTIME = "Sat Feb 28 23:59:58 2026"
BEFORE = "Sat, 28 Feb 2026 23:59:57 GMT"
BEFORE_850 = "Saturday, 28-Feb-26 23:59:57 GMT"
BEFORE_ASCTIME = "Sat Feb 28 23:59:57 2026"
RANGE = "bytes=0-1"
AFTER = "Sun, 01 Mar 2026 00:00:00 GMT"

SHARED = {
    "Cache-Control": "max-age=5",
    "Content-Location": "/pages/en",
    "Expires": "Sun, 01 Mar 2026 00:00:00 GMT",
    "Vary": "Accept-Language",
}

WRITES = ["PUT", "POST", "PATCH", "DELETE"]

Fields = dict[str, str] | list[tuple[str, str]]


@dataclass
class Page:
    """A page, whose tag is its revision unless it is given one."""

    modified: datetime | None = THEN
    tagged: bool = True
    weak: bool = False
    opaque: str | None = None
    revision: int = 1

    def __etag__(self) -> EntityTag | None:
        opaque = f"v{self.revision}" if self.opaque is None else self.opaque
        return EntityTag(opaque, weak=self.weak) if self.tagged else None


class Site:
    """Pages in a dictionary, under a lock; it counts how often its views ran."""

    def __init__(self, **config: Any) -> None:
        self.pages: dict[str, Page] = {
            "home": Page(),
            "undated": Page(modified=None),
            "untagged": Page(tagged=False),
            "weak": Page(weak=True),
            "empty": Page(opaque=""),
            "star": Page(opaque="*"),
        }
        self.ran = 0
        self.app = Flask("site", static_folder=None)
        self.app.testing = True
        self.app.config.update(config)
        ETag(self.app)
        lock = Lock()

        def held(name: str) -> Lock:
            return lock

        @self.app.before_request
        def refuse_xml() -> None:
            if request.content_type == "application/xml":
                abort(415)

        @resource(lock=held, last_modified="modified", headers=SHARED)
        def find_page(name: str) -> Page | None:
            if name == "secret":
                abort(403)
            return self.pages.get(name)

        @resource(etag=version_column("revision"), variant=lambda _: request.args.get("lang"), lock=held)
        def find_form(name: str) -> Page | None:
            return self.pages.get(name)

        def read(page: Page) -> dict[str, int]:
            self.ran += 1
            return {"revision": page.revision}

        def write(page: Page | None, name: str) -> tuple[str, int]:
            self.ran += 1
            if request.get_data() == b"nonsense":
                abort(400)
            if request.method == "DELETE":
                del self.pages[name]
                return "", 204
            if page is None:
                self.pages[name] = Page()
                return "", 201
            page.revision += 1
            return "", {"POST": 201, "PATCH": 202}.get(request.method, 200)

        reads = ["GET", "OPTIONS", "TRACE"]
        for path, found in {"pages": find_page, "forms": find_form}.items():
            rule = f"/{path}/<name>"
            self._serve(f"read {path}", rule, reads, etag_resource(found)(read))
            self._serve(f"write {path}", rule, WRITES, require_if_match(found, create=True)(write))
        self._serve("write freely", "/open/<name>", WRITES, etag_resource(find_page)(write))
        self._serve("read only", "/fixed/<name>", ["GET"], etag_resource(find_page)(read))
        self._serve("folder", "/folders/<name>/", ["GET", "PUT"], etag_resource(find_page)(read))

        @self.app.get("/report/<int:status>")
        @etag_resource
        def report(status: int) -> Response:
            self.ran += 1
            return Response("report", status, SHARED)

    def _serve(self, endpoint: str, rule: str, methods: list[str], view: Callable[..., Response]) -> None:
        self.app.add_url_rule(rule, endpoint, view, methods=methods)

    def send(self, method: str, path: str, fields: Fields | None = None, **options: Any) -> TestResponse:
        return self.app.test_client().open(path, method=method, headers=fields, **options)

    def etag(self, path: str) -> str:
        return self.send("GET", path).headers["ETag"]


@pytest.fixture
def site() -> Site:
    return Site()


def case(section: str, line: str, status: int, fields: Fields | None = None, **more: str) -> Any:
    """One request, as ``PUT /pages/home`` with some fields, and the status of its answer."""
    method, path = line.split()
    if more:
        fields = {name.replace("_", "-").title(): value for name, value in more.items()}
    return pytest.param(method, path, fields or {}, status, id=section.replace(" ", "-"))


IF_MATCH = [
    case("13.1.1-p1 star: there is a current representation", "PUT /pages/home", 200, if_match="*"),
    case("13.1.1-p1 star: there is one without a tag", "PUT /pages/untagged", 200, if_match="*"),
    case("13.1.1-p1 star: there is a weak one", "PUT /pages/weak", 200, if_match="*"),
    case("13.1.1-p1 star: there is none", "PUT /pages/nowhere", 412, if_match="*"),
    case("13.1.1-p1 list: the only member matches", "PUT /pages/home", 200, if_match='"v1"'),
    case("13.1.1-p1 list: one of several matches", "PUT /pages/home", 200, if_match='"v0", "v1", "v2"'),
    case("13.1.1-p1 list: none matches", "PUT /pages/home", 412, if_match='"v0", "v2"'),
    case("13.1.1-p1 list: there is no representation", "PUT /pages/nowhere", 412, if_match='"v1"'),
    case("13.1.1-p1 list: there is no tag", "PUT /pages/untagged", 412, if_match='"v1"'),
    case("13.1.1-p2 strong comparison: weak sent", "PUT /pages/home", 412, if_match='W/"v1"'),
    case("13.1.1-p2 strong comparison: weak current", "PUT /pages/weak", 412, if_match='"v1"'),
    case("13.1.1-p2 strong comparison: weak both", "PUT /pages/weak", 412, if_match='W/"v1"'),
    case("13.1.1-p2 strong comparison: a strong member beside", "PUT /pages/home", 200, if_match='W/"v1", "v1"'),
    case("13.1.1-p2 characters compare with their case", "PUT /pages/home", 412, if_match='"V1"'),
    case("13.1.1-p5 any method: GET, false", "GET /pages/home", 412, if_match='"v0"'),
    case("13.1.1-p5 any method: GET, true", "GET /pages/home", 200, if_match='"v1"'),
    case("13.1.1-p5 any method: HEAD", "HEAD /pages/home", 412, if_match='"v0"'),
    case("13.1.1-p5 any method: PATCH", "PATCH /pages/home", 412, if_match='"v0"'),
    case("13.1.1-p5 any method: POST", "POST /pages/home", 412, if_match='"v0"'),
    case("13.1.1-p5 any method: DELETE", "DELETE /pages/home", 412, if_match='"v0"'),
    case("13.1.1-p5 MUST evaluate where nothing requires it", "PUT /open/home", 412, if_match='"v0"'),
    case("13.1.1-p5 DELETE of the current state", "DELETE /pages/home", 204, if_match='"v1"'),
    case(
        "13.1.1 several lines are one list",
        "PUT /pages/home",
        200,
        [("If-Match", '"v0"'), ("If-Match", '"v1"')],
    ),
    case(
        "13.1.1 several lines, none matches",
        "PUT /pages/home",
        412,
        [("If-Match", '"v0"'), ("If-Match", '""')],
    ),
    case(
        "13.1.1-p11 star on a line of its own", "PUT /pages/home", 412, [("If-Match", "*"), ("If-Match", '"v1"')]
    ),
    case("8.8.3 an empty tag is a tag", "PUT /pages/empty", 200, if_match='""'),
    case("8.8.3 an empty tag is no other tag", "PUT /pages/home", 412, if_match='""'),
    case("8.8.3 an empty tag, read", "GET /pages/empty", 304, if_none_match='""'),
    case("8.8.3 a quoted star is a tag", "PUT /pages/star", 200, if_match='"*"'),
    case("8.8.3 a quoted star is no wildcard", "PUT /pages/home", 412, if_match='"*"'),
    case("8.8.3 a quoted star is no wildcard, read", "GET /pages/home", 200, if_none_match='"*"'),
    case("5.6.1.2 MUST ignore empty members", "PUT /pages/home", 200, if_match=' ,, "v1" ,\t,'),
    case("5.6.1.2 a list of no members matches nothing", "PUT /pages/home", 412, if_match=" , ,"),
    case("5.6.1.2 an empty field is a list of no members", "PUT /pages/home", 412, if_match=""),
]

IF_NONE_MATCH = [
    case("13.1.2-p1 star: there is none, so create", "PUT /pages/new", 201, if_none_match="*"),
    case("13.1.2-p1 star: there is none, so POST", "POST /pages/new", 201, if_none_match="*"),
    case("13.1.2-p1 star: there is one", "PUT /pages/home", 412, if_none_match="*"),
    case("13.1.2-p1 star: there is one without a tag", "PUT /pages/untagged", 412, if_none_match="*"),
    case("13.1.2-p1 star: GET", "GET /pages/home", 304, if_none_match="*"),
    case("13.1.2-p1 star: GET of one without a tag", "GET /pages/untagged", 304, if_none_match="*"),
    case("13.1.2-p2 weak comparison: weak sent", "GET /pages/home", 304, if_none_match='W/"v1"'),
    case("13.1.2-p2 weak comparison: weak current", "GET /pages/weak", 304, if_none_match='"v1"'),
    case("13.1.2-p2 weak comparison: weak both", "GET /pages/weak", 304, if_none_match='W/"v1"'),
    case("13.1.2-p2 weak comparison: on a write", "PUT /open/home", 412, if_none_match='W/"v1"'),
    case("13.1.2-p7 false for GET", "GET /pages/home", 304, if_none_match='"v0", "v1"'),
    case("13.1.2-p7 false for HEAD", "HEAD /pages/home", 304, if_none_match='"v1"'),
    case("13.1.2-p7 false for PUT", "PUT /open/home", 412, if_none_match='"v1"'),
    case("13.1.2-p7 false for POST", "POST /open/home", 412, if_none_match='"v1"'),
    case("13.1.2-p7 false for PATCH", "PATCH /open/home", 412, if_none_match='"v1"'),
    case("13.1.2-p7 false for DELETE", "DELETE /open/home", 412, if_none_match='"v1"'),
    case("13.1.2-p7 true for GET", "GET /pages/home", 200, if_none_match='"v0"'),
    case("13.1.2-p7 true for PUT", "PUT /open/home", 200, if_none_match='"v0"'),
    case("13.1.2-p7 no tag matches none", "GET /pages/untagged", 200, if_none_match='"v1", ""'),
    case("13.1.2 an empty field lists none", "GET /pages/home", 200, if_none_match=""),
    case(
        "13.1.2 several field lines are one list",
        "GET /pages/home",
        304,
        [("If-None-Match", '"v0"'), ("If-None-Match", 'W/"v1"')],
    ),
    case("13.1.2-p8 star beside others is invalid, read", "GET /pages/home", 200, if_none_match='*, "v1"'),
    case("13.1.2-p8 star beside others is invalid, write", "PUT /open/home", 412, if_none_match='*, "v0"'),
]

DATES = [
    case("13.1.3 not modified", "GET /pages/home", 304, if_modified_since=AT),
    case("13.1.3 not modified, HEAD", "HEAD /pages/home", 304, if_modified_since=AT),
    case("13.1.3 earlier than the date", "GET /pages/home", 304, if_modified_since=AFTER),
    case("13.1.3 modified", "GET /pages/home", 200, if_modified_since=BEFORE),
    case(
        "13.1.3-p2 MUST ignore beside If-None-Match, true",
        "GET /pages/home",
        200,
        if_modified_since=AT,
        if_none_match='"v0"',
    ),
    case(
        "13.1.3-p2 MUST ignore beside If-None-Match, false",
        "GET /pages/home",
        304,
        if_modified_since=BEFORE,
        if_none_match='"v1"',
    ),
    case("13.1.3-p3 MUST ignore an invalid date", "GET /pages/home", 200, if_modified_since="yesterday"),
    case("13.1.3-p3 MUST ignore an empty date", "GET /pages/home", 200, if_modified_since=""),
    case("13.1.3-p3 MUST ignore two dates", "GET /pages/home", 200, if_modified_since=f"{AT}, {AT}"),
    case(
        "13.1.3-p3 MUST ignore two field lines",
        "GET /pages/home",
        200,
        [("If-Modified-Since", AT), ("If-Modified-Since", AT)],
    ),
    case("13.1.3-p3 MUST ignore on PUT", "PUT /open/home", 200, if_modified_since=AT),
    case("13.1.3-p3 MUST ignore on DELETE", "DELETE /open/home", 204, if_modified_since=AT),
    case("13.1.3-p4 MUST ignore without a date", "GET /pages/undated", 200, if_modified_since=AT),
    case("13.1.4 not modified", "PUT /open/home", 200, if_unmodified_since=AT),
    case("13.1.4 modified", "PUT /open/home", 412, if_unmodified_since=BEFORE),
    case("13.1.4 modified, POST", "POST /open/home", 412, if_unmodified_since=BEFORE),
    case("13.1.4 modified, PATCH", "PATCH /open/home", 412, if_unmodified_since=BEFORE),
    case("13.1.4 modified, DELETE", "DELETE /open/home", 412, if_unmodified_since=BEFORE),
    case("13.1.4 modified, GET", "GET /pages/home", 412, if_unmodified_since=BEFORE),
    case("13.1.4 modified, HEAD", "HEAD /pages/home", 412, if_unmodified_since=BEFORE),
    case(
        "13.1.4-p2 beside If-Match, true",
        "PUT /pages/home",
        200,
        if_unmodified_since=BEFORE,
        if_match='"v1"',
    ),
    case(
        "13.1.4-p2 beside If-Match, false",
        "PUT /pages/home",
        412,
        if_unmodified_since=AT,
        if_match='"v0"',
    ),
    case("13.1.4-p3 MUST ignore an invalid date", "PUT /open/home", 200, if_unmodified_since="yesterday"),
    case("13.1.4-p3 MUST ignore two dates", "PUT /open/home", 200, if_unmodified_since=f"{BEFORE}, {BEFORE}"),
    case("13.1.4-p4 MUST ignore without a date", "PUT /open/undated", 200, if_unmodified_since=BEFORE),
    case("5.6.7 MUST accept RFC 850 dates, read", "GET /pages/home", 304, if_modified_since=AT_850),
    case("5.6.7 MUST accept asctime dates, read", "GET /pages/home", 304, if_modified_since=AT_ASCTIME),
    case("5.6.7 MUST accept RFC 850 dates, write", "PUT /open/home", 412, if_unmodified_since=BEFORE_850),
    case("5.6.7 MUST accept asctime dates, write", "PUT /open/home", 412, if_unmodified_since=BEFORE_ASCTIME),
    case(
        "5.6.7 MUST take 94 for 1994",
        "PUT /open/home",
        412,
        if_unmodified_since=BEFORE_850.replace("26", "94"),
    ),
    case("5.6.7 GMT and no other zone", "GET /pages/home", 200, if_modified_since=AT.replace("GMT", "+0000")),
    case("5.6.7 dates have their case", "GET /pages/home", 200, if_modified_since=AT.lower()),
]

IF_RANGE = [
    case("13.1.5 MUST ignore without Range", "GET /pages/home", 200, if_range='"v0"'),
    case("13.1.5 Range ignored: If-Range matches", "GET /pages/home", 200, range=RANGE, if_range='"v1"'),
    case(
        "13.1.5 Range ignored: If-Range does not",
        "GET /pages/home",
        200,
        range=RANGE,
        if_range='"v0"',
    ),
    case(
        "13.1.5 Range ignored: If-Range is weak",
        "GET /pages/home",
        200,
        range=RANGE,
        if_range='W/"v1"',
    ),
    case("13.1.5 Range ignored: If-Range is a date", "GET /pages/home", 200, range=RANGE, if_range=AT),
    case("13.1.5 Range ignored: If-Range is nothing", "GET /pages/home", 200, range=RANGE, if_range="x"),
    case("13.1.5 Range ignored, also out of bounds", "GET /pages/home", 200, range="bytes=99999-"),
    case("13.1.5 Range ignored on a write", "PUT /pages/home", 200, range=RANGE, if_match='"v1"'),
    case("13.1.5 If-Range protects no write", "PUT /pages/home", 428, range=RANGE, if_range='"v1"'),
    case(
        "13.2.2 If-Match before Range",
        "GET /pages/home",
        412,
        range=RANGE,
        if_range='"v1"',
        if_match='"v0"',
    ),
    case(
        "13.2.2 If-None-Match before Range",
        "GET /pages/home",
        304,
        range=RANGE,
        if_range='"v0"',
        if_none_match='"v1"',
    ),
    case(
        "13.2.2 If-Unmodified-Since before Range",
        "GET /pages/home",
        412,
        range=RANGE,
        if_range='"v1"',
        if_unmodified_since=BEFORE,
    ),
    case(
        "13.2.2 If-Modified-Since before Range",
        "GET /pages/home",
        304,
        range=RANGE,
        if_modified_since=AT,
    ),
]

WHEN = [
    case("13.2.1-p2 MUST ignore: 403, read", "GET /pages/secret", 403, if_none_match="*"),
    case("13.2.1-p2 MUST ignore: 403, write", "PUT /pages/secret", 403, if_match='"v0"'),
    case("13.2.1-p2 MUST ignore: 404, read", "GET /pages/nowhere", 404, if_match='"v0"'),
    case("13.2.1-p2 MUST ignore: 404, write", "DELETE /pages/nowhere", 404, if_match='"v0"'),
    case("13.2.1-p2 MUST ignore: 404, write, malformed", "PATCH /pages/nowhere", 404, if_match="v0"),
    case("13.2.1-p2 MUST ignore: 404 of the route", "PUT /elsewhere", 404, if_match='"v0"'),
    case("13.2.1-p2 MUST ignore: 405", "PUT /fixed/home", 405, if_match='"v0"'),
    case("13.2.1-p2 MUST ignore: 415", "PUT /pages/home", 415, if_match='"v0"', content_type="application/xml"),
    case("13.2.1-p2 MUST ignore: redirect, read", "GET /folders/home", 308, if_none_match="*"),
    case("13.2.1-p2 MUST ignore: redirect, write", "PUT /folders/home", 308, if_match='"v0"'),
    case("13.2.1-p4 MUST ignore on OPTIONS: If-Match", "OPTIONS /pages/home", 200, if_match='"v0"'),
    case("13.2.1-p4 MUST ignore on OPTIONS: If-None-Match", "OPTIONS /pages/home", 200, if_none_match="*"),
    case("13.2.1-p4 MUST ignore on OPTIONS: malformed", "OPTIONS /pages/home", 200, if_match="v0"),
    case("13.2.1-p4 MUST ignore on TRACE", "TRACE /pages/home", 200, if_match='"v0"', if_none_match="*"),
    case(
        "13.2.2 step 1 true, then step 3, read",
        "GET /pages/home",
        304,
        if_match='"v1"',
        if_none_match='"v1"',
    ),
    case("13.2.2 step 1 true, then step 3, write", "PUT /pages/home", 412, if_match='"v1"', if_none_match="*"),
    case("13.2.2 step 1 true, step 3 true", "PUT /pages/home", 200, if_match='"v1"', if_none_match='"v0"'),
    case("13.2.2 step 1 false ends it", "GET /pages/home", 412, if_match='"v0"', if_none_match='"v1"'),
    case("13.2.2 step 1 true, then step 4", "GET /pages/home", 304, if_match='"v1"', if_modified_since=AT),
    case(
        "13.2.2 step 2 true, then step 3",
        "GET /pages/home",
        304,
        if_unmodified_since=AT,
        if_none_match='"v1"',
    ),
    case("13.2.2 step 2 true, write", "PUT /open/home", 412, if_unmodified_since=AT, if_none_match="*"),
    case("13.2.2 step 2 false ends it", "GET /pages/home", 412, if_unmodified_since=BEFORE, if_none_match='"v1"'),
    case(
        "13.2.2 step 2 true, then step 4",
        "GET /pages/home",
        304,
        if_unmodified_since=AT,
        if_modified_since=AT,
    ),
    case(
        "13.2.2 all four",
        "PUT /pages/home",
        200,
        if_match='"v1"',
        if_unmodified_since=BEFORE,
        if_none_match='"v0"',
        if_modified_since=AT,
    ),
]

REQUIRED = [
    *(case(f"6585-3 required: {method}", f"{method} /pages/home", 428) for method in WRITES),
    case("6585-3 required: to create", "PUT /pages/new", 428),
    case("6585-3 a tag in If-None-Match is no protection", "PUT /pages/home", 428, if_none_match='"v0"'),
    case("6585-3 neither is a date", "PUT /pages/home", 428, if_unmodified_since=AT),
    case("6585-3 neither is a date that has passed", "PUT /pages/home", 428, if_unmodified_since=BEFORE),
    case("6585-3 neither is If-Modified-Since", "PUT /pages/home", 428, if_modified_since=BEFORE),
    case("6585-3 404 comes first", "DELETE /pages/nowhere", 404),
    case("6585-3 403 comes first", "PUT /pages/secret", 403),
    case("6585-3 a read is not required to be conditional", "GET /pages/home", 200),
]

BY_BODY = [
    case("13.1.2 by the body: star", "GET /report/200", 304, if_none_match="*"),
    case("13.1.2 by the body: another", "GET /report/200", 200, if_none_match='"v0"'),
    case("13.1.1 by the body: another", "GET /report/200", 412, if_match='"v0"'),
    case("13.1.1 by the body: malformed", "GET /report/200", 412, if_match="v0"),
    case("13.2.1-p2 by the body: MUST ignore on 404", "GET /report/404", 404, if_none_match="*"),
    case("13.2.1-p2 by the body: MUST ignore on 404, If-Match", "GET /report/404", 404, if_match='"v0"'),
    case("13.2.1-p2 by the body: MUST ignore on 500", "GET /report/500", 500, if_none_match="*"),
]


@pytest.mark.parametrize(
    ("method", "path", "fields", "status"), [*IF_MATCH, *IF_NONE_MATCH, *DATES, *IF_RANGE, *WHEN, *REQUIRED]
)
def test_the_rfc(site: Site, method: str, path: str, fields: Fields, status: int) -> None:
    answer = site.send(method, path, fields)
    assert answer.status_code == status
    assert site.ran == (200 <= status < 300)
    if method == "HEAD" or status == 304:
        assert answer.data == b""
    if method == "GET" and status == 200:
        assert answer.json == {"revision": 1}


@pytest.mark.parametrize(("method", "path", "fields", "status"), BY_BODY)
def test_the_rfc_for_a_view_without_a_resource(
    site: Site, method: str, path: str, fields: Fields, status: int
) -> None:
    assert site.send(method, path, fields).status_code == status


MALFORMED = [
    "v1",
    '"v1',
    'v1"',
    "'v1'",
    '""v1""',
    '"v1""v0"',
    '"v1" "v0"',
    '"v1"; "v0"',
    '"v1"x',
    'x"v1"',
    'w/"v1"',
    'W"v1"',
    'W/ "v1"',
    'W /"v1"',
    "W/v1",
    "W/",
    "W/*",
    'WW/"v1"',
    '\\"v1\\"',
    '"v 1", "v1"',
    '"v\t1"',
    '"\x7f", "v1"',
    '"\x01", "v1"',
    '"v1"\x0b',
    '"v1"\xa0',
    '*, "v1"',
    '"v1", *',
    "*, *",
    "*,",
    ",*",
    "**",
    '"v1", v0',
    '"v1", "',
    '"v1"' + ", " * 10 + "W/",
    '"v1",' * (MAX_MEMBERS + 1),
    '"v1"' + " " * MAX_FIELD_LENGTH,
    '"v1",' + " " * 1_000_000,
    "," * (MAX_FIELD_LENGTH + 1),
    "*" + " " * MAX_FIELD_LENGTH,
]


@pytest.mark.parametrize("field", MALFORMED, ids=lambda field: repr(field[:24]))
class TestMalformed:
    """Sections 13.1.1 and 13.1.2: "otherwise, the condition is false"; so a guard never fails open."""

    def test_13_1_1_if_match_refuses_the_write(self, site: Site, field: str) -> None:
        writes = [(method, path) for method in WRITES for path in ("/pages/home", "/open/home")]
        for method, path in [*writes, ("PUT", "/pages/new"), ("POST", "/pages/new")]:
            answer = site.send(method, path, {"If-Match": field})
            assert answer.status_code == 412
            assert answer.json is not None
            assert answer.json["reason"] == "malformed"
        assert site.ran == 0

    def test_13_1_1_if_match_refuses_the_read(self, site: Site, field: str) -> None:
        assert site.send("GET", "/pages/home", {"If-Match": field}).status_code == 412
        assert site.ran == 0

    def test_13_1_2_if_none_match_refuses_the_write_and_does_not_keep_a_read(self, site: Site, field: str) -> None:
        assert site.send("PUT", "/open/home", {"If-None-Match": field}).status_code == 412
        assert site.ran == 0
        assert site.send("GET", "/pages/home", {"If-None-Match": field}).status_code == 200

    def test_6585_3_if_none_match_protects_nothing(self, site: Site, field: str) -> None:
        assert site.send("PUT", "/pages/new", {"If-None-Match": field}).status_code in (412, 428)
        assert site.ran == 0
        assert "new" not in site.pages


@pytest.mark.parametrize(
    ("field", "status"),
    [
        pytest.param(", ".join(['"v0"'] * (MAX_MEMBERS - 1) + ['"v1"']), 200, id="as many members as are read"),
        pytest.param('"v1"' + "," * (MAX_FIELD_LENGTH - 4), 200, id="as many characters as are read"),
        pytest.param('"' * MAX_FIELD_LENGTH, 412, id="quotes"),
        pytest.param("W/" * (MAX_FIELD_LENGTH // 2), 412, id="weakness without a tag"),
        pytest.param('W/"' * (MAX_FIELD_LENGTH // 3), 412, id="tags that never end"),
        pytest.param('"' + "v" * (MAX_FIELD_LENGTH - 1), 412, id="one tag that never ends"),
        pytest.param('"v1"' + " \t" * (MAX_FIELD_LENGTH // 2 - 4) + "x", 412, id="a gap that leads nowhere"),
        pytest.param(" ,\t" * (MAX_FIELD_LENGTH // 3), 412, id="members that are all empty"),
        pytest.param(", ,\t" * (MAX_FIELD_LENGTH // 4) + "x", 412, id="empty members, and then none"),
        pytest.param('"v1" ' * (MAX_FIELD_LENGTH // 5), 412, id="tags without commas"),
        pytest.param('"",' * MAX_MEMBERS, 412, id="empty tags"),
        pytest.param("\xff" * MAX_FIELD_LENGTH, 412, id="bytes"),
    ],
)
def test_4_3_a_field_as_long_as_can_be_is_read_to_its_end(site: Site, field: str, status: int) -> None:
    assert len(field) <= MAX_FIELD_LENGTH
    assert site.send("PUT", "/pages/home", {"If-Match": field}).status_code == status
    assert site.ran == (status == 200)


def test_4_3_a_megabyte_is_malformed_unread(site: Site) -> None:
    field = ", ".join(['"v1"'] * 170_000)
    assert len(field) > 1_000_000
    answer = site.send("PUT", "/pages/home", {"If-Match": field})
    assert (answer.status_code, answer.json and answer.json["reason"]) == (412, "malformed")
    assert site.ran == 0
    assert site.send("GET", "/pages/home", {"If-None-Match": field}).status_code == 200


class TestAnswers:
    def test_8_8_3_every_answer_with_a_representation_has_its_tag(self, site: Site) -> None:
        for method in ("GET", "HEAD"):
            assert site.send(method, "/pages/home").headers["ETag"] == '"v1"'
        assert site.etag("/pages/weak") == 'W/"v1"'
        assert site.etag("/pages/empty") == '""'
        assert "ETag" not in site.send("GET", "/pages/untagged").headers
        for path in ("/forms/home", "/forms/home?lang=de", "/report/200"):
            [tag] = TagList.parse(site.etag(path)).members
            assert not tag.weak

    def test_8_8_1_a_strong_tag_changes_with_the_state_and_never_comes_back(self, site: Site) -> None:
        seen = set()
        for _ in range(3):
            etag = site.etag("/forms/home")
            assert etag not in seen
            seen.add(etag)
            assert site.send("PUT", "/forms/home", {"If-Match": etag}).status_code == 200

    def test_8_8_1_two_representations_at_the_same_time_have_two_strong_tags(self, site: Site) -> None:
        tags = {site.etag(path) for path in ("/forms/home", "/forms/home?lang=de", "/forms/home?lang=en")}
        assert len(tags) == 3

    def test_8_8_a_write_answers_with_the_new_representation_s_tag(self, site: Site) -> None:
        answer = site.send("PUT", "/pages/home", {"If-Match": '"v1"'})
        assert answer.headers["ETag"] == site.etag("/pages/home") == '"v2"'
        assert site.send("PUT", "/pages/home", {"If-Match": '"v1"'}).status_code == 412
        assert site.send("PUT", "/pages/home", {"If-Match": answer.headers["ETag"]}).status_code == 200

    def test_8_8_a_put_that_creates_answers_with_the_new_tag(self, site: Site) -> None:
        answer = site.send("PUT", "/pages/new", {"If-None-Match": "*"})
        assert (answer.status_code, answer.headers["ETag"]) == (201, site.etag("/pages/new"))

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("POST", "/pages/home", 201), ("PATCH", "/pages/home", 202), ("DELETE", "/pages/home", 204)],
    )
    def test_1_9_an_answer_that_is_not_about_the_target_has_no_tag_of_it(
        self, site: Site, method: str, path: str, status: int
    ) -> None:
        answer = site.send(method, path, {"If-Match": '"v1"'})
        assert answer.status_code == status
        assert "ETag" not in answer.headers
        assert "Last-Modified" not in answer.headers

    def test_8_8_2_last_modified_is_a_date_in_gmt(self, site: Site) -> None:
        assert site.send("GET", "/pages/home").headers["Last-Modified"] == AT
        assert site.send("HEAD", "/pages/home").headers["Last-Modified"] == AT
        assert "Last-Modified" not in site.send("GET", "/pages/undated").headers

    def test_8_8_2_1_last_modified_is_never_later_than_date(self, site: Site) -> None:
        site.pages["home"].modified = tomorrow = datetime.now(UTC) + timedelta(days=1)
        assert "Last-Modified" not in site.send("GET", "/pages/home").headers
        assert site.send("GET", "/pages/home", {"If-Modified-Since": http_date(tomorrow)}).status_code == 200

    def test_8_8_2_2_last_modified_is_shown_once_it_is_strong(self, site: Site) -> None:
        """A date that may still stand for two states neither leaves the server nor makes a 304."""
        site.pages["home"].modified = now = datetime.now(UTC)
        answer = site.send("GET", "/pages/home", {"If-Modified-Since": http_date(now + timedelta(minutes=1))})
        assert answer.status_code == 200
        assert "Last-Modified" not in answer.headers
        assert site.send("PUT", "/open/home", {"If-Unmodified-Since": AT}).status_code == 412

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_15_4_5_a_304_has_the_fields_of_its_200_and_no_content(self, site: Site, method: str) -> None:
        whole = site.send(method, "/pages/home")
        for fields in ({"If-None-Match": '"v1"'}, {"If-Modified-Since": AT}):
            answer = site.send(method, "/pages/home", fields)
            assert (answer.status_code, answer.data) == (304, b"")
            for name in ("ETag", *SHARED):
                assert answer.headers[name] == whole.headers[name]
            assert answer.headers["Cache-Control"] == "max-age=5"
            for name in ("Content-Type", "Content-Length"):
                assert name in whole.headers
                assert name not in answer.headers

    def test_15_4_5_so_has_a_304_of_a_view_without_a_resource(self, site: Site) -> None:
        whole = site.send("GET", "/report/200")
        answer = site.send("GET", "/report/200", {"If-None-Match": whole.headers["ETag"]})
        assert (answer.status_code, answer.data) == (304, b"")
        for name in ("ETag", *SHARED):
            assert answer.headers[name] == whole.headers[name]
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers

    def test_15_5_13_a_412_tells_the_current_tag_and_is_not_stored(self, site: Site) -> None:
        for method, fields in (("PUT", {"If-Match": '"v0"'}), ("GET", {"If-Unmodified-Since": BEFORE})):
            answer = site.send(method, "/pages/home", fields)
            assert answer.status_code == 412
            assert answer.content_type == "application/problem+json"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["ETag"] == '"v1"'
            assert answer.json is not None
            assert (answer.json["status"], answer.json["etag"]) == (412, '"v1"')
        answer = site.send("HEAD", "/pages/home", {"If-Match": '"v0"'})
        assert (answer.status_code, answer.data) == (412, b"")

    def test_6585_3_a_428_says_how_to_repeat_the_request_and_is_not_stored(self, site: Site) -> None:
        answer = site.send("PUT", "/pages/home")
        assert answer.status_code == 428
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json is not None
        assert "If-Match" in answer.json["detail"]

    def test_6585_3_what_a_428_says_to_do_works(self, site: Site) -> None:
        assert site.send("PUT", "/pages/home").status_code == 428
        assert site.send("PUT", "/pages/home", {"If-Match": site.etag("/pages/home")}).status_code == 200

    def test_13_1_5_the_whole_representation_answers_a_range(self, site: Site) -> None:
        whole = site.send("GET", "/pages/home")
        for if_range in ('"v1"', '"v0"', AT):
            answer = site.send("GET", "/pages/home", {"Range": RANGE, "If-Range": if_range})
            assert (answer.status_code, answer.data) == (200, whole.data)
            assert "Content-Range" not in answer.headers
            assert answer.headers["ETag"] == '"v1"'

    def test_13_2_1_p1_before_the_content_is_looked_at(self, site: Site) -> None:
        """412 comes before the 400 that the content deserves."""
        nonsense: dict[str, Any] = {"data": b"nonsense"}
        assert site.send("PUT", "/pages/home", {"If-Match": '"v0"'}, **nonsense).status_code == 412
        assert site.send("PUT", "/pages/home", **nonsense).status_code == 428
        assert site.send("PUT", "/pages/home", {"If-Match": '"v1"'}, **nonsense).status_code == 400
        assert site.pages["home"].revision == 1

    def test_13_2_1_p2_options_that_flask_answers_ignore_conditions(self, site: Site) -> None:
        assert site.send("OPTIONS", "/fixed/home", {"If-Match": '"v0"'}).status_code == 200

    @pytest.mark.parametrize("method", ["OPTIONS", "TRACE"])
    def test_13_2_1_p4_what_ignores_conditions_is_404_all_the_same(self, site: Site, method: str) -> None:
        site.app.testing = False
        assert site.send(method, "/pages/nowhere").status_code == 404


LANGUAGES = ["", "?lang=de", "?lang=en"]
EPOCHS = ["", "2"]
FORMS = [*product(EPOCHS, LANGUAGES)]


def forms() -> tuple[dict[str, Site], dict[tuple[str, str], str]]:
    """Return a site before and one after a change of ETAG_EPOCH, and the tags of a page in each language."""
    sites = {epoch: Site(ETAG_EPOCH=epoch) for epoch in EPOCHS}
    return sites, {(epoch, lang): sites[epoch].etag(f"/forms/home{lang}") for epoch, lang in FORMS}


class TestOneStateManyRepresentations:
    """Rules 3.1 and 3.2, for section 8.8.3.3."""

    def test_each_has_its_own_tag(self) -> None:
        _, tags = forms()
        assert len(set(tags.values())) == len(FORMS)

    @pytest.mark.parametrize(("epoch", "lang"), FORMS)
    def test_a_read_revalidates_by_its_own_tag_only(self, epoch: str, lang: str) -> None:
        sites, tags = forms()
        for form, etag in tags.items():
            own = form == (epoch, lang)
            for sent in (etag, f"W/{etag}"):
                answer = sites[epoch].send("GET", f"/forms/home{lang}", {"If-None-Match": sent})
                assert answer.status_code == (304 if own else 200)
                assert answer.headers["ETag"] == tags[epoch, lang]
            answer = sites[epoch].send("GET", f"/forms/home{lang}", {"If-Match": etag})
            assert answer.status_code == (200 if own else 412)
        everything = {"If-None-Match": ", ".join(tags.values())}
        assert sites[epoch].send("GET", f"/forms/home{lang}", everything).status_code == 304

    @pytest.mark.parametrize(("epoch", "lang"), FORMS)
    def test_a_write_takes_any_of_them_while_the_state_is_current_and_none_afterwards(
        self, epoch: str, lang: str
    ) -> None:
        for taken in FORMS:
            sites, tags = forms()
            site, path = sites[epoch], f"/forms/home{lang}"
            site.ran = 0
            answer = site.send("PUT", path, {"If-Match": tags[taken]})
            assert (answer.status_code, site.ran) == (200, 1)
            assert answer.headers["ETag"] == site.etag(path)
            site.ran = 0
            for stale in tags.values():
                answer = site.send("PUT", path, {"If-Match": stale})
                assert answer.status_code == 412
                assert answer.json is not None
                assert answer.json["reason"] == "stale"
            assert (site.send("PUT", path, {"If-Match": ", ".join(tags.values())}).status_code, site.ran) == (
                412,
                0,
            )

    def test_a_write_takes_what_only_begins_like_its_state_for_another(self) -> None:
        site = Site()
        state = site.etag("/forms/home").strip('"')
        site.ran = 0
        for other in ("x", "0", ".", ".x", "." + "v" * 31, "." + "v" * 33, ".." + "v" * 31, "." + "v" * 31 + "!"):
            assert site.send("PUT", "/forms/home", {"If-Match": f'"{state}{other}"'}).status_code == 412
        assert site.send("PUT", "/forms/home", {"If-Match": f'"{state[:-1]}"'}).status_code == 412
        assert site.ran == 0

    def test_the_application_s_own_text_is_good_for_a_write_in_any_epoch(self) -> None:
        site = Site(ETAG_EPOCH="2")
        assert site.etag("/pages/home") != '"v1"'
        assert site.send("GET", "/pages/home", {"If-None-Match": '"v1"'}).status_code == 200
        assert site.send("PUT", "/pages/home", {"If-Match": '"v1"'}).status_code == 200
        assert site.send("PUT", "/pages/home", {"If-Match": '"v1"'}).status_code == 412


def weakened(etag: str) -> dict[str, str]:
    """Return what proxies make of a strong tag."""
    opaque = etag.strip('"')
    return {
        "nginx": f'W/"{opaque}"',
        "Apache": f'"{opaque}-gzip"',
        "Flask-Compress": f'"{opaque}:gzip"',
        "Jetty": f'"{opaque}--gzip"',
        "brotli": f'"{opaque}-br"',
        "Apache behind nginx": f'W/"{opaque}-gzip"',
    }


PROXIES = list(weakened(""))


@pytest.mark.parametrize("path", ["/forms/home", "/forms/home?lang=de"])
class TestWeakenedTags:
    """Rule 3.8."""

    @pytest.mark.parametrize("proxy", PROXIES)
    def test_3_8_they_are_not_ours_by_default(self, path: str, proxy: str) -> None:
        site = Site()
        sent = weakened(site.etag(path))[proxy]
        site.ran = 0
        answer = site.send("PUT", path, {"If-Match": sent})
        assert answer.status_code == 412
        assert answer.json is not None
        assert answer.json["reason"] == "weakened"
        assert site.send("GET", path, {"If-Match": sent}).status_code == 412
        assert site.ran == 0
        read = site.send("GET", path, {"If-None-Match": sent})
        assert read.status_code == (304 if proxy == "nginx" else 200)

    @pytest.mark.parametrize("proxy", PROXIES)
    def test_3_8_they_are_as_good_as_ever_where_that_is_configured(self, path: str, proxy: str) -> None:
        site = Site(ETAG_ACCEPT_WEAKENED=True)
        old = weakened(site.etag(path))
        assert site.send("GET", path, {"If-None-Match": old[proxy]}).status_code == 304
        assert site.send("GET", path, {"If-Match": old[proxy]}).status_code == 200
        assert site.send("PUT", path, {"If-Match": f'"v0", {old[proxy]}'}).status_code == 200
        assert site.pages["home"].revision == 2
        for stale in old.values():
            answer = site.send("PUT", path, {"If-Match": stale})
            assert answer.status_code == 412
            assert answer.json is not None
            assert answer.json["reason"] == "stale"
            assert site.send("GET", path, {"If-None-Match": stale}).status_code == 200
        assert site.pages["home"].revision == 2

    @pytest.mark.parametrize(
        "suffix", ["gzip", "-g", "-GZIP", "-gzip-br", "---gzip", "-", ":", "-gzip ", "_gzip", "-123", "-abcdefghi"]
    )
    def test_3_8_another_suffix_is_another_tag(self, path: str, suffix: str) -> None:
        site = Site(ETAG_ACCEPT_WEAKENED=True)
        etag = site.etag(path)
        site.ran = 0
        assert site.send("PUT", path, {"If-Match": f'{etag[:-1]}{suffix}"'}).status_code == 412
        assert site.ran == 0
        assert site.send("GET", path, {"If-None-Match": f'{etag[:-1]}{suffix}"'}).status_code == 200


def test_3_8_a_read_takes_no_other_representation_for_its_own_weakened() -> None:
    site = Site(ETAG_ACCEPT_WEAKENED=True)
    for sent in weakened(site.etag("/forms/home?lang=de")).values():
        for path in ("/forms/home", "/forms/home?lang=en"):
            assert site.send("GET", path, {"If-None-Match": sent}).status_code == 200


def test_8_8_2_every_date_that_is_sent_reads_back(site: Site) -> None:
    shown = site.send("GET", "/pages/home").headers["Last-Modified"]
    assert parse_date(shown) == THEN.replace(microsecond=0)


class TestFuzz:
    """``make fuzz`` sends a million of them."""

    def test_4_3_some_thousands_of_hostile_values_do_not_get_past(self) -> None:
        answers = fuzz("test", 3_000)
        assert answers["values"] >= 3_000
        assert {"GET 200", "GET 304", "GET 412", "PUT 200", "PUT 412", "PUT 428"} == set(answers) - {"values"}

    def test_what_gets_past_is_found(self) -> None:
        letters = Letters(ETAG_REQUIRE="report")
        with pytest.raises(AssertionError, match="a write got past"):
            check(letters, "/plain", {}, letters.etag("/plain"))
