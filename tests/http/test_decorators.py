"""The stories of a read and of a write as a client sees them, on objects that are in no store."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from flask.views import MethodView
from werkzeug.exceptions import HTTPException

from flask_etag import (
    ConditionalRequestError,
    EntityTag,
    ETag,
    PreconditionFailed,
    content_hash,
    etag_resource,
    require_if_match,
    resource,
    version_column,
)

CACHE_CONTROL = "private, max-age=0, must-revalidate"


@dataclass
class Page:
    name: str
    etag: EntityTag | str | None = "v1"

    def __etag__(self) -> EntityTag | str | None:
        return self.etag


PAGES = {
    "home": Page("home"),
    "untagged": Page("untagged", None),
    "weak": Page("weak", EntityTag("v1", weak=True)),
}


@resource
def find_page(name: str) -> Page | None:
    """Find a page."""
    if name == "secret":
        abort(403)
    return PAGES.get(name)


def pages(**config: Any) -> Flask:
    """Return an application that serves pages, and whose views count how often they ran."""
    pages_app = Flask("pages")
    pages_app.testing = True
    pages_app.config.update(config)
    ETag(pages_app)
    pages_app.extensions["ran"] = 0

    @pages_app.route("/pages/<name>", methods=["GET", "OPTIONS"])
    @etag_resource(find_page)
    def read_page(page: Page, name: str) -> str:
        pages_app.extensions["ran"] += 1
        assert page.name == name
        return page.name

    @pages_app.route("/pages/<name>", methods=["PUT", "PATCH", "POST", "DELETE"])
    @require_if_match(find_page)
    def write_page(page: Page) -> str:
        pages_app.extensions["ran"] += 1
        return page.name

    return pages_app


@pytest.fixture
def browser() -> FlaskClient:
    return pages().test_client()


def ran(browser: FlaskClient) -> int:
    return int(browser.application.extensions["ran"])


def test_a_read_carries_the_tag(browser: FlaskClient) -> None:
    answer = browser.get("/pages/home")
    assert (answer.status_code, answer.text) == (200, "home")
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers["Cache-Control"] == CACHE_CONTROL


def test_15_4_5_a_304_has_the_fields_of_the_200_and_no_content(browser: FlaskClient) -> None:
    answer = browser.get("/pages/home", headers={"If-None-Match": '"v1"'})
    assert (answer.status_code, answer.data) == (304, b"")
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers["Cache-Control"] == CACHE_CONTROL
    assert "Content-Type" not in answer.headers
    assert "Content-Length" not in answer.headers
    assert ran(browser) == 0


def test_1_7_head_answers_as_get_would(browser: FlaskClient) -> None:
    answer = browser.head("/pages/home")
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["ETag"] == '"v1"'
    assert browser.head("/pages/home", headers={"If-None-Match": "*"}).status_code == 304


def test_a_read_whose_if_match_is_stale_is_412(browser: FlaskClient) -> None:
    assert browser.get("/pages/home", headers={"If-Match": '"v0"'}).status_code == 412
    assert ran(browser) == 0


def test_a_resource_without_a_tag_is_served_without_one(browser: FlaskClient) -> None:
    answer = browser.get("/pages/untagged", headers={"If-None-Match": '""'})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


def test_1_1_options_ignores_conditions(browser: FlaskClient) -> None:
    answer = browser.options("/pages/home", headers={"If-Match": '"v0"'})
    assert answer.status_code == 200
    assert "ETag" not in answer.headers


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST", "DELETE"])
def test_6585_3_an_unprotected_write_is_428(browser: FlaskClient, method: str) -> None:
    answer = browser.open("/pages/home", method=method)
    assert answer.status_code == 428
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json is not None
    assert answer.json["status"] == 428
    assert answer.json["reason"] == "missing"
    assert "GET" in answer.json["detail"]
    assert "If-Match" in answer.json["detail"]
    assert ran(browser) == 0


@pytest.mark.parametrize(
    ("path", "field", "value", "reason"),
    [
        ("/pages/home", "If-Match", '"v0"', "stale"),
        ("/pages/home", "If-Match", "", "stale"),
        ("/pages/home", "If-Match", "v1", "malformed"),
        ("/pages/home", "If-Match", '"v1', "malformed"),
        ("/pages/home", "If-Match", '*, "v1"', "malformed"),
        ("/pages/home", "If-Match", '"v1",' * 257, "malformed"),
        ("/pages/home", "If-Match", 'W/"v1"', "weakened"),
        ("/pages/untagged", "If-Match", '"v1"', "unverifiable"),
        ("/pages/weak", "If-Match", '"v1"', "unverifiable"),
        ("/pages/home", "If-None-Match", "*", "exists"),
    ],
)
def test_a_condition_that_does_not_hold_is_412_and_nothing_runs(
    browser: FlaskClient, path: str, field: str, value: str, reason: str
) -> None:
    answer = browser.put(path, headers={field: value})
    assert answer.status_code == 412
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json is not None
    assert set(answer.json) == {"type", "title", "status", "detail", "reason", "etag"}
    assert answer.json["reason"] == reason
    assert answer.json["type"].endswith("#" + reason)
    assert answer.json["etag"] == answer.headers.get("ETag")
    assert ran(browser) == 0


def test_several_field_lines_are_one_list(browser: FlaskClient) -> None:
    lines = [("If-Match", '"v0"'), ("If-Match", '"v1"')]
    assert browser.put("/pages/home", headers=lines).status_code == 200
    assert browser.put("/pages/home", headers=lines[:1]).status_code == 412


def test_the_loader_s_own_answer_and_404_come_before_428(browser: FlaskClient) -> None:
    for send in (browser.get, browser.put):
        assert send("/pages/secret").status_code == 403
        assert send("/pages/nowhere").status_code == 404


def test_a_write_that_nothing_guards_has_no_tag_and_is_warned_about_once(
    browser: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        answer = browser.put("/pages/home", headers={"If-Match": '"v1"'})
        assert answer.status_code == 200
        assert "ETag" not in answer.headers
    assert [record.message.split(":")[0] for record in caplog.records] == ["write_page"]
    assert "judged, not guarded" in caplog.text


def test_every_refusal_is_one_record_without_tags_or_paths(
    browser: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_etag")
    browser.put("/pages/home")
    browser.put("/pages/home", headers={"If-Match": '"v0"'})
    records = [message for message in caplog.messages if "judged, not guarded" not in message]
    assert records == ["missing: PUT write_page", "stale: PUT write_page"]


def test_a_view_s_own_cache_control_and_answers_other_than_2xx_are_left_alone() -> None:
    other_app = pages()

    @other_app.get("/cached/<name>")
    @etag_resource(find_page)
    def cached(page: Page) -> tuple[str, dict[str, str]]:
        return page.name, {"Cache-Control": "max-age=60"}

    @other_app.get("/moved/<name>")
    @etag_resource(find_page)
    def moved(page: Page) -> tuple[str, int]:
        return "", 410

    other = other_app.test_client()
    assert other.get("/cached/home").headers["Cache-Control"] == "max-age=60"
    answer = other.get("/moved/home")
    assert answer.status_code == 410
    assert "ETag" not in answer.headers
    assert "Cache-Control" not in answer.headers


def test_the_cache_control_can_be_set_and_left_out() -> None:
    public = pages(ETAG_CACHE_CONTROL="no-cache").test_client()
    assert public.get("/pages/home").headers["Cache-Control"] == "no-cache"
    without = pages(ETAG_CACHE_CONTROL=None).test_client()
    assert "Cache-Control" not in without.get("/pages/home").headers


def test_an_application_s_own_handler_wins_and_one_for_all_errors_does_not() -> None:
    other_app = pages()

    @other_app.errorhandler(HTTPException)
    def answer_all(error: HTTPException) -> tuple[str, int]:
        return "something", 500

    @other_app.errorhandler(428)
    def answer_428(error: ConditionalRequestError) -> tuple[str, int]:
        return f"my own {error.reason}", 428

    other = other_app.test_client()
    assert other.put("/pages/home").text == "my own missing"
    assert other.put("/pages/home", headers={"If-Match": '"v0"'}).content_type == "application/problem+json"


def test_the_exception_carries_the_reason_and_the_current_tag() -> None:
    other_app = pages()
    seen: list[PreconditionFailed] = []

    @other_app.errorhandler(412)
    def answer_412(error: PreconditionFailed) -> tuple[str, int]:
        seen.append(error)
        return "", 412

    other_app.test_client().put("/pages/home", headers={"If-Match": '"v0"'})
    assert seen[0].reason == "stale"
    assert seen[0].etag == EntityTag("v1")
    assert seen[0].data == {"message": seen[0].description, **seen[0].problem()}


def test_without_the_extension_the_first_request_says_what_to_do() -> None:
    other_app = Flask("pages")
    other_app.testing = True
    other_app.get("/pages/<name>")(etag_resource(find_page)(lambda page: page.name))
    with pytest.raises(RuntimeError, match=r"call ETag\(app\)"):
        other_app.test_client().get("/pages/home")


def test_a_resource_and_a_view_keep_their_names() -> None:
    @etag_resource(find_page)
    def read_page(page: Page) -> str:
        """Read it."""
        return page.name

    assert (read_page.__name__, read_page.__doc__) == ("read_page", "Read it.")
    assert find_page.__doc__ == "Find a page."
    assert find_page("home") is PAGES["home"]


class TestMisuseIsRefusedWhereItIsWritten:
    def test_an_undecorated_loader(self) -> None:
        def find_note(name: str) -> Page:
            return PAGES[name]

        with pytest.raises(TypeError, match=r"find_note.* is no resource: put @resource above it"):
            etag_resource(find_note)(lambda page: page)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"takes the resource .* was given .*find_note"):
            require_if_match(find_note)  # type: ignore[call-overload]

    def test_a_decorator_without_a_resource(self) -> None:
        with pytest.raises(TypeError, match="takes a resource, or decorates a view"):
            etag_resource("note")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match=r"@require_if_match\(find_note\)"):

            @require_if_match  # type: ignore[call-overload]
            def replace(page: Page) -> str:
                return page.name

    def test_a_resource_where_a_view_belongs(self) -> None:
        with pytest.raises(TypeError, match="is no view"):
            etag_resource(find_page)(find_page)  # type: ignore[arg-type]

    def test_a_view_that_takes_nothing(self) -> None:
        with pytest.raises(TypeError, match="let its first parameter be the resource"):
            etag_resource(find_page)(lambda: "")  # type: ignore[arg-type]

    def test_a_view_that_takes_some_of_the_loader_s_arguments(self) -> None:
        @resource
        def find_line(page: str, number: int) -> Page:
            return PAGES[page]

        def show(line: Page, number: int) -> str:
            return line.name

        with pytest.raises(TypeError, match="only some of the loader's arguments"):
            etag_resource(find_line)(show)  # type: ignore[arg-type]

    def test_a_view_that_takes_what_its_loader_does_not(self) -> None:
        def show(page: Page, number: int) -> str:
            return page.name

        with pytest.raises(TypeError, match="takes number, which its loader does not take"):
            etag_resource(find_page)(show)  # type: ignore[arg-type]

    def test_a_view_that_is_decorated_twice(self) -> None:
        with pytest.raises(TypeError, match="decorated already"):

            @etag_resource(find_page)  # type: ignore[arg-type]
            @require_if_match(find_page)
            def view(page: Page) -> str:
                return page.name

    def test_a_resource_in_the_decorators_of_a_class(self) -> None:
        class PageView(MethodView):
            decorators = [etag_resource(find_page)]  # noqa: RUF012

        with pytest.raises(TypeError, match="Flask passes keywords only"):
            PageView.as_view("page")

    def test_loaders_that_are_not_functions(self) -> None:
        with pytest.raises(TypeError, match="decorates the function that loads"):
            resource(Page)

    def test_a_decorator_above_that_passes_a_positional_argument(self) -> None:
        @etag_resource(find_page)
        def read_page(page: Page) -> str:
            return page.name

        with pages().test_request_context(), pytest.raises(TypeError, match="From the top: the route"):
            read_page("home")

    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"etag": "revision"}, r'etag=version_column\("revision"\)'),
            ({"etag": content_hash}, "takes version_column"),
            ({"etag": Page}, "takes version_column"),
            ({"etag": 7}, "takes version_column"),
            ({"last_modified": 7}, "last_modified= takes a function"),
            ({"headers": "Vary"}, "headers= takes a function"),
            ({"variant": "de"}, "variant= takes a function"),
            ({"lock": threading.Lock()}, "lock= takes a function"),
        ],
    )
    def test_options_of_another_type(self, options: dict[str, Any], advice: str) -> None:
        with pytest.raises(TypeError, match=advice):
            resource(**options)

    def test_validators_of_nothing(self) -> None:
        class Schema:
            def dump(self, page: Page) -> str:
                return page.name

        with pytest.raises(TypeError, match=r"write Schema\(\)"):
            content_hash(Schema)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="takes an object with dump"):
            content_hash({})  # type: ignore[arg-type]
        for name in (7, "not a name"):
            with pytest.raises(TypeError, match="takes the name of an attribute"):
                version_column(name)  # type: ignore[arg-type]
