"""Among the decorators of other libraries, the real ones: authentication above, what parses and serialises below.

And in an application: error handlers, blueprints, several applications, async views and loaders.
"""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import flask_smorest  # type: ignore[import-untyped]
import pytest
from flask import Blueprint, Flask, Response, abort, current_app, g
from flask.testing import FlaskClient
from flask.views import MethodView
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth  # type: ignore[import-untyped]
from flask_jwt_extended import JWTManager, create_access_token, jwt_required
from flask_login import LoginManager, UserMixin, current_user, login_required  # type: ignore[import-untyped]
from marshmallow import Schema, fields
from webargs.flaskparser import use_args, use_kwargs
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from flask_etag import ConditionalRequestError, ETag, etag_resource, require_if_match, resource

PROBLEM = "application/problem+json"


@dataclass
class Page:
    text: str
    version: int = 1

    def __etag__(self) -> str:
        return f"v{self.version}"

    def write(self, text: str) -> None:
        self.text = text
        self.version += 1


class PageSchema(Schema):
    text = fields.String(required=True)


@contextmanager
def lock_page(name: str) -> Iterator[None]:
    if name == "locked":
        raise TimeoutError
    yield


@resource(lock=lock_page)
def find_page(name: str) -> Page | None:
    """Find a page of the application that the request is for, which counts how often that was done."""
    current_app.extensions["loads"] += 1
    pages: dict[str, Page] = current_app.extensions["pages"]
    return pages.get(name)


@resource(lock=lock_page)
async def find_page_slowly(name: str) -> Page | None:
    return find_page(name)


def wiki(etag: bool = True, **config: Any) -> Flask:
    """Return an application that has one page, at home."""
    wiki_app = Flask("wiki")
    wiki_app.testing = True
    wiki_app.config.update(config)
    wiki_app.extensions.update(pages={"home": Page("hello")}, loads=0)
    if etag:
        ETag(wiki_app)
    return wiki_app


def send(
    client: FlaskClient, method: str, path: str, fields: dict[str, str] | None = None, **options: Any
) -> TestResponse:
    return client.open(path, method=method, headers=fields or {}, **options)


# What a request would be answered by us, as long as nothing else answers it.
OURS = [
    ("GET", "home", {}, 200),
    ("GET", "home", {"If-None-Match": '"v1"'}, 304),
    ("GET", "home", {"If-Match": '"v0"'}, 412),
    ("GET", "nowhere", {}, 404),
    ("PUT", "nowhere", {"If-Match": '"v1"'}, 404),
    ("PUT", "home", {}, 428),
    ("PUT", "home", {"If-Match": '"v0"'}, 412),
    ("PUT", "home", {"If-None-Match": "*"}, 412),
    ("PUT", "home", {"If-Match": "v1"}, 412),
    ("PUT", "locked", {"If-Match": "*"}, 409),
    ("PUT", "home", {"If-Match": '"v1"'}, 200),
]


@dataclass
class Authentication:
    """How one library keeps strangers out: its decorator, what it asks for, and how it refuses."""

    required: Callable[[Any], Any]
    credentials: Callable[[], dict[str, str]]
    refusal: int = 401
    stranger: dict[str, str] = field(default_factory=dict)


class User(UserMixin):  # type: ignore[misc]
    id = "me"


def with_flask_login(app: Flask, login_view: str | None = None) -> Authentication:
    manager = LoginManager(app)
    manager.login_view = login_view

    @manager.request_loader
    def load_user(request: Any) -> User | None:
        return User() if request.headers.get("Authorization") == "me" else None

    return Authentication(login_required, lambda: {"Authorization": "me"})


def with_flask_login_and_a_login_page(app: Flask) -> Authentication:
    app.add_url_rule("/login", "login", lambda: "login")
    authentication = with_flask_login(app, "login")
    authentication.refusal = 302
    return authentication


def with_flask_httpauth(app: Flask) -> Authentication:
    auth = HTTPBasicAuth()

    @auth.verify_password
    def verify(name: str, password: str) -> str | None:
        return name if password == "secret" else None

    encoded = b64encode(b"me:secret").decode()
    return Authentication(auth.login_required, lambda: {"Authorization": f"Basic {encoded}"})


