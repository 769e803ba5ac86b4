"""What an OpenAPI document says of decorated views: the fields, the refusals, and where a tag leads.

A framework makes the document, and :func:`describe` completes it, when it is finished: it reads the routes of the
application, and edits the operations of those that are decorated. OpenAPI 3.0, 3.1, 3.2 and Swagger 2.0 differ in
how they say it, which is what :class:`_Dialect` knows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args
from urllib.parse import quote, unquote, urlsplit

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from flask.views import MethodView

from flask_etag.audit import Protection, etag, protection_of, views_of
from flask_etag.backend import Cause
from flask_etag.errors import ConditionalRequestError
from flask_etag.preconditions import Reason
from flask_etag.settings import settings_of

_Node = dict[str, Any]

_READS = ("get", "head")
_CREATING = ("put", "post")
_VARIABLE_OF_RULE = re.compile(r"<(?:([^<>:]+):)?([^<>:]+)>")
_VARIABLE_OF_PATH = re.compile(r"\{[^{}]+\}")

_TAG = "The entity tag of this state: send it back as it is, quotes included (RFC 9110 section 8.8.3)."
_IF_MATCH = (
    "The ETag that was read: if the resource has changed since, the answer is 412 (RFC 9110 section 13.1.1)."
)
_AND_REQUIRED = " Without it, the request is refused (428)."
_AND_CREATES = " To create, send If-None-Match: * in its place."
_IF_NONE_MATCH_TO_READ = "The ETag of a copy: if it is still good, the answer is 304 (RFC 9110 section 13.1.2)."
_IF_NONE_MATCH_TO_CREATE = "To create with `*`: the request is refused (412) if the resource is there already."
_NOT_MODIFIED = "The copy that the request names by If-None-Match is still good."
_REFUSALS = {
    "412": (
        "PreconditionFailedProblem",
        "A condition of the request does not hold, and nothing was changed: `reason` says why, `etag` is current.",
        get_args(Reason),
    ),
    "428": (
        "PreconditionRequiredProblem",
        "The request has to say, by If-Match, which state of the resource it was made for.",
        ("missing",),
    ),
    "409": (
        "WriteConflictProblem",
        "Another request was writing the same data at the same moment: `reason` says what is to be done.",
        get_args(Cause),
    ),
}
"""By status: the name of its schema, what it says, and its reasons."""


def describe(document: _Node, app: Flask | None = None) -> _Node:
    """Complete a finished OpenAPI document by what the decorated views of an application do.

    Each of their operations gets the fields If-Match and If-None-Match, which need not be sent; the field ETag of
    its 2xx answers; and the answers 304, 409, 412 and 428, with the schema of the problem and its reasons. From a
    GET, a link for each write of the same URL carries the tag. What the document says of any of these is kept.

    :param document: OpenAPI 3.0, 3.1 or 3.2, or Swagger 2.0, as dicts and lists. It is edited, and may be
        described again. Its paths are the application's, or begin behind its ``servers`` or its ``basePath``.
    :param app: the application; by default the current one.
    :return: the document.
    :raises ValueError: if it is no such document.
    :raises RuntimeError: without ``app``, outside of an application context.
    """
    dialect = _dialect_of(document)
    views = _Views(app or current_app)
    paths = document.get("paths") or {}
    for path in paths:
        methods = views.methods_of([prefix + path for prefix in dialect.prefixes(document)])
        if not methods:
            continue
        # What a path shares with others, by a reference or an alias of YAML's, is theirs, and is left as it is.
        item = paths[path] = deepcopy(_resolved(document, paths[path]))
        for method in methods:
            if method.name in item:
                _describe_operation(document, dialect, item, method)
        if dialect.has_links:
            _link(document, path, item)
    return document


class _Method:
    """One method of a decorated view.

    :param name: the method, in small letters.
    :param protection: how it is decorated.
    :param is_required: whether a write that names no state is refused.
    :param media_type: of its refusals; ``None`` where the application has handlers of its own for them.
    """

    def __init__(self, name: str, protection: Protection, is_required: bool, media_type: str | None) -> None:
        self.name = name
        self.protection = protection
        self.is_required = is_required
        self.media_type = media_type

    @property
    def is_read(self) -> bool:
        return self.name in _READS

    @property
    def may_create(self) -> bool:
        return self.protection.creates and self.name in _CREATING

    def refusals(self) -> list[str]:
        """Return the statuses by which a request may be refused."""
        if self.is_read or self.protection.resource is None:
            return []
        return ["412", "428", "409"] if self.is_required else ["412", "409"]

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield the conditional fields that make sense of a request, each with what it says."""
        if self.is_read:
            yield "If-None-Match", _IF_NONE_MATCH_TO_READ
        elif self.protection.resource is not None and not self.protection.is_batch:
            required = _AND_REQUIRED if self.is_required else ""
            yield "If-Match", _IF_MATCH + required + (_AND_CREATES if self.may_create else "")
            if self.may_create:
                yield "If-None-Match", _IF_NONE_MATCH_TO_CREATE

    def is_tagged(self, status: str) -> bool:
        """Tell whether an answer has the tag of its target."""
        if not status.startswith("2") or self.protection.is_batch:
            return False
        return self.is_read or not (self.name == "delete" or status == "202")


