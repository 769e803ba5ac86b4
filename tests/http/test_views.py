"""The kinds of views and loaders that can be decorated, and the one place where a decorator protects nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from flask import Blueprint, Flask, Response, jsonify, make_response
from flask.testing import FlaskClient
from flask.views import MethodView, View
from werkzeug.wrappers import Response as BaseResponse

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


@resource(lock=lambda **_: nullcontext())
def find_locked(name: str) -> Page | None:
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
    def read(page: Page, data: str) -> str:
        return f"{page.name} {data}"

    assert pages.test_client().get("/home").text == "home parsed"


def test_a_view_that_takes_keywords_gets_the_resource_alone() -> None:
    pages = served()

    @pages.get("/<name>")
    @etag_resource(find_page)
    def read(page: Page, **content: str) -> str:
        return f"{page.name} {content}"

    @pages.get("/named/<name>")
    @etag_resource(find_page)
    def read_named(page: Page, name: str, **content: str) -> str:
        return f"{page.name} {name} {content}"

    assert pages.test_client().get("/home").text == "home {}"
    assert pages.test_client().get("/named/home").text == "home home {}"


def test_a_view_may_take_all_by_position_alone() -> None:
    pages = served()

    @pages.get("/<name>")
    @etag_resource(find_page)  # type: ignore[arg-type] # its type says that they are passed by name
    def read(page: Page, name: str, /) -> str:
        return f"{page.name} by {name}"

    assert pages.test_client().get("/home").text == "home by home"


@pytest.mark.parametrize("kind", [Response, BaseResponse])
def test_a_response_that_a_view_keeps_is_not_changed(kind: type[BaseResponse]) -> None:
    """Nor by Flask, which makes it one of the application's class, with the status and the fields beside it."""
    kept = kind("kept")
    answers = [kept, (kept, 203), (kept, {"Vary": "Accept"})] * 2
    pages, to_give = served(), iter(answers)
    pages.get("/<name>")(etag_resource(find_page)(lambda _: next(to_give)))
    for _ in answers:
        answer = pages.test_client().get("/home")
        assert (answer.text, answer.headers["ETag"]) == ("kept", '"v1"')
    assert (type(kept), kept.status_code) == (kind, 200)
    assert {name for name, _ in kept.headers} == {"Content-Type", "Content-Length"}


class TestDefaultsOfALoader:
    """A parameter with a default is no variable of the URL, unless the URL has it."""

    def test_need_not_be_taken_by_the_view(self) -> None:
        @resource
        def find(name: str, *, for_update: bool = False) -> Page:
            return Page(f"{name} {for_update}")

        pages = served()

        @pages.get("/<name>")
        @etag_resource(find)  # type: ignore[arg-type] # the type of a view cannot leave out a default
        def read(page: Page, name: str) -> str:
            return f"{page.name} by {name}"

        assert pages.test_client().get("/home").text == "home False by home"

    def test_may_be_given_by_the_url(self) -> None:
        @resource
        def find(name: str = "home") -> Page:
            return Page(name)

        pages = served()

        @pages.get("/")
        @pages.get("/<name>")
        @etag_resource(find)
        def read(page: Page, name: str = "nothing") -> str:
            return f"{page.name} by {name}"

        assert pages.test_client().get("/").text == "home by nothing"
        assert pages.test_client().get("/other").text == "other by other"

    def test_a_view_without_one_gets_the_loader_s(self) -> None:
        @resource
        def find(name: str, language: str = "en", *, depth: int = 1) -> Page:
            return Page(f"{name} {language} {depth}")

        pages = served()

        @pages.get("/<name>")
        @pages.get("/<language>/<name>")
        @etag_resource(find)  # type: ignore[arg-type]
        def read(page: Page, name: str, language: str, *, depth: int) -> str:
            return f"{page.name} = {name} {language} {depth}"

        client = pages.test_client()
        assert client.get("/home").text == "home en 1 = home en 1"
        assert client.get("/de/home").text == "home de 1 = home de 1"


