"""What an OpenAPI document says of decorated views, in each version that there is."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from flask import Blueprint, Flask
from flask.views import MethodView
from openapi_spec_validator import (
    OpenAPIV2SpecValidator,
    OpenAPIV30SpecValidator,
    OpenAPIV31SpecValidator,
    OpenAPIV32SpecValidator,
)
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map

from flask_etag import (
    ConditionalRequestError,
    ETag,
    PreconditionRequired,
    etag_resource,
    require_if_match,
    resource,
    version_column,
)
from flask_etag.openapi import describe

Document = dict[str, Any]

VALIDATORS: dict[str, Any] = {
    "2.0": OpenAPIV2SpecValidator,
    "3.0": OpenAPIV30SpecValidator,
    "3.1": OpenAPIV31SpecValidator,
    "3.2": OpenAPIV32SpecValidator,
}
every_version = pytest.mark.parametrize("version", VALIDATORS)


def check_valid(version: str, document: Document) -> None:
    """Check that a document is valid; one that was checked before is."""
    _check_valid(version, json.dumps(document))


@cache
def _check_valid(version: str, document: str) -> None:
    VALIDATORS[version](json.loads(document)).validate()


@resource(etag=lambda note: note["version"], lock=lambda **_: nullcontext())
def find_note(note_id: int) -> dict[str, str] | None:
    return {"version": "1"} if note_id == 1 else None


def notes() -> Blueprint:
    made = Blueprint("notes", __name__, url_prefix="/notes")

    def view(note: dict[str, str] | None) -> dict[str, str]:
        return note or {}

    made.get("/<int:note_id>", endpoint="read")(etag_resource(find_note)(view))
    made.put("/<int:note_id>", endpoint="put")(require_if_match(find_note, create=True)(view))
    made.patch("/<int:note_id>", endpoint="patch")(require_if_match(find_note)(view))
    made.delete("/<int:note_id>", endpoint="delete")(require_if_match(find_note)(view))
    made.post("/<int:note_id>", endpoint="post")(etag_resource(find_note)(view))
    made.get("/", endpoint="list")(etag_resource(lambda: []))
    made.patch("/", endpoint="all")(require_if_match(find_note, each=lambda: [])(lambda found: found))
    made.put("/free", endpoint="free")(lambda: "")

    @require_if_match(find_note)
    class NoteView(MethodView):
        def get(self, note: dict[str, str]) -> dict[str, str]:
            return note

        def put(self, note: dict[str, str]) -> dict[str, str]:
            return note

    made.add_url_rule("/class/<int:note_id>", view_func=NoteView.as_view("class"))
    return made


def app_of(**config: Any) -> Flask:
    made = Flask("board")
    made.config.update(config)
    ETag(made)
    made.register_blueprint(notes(), url_prefix="/api/notes")
    return made


VARIABLE = {"name": "note_id", "in": "path", "required": True}


def document_of(version: str, prefix: str = "/api") -> Document:
    """A document as frameworks make them."""
    is_swagger = version == "2.0"
    variable = {**VARIABLE, **({"type": "integer"} if is_swagger else {"schema": {"type": "integer"}})}

    def operation(status: str = "200") -> Document:
        return {"responses": {status: {"description": "OK"}}}

    one = {
        "parameters": [variable],
        "get": operation(),
        "put": operation() | {"operationId": "replaceNote"},
        "patch": operation(),
        "delete": operation("204"),
        "post": operation("202"),
    }
    paths = {
        f"{prefix}/notes/{{note_id}}": one,
        f"{prefix}/notes/": {"get": operation(), "patch": operation()},
        f"{prefix}/notes/free": {"put": operation()},
        f"{prefix}/notes/class/{{note_id}}": {"parameters": [variable], "get": operation(), "put": operation()},
        f"{prefix}/elsewhere": {"get": operation()},
    }
    name = {"swagger": "2.0"} if is_swagger else {"openapi": f"{version}.0"}
    return {**name, "info": {"title": "Notes", "version": "1"}, "paths": paths}


def check(version: str, document: Document) -> Document:
    """Describe a document, check that it is valid, and that to describe it again changes nothing."""
    check_valid(version, document)
    described = describe(document, app_of())
    assert described is document
    json.dumps(described)
    check_valid(version, described)
    assert describe(deepcopy(described), app_of()) == described
    return described


def fields_of(operation: Document) -> list[str]:
    return [each["name"] for each in operation.get("parameters", ()) if each["in"] == "header"]


@every_version
def test_each_operation_says_what_its_view_does(version: str) -> None:
    paths = check(version, document_of(version))["paths"]
    one = paths["/api/notes/{note_id}"]
    assert {
        method: (fields_of(one[method]), set(one[method]["responses"])) for method in one if method != "parameters"
    } == {
        "get": (["If-None-Match"], {"200", "304", "412"}),
        "put": (["If-Match", "If-None-Match"], {"200", "409", "412", "428"}),
        "patch": (["If-Match"], {"200", "409", "412", "428"}),
        "delete": (["If-Match"], {"204", "409", "412", "428"}),
        "post": (["If-Match"], {"202", "409", "412"}),
    }
    tagged = {
        (method, status)
        for method in one
        if method != "parameters"
        for status, response in one[method]["responses"].items()
        if "ETag" in response.get("headers", {})
    }
    refused = {(method, "412") for method in ("get", "put", "patch", "delete", "post")}
    assert tagged == {("get", "200"), ("get", "304"), ("put", "200"), ("patch", "200"), *refused}
    assert not any(each["required"] for each in one["put"]["parameters"])
    assert paths["/api/elsewhere"] == document_of(version)["paths"]["/api/elsewhere"]
    assert paths["/api/notes/free"] == document_of(version)["paths"]["/api/notes/free"]
    assert fields_of(paths["/api/notes/class/{note_id}"]["put"]) == ["If-Match"]
    assert set(paths["/api/notes/class/{note_id}"]["get"]["responses"]) == {"200", "304", "412"}


@every_version
def test_several_in_one_request_have_their_tags_in_the_content(version: str) -> None:
    paths = check(version, document_of(version))["paths"]
    batch = paths["/api/notes/"]["patch"]
    assert fields_of(batch) == []
    assert set(batch["responses"]) == {"200", "409", "412", "428"}
    assert tagged_in(batch) == set()
    assert fields_of(paths["/api/notes/"]["get"]) == ["If-None-Match"]


@every_version
def test_a_refusal_has_the_schema_of_its_problem(version: str) -> None:
    document = check(version, document_of(version))
    schemas = document["definitions"] if version == "2.0" else document["components"]["schemas"]
    assert set(schemas) == {"PreconditionFailedProblem", "PreconditionRequiredProblem", "WriteConflictProblem"}
    failed = document["paths"]["/api/notes/{note_id}"]["put"]["responses"]["412"]
    schema = failed["schema"] if version == "2.0" else failed["content"]["application/problem+json"]["schema"]
    assert schema["$ref"].endswith("/PreconditionFailedProblem")
    client = app_of().test_client()
    for conditions, name in (
        ({"If-Match": '"0"'}, "PreconditionFailedProblem"),
        ({}, "PreconditionRequiredProblem"),
    ):
        problem = client.put("/api/notes/1", headers=conditions).json
        assert problem is not None
        assert set(schemas[name]["required"]) <= set(problem) <= set(schemas[name]["properties"])
        assert problem["reason"] in schemas[name]["properties"]["reason"]["enum"]


@pytest.mark.parametrize("version", ["3.0", "3.1", "3.2"])
def test_a_get_links_to_its_writes_with_the_tag(version: str) -> None:
    paths = check(version, document_of(version))["paths"]
    links = paths["/api/notes/{note_id}"]["get"]["responses"]["200"]["links"]
    assert set(links) == {"putIfMatch", "patchIfMatch", "deleteIfMatch"}  # the POST needs no tag
    assert links["putIfMatch"]["operationId"] == "replaceNote"
    assert links["patchIfMatch"]["operationRef"] == "#/paths/~1api~1notes~1%7Bnote_id%7D/patch"
    for link in links.values():
        assert link["parameters"] == {
            "path.note_id": "$request.path.note_id",
            "header.If-Match": "$response.header.ETag",
        }
    assert "links" not in paths["/api/notes/"]["get"]["responses"]["200"]


@pytest.mark.parametrize(
    ("version", "base"),
    [
        ("2.0", {"basePath": "/api"}),
        ("3.0", {"servers": [{"url": "https://notes.example/other"}, {"url": "https://notes.example/api/"}]}),
        ("3.1", {"servers": [{"url": "/api"}]}),
    ],
)
def test_paths_may_begin_behind_a_base(version: str, base: Document) -> None:
    paths = check(version, {**document_of(version, ""), **base})["paths"]
    assert fields_of(paths["/notes/{note_id}"]["patch"]) == ["If-Match"]


@every_version
def test_what_is_said_already_is_kept(version: str) -> None:
    document = document_of(version)
    is_swagger = version == "2.0"
    text: Document = {"type": "string"} if is_swagger else {"schema": {"type": "string"}}
    own = {"name": "if-match", "in": "header", "description": "own", **text}
    shared = {"parameters": {"Own": own}, "responses": {"Note": {"description": "a note"}}}
    if is_swagger:
        document |= shared
    else:
        document["components"] = shared
    place = "#/" if is_swagger else "#/components/"
    put, get, patch = (document["paths"]["/api/notes/{note_id}"][method] for method in ("put", "get", "patch"))
    put["parameters"] = [{"$ref": f"{place}parameters/Own"}]
    put["responses"] = {"200": {"$ref": f"{place}responses/Note"}, "412": {"$ref": f"{place}responses/Note"}}
    get["responses"]["200"]["headers"] = {"etag": {"description": "own", **text}}
    get["responses"]["304"] = {"description": "own", "headers": {}}
    patch["responses"]["412"] = {"description": "own"}
    described = check(version, document)
    put, get, patch = (described["paths"]["/api/notes/{note_id}"][method] for method in ("put", "get", "patch"))
    assert put["parameters"] == [{"$ref": f"{place}parameters/Own"}, put["parameters"][1]]
    assert put["parameters"][1]["name"] == "If-None-Match"
    assert put["responses"]["200"]["description"] == "a note"
    assert set(put["responses"]["200"]["headers"]) == {"ETag"}
    assert put["responses"]["412"] == {"$ref": f"{place}responses/Note"}
    assert (described if is_swagger else described["components"])["responses"] == shared["responses"]
    assert list(get["responses"]["200"]["headers"]) == ["etag"]
    assert get["responses"]["304"]["description"] == "own"
    assert patch["responses"]["412"]["description"] == "own"
    assert ("schema" if is_swagger else "content") in patch["responses"]["412"]


def test_a_status_may_be_a_number_and_a_path_a_reference() -> None:
    document = document_of("3.1")
    item = document["paths"].pop("/api/notes/{note_id}")
    item["get"]["responses"] = {200: {"description": "OK"}, 304: {"description": "own"}}
    item["head"] = {"responses": {}}
    document["components"] = {"pathItems": {"Note": item}}
    document["paths"]["/api/notes/{id}"] = {"$ref": "#/components/pathItems/Note"}
    document["paths"]["/api/notes/free"] = {"$ref": "#/components/pathItems/None"}
    item = describe(document, app_of())["paths"]["/api/notes/{id}"]
    assert set(item["get"]["responses"]) == {200, 304, "412"}
    assert set(item["head"]["responses"]) == {"304", "412"}
    assert fields_of(item["patch"]) == ["If-Match"]


def test_what_is_only_reported_is_not_refused() -> None:
    document = describe(document_of("3.1"), app_of(ETAG_REQUIRE="report"))
    patch = document["paths"]["/api/notes/{note_id}"]["patch"]
    assert set(patch["responses"]) == {"200", "412", "409"}
    assert "428" not in patch["parameters"][0]["description"]


@pytest.mark.parametrize(
    ("handled", "statuses", "of_blueprint"),
    [
        *(
            (*handled, of_blueprint)
            for of_blueprint in (False, True)
            for handled in (
                (412, {"409", "428"}),
                (409, {"412", "428"}),
                (PreconditionRequired, {"412", "409"}),
                (ConditionalRequestError, set[str]()),
                (404, {"412", "428", "409"}),
            )
        ),
        (HTTPException, {"412", "428", "409"}, False),
        (HTTPException, set(), True),
    ],
)
def test_what_the_application_answers_itself_has_no_schema_of_ours(
    handled: Any, statuses: set[str], of_blueprint: bool
) -> None:
    own = Flask("board")
    ETag(own)
    blueprint = notes()
    (blueprint if of_blueprint else own).register_error_handler(handled, lambda error: ("own", error.code))
    own.register_blueprint(blueprint, url_prefix="/api/notes")
    document = describe(document_of("3.1"), own)
    responses = document["paths"]["/api/notes/{note_id}"]["patch"]["responses"]
    assert {status for status, response in responses.items() if "content" in response} == statuses
    assert {"412", "428", "409"} <= set(responses)
    assert ("ETag" in responses["412"].get("headers", {})) == ("412" in statuses)
    for conditions in ({}, {"If-Match": '"0"'}):
        answer = own.test_client().patch("/api/notes/1", headers=conditions)
        assert (answer.content_type == "application/problem+json") == (str(answer.status_code) in statuses)


def test_a_class_that_dispatches_by_itself_is_refused_as_all_are() -> None:
    class Represented(MethodView):
        def dispatch_request(self, **kwargs: Any) -> Any:
            return super().dispatch_request(**kwargs)

        @require_if_match(find_note)
        def put(self, note: dict[str, str]) -> dict[str, str]:
            return note

    own = Flask("own")
    ETag(own)
    own.add_url_rule("/api/notes/class/<int:note_id>", view_func=Represented.as_view("note"))
    document = describe(document_of("3.1"), own)
    failed = document["paths"]["/api/notes/class/{note_id}"]["put"]["responses"]["412"]
    assert set(failed["content"]) == {"application/problem+json"}


@pytest.mark.parametrize("document", [{}, {"openapi": "4.0.0"}, {"swagger": "1.2"}, {"openapi": "3.3.0"}])
def test_another_document_is_refused(document: Document) -> None:
    with pytest.raises(ValueError, match="takes an OpenAPI document of version"):
        describe(document, app_of())


def test_a_document_without_paths_stays_as_it_is() -> None:
    with app_of().app_context():
        assert describe({"openapi": "3.1.0", "paths": None}) == {"openapi": "3.1.0", "paths": None}


@every_version
def test_the_command_prints_the_parts(version: str) -> None:
    printed = app_of().test_cli_runner().invoke(args=["etag", "openapi", "--version", version])
    assert printed.exit_code == 0
    document = json.loads(printed.stdout)
    check_valid(version, document)
    assert set(document["paths"]) == {
        "/api/notes/{note_id}",
        "/api/notes/",
        "/api/notes/class/{note_id}",
    }
    assert fields_of(document["paths"]["/api/notes/{note_id}"]["delete"]) == ["If-Match"]


def _free(note_id: int) -> str:
    return f"free {note_id}"


@pytest.mark.parametrize(
    "servers",
    [
        [{"url": "/v2"}],
        [{"url": "v2"}],
        [{"url": "https://host.example/{base}", "variables": {"base": {"default": "v2"}}}],
        [{"url": "{scheme}://host.example/v2", "variables": {"scheme": {"default": "https"}}}],
    ],
)
def test_the_paths_begin_where_the_document_says_first(servers: list[Document]) -> None:
    app = Flask("board")
    ETag(app)
    view = require_if_match(find_note)(lambda note: note)
    app.add_url_rule("/v2/notes/<int:note_id>", "put", view, methods=["PUT"])
    app.add_url_rule("/notes/<int:note_id>", "page", _free, methods=["PUT"])
    app.add_url_rule("/pages/<int:note_id>", "put_page", view, methods=["PUT"])
    app.add_url_rule("/v2/pages/<int:note_id>", "free_page", _free, methods=["PUT"])
    put: Document = {"put": {"parameters": [], "responses": {"200": {"description": "OK"}}}}
    document = {
        "openapi": "3.1.0",
        "servers": servers,
        "x-about": "notes",
        "paths": {"/notes/{note_id}": put, "/pages/{note_id}": deepcopy(put), "x-more": "text"},
    }
    described = describe(deepcopy(document), app)["paths"]
    assert {"412", "428", "409"} <= set(described["/notes/{note_id}"]["put"]["responses"])
    assert described["/pages/{note_id}"] == put  # /v2/pages is not decorated


def test_what_is_not_decorated_gets_no_link() -> None:
    app = Flask("board")
    ETag(app)
    item: Document = {
        "get": {"responses": {"200": {"description": "OK", "headers": {"ETag": {"schema": {"type": "string"}}}}}},
        "put": {
            "parameters": [{"name": "If-Match", "in": "header", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}},
        },
    }
    document = {"openapi": "3.1.0", "info": {"title": "board", "version": "1"}, "paths": {"/by-hand": item}}
    assert describe(deepcopy(document), app) == document


@every_version
def test_the_command_names_each_operation_once(version: str) -> None:
    app = Flask("board")
    ETag(app)
    view = etag_resource(find_note)(lambda note: note)
    for rule, endpoint in (("/a/<int:note_id>", "r"), ("/b/<int:note_id>", "r"), ("/c/<int:note_id>", "n.r")):
        app.view_functions[endpoint] = view
        app.url_map.add(app.url_rule_class(rule, endpoint=endpoint, methods=["GET"]))
    app.add_url_rule("/d/<int:note_id>", "n_r", view)
    printed = app.test_cli_runner().invoke(args=["etag", "openapi", "--version", version])
    check_valid(version, json.loads(printed.output))


def test_references_are_followed_and_what_they_share_is_left() -> None:
    shared = {"200": {"$ref": "#/components/responses/A"}}
    document: Document = {
        "openapi": "3.1.0",
        "info": {"title": "board", "version": "1"},
        "components": {
            "responses": {"A": {"$ref": "#/components/responses/B"}, "B": {"description": "a note"}},
            "pathItems": {"P": {"put": {"responses": {"200": {"$ref": "elsewhere.json#/ok"}}}}},
        },
        "paths": {
            "/api/notes/{note_id}": {
                "parameters": [VARIABLE | {"schema": {"type": "integer"}}],
                "get": {"responses": shared},
                "put": {
                    "parameters": [{"name": "If-Match", "in": "header", "schema": {"type": "string"}}],
                    "responses": {"200": {"$ref": "#/components/responses/A"}},
                },
                "patch": {
                    "parameters": [{"$ref": "#/paths/~1api~1notes~1%7Bnote_id%7D/put/parameters/0"}],
                    "responses": {"200": {"description": "OK"}},
                },
            },
            "/free": {"get": {"responses": shared}},
            "/api/notes/class/{note_id}": {"$ref": "#/components/pathItems/P"},
            "/api/notes": {"$ref": "#/paths/~1api~1notes"},  # which names itself
        },
    }
    before = deepcopy(document)
    described = describe(document, app_of())
    note = described["paths"]["/api/notes/{note_id}"]
    assert note["get"]["responses"]["200"]["description"] == "a note"
    assert "ETag" in note["get"]["responses"]["200"]["headers"]
    assert note["patch"]["parameters"] == before["paths"]["/api/notes/{note_id}"]["patch"]["parameters"]
    assert described["paths"]["/free"] == before["paths"]["/free"]
    assert described["paths"]["/api/notes"] == before["paths"]["/api/notes"]
    assert described["components"]["pathItems"] == before["components"]["pathItems"]
    of_class = described["paths"]["/api/notes/class/{note_id}"]["put"]["responses"]
    assert of_class["200"] == {"$ref": "elsewhere.json#/ok"}
    assert "412" in of_class
    assert describe(deepcopy(described), app_of()) == described


def served(rule: str, method: str, view: Any, app: Flask | None = None) -> Flask:
    """Return an application with one more route."""
    if app is None:
        app = Flask("board")
        ETag(app)
    app.add_url_rule(rule, f"{method} {rule}", view, methods=[method])
    return app


def described(app: Flask, path: str, item: Document, version: str = "3.1", **more: Any) -> Document:
    """Describe a document of one path, check that it is valid, and return what it says of that path."""
    operations = [
        operation for method, operation in item.items() if method not in ("parameters", "$ref", "summary")
    ]
    names = re.findall("{(.*?)}", path)
    if names and operations and "parameters" not in item:
        is_any: Document = {"type": "string"} if version == "2.0" else {"schema": {}}
        item = {"parameters": [{**VARIABLE, "name": name, **is_any} for name in names], **item}
    document = {
        **({"swagger": "2.0"} if version == "2.0" else {"openapi": f"{version}.0"}),
        "info": {"title": "board", "version": "1"},
        "paths": {path: item},
        **more,
    }
    check_valid(version, document)
    describe(document, app)
    check_valid(version, document)
    assert describe(deepcopy(document), app) == document
    found: Document = document["paths"][path]
    return found


def of_one(note: Any) -> str:
    return str(note)


def of_all(**names: Any) -> str:
    return str(names)


def answering(*statuses: str) -> Document:
    return {"responses": {status: {"description": "OK"} for status in statuses}}


def tagged_in(operation: Document) -> set[str]:
    return {status for status, response in operation["responses"].items() if "ETag" in response.get("headers", {})}


def of_loader(returns: Any, **options: Any) -> Any:
    """Return a resource whose loader is annotated to return something; ``None`` for no annotation."""

    def find(note_id: int) -> Any:
        return {"version": "1"}

    find.__annotations__ = {} if returns is None else {"return": returns}
    return resource(etag=lambda note: note["version"], **options)(find)


LOCKED = {"lock": lambda **_: nullcontext()}


@pytest.mark.parametrize(
    ("found", "is_tagged"),
    [
        (of_loader(dict), False),  # judged, and not guarded
        (of_loader(dict, **LOCKED), True),
        (of_loader(dict, swaps=True), False),  # the view gives the tag
        (of_loader(dict, swaps=True, **LOCKED), False),
        (of_loader(None), True),  # it is not known what that returns
        (of_loader(Any), True),
        (of_loader(list[dict[str, str]]), False),
    ],
)
def test_a_write_has_a_tag_where_one_is_sent(found: Any, is_tagged: bool) -> None:
    app = served("/notes/<int:note_id>", "PUT", require_if_match(found, create=True)(of_one))
    put = described(app, "/notes/{note_id}", {"put": answering("200", "201", "202", "204", "400")})["put"]
    assert tagged_in(put) == {"412"} | ({"200", "201", "204"} if is_tagged else set())


def test_the_201_of_a_post_has_the_tag_that_its_view_gives() -> None:
    app = served("/notes/<int:note_id>", "POST", require_if_match(find_note)(of_one))
    post = described(app, "/notes/{note_id}", {"post": answering("200", "201")})["post"]
    assert tagged_in(post) == {"200", "412"}


def test_without_a_resource_a_200_alone_has_a_tag() -> None:
    app = served("/report", "GET", etag_resource(of_all))
    report = described(app, "/report", {"get": answering("200", "203")})["get"]
    assert tagged_in(report) == {"200", "304", "412"}
    app = served("/notes/<int:note_id>", "GET", etag_resource(find_note)(of_one))
    assert tagged_in(described(app, "/notes/{note_id}", {"get": answering("200", "203")})["get"]) == {
        "200",
        "203",
        "304",
        "412",
    }


def readable_and_writable(method: str = "PUT", **options: Any) -> Flask:
    app = served("/notes/<int:note_id>", "GET", etag_resource(find_note)(of_one))
    return served("/notes/<int:note_id>", method, require_if_match(find_note, **options)(of_one), app)


@pytest.mark.parametrize("status", ["200", "2XX"])
@pytest.mark.parametrize(
    "response",
    [
        {"$ref": "#/components/responses/Note"},
        {"$ref": "#/components/responses/Tagged"},
        {"description": "OK", "headers": {"etag": {"schema": {"type": "string"}}}},
        {"description": "OK", "headers": {"Etag": {"$ref": "#/components/headers/Tag"}}},
        {"description": "OK", "links": {"deleteIfMatch": {"operationId": "own"}}},
    ],
)
def test_a_get_links_to_its_writes_however_its_tag_is_said(response: Document, status: str) -> None:
    text = {"schema": {"type": "string"}}
    components = {
        "headers": {"Tag": text},
        "responses": {
            "Note": {"description": "OK"},
            "Tagged": {"description": "OK", "headers": {"ETag": {"$ref": "#/components/headers/Tag"}}},
        },
    }
    item = {
        "get": {"responses": {status: response}},
        "put": answering("200"),
        "delete": answering("204") | {"operationId": "own"},
    }
    app = readable_and_writable()
    found = described(app, "/notes/{note_id}", item, components=deepcopy(components))["get"]["responses"][status]
    assert found["links"]["putIfMatch"]["parameters"]["header.If-Match"] == "$response.header.ETag"
    assert set(found["links"]) == {"putIfMatch", *response.get("links", ())}
    assert len([name for name in found["headers"] if name.lower() == "etag"]) == 1


def test_a_post_that_replaces_is_linked_too() -> None:
    item = {"get": answering("200"), "post": answering("200")}
    links = described(readable_and_writable("POST"), "/notes/{note_id}", item)["get"]["responses"]["200"]["links"]
    assert set(links) == {"postIfMatch"}


def test_a_tag_of_the_body_leads_to_no_write() -> None:
    app = served("/notes/<int:note_id>", "GET", etag_resource(of_all))
    served("/notes/<int:note_id>", "PUT", require_if_match(find_note)(of_one), app)
    item = described(app, "/notes/{note_id}", {"get": answering("200"), "put": answering("200")})
    assert "links" not in item["get"]["responses"]["200"]


@dataclass
class Note:
    version: str = "1"


class Other(Note):
    pass


def by_version(note: Any) -> str:
    return str(note.version)


def loading(returns: Any, etag: Any = by_version) -> Any:
    def find(note_id: int) -> Any:
        return Note()

    find.__annotations__["return"] = returns
    return resource(etag=etag, lock=lambda **_: nullcontext())(find)


@pytest.mark.parametrize(
    ("read", "written", "is_linked"),
    [
        (loading(Note), loading(Note), True),
        (loading(Note | None), loading("Note"), True),
        (loading(Note, version_column("version")), loading(Note, version_column("version")), True),
        (loading(list[Note]), loading(Note), False),
        (loading(list[Note]), loading(list[Note]), False),
        (loading(Note), loading(Other), False),
        (loading(Note | Other), loading(Note | Other), False),
        (loading(Note), loading(Note, version_column("version")), False),
        (loading(Note, version_column("version")), loading(Note, version_column("other")), False),
        (loading(Note), loading(Note, lambda note: str(note.version)), False),
        (loading(Note), loading(Any), False),
        (loading(Any), loading(Any), False),
        (loading(dict[str, str]), loading(dict[str, str]), False),
    ],
)
def test_a_get_links_to_the_writes_whose_tag_it_has(read: Any, written: Any, is_linked: bool) -> None:
    app = served("/notes/<int:note_id>", "GET", etag_resource(read)(of_one))
    served("/notes/<int:note_id>", "PUT", require_if_match(written)(of_one), app)
    served("/notes/<int:note_id>", "DELETE", require_if_match(read)(of_one), app)
    item = described(app, "/notes/{note_id}", {method: answering("200") for method in ("get", "put", "delete")})
    links = set(item["get"]["responses"]["200"]["links"])
    assert links == {"deleteIfMatch", "putIfMatch"} if is_linked else {"deleteIfMatch"}


def test_a_read_may_be_refused_too() -> None:
    app = served("/notes/<int:note_id>", "GET", etag_resource(find_note)(of_one))
    served("/report", "GET", etag_resource(of_all), app)
    for path, template in (("/notes/1", "/notes/{note_id}"), ("/report", "/report")):
        refused = app.test_client().get(path, headers={"If-Match": '"another"'})
        operation = described(app, template, {"get": answering("200")})["get"]
        says = operation["responses"][str(refused.status_code)]
        assert refused.mimetype in says["content"]
        assert set(says["headers"]) == {"ETag"}
        assert "If-Match" not in fields_of(operation)  # for a read it is of no use, but where a part is asked for


def find_any(**names: Any) -> dict[str, str]:
    return {"version": str(names)}


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("/v/<any('a:b', 'c>d', e):kind>/<int(min=1):number>", "/v/{kind}/{number}"),
        ("/v/<regex('[^:<>{}]+'):name>.json", "/v/{name}.json"),
        ("/v/<string(length=2):language>//<path:rest>", "/v/{language}/{rest}"),
        ("/v/<uuid:key>/<float:share>/", "/v/{key}/{share}/"),
    ],
)
def test_a_rule_is_read_as_werkzeug_reads_it(rule: str, path: str) -> None:
    app = Flask("board")
    ETag(app)
    app.url_map.converters["regex"] = type("Regex", (BaseConverter,), {"__init__": _take_regex})
    found = resource(etag=lambda note: note["version"])(find_any)
    served(rule, "GET", etag_resource(found)(of_one), app)
    assert "304" in described(app, path, {"get": answering("200")})["get"]["responses"]
    printed = json.loads(app.test_cli_runner().invoke(args=["etag", "openapi"]).output)
    check_valid("3.1", printed)
    [(printed_path, item)] = printed["paths"].items()
    assert printed_path == path
    schemas = {each["name"]: each["schema"] for each in item["get"]["parameters"] if each["in"] == "path"}
    text = {"type": "string"}
    known = {
        "kind": {**text, "enum": ["a:b", "c>d", "e"]},
        "number": {"type": "integer"},
        "share": {"type": "number"},
        "key": {**text, "format": "uuid"},
    }
    assert schemas == {name: known.get(name, text) for name in re.findall("{(.*?)}", path)}


def _take_regex(self: BaseConverter, url_map: Map, regex: str) -> None:
    BaseConverter.__init__(self, url_map)
    self.regex = regex


def test_of_two_routes_alike_the_one_with_the_same_names_is_meant() -> None:
    app = readable_and_writable()
    app.add_url_rule("/notes/<name>", "page", of_all)
    app.add_url_rule("/notes/<name>", "put_page", of_all, methods=["PUT"])
    item = {"get": answering("200"), "put": answering("200")}
    assert set(described(app, "/notes/{name}", deepcopy(item))["put"]["responses"]) == {"200"}
    assert "412" in described(app, "/notes/{note_id}", deepcopy(item))["put"]["responses"]
    assert "412" in described(app, "/notes/{id}", deepcopy(item))["put"]["responses"]


def test_what_stands_beside_a_reference_counts() -> None:
    shared: Document = {"put": answering("200"), "parameters": [VARIABLE | {"schema": {}}]}
    item = described(
        readable_and_writable(),
        "/notes/{note_id}",
        {"$ref": "#/components/pathItems/Note", "summary": "A note"},
        components={"pathItems": {"Note": shared}},
    )
    assert item["summary"] == "A note"
    assert "412" in item["put"]["responses"]
    assert "412" not in shared["put"]["responses"]


def test_the_methods_of_openapi_3_2_are_known() -> None:
    app = readable_and_writable("MERGE")
    item: Document = {"get": answering("200"), "additionalOperations": {"MERGE": answering("200")}}
    item = described(app, "/notes/{note_id}", item, "3.2")
    assert "412" in item["additionalOperations"]["MERGE"]["responses"]
    link = item["get"]["responses"]["200"]["links"]["mergeIfMatch"]
    assert link["operationRef"] == "#/paths/~1notes~1%7Bnote_id%7D/additionalOperations/MERGE"


def test_what_a_document_shares_by_aliases_is_told_apart() -> None:
    shared = answering("200")
    operation: Document = {"responses": shared["responses"], "parameters": []}
    item: Document = {"get": operation, "put": operation, "delete": shared}
    item = described(readable_and_writable(), "/notes/{note_id}", item)
    assert (fields_of(item["get"]), fields_of(item["put"])) == (["If-None-Match"], ["If-Match"])
    assert set(item["get"]["responses"]) == {"200", "304", "412"}
    assert set(item["put"]["responses"]) == {"200", "412", "428", "409"}
    assert set(item["delete"]["responses"]) == {"200"}


def test_a_path_may_have_servers_of_its_own() -> None:
    app = served("/v2/notes/<int:note_id>", "PUT", require_if_match(find_note)(of_one))
    item: Document = {"servers": [{"url": "/v2"}], "put": answering("200")}
    assert "412" in described(app, "/notes/{note_id}", item, servers=[{"url": "/v1"}])["put"]["responses"]


def test_an_operation_may_have_servers_of_its_own() -> None:
    app = served("/v2/notes/<int:note_id>", "PUT", require_if_match(find_note)(of_one))
    served("/v1/notes/<int:note_id>", "GET", etag_resource(find_note)(of_one), app)
    served("/v1/notes/<int:note_id>", "PUT", of_one, app)
    served("/v2/notes/<int:note_id>", "GET", of_one, app)
    item: Document = {
        "servers": [{"url": "/v1"}],
        "get": answering("200"),
        "put": {**answering("200"), "servers": [{"url": "/v2"}]},
    }
    item = described(app, "/notes/{note_id}", item, servers=[{"url": "/v0"}])
    assert "304" in item["get"]["responses"]
    assert "412" in item["put"]["responses"]
    item = {"servers": [{"url": "/v1"}], "get": {**answering("200"), "servers": [{"url": "/v2"}]}}
    assert set(described(app, "/notes/{note_id}", item)["get"]["responses"]) == {"200"}


@pytest.mark.parametrize(
    ("url", "path", "is_found"),
    [
        ("./notes", "/{note_id}", True),
        ("notes/", "/{note_id}", True),
        ("../v1/notes", "/{id}", True),
        ("./", "/v1/notes/{note_id}", True),
        (".", "/notes/{note_id}", True),
        (".", "/pages/{note_id}", False),  # there are two
        ("./other", "/{note_id}", False),
        ("?", "/{note_id}", False),
    ],
)
def test_servers_may_be_relative_to_the_document(url: str, path: str, is_found: bool) -> None:
    write = require_if_match(find_note)(of_one)
    app = served("/api/v1/notes/<int:note_id>", "PUT", write)
    served("/api/v2/pages/<int:note_id>", "PUT", of_one, app)
    served("/api/v1/pages/<int:note_id>", "PUT", write, app)
    put = described(app, path, {"put": answering("200")}, servers=[{"url": url}])["put"]
    assert ("412" in put["responses"]) is is_found


def test_swagger_is_told_what_refusals_are_in() -> None:
    app, item = readable_and_writable(), {"put": answering("200")}
    assert "produces" not in described(app, "/notes/{note_id}", deepcopy(item), "2.0")["put"]
    of_all = described(app, "/notes/{note_id}", deepcopy(item), "2.0", produces=["application/json"])
    assert of_all["put"]["produces"] == ["application/json", "application/problem+json"]
    item["put"]["produces"] = ["text/csv"]
    of_one = described(app, "/notes/{note_id}", deepcopy(item), "2.0", produces=["application/json"])
    assert of_one["put"]["produces"] == ["text/csv", "application/problem+json"]


@pytest.mark.parametrize("version", ["3.0", "3.2"])
def test_the_command_prints_the_methods_that_a_version_knows(version: str) -> None:
    app = readable_and_writable("MERGE")
    served("/notes/<int:note_id>", "QUERY", etag_resource(find_note)(of_one), app)
    printed = json.loads(app.test_cli_runner().invoke(args=["etag", "openapi", "--version", version]).output)
    check_valid(version, printed)
    item = printed["paths"]["/notes/{note_id}"]
    others = {"query", "additionalOperations"} if version == "3.2" else set()
    assert set(item) == {"get", *others}
    if others:
        assert fields_of(item["query"]) == fields_of(item["additionalOperations"]["MERGE"]) == ["If-Match"]


def test_a_path_may_be_written_as_it_is_sent() -> None:
    app = served("/größen/<int:note_id>", "PUT", require_if_match(find_note)(of_one))
    for path in ("/größen/{note_id}", "/gr%C3%B6%C3%9Fen/{note_id}"):
        assert "412" in described(app, path, {"put": answering("200")})["put"]["responses"]


@pytest.mark.parametrize("empty", [{"components": None}, {"components": {"schemas": None}}])
def test_what_is_null_is_as_what_is_not_there(empty: Document) -> None:
    document: Document = {
        "openapi": "3.1.0",
        "paths": {"/notes/{note_id}": {"put": {"parameters": None, "responses": None}, "x-more": None}},
        **empty,
    }
    put = describe(document, readable_and_writable())["paths"]["/notes/{note_id}"]["put"]
    assert fields_of(put) == ["If-Match"]
    assert set(put["responses"]) == {"412", "428", "409"}
    assert len(document["components"]["schemas"]) == 3


def test_a_write_beside_a_read_that_is_tagged_by_its_body_is_refused_by_nothing() -> None:
    """It has no resource that it could be judged by."""
    app = Flask("body")
    ETag(app)

    @app.route("/report", methods=["GET", "POST"])
    @etag_resource
    def report() -> dict[str, str]:
        return {}

    answers = {"responses": {"200": {"description": "Done."}}}
    paths = {"/report": {"get": deepcopy(answers), "post": deepcopy(answers)}}
    document = {"openapi": "3.0.3", "info": {"title": "Reports", "version": "1"}, "paths": paths}
    described = describe(document, app)["paths"]["/report"]
    assert set(described["post"]["responses"]) == {"200"}
    assert set(described["get"]["responses"]) == {"200", "304", "412"}


def test_a_read_that_has_no_answer_with_a_tag_is_linked_with_no_write() -> None:
    item = {"get": answering("404"), "put": answering("200")}
    assert "links" not in json.dumps(described(readable_and_writable("PUT"), "/notes/{note_id}", item))