class _Views:
    """The decorated views of an application, by the paths that lead to them; none by those that lead to others."""

    def __init__(self, app: Flask) -> None:
        own = app.error_handler_spec[None]
        is_ours = own[None].get(ConditionalRequestError) is ConditionalRequestError.get_response
        enforces = settings_of(app).require == "enforce"
        self._by_path: dict[str, list[_Method]] = {}
        for rule, method, view, endpoint in views_of(app):
            protection = protection_of(view)
            methods = self._by_path.setdefault(_normal(_VARIABLE_OF_RULE.sub("{}", rule)), [])
            if protection is None:
                continue
            is_made_above = _makes_responses(app.view_functions[endpoint])
            media_type = "application/json" if is_made_above else "application/problem+json"
            handled = not is_ours or any(own[code] for code in (409, 412, 428))
            is_required = protection.unprotected == "refused" and enforces
            described = _Method(method.lower(), protection, is_required, None if handled else media_type)
            methods.append(described)
            if described.name == "get":
                methods.append(_Method("head", protection, described.is_required, described.media_type))

    def methods_of(self, paths: list[str]) -> list[_Method]:
        """Return the methods of the first of some paths that is known."""
        for path in paths:
            methods = self._by_path.get(_normal(_VARIABLE_OF_PATH.sub("{}", path)))
            if methods is not None:
                return methods
        return []


def _makes_responses(view: Any) -> bool:
    view_class = getattr(view, "view_class", MethodView)
    return getattr(view_class, "dispatch_request", None) is not MethodView.dispatch_request


def _normal(path: str) -> str:
    return path.rstrip("/")