class TestFrameworksThatCallTheView:
    """A framework may call a view in its own way: with what it has parsed, and without the URL's variables."""

    @staticmethod
    def calling(view: Any, **parsed: Any) -> Callable[..., Any]:
        return lambda **_: view(**parsed)

    def test_the_loader_gets_the_variables_of_the_request(self) -> None:
        pages = served()

        @etag_resource(find_page)  # type: ignore[arg-type] # no type tells what a framework passes besides
        def read(page: Page, body: str) -> str:
            return f"{page.name} {body}"

        @require_if_match(find_page)  # type: ignore[arg-type]
        def replace(page: Page, name: str, body: str) -> str:
            return f"{page.name} {name} {body}"

        pages.add_url_rule("/<name>", "read", self.calling(read, body="parsed"))
        pages.add_url_rule("/<name>", "replace", self.calling(replace, body="parsed"), methods=["PUT"])
        client = pages.test_client()
        assert client.get("/home").text == "home parsed"
        assert client.get("/home", headers={"If-None-Match": '"v1"'}).status_code == 304
        assert client.put("/home", headers={"If-Match": '"v0"'}).status_code == 412
        assert client.put("/home", headers={"If-Match": '"v1"'}).text == "home home parsed"

    def test_what_was_parsed_may_come_beside_the_variables(self) -> None:
        @require_if_match(find_page)  # type: ignore[arg-type]
        def replace(page: Page, name: str, body: str) -> str:
            return f"{page.name} {name} {body}"

        pages = served()
        pages.add_url_rule("/<name>", "x", self.calling(replace, name="home", body="parsed"), methods=["PUT"])
        assert pages.test_client().put("/home", headers={"If-Match": '"v1"'}).text == "home home parsed"

    def test_a_loader_of_any_variables_gets_those_and_not_what_was_parsed(self) -> None:
        @resource
        def find_by(**names: str) -> Page | None:
            return find_page(**names)

        @resource
        def find_first(**names: str) -> Page | None:
            return None if names else Page("first")

        def read(page: Page, query: str) -> str:
            return f"{page.name} {query}"

        pages = served()
        views: tuple[Any, Any] = etag_resource(find_by)(read), etag_resource(find_first)(read)  # type: ignore[arg-type]
        pages.add_url_rule("/<name>", "one", self.calling(views[0], query="parsed"))
        pages.add_url_rule("/bare/<name>", "bare", self.calling(etag_resource(find_by)(lambda page: page.name)))
        pages.add_url_rule("/", "first", self.calling(views[1], query="parsed"))
        client = pages.test_client()
        assert client.get("/home").text == "home parsed"
        assert client.get("/bare/home").text == "home"
        assert client.get("/").text == "first parsed"

    def test_a_loader_without_variables_gets_none(self) -> None:
        @resource
        def find_settings() -> Page:
            return Page("settings")

        pages = served()

        @require_if_match(find_settings)  # type: ignore[arg-type]
        def replace(page: Page, body: str) -> str:
            return f"{page.name} {body}"

        pages.add_url_rule("/", "replace", self.calling(replace, body="parsed"), methods=["PUT"])
        client = pages.test_client()
        assert client.put("/", headers={"If-Match": '"v1"'}).text == "settings parsed"

    def test_a_view_may_call_another_with_what_it_names_itself(self) -> None:
        pages = served()

        def read(page: Page) -> str:
            return page.name

        @resource
        def find_by(**names: str) -> Page | None:
            return find_page(**names)

        pages.add_url_rule("/<number>", "one", self.calling(etag_resource(find_page)(read), name="home"))
        pages.add_url_rule("/any/<number>", "any", self.calling(etag_resource(find_by)(read), name="home"))
        assert pages.test_client().get("/7").text == "home"
        assert pages.test_client().get("/any/7").text == "home"

    def test_a_name_that_is_not_annotated_is_refused_as_ever(self) -> None:
        with pytest.raises(TypeError, match="takes body, which its loader does not take"):
            etag_resource(find_page)(lambda page, body: page.name + body)


