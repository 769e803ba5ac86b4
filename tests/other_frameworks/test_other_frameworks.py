"""The page "In another framework": each recipe answers as the RFC says; ``make test-stores``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connection

from tests.other_frameworks import with_django, with_quart, with_starlette
from tests.world.bodies import odd, wrong

URL = "http://localhost/notes/1"

Send = Callable[..., httpx.Response]
"""Sends a request, given its method, what JSON is made of, and fields."""


def _to_asgi(app: Any) -> Send:
    def send(
        method: str, body: Any = None, *fields: tuple[str, str], url: str = URL, **more: Any
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
                return await client.request(method, url, json=body, headers=list(fields), **more)

        return asyncio.run(ask())

    return send


def _to_wsgi(app: Any) -> Send:
    def send(
        method: str, body: Any = None, *fields: tuple[str, str], url: str = URL, **more: Any
    ) -> httpx.Response:
        with httpx.Client(transport=httpx.WSGITransport(app)) as client:
            return client.request(method, url, json=body, headers=list(fields), **more)

    return send


@pytest.fixture(scope="module")
def django() -> Send:
    with connection.schema_editor() as schema:
        schema.create_model(with_django.Note)
    with_django.Note.objects.create(id=1, version="first", body="first")
    return _to_wsgi(get_wsgi_application())


@pytest.fixture
def starlette() -> Send:
    return _to_asgi(with_starlette.app)


@pytest.fixture
def quart() -> Send:
    return _to_asgi(with_quart.app)


@pytest.mark.parametrize("framework", ["starlette", "quart", "django"])
def test_it_answers_as_the_rfc_says(request: pytest.FixtureRequest, framework: str) -> None:
    send: Send = request.getfixturevalue(framework)
    read = send("GET")
    tag = read.headers["ETag"]
    assert read.status_code == 200
    unchanged = send("GET", None, ("If-None-Match", f'"other", {tag}'))
    assert (unchanged.status_code, unchanged.headers["ETag"], unchanged.content) == (304, tag, b"")
    assert send("PUT", {"body": "unseen"}).status_code == 428
    saved = send("PUT", {"body": "second"}, ("If-Match", tag))
    new = saved.headers["ETag"]
    assert (saved.status_code, new == tag) == (200, False)
    stale = send("PUT", {"body": "third"}, ("If-Match", tag))
    assert (stale.status_code, stale.headers["ETag"], stale.json()) == (412, new, {"reason": "stale"})
    assert send("PUT", {"body": "x"}, ("If-Match", "unquoted")).json() == {"reason": "malformed"}
    assert send("PUT", {"body": "x"}, ("If-None-Match", "*")).json() == {"reason": "exists"}
    read = send("GET")
    assert (read.headers["ETag"], read.json()) == (new, {"body": "second"})


@pytest.mark.parametrize("framework", ["starlette", "quart", "django"])
def test_what_it_does_not_serve_it_refuses_and_does_not_do(request: pytest.FixtureRequest, framework: str) -> None:
    """Neither GET nor PUT; OPTIONS, which is never judged; and content that makes no sense, once it is judged."""
    send: Send = request.getfixturevalue(framework)
    before = send("GET")
    tag = ("If-Match", before.headers["ETag"])
    assert [send(method, {"body": "x"}, tag).status_code for method in ("POST", "PATCH", "DELETE")] == [405] * 3
    assert send("OPTIONS").status_code in (200, 405)
    assert send("OPTIONS").headers["Allow"]
    head = send("HEAD")
    assert (head.status_code, head.headers["ETag"]) == (200, before.headers["ETag"])  # its content is the server's
    assert send("HEAD", None, ("If-None-Match", before.headers["ETag"])).status_code == 304
    senseless: list[Any] = [None, {}, [], 5]
    assert [send("PUT", body, tag).status_code for body in senseless] == [400] * 4
    assert send("PUT", None, ("If-Match", '"old"')).status_code == 412
    assert send("PUT", {"body": "x"}, ("If-Match", "")).status_code == 412
    assert send("PUT", {"body": "x"}, ("If-None-Match", '"other"')).status_code == 428
    assert send("PUT", {"body": "x"}, ("If-Unmodified-Since", "Thu, 01 Jan 2099 00:00:00 GMT")).status_code == 428
    after = send("GET")
    assert (after.headers["ETag"], after.json()) == (before.headers["ETag"], before.json())
    assert [send(method, {"body": "x"}, tag, url=f"{URL}9").status_code for method in ("GET", "PUT")] == [404, 404]


@pytest.mark.parametrize("framework", ["starlette", "quart"])
def test_a_field_of_several_lines_is_read_to_its_end(request: pytest.FixtureRequest, framework: str) -> None:
    """These two hand over line by line; a WSGI server, as Django has it, joins them."""
    send: Send = request.getfixturevalue(framework)
    tag = send("GET").headers["ETag"]
    assert send("PUT", {"body": "x"}, ("If-Match", '"other"'), ("If-Match", tag)).status_code == 200


def test_in_django_who_was_overtaken_is_judged_again(django: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writes after the check, before the UPDATE."""
    judged = with_django.judged

    def judged_and_overtaken(request: Any, etag: Any) -> Any:
        refusal = judged(request, etag)
        if request.method == "PUT" and refusal is None:
            with_django.Note.objects.update(version="fast", body="fast")
        return refusal

    monkeypatch.setattr(with_django, "judged", judged_and_overtaken)
    refused = django("PUT", {"body": "slow"}, ("If-Match", django("GET").headers["ETag"]))
    assert (refused.status_code, refused.headers["ETag"]) == (412, '"fast"')
    assert django("GET").json() == {"body": "fast"}


@pytest.mark.parametrize("framework", ["starlette", "quart", "django"])
def test_what_is_no_note_is_refused_and_not_stored(request: pytest.FixtureRequest, framework: str) -> None:
    send: Send = request.getfixturevalue(framework)
    done = set()
    for name, body in {**wrong("body"), **odd("body")}.items():
        before = send("GET")
        answer = send("PUT", None, ("If-Match", before.headers["ETag"]), content=body)
        if answer.status_code == 200:
            done.add(name)
            assert send("GET").json() == answer.json()
        else:
            assert answer.status_code == 400
            after = send("GET")
            assert (after.content, after.headers["ETag"]) == (before.content, before.headers["ETag"])
    assert done == {"NUL", "NaN beside it", "UTF-16"}