class _Dialect:
    """How one version of OpenAPI says things.

    :param version: its number: 2.0 is Swagger's.
    """

    def __init__(self, version: str) -> None:
        self._is_swagger = version.startswith("2.")
        self._is_3_0 = version.startswith("3.0")
        self.has_links = not self._is_swagger

    def prefixes(self, document: _Node) -> list[str]:
        """Return what may stand before the document's paths: where it says that its URLs begin, or nothing."""
        if self._is_swagger:
            bases = [document.get("basePath") or ""]
        else:
            bases = [urlsplit(_url_of(server)).path for server in document.get("servers") or ()]
        return [*("/" + base.strip("/") for base in bases if base.strip("/")), ""]

    def text(self) -> _Node:
        """Return the type of a text, for a field."""
        return {"type": "string"} if self._is_swagger else {"schema": {"type": "string"}}

    def schema(self, document: _Node, name: str, reasons: tuple[str, ...]) -> _Node:
        """Put the schema of a problem into the document, unless it has one of that name; return a reference."""
        if self._is_swagger:
            schemas, place = document.setdefault("definitions", {}), "#/definitions/"
        else:
            components = document.setdefault("components", {})
            schemas, place = components.setdefault("schemas", {}), "#/components/schemas/"
        if name not in schemas:
            schemas[name] = self._problem(reasons, has_etag=name == "PreconditionFailedProblem")
        return {"$ref": place + name}

    def _problem(self, reasons: tuple[str, ...], *, has_etag: bool) -> _Node:
        """Return the schema of a problem document (RFC 9457 section 3) with our members."""
        members: _Node = {
            "type": {"type": "string", "description": "A URI for the reason."},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What to do next."},
            "reason": {"type": "string", "enum": list(reasons)},
            "items": {
                "type": "array",
                "items": {"type": "object"},
                "description": "Of a request that writes several resources: those that are the reason.",
            },
        }
        if has_etag:
            members["etag"] = {**self._text_or_null(), "description": "The current ETag, if there is one."}
        return {
            "type": "object",
            "required": ["type", "title", "status", "detail", "reason"],
            "properties": members,
        }

    def _text_or_null(self) -> _Node:
        if self._is_swagger:
            return {"type": "string", "x-nullable": True}
        return {"type": "string", "nullable": True} if self._is_3_0 else {"type": ["string", "null"]}

    def give_content(self, response: _Node, media_type: str, schema: _Node) -> None:
        """Say what a response carries, unless that is said already."""
        if self._is_swagger:
            response.setdefault("schema", schema)
        else:
            response.setdefault("content", {media_type: {"schema": schema}})


def _dialect_of(document: _Node) -> _Dialect:
    version = str(document.get("openapi") or document.get("swagger") or "")
    if not re.match(r"3\.[0-2](\.|$)|2\.0$", version):
        raise ValueError(
            "describe() takes an OpenAPI document of version 3.0, 3.1 or 3.2, or of Swagger 2.0, as dicts and "
            f"lists, and its version is {version or 'not there'}."
        )
    return _Dialect(version)


def _describe_operation(document: _Node, dialect: _Dialect, item: _Node, method: _Method) -> None:
    operation = item[method.name]
    taken = {_field_of(document, parameter) for parameter in (*_list(item), *_list(operation))}
    for name, says in method.fields():
        if name.lower() not in taken:
            parameter = {"name": name, "in": "header", "required": False, "description": says, **dialect.text()}
            operation.setdefault("parameters", []).append(parameter)

    responses = operation.setdefault("responses", {})
    for key in list(responses):
        if method.is_tagged(str(key)):
            _give_tag(document, dialect, responses, key)
    if method.is_read:
        _give_tag(document, dialect, responses, _key_of(responses, "304", _NOT_MODIFIED))
    for status in method.refusals():
        schema, says, reasons = _REFUSALS[status]
        response = responses[_key_of(responses, status, says)]
        if "$ref" not in response and method.media_type is not None:
            dialect.give_content(response, method.media_type, dialect.schema(document, schema, reasons))
            if status == "412":
                _give_tag(document, dialect, responses, _key_of(responses, status, says))


def _list(node: _Node) -> list[_Node]:
    return node.get("parameters") or []


def _field_of(document: _Node, parameter: _Node) -> str | None:
    """Return the name of the header field that a parameter is, in small letters."""
    parameter = _resolved(document, parameter)
    return str(parameter.get("name")).lower() if parameter.get("in") == "header" else None


def _key_of(responses: _Node, status: str, says: str) -> Any:
    """Return the key of a response, which may be a text or a number; if there is none, make one."""
    key = next((key for key in responses if str(key) == status), status)
    responses.setdefault(key, {"description": says})
    return key


def _give_tag(document: _Node, dialect: _Dialect, responses: _Node, key: Any) -> None:
    """Say that a response has an ETag, unless it says so. One that is shared becomes one of its own."""
    response = _resolved(document, responses[key])
    if "$ref" in response:
        return  # it is in another document, which says what it has
    headers = response.get("headers") or {}
    if any(name.lower() == "etag" for name in headers):
        return
    own = deepcopy(response) if "$ref" in responses[key] else response
    own["headers"] = {**headers, "ETag": {"description": _TAG, **dialect.text()}}
    responses[key] = own


