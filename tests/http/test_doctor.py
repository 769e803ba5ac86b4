"""``flask etag doctor``, by real requests: to applications that do to their answers what front ends do.

Real front ends are in tests/proxies/test_doctor.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from socket import create_server, socket
from threading import Thread
from time import sleep
from typing import Any

import pytest
from flask import Flask, Response, redirect, request
from flask_compress import Compress
from werkzeug.serving import WSGIRequestHandler

from flask_etag import EntityTag, ETag, content_hash, etag_resource, resource
from tests.servers.loopback import serving

PAGE = {"text": "All work and no play. " * 100}


class Quiet(WSGIRequestHandler):
    def log(self, *args: Any) -> None:
        pass


def served(**config: Any) -> Flask:
    app = Flask("served", static_folder=None)
    app.config.update(config)
    ETag(app)

    @resource(etag=content_hash(dict), lock=nullcontext, headers={"Vary": "Accept-Language"})
    def find_page() -> dict[str, str]:
        return PAGE

    app.get("/page")(etag_resource(find_page)(lambda page: page))
    app.get("/plain", endpoint="plain")(lambda: "plain")
    return app


def examined(app: Flask, *options: str, path: str = "/page") -> Any:
    with serving(app, handler=Quiet) as url:
        return app.test_cli_runner().invoke(args=["etag", "doctor", url + path, *options])


def changed(change: Callable[[Response], Any]) -> Flask:
    """Return an application whose answers are changed on their way."""
    app = served()

    @app.after_request
    def apply(response: Response) -> Response:
        change(response)
        return response

    return app


def test_where_nothing_is_in_front_all_is_well() -> None:
    ran = examined(served())
    assert ran.exit_code == 0
    assert [line[:5].strip() for line in ran.output.splitlines()] == ["ok"] * 4, ran.output


def test_a_tag_that_is_marked_fails_with_its_cure() -> None:
    app = served()
    Compress(app)
    ran = examined(app)
    assert ran.exit_code == 1
    assert "note   Flask-Compress makes of" in ran.output
    assert "is refused, though nobody has changed anything: weakened" in ran.output
    assert "ETAG_ACCEPT_WEAKENED = True; or COMPRESS_MIMETYPES" in ran.output
    accepting = served(ETAG_ACCEPT_WEAKENED=True)
    Compress(accepting)
    assert examined(accepting).exit_code == 0


@pytest.mark.parametrize(
    ("suffix", "who"), [("-gzip", "Apache marks each tag"), (":br", "Flask-Compress marks each tag")]
)
def test_a_mark_on_every_answer_is_told(suffix: str, who: str) -> None:
    def mark(response: Response) -> None:
        if "ETag" in response.headers:
            response.headers["ETag"] = response.headers["ETag"][:-1] + suffix + '"'

    ran = examined(changed(mark))
    assert ran.exit_code == 1
    assert who in ran.output
    assert "An unchanged read is answered 200, in full" in ran.output


def drop(name: str, status: int | None = None) -> Callable[[Response], Any]:
    return lambda response: status in (None, response.status_code) and response.headers.pop(name, None)


def hide_the_problem(response: Response) -> None:
    if response.status_code == 412:
        response.set_data("<h1>Sorry</h1>")


def count_reads() -> Callable[[Response], None]:
    numbers = iter(range(100))
    return lambda response: response.headers.set("ETag", f'"{next(numbers)}"')


def compress_silently(response: Response) -> None:
    response.headers["Content-Encoding"] = "gzip"


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (drop("ETag"), 1, "wrong  No ETag: the answer has none"),
        (drop("ETag", 304), 0, "The 304 has no ETag, and its 200 has"),
        (drop("Vary", 304), 0, "The 304 has no Vary, and its 200 has"),
        (drop("Cache-Control"), 0, "No Cache-Control arrives"),
        (
            lambda response: response.headers.set("Age", "7"),
            0,
            "A shared cache answers, though the answer is private",
        ),
        (hide_the_problem, 0, "Save once by hand"),
        (count_reads(), 1, "Two reads have two tags"),
        (compress_silently, 0, "does not say Vary: Accept-Encoding"),
        (lambda response: response.headers.set("ETag", "unquoted"), 1, "wrong  unquoted is no ETag"),
        (lambda response: response.headers.add("ETag", '"another"'), 1, '"another" is no ETag'),
        (lambda response: response.headers.set("ETag", 'W/"own"'), 1, 'sends back W/"own" is refused'),
        (lambda response: response.headers.set("ETag", '"\x1b[31mred"'), 1, r'"\x1b[31mred" is no ETag'),
    ],
)
def test_each_harm_is_told_by_itself(change: Callable[[Response], Any], status: int, says: str) -> None:
    ran = examined(changed(change))
    assert says in ran.output, ran.output
    assert ran.exit_code == status


@pytest.mark.parametrize(
    ("is_compressed", "status", "says"),
    [(False, 0, "is judged cannot be told from here"), (True, 1, "is accepted cannot be told")],
)
def test_an_if_match_that_does_not_arrive_is_told(is_compressed: bool, status: int, says: str) -> None:
    app = served()
    if is_compressed:
        Compress(app)

    @app.before_request
    def drop_condition() -> None:
        request.environ.pop("HTTP_IF_MATCH", None)

    ran = examined(app)
    assert (ran.exit_code, says in ran.output) == (status, True), ran.output


def test_a_read_with_if_match_that_is_answered_by_an_error_is_told() -> None:
    app = served()

    @app.before_request
    def refuse() -> Any:
        return ("", 403) if "doctor" not in request.headers.get("If-Match", "doctor") else None

    assert "note   A GET with If-Match" in examined(app).output


def test_scripts_of_another_site_are_asked_for() -> None:
    ran = examined(served(), "--origin", "https://app.example.com")
    assert "note   Scripts of https://app.example.com do not see the ETag" in ran.output
    assert "may not send If-Match" in ran.output

    def allow(response: Response) -> None:
        response.headers["Access-Control-Expose-Headers"] = "ETag"
        response.headers["Access-Control-Allow-Headers"] = "If-Match, Content-Type"

    ran = examined(changed(allow), "--origin", "https://app.example.com")
    assert "ok     Scripts of https://app.example.com see the ETag" in ran.output
    assert "ok     Scripts of https://app.example.com may send If-Match" in ran.output


def test_it_sends_what_it_is_given_and_says_what_it_needs() -> None:
    app = served()

    @app.before_request
    def authenticate() -> Any:
        return ("", 401) if request.authorization is None else None

    ran = examined(app)
    assert (ran.exit_code, "GET is answered 401" in ran.output) == (2, True)
    assert examined(app, "--header", "Authorization: Bearer alice").exit_code == 0
    for url, says in (
        ("ftp://host/", "no URL of http or https"),
        ("https://127.0.0.1:1/x?y=1", "does not answer"),
    ):
        ran = app.test_cli_runner().invoke(args=["etag", "doctor", url])
        assert (ran.exit_code, says in ran.output) == (2, True), ran.output


def test_a_resource_s_own_weak_tag_has_another_cure_than_a_proxy_s() -> None:
    app = Flask("weak", static_folder=None)
    ETag(app)
    find_page = resource(etag=lambda _: EntityTag("own", weak=True))(lambda: PAGE)
    app.get("/page", endpoint="page")(etag_resource(find_page)(lambda page: page))
    ran = examined(app)
    assert ran.exit_code == 1
    assert "is refused, though nobody has changed anything: unverifiable" in ran.output
    assert "give it a strong one, by its etag=" in ran.output
    assert "ETAG_ACCEPT_WEAKENED" not in ran.output


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:99999/", "is no URL: Port out of range"),
        ("http://[::1/", "is no URL: Invalid IPv6 URL"),
        ("ftp://127.0.0.1/", "is no URL of http or https"),
        ("http://127.0.0.1:1/", "does not answer: "),
        (f"http://{'a' * 64}.invalid/", "does not answer: "),
    ],
)
def test_a_url_that_is_none_is_2(url: str, says: str) -> None:
    ran = served().test_cli_runner().invoke(args=["etag", "doctor", url])
    assert (ran.exit_code, says in ran.output) == (2, True), ran.output


@pytest.mark.parametrize(
    "option", [("--header", "nonsense"), ("--header", "X: two\nlines"), ("--origin", "two\nlines")]
)
def test_what_cannot_be_sent_is_2(option: tuple[str, str]) -> None:
    ran = served().test_cli_runner().invoke(args=["etag", "doctor", "http://127.0.0.1:1/", *option])
    assert (ran.exit_code, "is no field" in ran.output) == (2, True), ran.output


def test_a_path_is_sent_as_a_browser_would() -> None:
    app = served()
    app.get("/straße/<name>", endpoint="name")(etag_resource(lambda name: name + request.args["to"]))
    assert "ok     An unchanged read is a 304" in examined(app, path="/straße/a b%20c?to=ü").output


def test_a_redirect_says_where_it_leads() -> None:
    app = served()
    app.get("/old", endpoint="old")(lambda: redirect("/page"))
    ran = examined(app, path="/old")
    assert (ran.exit_code, "GET is answered 302" in ran.output) == (2, True)
    assert "This one leads to /page" in ran.output


def drip(connection: socket, told: bytes, rest: bytes) -> None:
    """Send something at once, and then a byte now and then, for ever."""
    connection.sendall(told)
    while True:
        sleep(0.05)
        connection.sendall(rest)


@pytest.mark.parametrize(
    ("told", "rest"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n"),
        (b'HTTP/1.1 200 OK\r\nETag: "a"\r\n\r\n', b"."),
    ],
)
def test_an_answer_that_never_ends_is_waited_for_for_a_while(
    told: bytes, rest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_etag.doctor.TIMEOUT", 0.5)
    with create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                drip(connection, told, rest)

        thread = Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        ran = served().test_cli_runner().invoke(args=["etag", "doctor", url])
        thread.join(10)
    assert (ran.exit_code, "it was not done after 0.5 seconds" in ran.output) == (2, True), ran.output