def with_flask_httpauth_and_a_role(app: Flask) -> Authentication:
    """The stranger is known, and may not: 403."""
    auth = HTTPTokenAuth()
    auth.verify_token(lambda token: token)
    auth.get_user_roles(lambda user: [user])
    return Authentication(
        auth.login_required(role="editor"),
        lambda: {"Authorization": "Bearer editor"},
        403,
        {"Authorization": "Bearer stranger"},
    )


def with_flask_jwt_extended(app: Flask) -> Authentication:
    app.config["JWT_SECRET_KEY"] = "a secret of more than thirty-two bytes"
    JWTManager(app)

    def credentials() -> dict[str, str]:
        with app.app_context():
            return {"Authorization": f"Bearer {create_access_token('me')}"}

    return Authentication(jwt_required(), credentials)


@pytest.mark.parametrize(
    "library",
    [
        with_flask_login,
        with_flask_login_and_a_login_page,
        with_flask_httpauth,
        with_flask_httpauth_and_a_role,
        with_flask_jwt_extended,
    ],
)
class TestAuthenticationAboveOurs:
    @pytest.fixture
    def guarded(self, library: Callable[[Flask], Authentication]) -> tuple[Flask, Authentication]:
        wiki_app = wiki(SECRET_KEY="secret")
        authentication = library(wiki_app)

        @wiki_app.get("/function/<name>")
        @authentication.required
        @etag_resource(find_page)
        def read_page(page: Page) -> str:
            return page.text

        @wiki_app.put("/function/<name>")
        @authentication.required
        @require_if_match(find_page)
        def write_page(page: Page) -> str:
            page.write("changed")
            return page.text

        @wiki_app.get("/async/<name>")
        @authentication.required
        @etag_resource(find_page_slowly)
        async def read_slowly(page: Page) -> str:
            return page.text

        @wiki_app.put("/async/<name>")
        @authentication.required
        @require_if_match(find_page_slowly)
        async def write_slowly(page: Page) -> str:
            page.write("changed")
            return page.text

        class Methods(MethodView):
            @authentication.required
            @etag_resource(find_page)
            def get(self, page: Page) -> str:
                return page.text

            @authentication.required
            @require_if_match(find_page)
            def put(self, page: Page) -> str:
                page.write("changed")
                return page.text

        @require_if_match(find_page)
        class Class(MethodView):
            decorators = [authentication.required]  # noqa: RUF012

            def get(self, page: Page) -> str:
                return page.text

            def put(self, page: Page) -> str:
                page.write("changed")
                return page.text

        wiki_app.add_url_rule("/methods/<name>", view_func=Methods.as_view("methods"))
        wiki_app.add_url_rule("/class/<name>", view_func=Class.as_view("class"))
        return wiki_app, authentication

    @pytest.mark.parametrize("kind", ["function", "async", "methods", "class"])
    def test_4_1_a_stranger_learns_nothing_of_what_there_is(
        self, guarded: tuple[Flask, Authentication], kind: str
    ) -> None:
        wiki_app, authentication = guarded
        client = wiki_app.test_client()
        for method, name, conditions, _ in OURS:
            answer = send(client, method, f"/{kind}/{name}", {**conditions, **authentication.stranger})
            assert answer.status_code == authentication.refusal
            assert answer.content_type != PROBLEM
            assert "ETag" not in answer.headers
        assert wiki_app.extensions["loads"] == 0
        assert wiki_app.extensions["pages"] == {"home": Page("hello")}

    @pytest.mark.parametrize("kind", ["function", "async", "methods", "class"])
    def test_who_may_come_in_is_answered_as_ever(self, guarded: tuple[Flask, Authentication], kind: str) -> None:
        wiki_app, authentication = guarded
        client = wiki_app.test_client()
        credentials = authentication.credentials()
        for method, name, conditions, status in OURS:
            answer = send(client, method, f"/{kind}/{name}", {**conditions, **credentials})
            assert answer.status_code == status
        assert wiki_app.extensions["pages"] == {"home": Page("changed", 2)}
        assert answer.headers["ETag"] == '"v2"'


