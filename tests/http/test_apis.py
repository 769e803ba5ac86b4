"""Flask-RESTful and Flask-RESTX themselves, which make responses and answer errors: who says what a refusal is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import flask_restful
import flask_restx
import pytest
from flask import Blueprint, Flask, jsonify, make_response, request
from werkzeug.exceptions import HTTPException, PreconditionFailed

from flask_etag import ConditionalRequestError, ETag, etag_resource, require_if_match, resource
from flask_etag.openapi import describe
from tests.http.test_openapi import Document, described

Api = Any  # neither of the two says its types


@resource(etag=lambda note: note["version"])
def find_note(note_id: int) -> Any:
    return {"version": "1", "note_id": note_id}


def view_of(package: Any) -> Any:
    class NoteView(package.Resource):  # type: ignore[misc]
        @etag_resource(find_note)
        def get(self, note: Document) -> Document:
            return {"body": note["version"]}

        @require_if_match(find_note)
        def put(self, note: Document) -> Document:
            return {"body": note["version"]}

        @require_if_match(find_note)
        def delete(self, note: Document) -> Any:
            return None, 204, {"X-Deleted": note["note_id"]}

    return NoteView


def app_of(package: Any, api: Api) -> Flask:
    app = Flask("board")
    ETag(app)
    api.add_resource(view_of(package), "/notes/<int:note_id>")
    api.init_app(app)
    return app


both = pytest.mark.parametrize("package", [flask_restful, flask_restx])


def refused(app: Flask, url: str = "/notes/1") -> Any:
    return app.test_client().put(url, headers={"If-Match": '"0"'})


@both
def test_it_makes_the_response_and_the_error(package: Any) -> None:
    app = app_of(package, package.Api())
    client = app.test_client()
    read = client.get("/notes/1")
    assert (read.json, read.headers["ETag"]) == ({"body": "1"}, '"1"')
    assert client.get("/notes/1", headers={"If-None-Match": '"1"'}).status_code == 304
    deleted = client.delete("/notes/1", headers={"If-Match": '"1"'})
    assert (deleted.status_code, deleted.headers["X-Deleted"]) == (204, "1")
    stale = refused(app)
    assert (stale.status_code, stale.content_type) == (412, "application/json")
    assert stale.json.keys() >= {"message", "reason", "etag", "detail"}
    assert stale.headers["ETag"] == stale.json["etag"] == '"1"'


@both
def test_its_representations_are_used(package: Any) -> None:
    api: Api = package.Api(default_mediatype="text/csv")

    @api.representation("text/csv")
    def output(data: Document, code: int, headers: Any = None) -> Any:
        return make_response(",".join(map(str, data.values())), code, headers)

    read = app_of(package, api).test_client().get("/notes/1", headers={"Accept": "text/csv"})
    assert (read.text, read.content_type, read.headers["ETag"]) == ("1", "text/csv", '"1"')


def test_what_restx_leaves_out_is_a_variant_where_the_resource_says_so() -> None:
    @resource(
        etag=lambda note: note["version"],
        variant=lambda _: request.headers.get("X-Fields"),
        headers={"Vary": "X-Fields"},
        lock=lambda **_: nullcontext(),
    )
    def find_part(note_id: int) -> Any:
        return {"version": "1", "note_id": note_id}

    api: Api = flask_restx.Api()
    shape = api.model("Note", {"version": flask_restx.fields.String, "note_id": flask_restx.fields.Integer})

    class NoteView(flask_restx.Resource):  # type: ignore[misc]
        @require_if_match(find_part)
        @api.marshal_with(shape)
        def put(self, note: Document) -> Document:
            return note

        @etag_resource(find_part)
        @api.marshal_with(shape)
        def get(self, note: Document) -> Document:
            return note

    app = Flask("board")
    ETag(app)
    api.add_resource(NoteView, "/notes/<int:note_id>")
    api.init_app(app)
    client = app.test_client()
    part = {"X-Fields": "version"}
    whole, left = client.get("/notes/1"), client.get("/notes/1", headers=part)
    assert (whole.json, left.json) == ({"version": "1", "note_id": 1}, {"version": "1"})
    assert whole.headers["Vary"] == left.headers["Vary"] == "X-Fields"
    for answer, fields, status in ((left, part, 304), (whole, part, 200), (left, {}, 200), (whole, {}, 304)):
        conditions = {"If-None-Match": answer.headers["ETag"], **fields}
        assert client.get("/notes/1", headers=conditions).status_code == status
    assert client.put("/notes/1", headers={"If-Match": left.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("handled", [PreconditionFailed, HTTPException, ConditionalRequestError, Exception])
@pytest.mark.parametrize("of_namespace", [False, True])
def test_in_restx_a_handler_of_the_application_says_what_is_answered(handled: Any, of_namespace: bool) -> None:
    api: Api = flask_restx.Api()
    namespace = api.namespace("other")

    @(namespace if of_namespace else api).errorhandler(handled)
    def own(error: ConditionalRequestError) -> Any:
        return {"code": error.reason}, 412, {"X-Own": "1", "ETag": error.get_response().headers["ETag"]}

    app = app_of(flask_restx, api)
    stale = refused(app)
    assert stale.json.keys() == {"code", "message"}  # RESTX itself adds the message
    assert (stale.json["code"], stale.headers["X-Own"], stale.headers["ETag"]) == ("stale", "1", '"1"')
    responses = described(app, "/notes/{note_id}", {"put": {"responses": {"200": {"description": "OK"}}}})["put"]
    assert "content" not in responses["responses"]["412"]


def test_one_for_other_errors_says_nothing_of_it() -> None:
    api: Api = flask_restx.Api()
    api.errorhandler(ValueError)(lambda error: ({"code": str(error)}, 400))
    app = app_of(flask_restx, api)
    assert refused(app).json["reason"] == "stale"


def test_in_restful_a_declared_error_is_merged_with_it() -> None:
    api = flask_restful.Api(errors={"PreconditionFailed": {"message": "Too late.", "status": 412}})
    app = app_of(flask_restful, api)
    assert (refused(app).json["message"], refused(app).json["reason"]) == ("Too late.", "stale")
    assert formats_of(app)["412"] is None
    assert formats_of(app)["428"] == "application/json"


def test_in_restful_a_class_may_handle_errors_in_its_own_way() -> None:
    class OwnApi(flask_restful.Api):  # type: ignore[misc]
        def handle_error(self, e: Any) -> Any:
            return make_response(jsonify(code=e.reason), e.code)

    app = app_of(flask_restful, OwnApi())
    assert refused(app).json == {"code": "stale"}
    assert set(formats_of(app).values()) == {None}


def formats_of(app: Flask, path: str = "/notes/{note_id}") -> dict[str, str | None]:
    """Return in what the document says that each refusal is told; ``None`` where it does not."""
    document: Document = {"openapi": "3.1.0", "paths": {path: {"put": {}}}}
    responses = describe(document, app)["paths"][path]["put"]["responses"]
    return {status: next(iter(response.get("content", ())), None) for status, response in responses.items()}


@both
def test_what_answers_the_errors_of_a_route_is_known_to_the_document(package: Any) -> None:
    app = app_of(package, package.Api())
    app.register_error_handler(412, lambda error: ("own", error.code))  # which is not asked for its routes
    assert set(formats_of(app).values()) == {"application/json"}
    view: Any = require_if_match(find_note)(lambda note: note)
    app.add_url_rule("/plain/<int:note_id>", "plain", view, methods=["PUT"])
    assert formats_of(app, "/plain/{note_id}") == {"412": None, "428": PROBLEM, "409": PROBLEM}


PROBLEM = "application/problem+json"


@both
@pytest.mark.parametrize("order", [1, -1])
def test_of_two_apis_each_answers_for_its_own(package: Any, order: int) -> None:
    app = Flask("board")
    ETag(app)
    apis: list[Callable[[], None]] = []
    for package_of_it, name in ((package, "one"), (flask_restx, "two")):
        blueprint = Blueprint(name, __name__, url_prefix=f"/{name}")
        api: Api = package_of_it.Api(blueprint)
        api.add_resource(view_of(package_of_it), "/notes/<int:note_id>")
        if name == "two":
            api.errorhandler(HTTPException)(lambda error: ({"code": error.reason}, error.code))
        apis.append(lambda blueprint=blueprint: app.register_blueprint(blueprint))  # type: ignore[misc]
    for register in apis[::order]:
        register()
    assert refused(app, "/one/notes/1").json["reason"] == "stale"
    assert refused(app, "/two/notes/1").json.keys() == {"code", "message"}
    assert set(formats_of(app, "/one/notes/{note_id}").values()) == {"application/json"}
    assert set(formats_of(app, "/two/notes/{note_id}").values()) == {None}
