"""What hardly ever happens between a request and its view, and has to be right all the same."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, time

from flask import Flask

from flask_etag import ETag, content_hash, etag_resource, resource, version_column


def test_an_async_resource_is_awaited() -> None:
    @resource
    async def find_page() -> str:
        return "page"

    async def read() -> str:
        return await find_page()

    assert asyncio.run(read()) == "page"


def test_a_naive_date_is_utc() -> None:
    @resource(etag=lambda _: "v1", last_modified=lambda _: datetime(2026, 1, 1, 12))
    def find_page() -> str:
        return "page"

    pages = Flask("pages")
    ETag(pages)
    pages.get("/")(etag_resource(find_page)(lambda page: page))
    assert pages.test_client().get("/").headers["Last-Modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"


def test_a_route_without_a_view_is_not_audited_and_options_of_a_body_are_answered() -> None:
    pages = Flask("pages", static_folder=None)
    pages.testing = True
    ETag(pages)
    pages.add_url_rule("/nothing", endpoint="nothing")
    view = etag_resource(lambda: "options")
    pages.add_url_rule("/", "page", view, methods=["OPTIONS"], provide_automatic_options=False)
    assert pages.test_client().options("/").text == "options"
    assert "/nothing" not in pages.test_cli_runner().invoke(args=["etag", "routes"]).output


def test_the_tags_of_what_dates_and_times_are_made_of() -> None:
    pages = Flask("pages")
    ETag(pages)
    tags = set()
    for value in (date(2026, 1, 1), time(12), datetime(2026, 1, 1)):

        @resource(etag=content_hash(list))
        def find_page() -> list[object]:
            return []

        with pages.test_request_context():
            tags.add(find_page.etag_of([value]))
    assert len(tags) == 3


def test_version_column_of_a_sequence_is_that_of_its_members() -> None:
    @resource(etag=version_column("revision"))
    def find_pages() -> list[dict[str, int]]:
        return []

    pages = Flask("pages")
    ETag(pages)
    with pages.test_request_context():
        one, two = find_pages.etag_of([{"revision": 1}]), find_pages.etag_of([{"revision": 2}])
    assert one != two