@pytest.mark.parametrize(
    ("library", "package"),
    [
        (with_flask_login, "flask_login"),
        (with_flask_httpauth, "flask_httpauth"),
        (with_flask_jwt_extended, "flask_jwt_extended"),
    ],
)
def test_4_1_a_guard_of_access_below_ours_is_named_by_the_first_request(
    library: Callable[[Flask], Authentication], package: str, caplog: pytest.LogCaptureFixture
) -> None:
    wiki_app = wiki(SECRET_KEY="secret")
    authentication = library(wiki_app)

    @wiki_app.get("/pages/<name>")
    @etag_resource(find_page)
    @authentication.required
    def read_below(page: Page) -> str:
        return page.text

    class Methods(MethodView):
        @require_if_match(find_page)
        @authentication.required
        def put(self, page: Page) -> str:
            return page.text

    @wiki_app.get("/above/<name>")
    @authentication.required
    @etag_resource(find_page)
    def read_above(page: Page) -> str:
        return page.text

    wiki_app.add_url_rule("/methods/<name>", view_func=Methods.as_view("methods"))
    for _ in range(2):
        wiki_app.test_client().get("/pages/nowhere")
    named = [message for message in caplog.messages if "stands below" in message]
    assert [message.partition(":")[0] for message in named] == ["read_below", "methods"]
    assert all(package in message and "strangers" in message for message in named)
    for arguments, status in (["routes"], 0), (["routes", "--check"], 1):
        listed = wiki_app.test_cli_runner().invoke(args=["etag", *arguments])
        assert listed.exit_code == status
        assert [message in listed.stderr for message in named] == [True, True]


def test_a_loader_may_refuse_by_who_asks() -> None:
    wiki_app = wiki(SECRET_KEY="secret")
    with_flask_login(wiki_app)

    @resource
    def find_own_page(name: str) -> Page | None:
        if not current_user.is_authenticated:
            abort(403)
        return find_page(name)

    wiki_app.get("/pages/<name>")(etag_resource(find_own_page)(lambda page: page.text))
    client = wiki_app.test_client()
    for name, conditions in [("home", {"If-None-Match": '"v1"'}), ("nowhere", {})]:
        assert send(client, "GET", f"/pages/{name}", conditions).status_code == 403
    assert send(client, "GET", "/pages/home", {"If-None-Match": '"v1"', "Authorization": "me"}).status_code == 304


# What parses and serialises.