class TestALoaderThatTakesWhateverTheUrlNames:
    """It takes ``**variables``: so a view may take any of these, or none."""

    @pytest.mark.parametrize("decorate", [etag_resource, require_if_match])
    def test_has_views_that_name_some_of_them(self, decorate: Any) -> None:
        @resource
        def find_any(**variables: str) -> Page | None:
            return find_page(variables["name"])

        @resource
        def find_in(place: str, **variables: str) -> Page | None:
            return find_page(variables["name"])

        def one(page: Page, name: str) -> str:
            return f"{page.name} {name}"

        def by_keyword(page: Page, *, name: str, size: int = 3) -> str:
            return f"{page.name} {name} {size}"

        def none(page: Page, **besides: str) -> str:
            return f"{page.name} {besides}"

        def both(page: Page, place: str, name: str) -> str:
            return f"{page.name} {place} {name}"

        class Pages(MethodView):
            @decorate(find_any)  # type: ignore[untyped-decorator]
            def get(self, page: Page, name: str) -> str:
                return f"{page.name} {name}"

        pages = served()
        for view, loader in ((one, find_any), (by_keyword, find_any), (none, find_any), (both, find_in)):
            pages.add_url_rule(f"/{view.__name__}/<place>/<name>", view.__name__, decorate(loader)(view))
        pages.add_url_rule("/class/<name>", view_func=Pages.as_view("class"))
        client = pages.test_client()
        answers = {
            "one/here/home": "home home",
            "by_keyword/here/home": "home home 3",
            "none/here/home": "home {}",
            "both/here/home": "home here home",
            "class/home": "home home",
        }
        assert {path: client.get(f"/{path}").text for path in answers} == answers

    def test_and_more_has_views_that_take_all_of_that(self) -> None:
        @resource
        def find_in(place: str, kind: str, **variables: str) -> Page | None:
            return find_page(variables["name"])

        def view(page: Page, place: str, name: str) -> str:
            return f"{page.name} {place} {name}"

        serving: Any = etag_resource(find_in)
        with pytest.raises(TypeError, match="followed by all of them: kind, place"):
            serving(view)


class TestClassesThatFlaskDoesNotKnow:
    """flask-openapi3 calls the methods of plain classes, with an object of theirs."""

    def test_their_methods_are_served(self) -> None:
        serving: Any = etag_resource(find_page)  # a type for them would let any function pass

        class PageView:
            greeting = "Welcome"

            @serving  # type: ignore[untyped-decorator]
            def get(self, page: Page, name: str) -> str:
                return f"{self.greeting} {page.name} {name}"

        pages = served()
        pages.add_url_rule("/<name>", "page", PageView().get)
        client = pages.test_client()
        assert client.get("/home").text == "Welcome home home"
        assert client.get("/home", headers={"If-None-Match": '"v1"'}).status_code == 304

    def test_an_object_of_another_class_is_no_self(self) -> None:
        class User:
            get = "a name"

        @etag_resource(find_page)
        def get(page: Page) -> str:
            return page.name

        pages = served()
        pages.add_url_rule("/<name>", "page", lambda name: get(User(), name=name))  # type: ignore[misc,arg-type]
        with pytest.raises(TypeError, match="A decorator that passes one belongs below this one"):
            pages.test_client().get("/home")


class Represented(MethodView):
    """What Flask-RESTful does: the class makes the response, and ``None, 204`` is one."""

    def dispatch_request(self, **kwargs: Any) -> Any:
        answer = super().dispatch_request(**kwargs)
        if isinstance(answer, BaseResponse):
            return answer
        data, status, fields = (
            (*answer, *(200, {})[len(answer) - 1 :]) if isinstance(answer, tuple) else (answer, 200, {})
        )
        response = Response("" if data is None else f"<{data}>", status)
        response.headers.extend(fields)
        return response


