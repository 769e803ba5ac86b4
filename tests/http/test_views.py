"""The kinds of views and loaders that can be decorated, and the one place where a decorator protects nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView

from flask_etag import ETag, Resource, etag_resource, require_if_match, resource


@dataclass
class Page:
    name: str
    version: int = 1

    def __etag__(self) -> str:
        return f"v{self.version}"


@resource
def find_page(name: str) -> Page | None:
    return Page(name) if name == "home" else None


@resource
async def find_later(name: str) -> Page | None:
    await asyncio.sleep(0)
    return find_page(name)


Found = Resource[[str], Page | None]


def served(**config: Any) -> Flask:
    pages = Flask("pages")
    pages.testing = True
    pages.config.update(config)
    ETag(pages)
    return pages


def check(pages: Flask) -> None:
    """Check that /home is conditional, for reads and for writes."""
    client = pages.test_client()
    answer = client.get("/home")
    assert (answer.status_code, answer.text, answer.headers["ETag"]) == (200, "home", '"v1"')
    assert client.get("/home", headers={"If-None-Match": '"v1"'}).status_code == 304
    assert client.get("/nowhere").status_code == 404
    assert client.put("/home").status_code == 428
    assert client.put("/home", headers={"If-Match": '"v0"'}).status_code == 412
    answer = client.put("/home", headers={"If-Match": '"v1"'})
    assert (answer.status_code, answer.text) == (200, "home")


@pytest.mark.parametrize("found", [find_page, find_later], ids=["loader", "async loader"])
class TestKindsOfViews:
    def test_functions(self, found: Found) -> None:
        pages = served()

        @pages.get("/<name>")
        @etag_resource(found)
        def read(page: Page) -> str:
            return page.name

        @pages.put("/<name>")
        @require_if_match(found)
        def replace(page: Page, name: str) -> str:
            assert page.name == name
            return name

        check(pages)

    def test_async_functions(self, found: Found) -> None:
        pages = served()

        @pages.get("/<name>")
        @etag_resource(found)
        async def read(page: Page) -> str:
            await asyncio.sleep(0)
            return page.name

        @pages.put("/<name>")
        @require_if_match(found)
        async def replace(page: Page, name: str) -> str:
            assert page.name == name
            return name

        check(pages)

    def test_a_class(self, found: Found) -> None:
        pages = served()

        @require_if_match(found)
        class PageView(MethodView):
            def get(self, page: Page) -> str:
                return page.name

            async def put(self, page: Page, name: str) -> str:
                assert page.name == name
                return name

        pages.add_url_rule("/<name>", view_func=PageView.as_view("page"))
        check(pages)

    def test_methods_with_different_loaders(self, found: Found) -> None:
        pages = served()

        class PageView(MethodView):
            init_every_request = False

            @etag_resource(found)
            def get(self, page: Page, name: str) -> str:
                assert page.name == name
                return name

            @require_if_match(find_page)
            def put(self, page: Page) -> str:
                return page.name

        pages.add_url_rule("/<name>", view_func=PageView.as_view("page"))
        check(pages)

    def test_blueprints(self, found: Found) -> None:
        pages, book = served(), Blueprint("book", __name__)
        book.get("/<name>", endpoint="read")(etag_resource(found)(lambda page: page.name))
        book.put("/<name>", endpoint="replace")(require_if_match(found)(lambda page: page.name))
        pages.register_blueprint(book)
        check(pages)


def test_a_class_that_inherits_decorated_methods_keeps_them() -> None:
    pages = served()

    @etag_resource(find_page)
    class Readable(MethodView):
        def get(self, page: Page) -> str:
            return page.name

    @require_if_match(find_page)
    class Writable(Readable):
        def put(self, page: Page) -> str:
            return page.name

    pages.add_url_rule("/<name>", view_func=Writable.as_view("page"))
    check(pages)


def test_a_class_of_views_is_tagged_by_what_it_answers() -> None:
    pages = served()

    @etag_resource
    class Report(MethodView):
        decorators = [etag_resource][:0]

        def get(self) -> str:
            return "report"

    pages.add_url_rule("/", view_func=Report.as_view("report"))
    client = pages.test_client()
    etag = client.get("/").headers["ETag"]
    assert client.get("/", headers={"If-None-Match": etag}).status_code == 304


def test_the_resource_may_be_followed_by_arguments_that_others_add() -> None:
    def parsed(view: Any) -> Callable[..., str]:
        """Add an argument, as parsers below ours do, without a word to inspect."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return view(*args, "parsed", **kwargs)

        return wrapper

    pages = served()

    @pages.get("/<name>")
    @etag_resource(find_page)
    @parsed
    def read(page: Page, data: str, name: str) -> str:
        return f"{page.name} {data} {name}"

    assert pages.test_client().get("/home").text == "home parsed home"


class TestAboveTheRoute:
    """A decorator above the route protects nothing, since Flask has registered what is below it."""

    def test_is_refused_by_the_first_request_and_by_every_other(self) -> None:
        pages = served()

        @require_if_match(find_page)  # type: ignore[arg-type]
        @pages.put("/<name>")
        def replace(name: str) -> str:
            raise AssertionError("The view ran.")

        @pages.get("/")
        def index() -> str:
            raise AssertionError("The view ran.")

        for _ in range(2):
            with pytest.raises(RuntimeError, match="The view of replace is decorated above its route"):
                pages.test_client().get("/")

    def test_is_refused_in_a_blueprint_and_without_a_resource(self) -> None:
        pages, book = served(), Blueprint("book", __name__)

        @etag_resource
        @book.get("/report")
        def report() -> str:
            return "report"

        pages.register_blueprint(book)
        with pytest.raises(RuntimeError, match=r"book\.report"):
            pages.test_client().get("/report")

    def test_a_view_that_is_also_served_without_is_none_of_our_business(self) -> None:
        pages = served()

        def report() -> str:
            return "report"

        pages.add_url_rule("/bare", "bare", report)
        pages.add_url_rule("/tagged", "tagged", etag_resource(report))
        client = pages.test_client()
        assert "ETag" not in client.get("/bare").headers
        assert "ETag" in client.get("/tagged").headers
