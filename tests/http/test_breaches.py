"""Ways to a wrong answer, without a database, that were found by looking for them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from flask_etag import EntityTag, ETag, content_hash, require_if_match, resource


def test_above_the_route_with_another_decorator_between() -> None:
    def logged(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

        return wrapper

    pages = Flask("pages")
    pages.testing = True
    ETag(pages)

    @require_if_match(resource(lambda page: page))
    @logged
    @pages.put("/<page>")
    def replace(page: str) -> str:
        raise AssertionError("The view ran.")

    with pytest.raises(RuntimeError, match="replace is decorated above its route"):
        pages.test_client().put("/home")


def test_a_tag_that_would_be_too_long_to_be_read_again_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="longer than any that is read"):
        EntityTag("x" * 8189)
    with pytest.raises(TypeError, match="made of a text"):
        EntityTag(5)  # type: ignore[arg-type]


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"last_modified": lambda _: "2020-01-01"}, "it has to give a datetime or None"),
        ({"headers": lambda _: None}, "it has to give a mapping of fields"),
        ({"lock": lambda: None}, "it has to give a context manager"),
        ({"lock": threading.Lock}, ""),
        ({"etag": content_hash(lambda _: {1: 2, "a": 3})}, "with keys of one type"),
        ({"etag": content_hash(lambda _: {1, 2})}, "no way to say set"),
        ({"etag": content_hash(lambda _: CIRCLE)}, "what has itself in it"),
    ],
)
def test_what_an_option_gives_wrongly_is_said_in_words(options: dict[str, Any], advice: str) -> None:
    pages = Flask("pages")
    pages.testing = True
    ETag(pages)
    found = resource(**{"etag": lambda _: "v1", **options})(lambda: "page")
    pages.add_url_rule("/", "page", require_if_match(found)(lambda page: page), methods=["GET", "PUT"])

    def send() -> None:
        pages.test_client().get("/")
        pages.test_client().put("/", headers={"If-Match": "*"})

    if advice:
        with pytest.raises(TypeError, match=advice):
            send()
    else:
        send()


def test_options_that_are_async_are_refused() -> None:
    async def later(_: object) -> str:
        return "v1"

    options: list[dict[str, Any]] = [
        {name: later} for name in ("etag", "headers", "last_modified", "variant", "lock")
    ]
    for option in options:
        with pytest.raises(TypeError, match="not async"):
            resource(**option)
    with pytest.raises(TypeError, match="create= takes True or False"):
        require_if_match(resource(lambda: "page"), create="yes")  # type: ignore[call-overload]
