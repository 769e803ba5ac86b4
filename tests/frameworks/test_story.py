"""One story, with each framework over HTTP: read, save, be refused, meet another writer, delete; its OpenAPI."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest
from flask import Flask
from openapi_spec_validator import validate
from werkzeug.exceptions import HTTPException, PreconditionFailed
from werkzeug.serving import make_server

from flask_etag import ConditionalRequestError, etag_resource, require_if_match
from flask_etag.openapi import describe
from tests.frameworks.board import Note, find_note, prepare, save

FRAMEWORKS = {
    "apiflask": "/openapi.json",
    "apifairy": "/openapi.json",
    "apispec": "/openapi.json",
    "flask_apispec": "/openapi.json",
    "flask_openapi3": "/openapi/openapi.json",
    "flask_restful": None,
    "flask_restx": "/swagger.json",
    "flask_smorest": "/openapi.json",
    "spectree": "/apidoc/openapi.json",
}
"""Each framework, and where its application shows its OpenAPI document; Flask-RESTful has none."""

if version("marshmallow").startswith("4."):
    del FRAMEWORKS["flask_apispec"]  # it reads marshmallow.__version__, which is gone there


@dataclass
class Answer:
    status: int
    fields: dict[str, str]
    content: bytes

    @property
    def etag(self) -> str | None:
        return self.fields.get("etag")

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Site:
    """An application of one framework, on a server."""

    def __init__(self, name: str, folder: Path) -> None:
        self.app: Flask = importlib.import_module(f"tests.frameworks.apps.{name}").create_app(folder)
        self.document = FRAMEWORKS[name]
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def send(self, method: str, path: str, content: Any = None, **fields: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in fields.items()}
            if content is not None:
                sent["Content-Type"] = "application/json"
            connection.request(method, path, None if content is None else json.dumps(content), sent)
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()


@pytest.fixture(params=FRAMEWORKS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site = Site(request.param, tmp_path)
    yield site
    site.close()


NOTE = "/notes/1"


def test_it_reads_saves_and_is_refused(site: Site) -> None:
    read = site.send("GET", NOTE)
    assert (read.status, read.json) == (200, {"body": "first"})
    assert read.etag is not None
    unchanged = site.send("GET", NOTE, If_None_Match=read.etag)
    assert (unchanged.status, unchanged.content, unchanged.etag) == (304, b"", read.etag)

    unprotected = site.send("PUT", NOTE, {"body": "second"})
    assert (unprotected.status, unprotected.json["reason"]) == (428, "missing")
    assert unprotected.fields["cache-control"] == "no-store"
    saved = site.send("PUT", NOTE, {"body": "second"}, If_Match=read.etag)
    assert (saved.status, saved.json) == (200, {"body": "second"})
    assert saved.etag not in (None, read.etag)
    stale = site.send("PUT", NOTE, {"body": "third"}, If_Match=read.etag)
    assert (stale.status, stale.json["reason"], stale.json["etag"]) == (412, "stale", saved.etag)
    assert stale.etag == saved.etag

    again = site.send("GET", NOTE)
    assert (again.json, again.etag) == ({"body": "second"}, saved.etag)
    assert site.send("DELETE", NOTE, If_Match=read.etag).status == 412
    deleted = site.send("DELETE", NOTE, If_Match=str(saved.etag))
    assert (deleted.status, deleted.content, deleted.etag) == (204, b"", None)
    assert site.send("GET", NOTE).status == 404


def test_it_makes_one_whose_tag_is_good(site: Site) -> None:
    made = site.send("POST", "/notes", {"body": "new"})
    assert (made.status, made.json) == (201, {"body": "new"})
    path, etag = made.fields["location"], str(made.etag)
    assert site.send("GET", path, If_None_Match=etag).status == 304
    assert site.send("PUT", path, {"body": "newer"}, If_Match=etag).status == 200


def test_of_two_writers_at_once_one_is_refused(site: Site) -> None:
    etag = str(site.send("GET", NOTE).etag)

    def write(body: str) -> Answer:
        return site.send("PUT", NOTE, {"body": body}, If_Match=etag, Meet="yes")

    with ThreadPoolExecutor(2) as both:
        won, lost = sorted(both.map(write, ("mine", "theirs")), key=lambda answer: answer.status)
    assert (won.status, lost.status) == (200, 412)
    assert (lost.json["reason"], lost.json["etag"]) == ("stale", won.etag)
    assert site.send("GET", NOTE).json == won.json


def test_its_own_errors_stay_its_own(site: Site) -> None:
    etag = str(site.send("GET", NOTE).etag)
    wrong = site.send("PUT", NOTE, {"title": "no body"}, If_Match=etag)
    assert wrong.status in (400, 422)
    missing, nowhere = site.send("GET", "/notes/7", If_None_Match=etag), site.send("GET", "/nowhere")
    assert (missing.status, nowhere.status) == (404, 404)
    for answer in (wrong, missing):
        assert answer.fields["content-type"] != "application/problem+json"
        assert answer.etag is None
        assert b"reason" not in answer.content
    assert site.send("GET", NOTE).etag == etag


@pytest.mark.parametrize("handled", [PreconditionFailed, ConditionalRequestError, HTTPException])
def test_a_handler_of_the_application_in_restx_says_what_a_refusal_is(handled: Any, tmp_path: Path) -> None:
    site = Site("flask_restx", tmp_path)
    handlers = importlib.import_module("tests.frameworks.apps.flask_restx").api.error_handlers
    handlers[handled] = lambda error: ({"own": error.reason}, error.code, error.get_response().headers)
    try:
        stale = site.send("PUT", NOTE, {"body": "new"}, If_Match='"stale"')
        assert (stale.status, stale.json.keys(), stale.json["own"]) == (412, {"own", "message"}, "stale")
        assert stale.etag == site.send("GET", NOTE).etag
    finally:
        del handlers[handled]
        site.close()


def test_what_restful_is_told_of_errors_is_put_over_a_refusal(tmp_path: Path) -> None:
    """With its status, as the docs say: Flask-RESTful makes a 500 of an entry that has none."""
    app = importlib.import_module("tests.frameworks.apps.flask_restful").create_app(
        tmp_path,
        errors={
            "PreconditionFailed": {"message": "It has changed.", "status": 412},
            "PreconditionRequired": {"message": "Say which.", "status": 428},
        },
    )
    client = app.test_client()
    assert client.post("/notes", json={"body": "first"}).status_code == 201
    stale = client.put(NOTE, json={"body": "new"}, headers={"If-Match": '"stale"'})
    missing = client.put(NOTE, json={"body": "new"})
    assert (stale.status_code, stale.json["message"], stale.json["reason"]) == (412, "It has changed.", "stale")
    assert (missing.status_code, missing.json["message"]) == (428, "Say which.")
    assert stale.headers["ETag"] == client.get(NOTE).headers["ETag"] == stale.json["etag"]


@pytest.mark.parametrize("name", ["apiflask", "flask_smorest"])
def test_refusals_can_have_the_format_of_its_own_errors(name: str, tmp_path: Path) -> None:
    site = Site(name, tmp_path)
    try:
        importlib.import_module(f"tests.frameworks.apps.{name}").answer_in_its_format(site.app)
        own = site.send("GET", "/notes/7")
        stale = site.send("PUT", NOTE, {"body": "new"}, If_Match='"stale"')
        missing = site.send("PUT", NOTE, {"body": "new"})
        etag = site.send("GET", NOTE).etag
        assert (stale.status, missing.status) == (412, 428)
        for refused in (stale, missing):
            assert refused.fields["content-type"] == own.fields["content-type"]
            assert refused.fields["cache-control"] == "no-store"
            assert own.json.keys() <= refused.json.keys() <= {*own.json, "message", "reason", "etag", "items"}
            assert "If-Match" in str(refused.json)  # what to do
        assert (stale.json["reason"], stale.json["etag"], stale.etag) == ("stale", etag, etag)
        assert (missing.json["reason"], missing.etag) == ("missing", None)
    finally:
        site.close()


def test_the_methods_of_an_api_view_of_flask_openapi3_are_served(tmp_path: Path) -> None:
    flask_openapi3: Any = importlib.import_module("flask_openapi3")
    app = flask_openapi3.OpenAPI("board")
    prepare(app, tmp_path)
    api_view = flask_openapi3.APIView(url_prefix="/notes")

    class NoteView:
        greeting = "Welcome"

        @api_view.doc(summary="A note")  # type: ignore[untyped-decorator]
        @cast("Any", etag_resource(find_note))  # type: ignore[untyped-decorator]
        def get(self, note: Note) -> dict[str, str]:
            return {"body": f"{self.greeting}: {note.body}"}

        @api_view.doc(summary="Another")  # type: ignore[untyped-decorator]
        @cast("Any", require_if_match(find_note))  # type: ignore[untyped-decorator]
        def put(self, note: Note) -> dict[str, str]:
            return {"body": save(note, "new").body}

    api_view.route("/<int:note_id>")(NoteView)
    app.register_api_view(api_view)
    client = app.test_client()
    read = client.get(NOTE)
    assert read.json == {"body": "Welcome: first"}
    assert client.get(NOTE, headers={"If-None-Match": read.headers["ETag"]}).status_code == 304
    assert client.put(NOTE).status_code == 428
    saved = client.put(NOTE, headers={"If-Match": read.headers["ETag"]})
    assert (saved.json, saved.headers["ETag"]) == ({"body": "new"}, client.get(NOTE).headers["ETag"])
    document: dict[str, Any] = {"openapi": "3.1.0", "paths": {"/notes/{note_id}": {"get": {}, "put": {}}}}
    item = describe(document, app)["paths"]["/notes/{note_id}"]
    assert {"412", "428", "409"} == set(item["put"]["responses"])


def test_its_openapi_says_so(site: Site) -> None:
    if site.document is None:
        return
    document = site.send("GET", site.document).json
    validate(document)
    [item] = [item for path, item in document["paths"].items() if path.startswith("/notes/")]
    assert "304" in item["get"]["responses"]
    assert "ETag" in item["get"]["responses"]["200"]["headers"]
    assert {"409", "412", "428"} <= set(item["put"]["responses"])
    [if_match] = [each for each in item["put"]["parameters"] if each["name"] == "If-Match"]
    assert not if_match["required"]
    assert "ETag" in item["put"]["responses"]["200"]["headers"]
    if "openapi" in document:
        link = item["get"]["responses"]["200"]["links"]["putIfMatch"]
        assert link["parameters"]["header.If-Match"] == "$response.header.ETag"
        assert item["put"]["responses"]["412"]["content"]
    assert site.send("GET", site.document).json == document
