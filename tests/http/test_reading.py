"""What a read is answered with besides its view's content: rules 1.7, 1.10, 3.7."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, after_this_request, g, has_request_context, request, send_file, session
from flask.testing import FlaskClient
from werkzeug.http import http_date
from werkzeug.test import TestResponse

from flask_etag import EntityTag, ETag, etag_resource, resource

NOW = datetime.now(UTC)


def served(**config: Any) -> Flask:
    pages = Flask("pages")
    pages.testing = True
    pages.config.update(config)
    ETag(pages)
    return pages


class TestWithoutAResource:
    def test_the_tag_is_a_digest_of_the_body(self) -> None:
        pages = served()
        bodies = {"a": "one", "b": "two", "c": "one"}
        pages.get("/<name>", endpoint="get /<name>")(etag_resource(lambda name: bodies[name]))
        client = pages.test_client()
        tags = [client.get(f"/{name}").headers["ETag"] for name in "abc"]
        assert tags[0] == tags[2] != tags[1]
        answer = client.get("/a", headers={"If-None-Match": tags[0]})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tags[0]
        assert "Content-Type" not in answer.headers
        assert "Content-Length" not in answer.headers
        assert client.get("/b", headers={"If-None-Match": tags[0]}).text == "two"
        assert client.get("/b", headers={"If-Match": tags[0]}).status_code == 412
        assert client.head("/a").headers["ETag"] == tags[0]
        assert client.head("/a", headers={"If-None-Match": tags[0]}).status_code == 304
        assert client.options("/a").status_code == 200

    def test_the_fields_of_the_200_are_on_the_304(self) -> None:
        pages = served()
        fields = {"Vary": "Accept", "Cache-Control": "max-age=60", "X-Other": "1"}
        pages.get("/", endpoint="get /")(etag_resource(lambda: ("report", fields)))
        client = pages.test_client()
        answer = client.get("/", headers={"If-None-Match": client.get("/").headers["ETag"]})
        assert answer.status_code == 304
        assert {name: answer.headers[name] for name in fields} == fields

    def test_an_etag_and_a_date_of_the_view_s_own_are_judged(self) -> None:
        pages = served()
        date = http_date(NOW - timedelta(days=1))
        pages.get("/", endpoint="get /")(
            etag_resource(lambda: ("report", {"ETag": 'W/"mine"', "Last-Modified": date}))
        )
        pages.get("/broken", endpoint="get /broken")(etag_resource(lambda: ("report", {"ETag": "mine"})))
        client = pages.test_client()
        assert client.get("/").headers["ETag"] == 'W/"mine"'
        assert client.get("/", headers={"If-None-Match": '"mine"'}).status_code == 304
        assert client.get("/", headers={"If-Modified-Since": date}).status_code == 304
        assert client.get("/broken", headers={"If-None-Match": "*"}).status_code == 304

    def test_streams_files_and_other_answers_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("file")
        pages = served()
        read: list[str] = []

        def stream() -> Iterator[str]:
            read.append("part")
            yield "part"

        def streamed() -> Response:
            response = Response(stream())
            assert read == []
            return response

        pages.get("/stream", endpoint="get /stream")(etag_resource(streamed))
        pages.get("/file", endpoint="get /file")(etag_resource(lambda: send_file(tmp_path / "file", etag=False)))
        pages.get("/created", endpoint="get /created")(etag_resource(lambda: ("", 201)))
        pages.get("/empty", endpoint="get /empty")(etag_resource(lambda: ("", 204)))
        client = pages.test_client()
        for path in ("/stream", "/file", "/created", "/empty"):
            with client.get(path) as answer:
                assert "ETag" not in answer.headers, path

    def test_a_head_that_the_view_answers_without_a_body_has_no_tag(self) -> None:
        pages = served()
        pages.route("/", methods=["HEAD"])(etag_resource(lambda: ""))
        assert "ETag" not in pages.test_client().head("/").headers

    def test_texts_and_bytes_that_say_the_same_have_one_tag(self) -> None:
        pages = served()
        for name, parts in {
            "bytes": [b"two ", b"parts"],
            "texts": ["two ", "parts"],
            "both": [b"two ", "parts"],
        }.items():
            pages.get(f"/{name}", endpoint=name)(etag_resource(lambda parts=parts: Response(parts)))
        client = pages.test_client()
        assert len({client.get(f"/{name}").headers["ETag"] for name in ("bytes", "texts", "both")}) == 1

    def test_what_has_no_tag_is_not_named_by_the_word_for_nothing(self) -> None:
        pages = served()
        find_page = resource(etag=lambda _: None)(lambda: "page")
        pages.get("/", endpoint="get /")(etag_resource(find_page)(lambda page: page))
        pages.get("/own", endpoint="get /own")(etag_resource(lambda: ("page", {"ETag": "malformed"})))
        for path in ("/", "/own"):
            answer = pages.test_client().get(path, headers={"If-None-Match": "None"})
            assert answer.status_code == 200, path

    def test_a_write_is_refused_by_its_first_request(self) -> None:
        pages = served()
        pages.put("/", endpoint="put /")(etag_resource(lambda: "done"))
        with pytest.raises(RuntimeError, match="for reads, and this is PUT"):
            pages.test_client().put("/")

    def test_with_an_epoch_the_tag_has_a_second_half(self) -> None:
        tags = []
        for epoch in ("", "1", "2"):
            pages = served(ETAG_EPOCH=epoch)
            pages.get("/", endpoint="get /")(etag_resource(lambda: "report"))
            tags.append(pages.test_client().get("/").headers["ETag"])
        assert len({tag.strip('"').partition(".")[0] for tag in tags}) == 1
        assert len({tag.strip('"').partition(".")[2] for tag in tags}) == 3


class Page:
    def __init__(self, age: timedelta | None = None) -> None:
        self.updated_at = None if age is None else datetime.now(UTC) - age

    def __etag__(self) -> str:
        return "v1"


def page_of(age: timedelta | None, **options: Any) -> Flask:
    page = Page(age)

    @resource(last_modified="updated_at", **options)
    def find_page() -> Page:
        return page

    pages = served()
    pages.get("/", endpoint="get /")(etag_resource(find_page)(lambda _: "page"))
    pages.put("/", endpoint="put /")(etag_resource(find_page)(lambda _: "page"))
    return pages


class TestDates:
    def test_a_date_is_shown_and_judged(self) -> None:
        client = page_of(timedelta(hours=1)).test_client()
        date = client.get("/").headers["Last-Modified"]
        assert client.get("/", headers={"If-Modified-Since": date}).status_code == 304
        assert (
            client.get("/", headers={"If-Modified-Since": http_date(NOW - timedelta(hours=2))}).status_code == 200
        )
        assert client.put("/", headers={"If-Unmodified-Since": date}).status_code == 200
        assert client.put("/", headers={"If-Unmodified-Since": http_date(0)}).status_code == 412

    @pytest.mark.parametrize("age", [timedelta(0), timedelta(hours=-1), None])
    def test_1_10_a_date_that_another_state_may_get_is_not_shown(self, age: timedelta | None) -> None:
        client = page_of(age).test_client()
        assert "Last-Modified" not in client.get("/").headers
        later = http_date(NOW + timedelta(hours=2))
        assert client.get("/", headers={"If-Modified-Since": later}).status_code == 200
        assert client.put("/", headers={"If-Unmodified-Since": later}).status_code == 200
        assert client.put("/", headers={"If-Unmodified-Since": http_date(0)}).status_code == (
            412 if age is not None else 200
        )

    def test_a_date_is_judged_where_there_is_no_tag(self) -> None:
        client = page_of(timedelta(hours=1), etag=lambda _: None).test_client()
        assert "ETag" not in client.get("/").headers
        for age, status in ((2, 200), (0, 304)):
            since = http_date(NOW - timedelta(hours=age))
            assert client.get("/", headers={"If-Modified-Since": since}).status_code == status

    @pytest.mark.parametrize("condition", [{}, {"If-None-Match": 'W/"v1"'}, {"If-None-Match": '"v0"'}])
    def test_each_option_is_asked_once(self, condition: dict[str, str]) -> None:
        asked: list[str] = []

        def ask(name: str, answer: Any) -> Any:
            asked.append(name)
            return answer

        @resource(
            etag=lambda _: ask("etag", "v1"),
            variant=lambda _: ask("variant", None),
            last_modified=lambda _: ask("last_modified", NOW - timedelta(hours=1)),
            headers=lambda _: ask("headers", {}),
        )
        def find_page() -> str:
            return "page"

        pages = served()
        pages.get("/")(etag_resource(find_page)(lambda page: page))
        pages.test_client().get("/", headers=condition)
        assert sorted(asked) == ["etag", "headers", "last_modified", "variant"]


class TestFieldsThatA304Shares:
    def test_1_7_declared_fields_are_on_both(self) -> None:
        fields = {"Cache-Control": "max-age=60", "Vary": "Accept", "Content-Location": "/page"}
        for headers in (fields, lambda _: fields):
            client = page_of(None, headers=headers).test_client()
            for answer in (client.get("/"), client.get("/", headers={"If-None-Match": '"v1"'}), client.head("/")):
                assert {name: answer.headers[name] for name in fields} == fields
            assert "Content-Location" not in client.put("/").headers

    def test_a_declared_vary_joins_the_view_s(self) -> None:
        @resource(headers={"vary": "Accept, Accept-Language"})
        def find_page() -> Page:
            return Page()

        pages = served()
        pages.get("/", endpoint="get /")(etag_resource(find_page)(lambda _: ("page", {"Vary": "Cookie, Accept"})))
        assert pages.test_client().get("/").headers["Vary"] == "Cookie, Accept, Accept-Language"

    def test_1_7_a_field_that_only_the_view_sets_is_warned_about_once(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        @resource
        def find_page() -> Page:
            return Page()

        pages = served()
        fields = {"ETag": '"mine"', "Expires": "0", "X-Other": "1"}
        pages.get("/", endpoint="read")(etag_resource(find_page)(lambda _: ("page", fields)))
        client = pages.test_client()
        for _ in range(2):
            assert client.get("/").headers["ETag"] == '"v1"'
        assert sorted(caplog.messages) == [
            "read: the view sets Expires, which its 304 will not have; name it in @resource(headers=...), so that "
            "both have it.",
            "read: the view sets an ETag of its own; the one of its resource replaces it.",
        ]

    def test_a_view_s_own_cache_control_is_the_only_one(self) -> None:
        @resource
        def find_page() -> Page:
            return Page()

        pages = served()
        pages.get("/")(etag_resource(find_page)(lambda _: ("page", {"cache-control": "max-age=60"})))
        assert pages.test_client().get("/").headers.getlist("Cache-Control") == ["max-age=60"]

    def test_what_after_request_adds_is_on_both(self) -> None:
        pages = page_of(None)

        @pages.after_request
        def add(response: Response) -> Response:
            response.headers["Vary"] = "Cookie"
            return response

        client = pages.test_client()
        assert client.get("/", headers={"If-None-Match": '"v1"'}).headers["Vary"] == "Cookie"

    def test_what_is_done_to_one_304_is_not_done_to_the_next(self) -> None:
        pages = page_of(None)
        closed: list[str] = []

        @pages.after_request
        def add(response: Response) -> Response:
            response.headers.add("X-Seen", "1")
            response.call_on_close(lambda: closed.append("closed"))
            response.set_data("no content")
            return response

        client = pages.test_client()
        for requests in (1, 2, 3):
            answer = client.get("/", headers={"If-None-Match": '"v1"'}, buffered=True)
            assert (answer.status_code, answer.data) == (304, b"")
            assert answer.headers.getlist("X-Seen") == ["1"]
            assert len(closed) == requests

    def test_a_response_class_of_the_application_s_own_makes_each_304(self) -> None:
        class Own(Response):
            def __init__(self, *args: Any, **given: Any) -> None:
                super().__init__(*args, **given)
                if has_request_context():  # the test client makes one of its own
                    self.headers["X-Path"] = request.path

        pages = page_of(None)
        pages.response_class = Own
        client = pages.test_client()
        pages.add_url_rule("/again", view_func=pages.view_functions["get /"])
        for path in ("/", "/again"):
            answer = client.get(path, headers={"If-None-Match": '"v1"'})
            assert (answer.status_code, answer.headers.getlist("X-Path")) == (304, [path])


class TestSequences:
    def members(self, *tags: EntityTag | str | None) -> str | None:
        class Member:
            def __init__(self, tag: EntityTag | str | None) -> None:
                self.tag = tag

            def __etag__(self) -> EntityTag | str | None:
                return self.tag

        @resource
        def find_members() -> list[Member]:
            return [Member(tag) for tag in tags]

        pages = served()
        pages.get("/", endpoint="get /")(
            etag_resource(find_members)(lambda found: [member.tag for member in found and []])
        )
        return pages.test_client().get("/").headers.get("ETag")

    def test_the_tag_of_a_sequence_is_made_of_its_members(self) -> None:
        tags = [self.members(*"ab"), self.members(*"ba"), self.members(*"a"), self.members("ab"), self.members()]
        assert None not in tags
        assert len(set(tags)) == 5
        assert self.members(*"ab") == tags[0]

    def test_a_member_without_a_tag_or_with_a_weak_one(self) -> None:
        assert self.members("a", None) is None
        weak = self.members("a", EntityTag("b", weak=True))
        assert weak is not None
        assert weak.startswith('W/"')


def test_fields_that_every_response_of_the_application_has_are_there_once() -> None:
    class Unstored(Response):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.headers["Cache-Control"] = "no-store"

    pages = page_of(None)
    pages.response_class = Unstored
    client = pages.test_client()
    first = client.get("/")
    second = client.get("/", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code) == (200, 304)
    for answer in (first, second):
        assert answer.headers.getlist("Cache-Control") == ["no-store"]


@pytest.mark.parametrize("has_resource", [True, False])
def test_an_error_of_the_view_s_own_is_for_the_application(has_resource: bool) -> None:
    @resource
    def find_page() -> Page:
        return Page()

    def read_page(*_: Page) -> str:
        raise ConnectionError

    pages = served()
    pages.get("/")(etag_resource(find_page)(read_page) if has_resource else etag_resource(read_page))
    pages.register_error_handler(ConnectionError, lambda _: ("later", 503))
    assert pages.test_client().get("/").status_code == 503


class TestAFileBelow:
    """What send_file judges by itself is judged already: once, by the resource."""

    BYTES = bytes(range(100))

    def client(self, tmp_path: Path, **options: Any) -> FlaskClient:
        path = tmp_path / "file"
        path.write_bytes(self.BYTES)
        files = served()

        @resource(etag=lambda _: "v1", **options)
        def find_file() -> Path:
            return path

        @files.get("/")
        @etag_resource(find_file)
        def download(found: Path) -> Response:
            assert "If-Match" in request.headers or "If-Match" not in request.environ
            request.environ["seen"] = True
            return send_file(found)

        @files.after_request
        def keep_what_the_view_has_noted(response: Response) -> Response:
            if response.status_code in (200, 206):
                assert request.environ["seen"]
            return response

        return files.test_client()

    def test_13_1_its_conditions_are_ours(self, tmp_path: Path) -> None:
        client = self.client(tmp_path)
        for conditions in ({"If-Match": '"v1"'}, {"If-Match": "*"}, {"If-None-Match": '"v0"'}):
            answer = client.get("/", buffered=True, headers=conditions)
            assert (answer.status_code, answer.data, answer.headers["ETag"]) == (200, self.BYTES, '"v1"')
        theirs = http_date(NOW + timedelta(days=1))
        assert (
            client.get(
                "/", buffered=True, headers={"If-None-Match": '"v0"', "If-Modified-Since": theirs}
            ).status_code
            == 200
        )
        assert client.get("/", buffered=True, headers={"If-None-Match": '"v1"'}).status_code == 304
        assert client.get("/", buffered=True, headers={"If-Match": '"v0"'}).status_code == 412

    def test_13_1_5_a_part_has_the_fields_of_the_whole(self, tmp_path: Path) -> None:
        client = self.client(tmp_path, headers={"Cache-Control": "max-age=60"})
        for conditions in ({}, {"If-Match": '"v1"'}, {"If-Range": '"v1"'}):
            answer = client.get("/", buffered=True, headers={"Range": "bytes=60-", **conditions})
            assert (answer.status_code, answer.data) == (206, self.BYTES[60:])
            assert (answer.headers["ETag"], answer.headers["Cache-Control"]) == ('"v1"', "max-age=60")

    def test_13_1_5_another_representation_is_sent_whole(self, tmp_path: Path) -> None:
        client = self.client(tmp_path, last_modified=lambda _: datetime(2023, 11, 14))
        for if_range in ('"v0"', 'W/"v1"', "v1", http_date(datetime(2023, 11, 13)), http_date(NOW)):
            answer = client.get("/", buffered=True, headers={"Range": "bytes=60-", "If-Range": if_range})
            assert (answer.status_code, answer.data) == (200, self.BYTES)
        same = {"Range": "bytes=60-", "If-Range": http_date(datetime(2023, 11, 14))}
        assert client.get("/", buffered=True, headers=same).status_code == 206

    def test_13_1_5_a_date_that_is_not_shown_names_nothing(self, tmp_path: Path) -> None:
        client = self.client(tmp_path, last_modified=lambda _: datetime.now(UTC))
        for if_range in (http_date(NOW), http_date(datetime.now(UTC))):
            assert (
                client.get("/", buffered=True, headers={"Range": "bytes=60-", "If-Range": if_range}).status_code
                == 200
            )
        without = self.client(tmp_path)
        assert (
            without.get("/", buffered=True, headers={"Range": "bytes=60-", "If-Range": http_date(NOW)}).status_code
            == 200
        )


class TestAFileBelowAResourceWithoutATag:
    """Its tag and its date are those of send_file, which judges them; what the resource has is judged by that."""

    BYTES = bytes(range(100))

    def client(self, tmp_path: Path, **options: Any) -> FlaskClient:
        path = tmp_path / "file"
        path.write_bytes(self.BYTES)
        os.utime(path, (1700000000, 1700000000))
        files = served()
        find_file = resource(etag=lambda _: None, headers={"Vary": "Accept"}, **options)(lambda: path)
        files.get("/")(etag_resource(find_file)(send_file))
        return files.test_client()

    @pytest.mark.parametrize("last_modified", [None, datetime(2023, 11, 15)])
    def test_13_1_its_own_tag_is_judged(self, tmp_path: Path, last_modified: datetime | None) -> None:
        client = self.client(tmp_path, last_modified=lambda _: last_modified)
        whole = client.get("/", buffered=True)
        etag = whole.headers["ETag"]

        def get(**fields: str) -> TestResponse:
            return client.get(
                "/", buffered=True, headers={name.replace("_", "-"): value for name, value in fields.items()}
            )

        assert (whole.status_code, whole.data) == (200, self.BYTES)
        unchanged = get(If_None_Match=etag)
        assert (unchanged.status_code, unchanged.data) == (304, b"")
        assert (unchanged.headers["ETag"], unchanged.headers["Vary"]) == (etag, "Accept")
        assert get(If_None_Match='"another"').status_code == 200
        part = get(Range="bytes=60-", If_Range=etag)
        assert (part.status_code, part.data, part.headers["ETag"]) == (206, self.BYTES[60:], etag)
        assert get(Range="bytes=60-").status_code == 206
        assert get(Range="bytes=60-", If_Range='"another"').status_code == 200
        date = whole.headers["Last-Modified"]
        assert date == http_date(last_modified or 1700000000)
        assert get(If_Modified_Since=date).status_code == 304
        assert get(Range="bytes=60-", If_Range=date).status_code == 206
        another = http_date(1600000000)
        assert get(If_Modified_Since=another).status_code == 200
        assert get(Range="bytes=60-", If_Range=another).status_code == 200
        assert get(If_Match="*").status_code == 200
        assert get(If_Match='"another"').status_code == 412

    def test_a_date_of_the_resource_s_own_is_the_one_that_counts(self, tmp_path: Path) -> None:
        client = self.client(tmp_path, last_modified=lambda _: datetime(2023, 11, 15))
        of_the_file = http_date(1700000000)  # the day before: it has changed since, for the resource
        assert client.get("/", buffered=True, headers={"If-Modified-Since": of_the_file}).status_code == 200
        later = http_date(datetime(2023, 11, 15, 1))
        assert client.get("/", buffered=True, headers={"If-Modified-Since": later}).status_code == 304


def adding(name: str, value: str) -> Callable[[Response], Response]:
    def add(made: Response) -> Response:
        made.headers[name] = f"{made.headers[name]}, {value}" if name in made.headers else value
        return made

    return add


class TestWhatIsAddedAfterTheView:
    """In debug and testing mode the log names what an answer has, or has not, by others than the view."""

    @pytest.mark.parametrize(
        ("set_by", "named"),
        [
            ("session", "Vary: Cookie"),
            ("after_this_request", "Vary: Accept"),
            ("g", "Vary: Accept"),
            ("decorator", "Cache-Control"),
            ("expires", "Expires"),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_1_7_a_field_that_only_the_200_has_is_named_once(
        self, set_by: str, named: str, method: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        pages = served(SECRET_KEY="secret")

        def view(page: str) -> dict[str, Any]:
            if set_by == "g":
                g.varies = True
            if set_by == "after_this_request":
                after_this_request(adding("Vary", "Accept"))
            if set_by == "expires":
                after_this_request(adding("Expires", http_date()))
            return {page: session.get("user") if set_by == "session" else ""}

        def cached(view: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(view)
            def and_told(page: str) -> Any:
                after_this_request(adding("Cache-Control", "public"))
                return view(page)

            return and_told

        @pages.after_request
        def vary(response: Response) -> Response:
            response.vary.add("Origin")
            if "varies" in g:
                response.vary.add("Accept")
            return response

        find = resource(etag=lambda page: page)(lambda: "v1")
        pages.get("/")(etag_resource(find)(cached(view) if set_by == "decorator" else view))
        client = pages.test_client()
        for _ in range(2):
            client.open("/", method=method)
            assert client.open("/?other", method=method, headers={"If-None-Match": '"v1"'}).status_code == 304
        assert not caplog.messages  # that is another page, for all that anybody knows
        for _ in range(2):
            client.open("/", method=method)
            assert client.open("/", method=method, headers={"If-None-Match": '"v1"'}).status_code == 304
        [told] = caplog.messages
        assert f"its 200 has {named}" in told

    def test_1_7_what_both_have_is_not_named(self, caplog: pytest.LogCaptureFixture) -> None:
        pages = served(SECRET_KEY="secret")
        versions = iter(["v1", "v1", "v1", "v2"])
        declared = {"vary": "cookie", "Cache-Control": "max-age=1"}
        changing = resource(etag=lambda page: page)(lambda: next(versions))
        for path, find in {
            "/declared": resource(etag=lambda page: page, headers=declared)(lambda: "v1"),
            "/loader": resource(etag=lambda page: page)(lambda: session.get("page", "v1")),
            "/nothing": resource(etag=lambda page: page)(lambda: "v1"),
            "/changing": changing,
        }.items():
            reads = path != "/nothing"
            pages.get(path, endpoint=path)(
                etag_resource(find)(lambda page, reads=reads: {page: reads and session.get("user")})
            )
        pages.get("/body", endpoint="body")(etag_resource(lambda: {"user": session.get("user")}))
        client = pages.test_client()
        for path in ("/declared", "/loader", "/nothing", "/body"):
            answer = client.get(path)
            unchanged = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
            assert unchanged.status_code == 304
            assert answer.headers.get("Vary") == unchanged.headers.get("Vary")
        assert client.get("/changing").status_code == 200
        assert client.get("/changing", headers={"If-None-Match": '"v2"'}).status_code == 200
        assert not caplog.messages

    def test_a_field_that_is_named_already_is_named_once(self, caplog: pytest.LogCaptureFixture) -> None:
        pages = served()
        find = resource(etag=lambda page: page)(lambda: "v1")
        pages.get("/")(etag_resource(find)(lambda page: (page, {"Vary": "Accept"})))
        client = pages.test_client()
        assert client.get("/").headers["Vary"] == "Accept"
        assert client.get("/", headers={"If-None-Match": '"v1"'}).status_code == 304
        [told] = caplog.messages
        assert "the view sets Vary" in told

    def test_a_tag_that_something_above_has_dropped_is_named_once(self, caplog: pytest.LogCaptureFixture) -> None:
        pages = served()
        find = resource(etag=lambda page: page)(lambda: "v1")

        def answered_anew(view: Callable[..., Response]) -> Callable[..., Response]:
            return functools.wraps(view)(lambda **given: Response(view(**given).data))

        view = etag_resource(find)(lambda page: page)
        pages.add_url_rule("/", "dropped", answered_anew(view))
        pages.add_url_rule("/kept", "kept", view)
        pages.add_url_rule("/calls", "calls", lambda: view().data)

        @pages.after_request
        def compress(response: Response) -> Response:
            if "ETag" in response.headers:
                response.headers["ETag"] = 'W/"v1:gzip"'
            return response

        client = pages.test_client()
        for path in ("/", "/", "/kept", "/calls"):
            assert client.get(path).status_code == 200
        [told] = caplog.messages
        assert told.startswith("dropped: its answer was given an ETag, and leaves without it")