def smorest(*, etag_first: bool = True) -> tuple[Flask, flask_smorest.Api, flask_smorest.Blueprint]:
    wiki_app = wiki(etag=etag_first, API_TITLE="Wiki", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    api = flask_smorest.Api(wiki_app)
    if not etag_first:
        ETag(wiki_app)
    return wiki_app, api, flask_smorest.Blueprint("pages", "pages", url_prefix="/pages")


def functions(blueprint: flask_smorest.Blueprint) -> None:
    @blueprint.route("/<name>")
    @etag_resource(find_page)
    @blueprint.response(200, PageSchema)
    def read_page(page: Page) -> Page:
        """Read a page."""
        return page

    @blueprint.route("/<name>", methods=["PUT"])
    @require_if_match(find_page)
    @blueprint.arguments(PageSchema)
    @blueprint.response(200, PageSchema)
    def write_page(page: Page, content: dict[str, str]) -> Page:
        """Write a page."""
        page.write(content["text"])
        return page


def methods(blueprint: flask_smorest.Blueprint) -> None:
    @blueprint.route("/<name>")
    class PageView(MethodView):
        @etag_resource(find_page)
        @blueprint.response(200, PageSchema)
        def get(self, page: Page) -> Page:
            """Read a page."""
            return page

        @require_if_match(find_page)
        @blueprint.arguments(PageSchema)
        @blueprint.response(200, PageSchema)
        def put(self, page: Page, content: dict[str, str], name: str) -> Page:
            """Write a page."""
            assert name == "home"
            page.write(content["text"])
            return page


def a_class(blueprint: flask_smorest.Blueprint) -> None:
    @blueprint.route("/<name>")
    @require_if_match(find_page)
    class PageView(MethodView):
        init_every_request = False

        @blueprint.response(200, PageSchema)
        def get(self, page: Page) -> Page:
            """Read a page."""
            return page

        @blueprint.arguments(PageSchema, as_kwargs=True)
        @blueprint.response(200, PageSchema)
        def put(self, page: Page, text: str) -> Page:
            """Write a page."""
            page.write(text)
            return page


def async_functions(blueprint: flask_smorest.Blueprint) -> None:
    @blueprint.route("/<name>")
    @etag_resource(find_page_slowly)
    @blueprint.response(200, PageSchema)
    async def read_page(page: Page) -> Page:
        """Read a page."""
        return page

    @blueprint.route("/<name>", methods=["PUT"])
    @require_if_match(find_page_slowly)
    @blueprint.arguments(PageSchema)
    @blueprint.response(200, PageSchema)
    async def write_page(page: Page, content: dict[str, str]) -> Page:
        """Write a page."""
        page.write(content["text"])
        return page


@pytest.mark.parametrize("declare", [functions, methods, a_class, async_functions])
class TestFlaskSmorestBelowOurs:
    @pytest.mark.parametrize("etag_first", [True, False])
    def test_refusals_stay_ours_though_it_handles_every_error(
        self, declare: Callable[[flask_smorest.Blueprint], None], etag_first: bool
    ) -> None:
        wiki_app, api, blueprint = smorest(etag_first=etag_first)
        declare(blueprint)
        api.register_blueprint(blueprint)
        client = wiki_app.test_client()
        for method, name, conditions, status in OURS:
            answer = send(client, method, f"/pages/{name}", conditions, json={"text": "changed"})
            assert answer.status_code == status
            if status in (409, 412, 428):
                assert answer.content_type == PROBLEM
        assert (answer.json, answer.headers["ETag"]) == ({"text": "changed"}, '"v2"')
        assert client.get("/pages/home").json == {"text": "changed"}

    def test_1_1_a_condition_is_judged_before_the_content_is_read(
        self, declare: Callable[[flask_smorest.Blueprint], None]
    ) -> None:
        wiki_app, api, blueprint = smorest()
        declare(blueprint)
        api.register_blueprint(blueprint)
        client = wiki_app.test_client()
        for broken in ({"data": "{", "content_type": "application/json"}, {"json": {"title": 1}}):
            assert send(client, "PUT", "/pages/home", {"If-Match": '"v0"'}, **broken).status_code == 412
            assert send(client, "PUT", "/pages/home", {}, **broken).status_code == 428
        refused = send(client, "PUT", "/pages/home", {"If-Match": '"v1"'}, json={"title": 1})
        assert refused.status_code == 422
        assert refused.json is not None
        assert set(refused.json["errors"]["json"]) == {"text", "title"}
        assert "ETag" not in refused.headers
        assert wiki_app.extensions["pages"] == {"home": Page("hello")}

    def test_the_openapi_document_says_what_it_said(
        self, declare: Callable[[flask_smorest.Blueprint], None]
    ) -> None:
        _, api, blueprint = smorest()
        declare(blueprint)
        api.register_blueprint(blueprint)
        path = api.spec.to_dict()["paths"]["/pages/{name}"]
        assert path["get"]["summary"] == "Read a page."
        assert path["put"]["summary"] == "Write a page."
        page = {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}
        assert path["get"]["responses"]["200"]["content"] == page
        assert path["put"]["responses"]["200"]["content"] == page
        assert path["put"]["requestBody"]["content"] == page


def test_a_parser_of_flask_smorest_s_above_ours_is_told_the_order() -> None:
    wiki_app, api, blueprint = smorest()

    @blueprint.route("/<name>", methods=["PUT"])
    @blueprint.arguments(PageSchema)
    @require_if_match(find_page)
    def write_page(page: Page) -> str:
        return page.text

    @blueprint.route("/methods/<name>")
    class PageView(MethodView):
        @blueprint.arguments(PageSchema)
        @require_if_match(find_page)
        def put(self, page: Page) -> str:
            return page.text

    api.register_blueprint(blueprint)
    client = wiki_app.test_client()
    for path in ("/pages/home", "/pages/methods/home"):
        with pytest.raises(TypeError, match="From the top: the route, authentication, etag_resource"):
            client.put(path, json={"text": "changed"}, headers={"If-Match": '"v1"'})
    assert wiki_app.extensions["loads"] == 0


def test_above_a_route_of_flask_smorest_s_the_first_request_refuses() -> None:
    wiki_app, api, blueprint = smorest()

    @require_if_match(find_page)
    @blueprint.route("/<name>", methods=["PUT"])
    def write_page(page: Page) -> str:
        return page.text

    api.register_blueprint(blueprint)
    with pytest.raises(RuntimeError, match=r"pages\.write_page is decorated above its route"):
        wiki_app.test_client().put("/pages/home")


def test_webargs_below_ours_reads_the_content_of_what_was_judged() -> None:
    wiki_app = wiki()

    @wiki_app.put("/args/<name>")
    @require_if_match(find_page)
    @use_args({"text": fields.String(required=True)})
    def by_args(page: Page, content: dict[str, str], name: str) -> str:
        page.write(content["text"] + name)
        return page.text

    @wiki_app.put("/behind/<name>")
    @require_if_match(find_page)
    @use_args({"text": fields.String(required=True)})
    def by_args_behind(page: Page, name: str, content: dict[str, str]) -> str:
        page.write(content["text"] + name)
        return page.text

    @wiki_app.put("/kwargs/<name>")
    @require_if_match(find_page)
    @use_kwargs({"text": fields.String(required=True)})
    def by_kwargs(page: Page, text: str) -> str:
        page.write(text)
        return page.text

    @wiki_app.put("/async/<name>")
    @require_if_match(find_page_slowly)
    @use_args(PageSchema())
    async def by_args_in_async_view(page: Page, content: dict[str, str]) -> str:
        page.write(content["text"])
        return page.text

    client = wiki_app.test_client()
    for version, (path, text) in enumerate(
        [("/args/home", "onehome"), ("/behind/home", "onehome"), ("/kwargs/home", "one"), ("/async/home", "one")],
        1,
    ):
        stale, current = {"If-Match": '"v0"'}, {"If-Match": f'"v{version}"'}
        assert client.put(path, headers=stale, json={}).status_code == 412
        assert client.put(path, headers=current, json={}).status_code == 422
        answer = client.put(path, headers=current, json={"text": "one"})
        assert (answer.status_code, answer.text) == (200, text)
        assert answer.headers["ETag"] == f'"v{version + 1}"'


def behind(page: Page, name: str, language: str, content: Any) -> str:
    return f"{name} {language} {content['text']}"


def behind_defaults(page: Page, name: str, language: str = "its own", content: Any = None) -> str:
    return f"{name} {language} {content['text']}"


def among_all(page: Page, name: str, language: str, *contents: Any) -> str:
    return f"{name} {language} {contents[0]['text']}"


def by_position(page: Page, name: str, language: str, content: Any, /) -> str:
    return f"{name} {language} {content['text']}"


def before(page: Page, content: Any, name: str, language: str) -> str:
    return f"{name} {language} {content['text']}"


def between(page: Page, name: str, content: Any, *, language: str) -> str:
    return f"{name} {language} {content['text']}"


def with_required_alone(page: Page, name: str, content: Any) -> str:
    return f"{name} en {content['text']}"


@pytest.mark.parametrize("is_smorest", [False, True])
@pytest.mark.parametrize(
    "view", [behind, behind_defaults, among_all, by_position, before, between, with_required_alone]
)
def test_what_is_parsed_below_goes_together_with_the_defaults_of_a_loader(
    view: Callable[..., str], is_smorest: bool
) -> None:
    @resource(lock=lambda name, **_: lock_page(name))
    def find(name: str, language: str = "en") -> Page | None:
        return find_page(name)

    wiki_app, _, blueprint = smorest()
    parses = blueprint.arguments(PageSchema) if is_smorest else use_args({"text": fields.String()})
    write = cast("Any", require_if_match(find))(parses(view))
    wiki_app.add_url_rule("/<name>", "by_default", write, methods=["PUT"])
    wiki_app.add_url_rule("/<language>/<name>", "given", write, methods=["PUT"])
    client = wiki_app.test_client()
    by_default = "its own" if view is behind_defaults else "en"
    for path, told in [("/home", f"home {by_default} new"), ("/en/home", "home en new")]:
        answer = client.put(path, headers={"If-Match": '"v1"'}, json={"text": "new"})
        assert (answer.status_code, answer.text) == (200, told)
        assert client.put(path, headers={"If-Match": '"v0"'}, json={"text": "new"}).status_code == 412


def test_webargs_above_ours_is_told_the_order() -> None:
    wiki_app = wiki()

    @wiki_app.put("/pages/<name>")
    @use_args({"text": fields.String()})
    @require_if_match(find_page)
    def write_page(page: Page) -> str:
        return page.text

    with pytest.raises(TypeError, match="From the top: the route, authentication, etag_resource"):
        wiki_app.test_client().put("/pages/home", json={"text": "changed"}, headers={"If-Match": '"v1"'})
    assert wiki_app.extensions["loads"] == 0


def test_webargs_above_ours_that_passes_keywords_fails_closed() -> None:
    wiki_app = wiki()

    @wiki_app.put("/pages/<name>")
    @use_kwargs({"text": fields.String()})
    @require_if_match(find_page)
    def write_page(page: Page, text: str = "") -> str:
        return page.text

    with pytest.raises(TypeError, match="unexpected keyword argument 'text'"):
        wiki_app.test_client().put("/pages/home", json={"text": "changed"}, headers={"If-Match": '"v1"'})
    assert wiki_app.extensions["loads"] == 0


# Error handlers: the nearest to what was raised answers, as ever in Flask; ours is for what no other one names.

REFUSALS = [
    (428, "home", {}),
    (412, "home", {"If-Match": '"v0"'}),
    (409, "locked", {"If-Match": "*"}),
]
each_refusal = pytest.mark.parametrize(("status", "name", "conditions"), REFUSALS)


def own_answer(error: HTTPException) -> tuple[str, int]:
    return f"our own {error.code}", error.code or 500


def declare_pages(scaffold: Flask | Blueprint) -> None:
    @scaffold.get("/pages/<name>")
    @etag_resource(find_page)
    def read_page(page: Page) -> str:
        return page.text

    @scaffold.put("/pages/<name>")
    @require_if_match(find_page)
    def write_page(page: Page) -> str:
        page.write("changed")
        return page.text

    @scaffold.post("/pages/<name>")
    @require_if_match(find_page)
    def refuse(page: Page) -> str:
        abort(409, "The view's own conflict.")


def put(wiki_app: Flask, name: str, conditions: dict[str, str], prefix: str = "") -> TestResponse:
    return send(wiki_app.test_client(), "PUT", f"{prefix}/pages/{name}", conditions)


@each_refusal
@pytest.mark.parametrize("registered", ["before", "after"])
@pytest.mark.parametrize("by", ["code", "Werkzeug's class", "our class"])
def test_an_application_s_own_handler_of_a_status_wins(
    status: int, name: str, conditions: dict[str, str], registered: str, by: str
) -> None:
    wiki_app = wiki(etag=registered == "after")
    ours = {error.code: error for error in ConditionalRequestError.__subclasses__()}[status]
    handled: Any = {"code": status, "Werkzeug's class": ours.__bases__[1], "our class": ours}[by]
    wiki_app.register_error_handler(handled, own_answer)
    if registered == "before":
        ETag(wiki_app)
    declare_pages(wiki_app)
    answer = put(wiki_app, name, conditions)
    assert (answer.status_code, answer.text) == (status, f"our own {status}")


@each_refusal
@pytest.mark.parametrize("registered", ["before", "after"])
@pytest.mark.parametrize("handled", [HTTPException, Exception])
def test_a_handler_of_all_errors_does_not_come_before_ours(
    status: int, name: str, conditions: dict[str, str], registered: str, handled: type[Exception]
) -> None:
    wiki_app = wiki(etag=registered == "after")
    wiki_app.register_error_handler(handled, own_answer)
    if registered == "before":
        ETag(wiki_app)
    declare_pages(wiki_app)
    answer = put(wiki_app, name, conditions)
    assert (answer.status_code, answer.content_type) == (status, PROBLEM)
    assert put(wiki_app, "nowhere", {"If-Match": "*"}).text == "our own 404"


def test_an_abort_of_the_application_s_own_is_none_of_our_business() -> None:
    wiki_app = wiki()
    declare_pages(wiki_app)
    wiki_app.add_url_rule("/<int:code>", "abort", abort)
    for code in (409, 412, 428):
        answer = wiki_app.test_client().get(f"/{code}")
        assert (answer.status_code, answer.mimetype) == (code, "text/html")
    answer = wiki_app.test_client().post("/pages/home", headers={"If-Match": '"v1"'})
    assert (answer.status_code, answer.mimetype) == (409, "text/html")
    assert "The view&#39;s own conflict." in answer.text
    assert "ETag" not in answer.headers


@each_refusal
def test_a_blueprint_s_own_handler_of_a_status_wins_in_it_alone(
    status: int, name: str, conditions: dict[str, str]
) -> None:
    wiki_app = wiki()
    blueprint = Blueprint("inner", __name__, url_prefix="/inner")
    blueprint.register_error_handler(status, own_answer)
    declare_pages(blueprint)
    declare_pages(wiki_app)
    wiki_app.register_blueprint(blueprint)
    assert put(wiki_app, name, conditions, "/inner").text == f"our own {status}"
    assert put(wiki_app, name, conditions).content_type == PROBLEM


@each_refusal
def test_a_blueprint_s_handler_of_all_errors_is_nearer_than_ours(
    status: int, name: str, conditions: dict[str, str]
) -> None:
    wiki_app = wiki()
    blueprint = Blueprint("inner", __name__, url_prefix="/inner")
    blueprint.register_error_handler(HTTPException, own_answer)
    declare_pages(blueprint)
    wiki_app.register_blueprint(blueprint)
    answer = put(wiki_app, name, conditions, "/inner")
    assert (answer.status_code, answer.text) == (status, f"our own {status}")


@each_refusal
@pytest.mark.parametrize(
    "registered",
    ["before", "after"],
)
def test_an_application_s_handler_of_our_base_wins(
    status: int, name: str, conditions: dict[str, str], registered: str
) -> None:
    wiki_app = wiki(etag=registered == "after")
    wiki_app.register_error_handler(ConditionalRequestError, own_answer)
    if registered == "before":
        ETag(wiki_app)
    declare_pages(wiki_app)
    assert put(wiki_app, name, conditions).text == f"our own {status}"


# Blueprints and applications.


def test_the_loader_takes_the_variables_of_every_prefix() -> None:
    seen: list[tuple[str, str, str]] = []

    @resource(lock=lambda name, **_: lock_page(name))
    def find_in_section(wiki_name: str, section: str, name: str) -> Page | None:
        seen.append((wiki_name, section, name))
        return find_page(name)

    inner = Blueprint("inner", __name__, url_prefix="/<section>")

    @inner.get("/<name>")
    @etag_resource(find_in_section)
    def read_page(page: Page, wiki_name: str, section: str, name: str) -> str:
        return "/".join((wiki_name, section, name))

    @inner.put("/<name>")
    @require_if_match(find_in_section)
    def write_page(page: Page) -> str:
        page.write("changed")
        return page.text

    @inner.get("/", defaults={"name": "home"})
    @etag_resource(find_in_section)
    def read_home(page: Page) -> str:
        return page.text

    outer = Blueprint("outer", __name__, url_prefix="/<wiki_name>")
    outer.register_blueprint(inner)
    wiki_app = wiki()
    wiki_app.register_blueprint(outer)
    client = wiki_app.test_client()
    assert client.get("/w/s/home").text == "w/s/home"
    assert client.get("/w/s/").status_code == 200
    assert client.get("/w/s/", headers={"If-None-Match": '"v1"'}).status_code == 304
    assert client.put("/w/s/home", headers={"If-Match": '"v0"'}).status_code == 412
    assert client.put("/w/s/home", headers={"If-Match": '"v1"'}).headers["ETag"] == '"v2"'
    assert set(seen) == {("w", "s", "home")}


def test_a_variable_that_a_preprocessor_takes_away_is_not_the_loader_s() -> None:
    blueprint = Blueprint("pages", __name__, url_prefix="/<language>")

    @blueprint.url_value_preprocessor
    def take_language(endpoint: str | None, values: dict[str, Any] | None) -> None:
        assert values is not None
        g.language = values.pop("language")

    declare_pages(blueprint)
    wiki_app = wiki()
    wiki_app.register_blueprint(blueprint)
    client = wiki_app.test_client()
    assert client.get("/de/pages/home").headers["ETag"] == '"v1"'
    assert client.put("/de/pages/home", headers={"If-Match": '"v1"'}).status_code == 200


def test_a_blueprint_that_is_registered_twice_is_protected_twice() -> None:
    blueprint = Blueprint("pages", __name__)
    declare_pages(blueprint)
    wiki_app = wiki()
    for name in ("one", "two"):
        wiki_app.register_blueprint(blueprint, name=name, url_prefix=f"/{name}")
    for name in ("one", "two"):
        assert put(wiki_app, "home", {}, f"/{name}").status_code == 428


def test_applications_in_one_process_share_views_and_nothing_else() -> None:
    blueprint = Blueprint("pages", __name__)
    declare_pages(blueprint)
    strict, lenient, own = wiki(ETAG_EPOCH="2"), wiki(ETAG_REQUIRE="report"), wiki()
    own.register_error_handler(428, own_answer)
    for each in (strict, lenient, own):
        each.register_blueprint(blueprint)
    assert put(strict, "home", {}).content_type == PROBLEM
    assert put(own, "home", {}).text == "our own 428"
    assert put(lenient, "home", {}).headers["ETag"] == '"v2"'
    assert strict.test_client().get("/pages/home").headers["ETag"] != '"v1"'
    assert own.test_client().get("/pages/home").headers["ETag"] == '"v1"'
    bare = Flask("bare")
    bare.testing = True
    bare.register_blueprint(blueprint)
    with pytest.raises(RuntimeError, match=r"ETag\(app\)"):
        bare.test_client().get("/pages/home")


# Async views and loaders, and classes of which there is one instance.


@pytest.mark.parametrize("loader", [find_page, find_page_slowly])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", ["function", "methods", "class", "one instance"])
def test_async_and_plain_views_and_loaders_go_together(loader: Any, is_async: bool, kind: str) -> None:
    wiki_app = wiki()

    def read_page(page: Page) -> str:
        return page.text

    def write_page(page: Page) -> tuple[str, int, dict[str, str]]:
        page.write("changed")
        return page.text, 200, {"X-Page": page.text}

    async def read_slowly(page: Page) -> str:
        return read_page(page)

    async def write_slowly(page: Page) -> Response:
        return current_app.make_response(write_page(page))

    read: Any = read_slowly if is_async else read_page
    write: Any = write_slowly if is_async else write_page
    if kind == "function":
        wiki_app.get("/pages/<name>")(etag_resource(loader)(read))
        wiki_app.put("/pages/<name>")(require_if_match(loader)(write))
    else:
        view_class = _class_of(loader, read, write, is_async=is_async, by_method=kind != "class")
        view_class.init_every_request = kind != "one instance"
        wiki_app.add_url_rule("/pages/<name>", view_func=view_class.as_view("page"))
    client = wiki_app.test_client()
    for method, name, conditions, status in OURS:
        answer = send(client, method, f"/pages/{name}", conditions)
        assert answer.status_code == status
    assert (answer.text, answer.headers["X-Page"], answer.headers["ETag"]) == ("changed", "changed", '"v2"')


def _class_of(
    loader: Any, read: Callable[[Page], Any], write: Callable[[Page], Any], *, is_async: bool, by_method: bool
) -> type[MethodView]:
    class PlainView(MethodView):
        def get(self, page: Page) -> Any:
            return read(page)

        def put(self, page: Page) -> Any:
            return write(page)

    class AsyncView(MethodView):
        async def get(self, page: Page) -> Any:
            return await read(page)

        async def put(self, page: Page) -> Any:
            return await write(page)

    view_class: Any = AsyncView if is_async else PlainView
    if by_method:
        view_class.get = etag_resource(loader)(view_class.get)
        view_class.put = require_if_match(loader)(view_class.put)
        return view_class  # type: ignore[no-any-return]
    return require_if_match(loader)(view_class)  # type: ignore[no-any-return]