class TestFrameworksThatMakeTheResponse:
    def serve(self, view_class: type[MethodView]) -> FlaskClient:
        pages = served()
        pages.add_url_rule("/<name>", view_func=view_class.as_view("page"))
        return pages.test_client()

    def test_it_is_made_of_data_and_has_the_tag(self) -> None:
        @require_if_match(find_page)
        class PageView(Represented):
            def get(self, page: Page) -> list[str]:
                return [page.name]

            def put(self, page: Page) -> tuple[object, int]:
                return page.name, 202

            def delete(self, page: Page) -> tuple[None, int]:
                assert page.name == "home"
                return None, 204

            def post(self, page: Page) -> tuple[object, int, dict[str, str]]:
                assert page.name == "home"
                return page.name, 201, {"ETag": '"made"', "Location": "/made"}

            def patch(self, page: Page) -> BaseResponse:
                return BaseResponse(f"made {page.name}", 200)

        client = self.serve(PageView)
        answer = client.get("/home")
        assert (answer.text, answer.headers["ETag"]) == ("<['home']>", '"v1"')
        assert answer.headers["Cache-Control"] == "private, max-age=0, must-revalidate"
        assert answer.content_type == "text/html; charset=utf-8"
        assert client.get("/home", headers={"If-None-Match": '"v1"'}).status_code == 304
        current = {"If-Match": '"v1"'}
        assert client.put("/home", headers=current).text == "<home>"
        assert client.delete("/home", headers=current).status_code == 204
        made = client.post("/home", headers=current)
        assert (made.status_code, made.headers["ETag"], made.headers["Location"]) == (201, '"made"', "/made")
        assert client.patch("/home", headers=current).text == "made home"
        assert client.put("/home").status_code == 428

    def test_without_a_resource_the_tag_is_of_what_it_has_made(self) -> None:
        class PageView(Represented):
            @etag_resource
            def get(self, name: str) -> tuple[object, int, dict[str, str]]:
                return name, 404 if name == "nowhere" else 200, {"X-Name": name}

        client = self.serve(PageView)
        answer = client.get("/home")
        assert (answer.text, answer.headers["X-Name"]) == ("<home>", "home")
        conditions = {"If-None-Match": answer.headers["ETag"]}
        assert client.get("/home", headers=conditions).status_code == 304
        assert client.get("/other", headers=conditions).status_code == 200
        refused = client.get("/home", headers={"If-Match": '"other"'})
        assert (refused.status_code, refused.json and refused.json["reason"]) == (412, "stale")
        assert "ETag" not in client.get("/nowhere").headers