def _url_of(server: _Node) -> str:
    """Return the URL of a server, with the defaults of its variables."""
    url = str(server.get("url", ""))
    for name, variable in (server.get("variables") or {}).items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url


def _resolved(document: _Node, node: _Node) -> _Node:
    """Return what a reference within the document names, and what that names; anything else as it is."""
    followed: set[str] = set()
    while (reference := str(node.get("$ref", ""))).startswith("#/") and reference not in followed:
        followed.add(reference)
        found: Any = document
        for step in unquote(reference[2:]).split("/"):
            if isinstance(found, list):
                found = dict(enumerate(found)).get(int(step)) if step.isdecimal() else None
            else:
                found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            break
        node = found
    return node


def _link(document: _Node, path: str, item: _Node) -> None:
    """Link the 200 of a GET with each write of the same URL that takes its tag in If-Match."""
    reading = item.get("get") or {}
    key = next((key for key in reading.get("responses") or () if str(key) == "200"), None)
    if key is None or "ETag" not in (reading["responses"][key].get("headers") or {}):
        return
    variables = [name[1:-1] for name in _VARIABLE_OF_PATH.findall(path)]
    for method in ("put", "patch", "post", "delete"):
        writing = item.get(method) or {}
        names = {_field_of(document, parameter) for parameter in (*_list(item), *_list(writing))}
        if "if-match" not in names:
            continue
        link: _Node = {"description": "Save what was read, with the tag that was read."}
        if "operationId" in writing:
            link["operationId"] = writing["operationId"]
        else:
            link["operationRef"] = (
                f"#/paths/{quote(path.replace('~', '~0').replace('/', '~1'), safe='~')}/{method}"
            )
        link["parameters"] = {
            **{f"path.{name}": f"$request.path.{name}" for name in variables},
            "header.If-Match": "$response.header.ETag",
        }
        reading["responses"][key].setdefault("links", {}).setdefault(f"{method}IfMatch", link)


# The command line.

_TYPES = {"int": "integer", "float": "number"}


@etag.command()
@click.option(
    "--version", type=click.Choice(["2.0", "3.0", "3.1", "3.2"]), default="3.1", help="Of the document to print."
)
@with_appcontext
def openapi(version: str) -> None:
    """Print what an OpenAPI document has to say of the views that are decorated, as a document of its own."""
    click.echo(json.dumps(describe(_outline(current_app, version)), indent=2))


def _outline(app: Flask, version: str) -> _Node:
    """Return a document of the decorated views alone, which says of each no more than its route does."""
    is_swagger = version == "2.0"
    paths: _Node = {}
    names: Counter[str] = Counter()
    for rule, method, view, endpoint in views_of(app):
        protection = protection_of(view)
        if protection is None or method not in ("GET", "PUT", "PATCH", "POST", "DELETE"):
            continue
        item = paths.setdefault(_VARIABLE_OF_RULE.sub(r"{\2}", rule), {})
        variables = [
            {"name": name, "in": "path", "required": True, **(schema if is_swagger else {"schema": schema})}
            for converter, name in _VARIABLE_OF_RULE.findall(rule)
            for schema in [{"type": _TYPES.get(converter.partition("(")[0], "string")}]
        ]
        status = "204" if method == "DELETE" else "200"
        name = re.sub(r"[^A-Za-z0-9_]", "_", f"{endpoint}_{method.lower()}")
        names[name] += 1  # several routes lead to one endpoint, say
        item[method.lower()] = {
            "operationId": name if names[name] == 1 else f"{name}_{names[name]}",
            **({"parameters": variables} if variables else {}),
            "responses": {status: {"description": "OK"}},
        }
    begins = {"swagger": "2.0"} if is_swagger else {"openapi": f"{version}.0"}
    return {**begins, "info": {"title": app.name, "version": "1"}, "paths": paths}