class TestClassesThatDispatch:
    """A dispatch_request of a class's own is handed what the methods return, as if nothing decorated them."""

    current: ClassVar = {"If-None-Match": '"v1"'}

    def serve(self, own: Callable[[Any], Any], answer: Callable[[Page], Any] | None = None) -> FlaskClient:
        """Serve a class whose dispatch_request makes something of what its methods return."""

        class Dispatching(MethodView):
            def dispatch_request(self, **kwargs: Any) -> Any:
                return own(super().dispatch_request(**kwargs))

        @require_if_match(find_locked)
        class PageView(Dispatching):
            def get(self, page: Page) -> Any:
                return answer(page) if answer else {"name": page.name}

            put = post = get

        pages = served()
        pages.add_url_rule("/<name>", view_func=PageView.as_view("page"))
        return pages.test_client()

    @pytest.mark.parametrize(
        "own",
        [
            lambda answer: answer,
            jsonify,
            lambda answer: answer if isinstance(answer, BaseResponse) else jsonify(answer),
            make_response,
            lambda answer: (answer, 200, {"X-Api": "1"}),
            lambda answer: {"name": "home"} if {"about": answer} else None,
        ],
    )
    def test_whatever_it_makes_is_conditional(self, own: Callable[[Any], Any]) -> None:
        client = self.serve(own)
        answer = client.get("/home")
        assert (answer.json, answer.headers["ETag"]) == ({"name": "home"}, '"v1"')
        assert answer.headers["Cache-Control"] == "private, max-age=0, must-revalidate"
        unchanged = client.get("/home", headers=self.current)
        assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", '"v1"')
        assert "Content-Type" not in unchanged.headers
        assert unchanged.headers.get("X-Api") == answer.headers.get("X-Api")
        saved = client.put("/home", headers={"If-Match": '"v1"'})
        assert (saved.json, saved.headers["ETag"]) == ({"name": "home"}, '"v1"')
        assert client.put("/home").status_code == 428

    def test_it_makes_a_response_of_what_flask_cannot(self) -> None:
        client = self.serve(lambda page: page if isinstance(page, BaseResponse) else page.name, lambda page: page)
        assert client.get("/home").text == "home"
        assert client.put("/home", headers={"If-Match": '"v1"'}).headers["ETag"] == '"v1"'
        assert client.get("/home", headers=self.current).status_code == 304

    @pytest.mark.parametrize(
        "answer",
        [("a", "b"), ("a", "b", "c"), ("a", {"X-A": "line\nbreak"}), ("a", 7), ("a", ["b"]), ("a", "b", "c", "d")],
    )
    def test_a_tuple_may_be_data(self, answer: Any) -> None:
        client = self.serve(jsonify, lambda _: answer)
        saved = client.put("/home", headers={"If-Match": '"v1"'})
        assert saved.json == list(answer)
        assert saved.headers["ETag"] == '"v1"'

    def test_an_error_that_it_makes_has_no_tag_and_is_no_304(self) -> None:
        client = self.serve(lambda _: ("no", 400))
        for method, conditions in (("GET", {}), ("GET", self.current), ("PUT", {"If-Match": '"v1"'})):
            answer = client.open("/home", method=method, headers=conditions)
            assert (answer.status_code, "ETag" in answer.headers) == (400, False)

    def test_what_it_has_made_and_keeps_is_not_changed(self) -> None:
        kept = Response("kept")
        kept.automatically_set_content_length = False
        client = self.serve(lambda _: kept)
        for _ in range(2):
            answer = client.get("/home")
            assert (answer.text, answer.headers["ETag"]) == ("kept", '"v1"')
        assert "ETag" not in kept.headers

    def test_what_it_says_of_its_response_holds_of_the_answer(self) -> None:
        seen = []

        def made(_: Any) -> Response:
            made = Response("made")
            made.location = "/elsewhere"
            made.autocorrect_location_header = True
            made.call_on_close(lambda: seen.append("closed"))
            return made

        answer = self.serve(made).get("/home", buffered=True)
        assert answer.headers["Location"] == "http://localhost/elsewhere"
        assert seen == ["closed"]

    def test_a_response_goes_through_as_it_is(self) -> None:
        def own(answer: Response) -> Response:
            answer.headers["X-Own"] = "1"
            return answer

        client = self.serve(own, lambda page: Response(page.name))
        assert client.get("/home").headers["X-Own"] == "1"
        assert client.get("/home").headers["ETag"] == '"v1"'
        assert client.get("/home", headers=self.current).headers["X-Own"] == "1"

    def test_who_calls_it_for_an_answer_of_his_own_does_not_get_its_tag(self) -> None:
        class One(Represented):
            @etag_resource(find_page)
            def get(self, page: Page) -> list[str]:
                return [page.name]

        class Several(Represented):
            def get(self) -> Any:
                found: Any = One().get(name="home")
                return found + found

        pages = served()
        pages.add_url_rule("/several", view_func=Several.as_view("several"))
        answer = pages.test_client().get("/several")
        assert (answer.text, "ETag" in answer.headers) == ("<['home', 'home']>", False)

    def test_a_view_that_is_its_own_dispatcher(self) -> None:
        class PageView(View):
            @etag_resource(find_page)
            def dispatch_request(self, page: Page) -> str:  # type: ignore[override]
                return page.name

        pages = served()
        pages.add_url_rule("/<name>", view_func=PageView.as_view("page"))
        assert pages.test_client().get("/home").headers["ETag"] == '"v1"'
        assert pages.test_client().get("/home", headers=self.current).status_code == 304


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
