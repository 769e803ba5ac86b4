"""What an OpenAPI document says of decorated views: the fields, the refusals, and where a tag leads.

A framework makes the document, and :func:`describe` completes it, when it is finished: it reads the routes of the
application, and edits the operations of those that are decorated. OpenAPI 3.0, 3.1, 3.2 and Swagger 2.0 differ in
how they say it, which is what :class:`_Dialect` knows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from typing import Any, NamedTuple, get_args
from urllib.parse import quote, unquote, urlsplit

import click
from flask import Flask, current_app
from flask.cli import with_appcontext
from werkzeug.routing import (
    AnyConverter,
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    Rule,
    UUIDConverter,
)

from flask_etag.apis import answers_in_its_own_way, api_of
from flask_etag.audit import Protection, etag, guard_of, protection_of, share_tags, views_of
from flask_etag.backend import Cause
from flask_etag.errors import (
    ConditionalRequestError,
    PreconditionFailed,
    PreconditionRequired,
    WriteConflict,
)
from flask_etag.preconditions import Reason
from flask_etag.settings import settings_of

_Node = dict[str, Any]

_READS = ("get", "head")
_CREATING = ("put", "post")
_NAMED = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_USUAL = ("GET", "PUT", "PATCH", "POST", "DELETE")
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


class _Refusal(NamedTuple):
    """What a document says of one status by which a request may be refused."""

    error: type[ConditionalRequestError]
    schema: str
    says: str
    reasons: tuple[str, ...]


_REFUSALS = {
    "412": _Refusal(
        PreconditionFailed,
        "PreconditionFailedProblem",
        "A condition of the request does not hold, and nothing was changed: `reason` says why, `etag` is current.",
        get_args(Reason),
    ),
    "428": _Refusal(
        PreconditionRequired,
        "PreconditionRequiredProblem",
        "The request has to say, by If-Match, which state of the resource it was made for.",
        ("missing",),
    ),
    "409": _Refusal(
        WriteConflict,
        "WriteConflictProblem",
        "Another request was writing the same data at the same moment: `reason` says what is to be done.",
        get_args(Cause),
    ),
}


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
    for path in [path for path in paths if path.startswith("/")]:  # the others are extensions
        item = _own(document, paths[path])
        described = [
            (method, operation)
            for name, operation in _operations_of(item)
            for method in views.methods_of(dialect.bases(document, item, operation), path)
            if method.name == name
        ]
        if not described:
            continue
        paths[path] = item
        for method, operation in described:
            _describe_operation(document, dialect, item, operation, method)
        if dialect.has_links:
            _link(document, path, described)
    return document


class _Method:
    """One method of a decorated view.

    :param app: the application.
    :param endpoint: of the view.
    :param name: the method, in small letters.
    :param protection: how it is decorated.
    """

    def __init__(self, app: Flask, endpoint: str, name: str, protection: Protection) -> None:
        self._app = app
        self._endpoint = endpoint
        self._protection = protection
        self.name = name

    @property
    def is_read(self) -> bool:
        return self.name in _READS

    @property
    def has_resource(self) -> bool:
        return self._protection.resource is not None

    @property
    def takes_tag(self) -> bool:
        """Whether a request says by If-Match which state it replaces; of several items, the content says that."""
        return not self.is_read and self.has_resource and not self._protection.is_batch

    @property
    def replaces(self) -> bool:
        """Whether it writes to what its URL names. A POST that needs no tag adds something to that."""
        return self.takes_tag and (self.name != "post" or self._protection.required)

    def reads_what(self, writing: _Method) -> bool:
        """Tell whether the tag of this read is good for a write."""
        read, written = self._protection.resource, writing._protection.resource
        return read is not None and written is not None and share_tags(read, written)

    @property
    def _is_required(self) -> bool:
        """Whether a write that names no state is refused."""
        return self._protection.unprotected == "refused" and settings_of(self._app).require == "enforce"

    def refusals(self) -> list[str]:
        """Return the statuses by which a request may be refused; a read, by an If-Match that does not hold."""
        if self.is_read:
            return ["412"]
        if not self.has_resource:
            return []
        return ["412", "428", "409"] if self._is_required else ["412", "409"]

    def media_type_of(self, refusal: _Refusal) -> str | None:
        """Return in what a refusal is told; ``None`` where the application has a handler of its own for it."""
        api = api_of(self._app, self._endpoint)
        if api is not None:
            return None if answers_in_its_own_way(api, refusal.error) else "application/json"
        is_ours = _handler_of(self._app, self._endpoint, refusal.error) is ConditionalRequestError.get_response
        return "application/problem+json" if is_ours else None

    def fields(self) -> Iterator[tuple[str, str]]:
        """Yield the conditional fields that make sense of a request, each with what it says."""
        may_create = self._protection.creates and self.name in _CREATING
        if self.is_read:
            yield "If-None-Match", _IF_NONE_MATCH_TO_READ
        elif self.takes_tag:
            required = _AND_REQUIRED if self._is_required else ""
            yield "If-Match", _IF_MATCH + required + (_AND_CREATES if may_create else "")
            if may_create:
                yield "If-None-Match", _IF_NONE_MATCH_TO_CREATE

    def is_tagged(self, status: str) -> bool:
        """Tell whether an answer is given a tag: a view may give others one, as the 201 of a POST."""
        resource = self._protection.resource
        if resource is None:
            return self.is_read and status == "200"
        if self.is_read:
            return status.startswith("2")
        if not self.takes_tag or resource.swaps or guard_of(resource)[0] == "judged only":
            return False
        return status.startswith("2") and self.name != "delete" and status != "202" and not self._makes(status)

    def _makes(self, status: str) -> bool:
        return self.name == "post" and status == "201"


class _Views:
    """The decorated views of an application, by the paths that lead to them; none by those that lead to others."""

    def __init__(self, app: Flask) -> None:
        self._by_path: dict[str, list[_Method]] = {}
        for rule, method, view in views_of(app):
            protection = protection_of(view)
            names = ["get", "head"] if method == "GET" else [method.lower()]
            methods = [_Method(app, rule.endpoint, name, protection) for name in names] if protection else []
            path = _normal(_path_of(rule))
            for written in {path, _nameless(path)}:
                self._by_path.setdefault(written, []).extend(methods)

    def methods_of(self, bases: list[str], path: str) -> list[_Method]:
        """Return the methods of a path behind the first of some bases where it is known, whatever its variables.

        :param bases: each an absolute path, or nothing; or, after a dot, one that is relative to where the
            document is, which nobody knows: then the one path is meant that ends so.
        """
        for base in bases:
            written = _normal(base.removeprefix(".") + path)
            if base.startswith("."):
                ends = _nameless(written)
                found = [known for known in self._by_path if known.endswith(ends) and known == _nameless(known)]
                candidates = found if len(found) == 1 else []
            else:
                candidates = [known for known in (written, _nameless(written)) if known in self._by_path]
            for known in candidates:
                return self._by_path[known]
        return []


def _steps_to(method: str) -> tuple[str, ...]:
    """Return where a path says something of a method: OpenAPI 3.2 has a place for those that it does not name."""
    return (method,) if method in _NAMED else ("additionalOperations", method.upper())


def _operations_of(item: _Node) -> Iterator[tuple[str, _Node]]:
    """Yield the operations of a path, each with its method in small letters."""
    for name in _NAMED:
        if item.get(name) is not None:
            yield name, item[name]
    for name, operation in (item.get("additionalOperations") or {}).items():
        yield name.lower(), operation


def _normal(path: str) -> str:
    return unquote(path).rstrip("/")


def _nameless(path: str) -> str:
    return _VARIABLE_OF_PATH.sub("{}", path)


def _path_of(rule: Rule) -> str:
    """Return a rule of Werkzeug's as a path of OpenAPI's."""
    steps = [f"{{{text}}}" if is_variable else text for is_variable, text in rule._trace]
    return "".join(steps).partition("|")[2]  # before it is the domain


def _handler_of(app: Flask, endpoint: str, error: type[ConditionalRequestError]) -> Any:
    """Return what handles a refusal, as Flask finds it: by its status first, and in the innermost blueprint."""
    blueprints = []
    while endpoint := endpoint.rpartition(".")[0]:
        blueprints.append(endpoint)
    specs = (app.error_handler_spec[name][code] for code in (error.code, None) for name in (*blueprints, None))
    return next((handlers[kind] for handlers in specs for kind in error.__mro__ if kind in handlers), None)


class _Dialect:
    """How one version of OpenAPI says things.

    :param version: its number: 2.0 is Swagger's.
    """

    def __init__(self, version: str) -> None:
        self._is_swagger = version.startswith("2.")
        self._is_3_0 = version.startswith("3.0")
        self.has_links = not self._is_swagger

    def bases(self, document: _Node, item: _Node, operation: _Node) -> list[str]:
        """Return what may stand before a path: where the nearest that says so says that URLs begin, or nothing."""
        if self._is_swagger:
            urls = [document.get("basePath") or ""]
        else:
            servers = operation.get("servers") or item.get("servers") or document.get("servers") or ()
            urls = [_url_of(server) for server in servers]
        return [*filter(None, map(_base_of, urls)), ""]

    def text(self) -> _Node:
        """Return the type of a text, for a field."""
        return {"type": "string"} if self._is_swagger else {"schema": {"type": "string"}}

    def schema(self, document: _Node, name: str, reasons: tuple[str, ...]) -> _Node:
        """Put the schema of a problem into the document, unless it has one of that name; return a reference."""
        if self._is_swagger:
            schemas, place = _at(document, "definitions"), "#/definitions/"
        else:
            schemas, place = _at(_at(document, "components"), "schemas"), "#/components/schemas/"
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

    def give_content(
        self, document: _Node, operation: _Node, response: _Node, media_type: str, schema: _Node
    ) -> None:
        """Say what a response carries, unless that is said already.

        Swagger says once for all responses of an operation which media types they have; or does not.
        """
        if not self._is_swagger:
            response.setdefault("content", {media_type: {"schema": schema}})
        elif "schema" not in response:
            response["schema"] = schema
            produced = operation.get("produces") or document.get("produces") or []
            if produced and media_type not in produced:
                operation["produces"] = [*produced, media_type]


def _dialect_of(document: _Node) -> _Dialect:
    is_object = isinstance(document, Mapping)
    version = str(document.get("openapi") or document.get("swagger") or "") if is_object else ""
    if not re.match(r"3\.[0-2](\.|$)|2\.0$", version):
        told = (
            f"its version is {version or 'not there'}" if is_object else f"was given a {type(document).__name__}"
        )
        raise ValueError(
            "describe() takes an OpenAPI document of version 3.0, 3.1 or 3.2, or of Swagger 2.0, as dicts and "
            f"lists, and {told}."
        )
    return _Dialect(version)


def _describe_operation(
    document: _Node, dialect: _Dialect, item: _Node, operation: _Node, method: _Method
) -> None:
    taken = {_field_of(document, parameter) for parameter in (*_list(item), *_list(operation))}
    for name, says in method.fields():
        if name.lower() not in taken:
            parameter = {"name": name, "in": "header", "required": False, "description": says, **dialect.text()}
            operation["parameters"] = [*_list(operation), parameter]

    responses = _at(operation, "responses")
    for key in list(responses):
        if method.is_tagged(str(key)):
            _give_tag(document, dialect, responses, key)
    if method.is_read:
        _give_tag(document, dialect, responses, _key_of(responses, "304", _NOT_MODIFIED))
    for status in method.refusals():
        refusal = _REFUSALS[status]
        key = _key_of(responses, status, refusal.says)
        media_type = method.media_type_of(refusal)
        if "$ref" not in responses[key] and media_type is not None:
            schema = dialect.schema(document, refusal.schema, refusal.reasons)
            dialect.give_content(document, operation, responses[key], media_type, schema)
            if status == "412" and (method.takes_tag or method.is_read):
                _give_tag(document, dialect, responses, key)


def _at(node: _Node, name: str) -> _Node:
    """Return what a node has under a name; if it has nothing there, an empty node is put there."""
    found: _Node = node.get(name) or {}
    node[name] = found
    return found


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
    if _has_tag(document, responses[key]):
        return
    response = _own(document, responses[key])
    if "$ref" in response:
        return  # it is in another document, which says what it has
    response["headers"] = {**(response.get("headers") or {}), "ETag": {"description": _TAG, **dialect.text()}}
    responses[key] = response


def _has_tag(document: _Node, response: _Node) -> bool:
    return any(name.lower() == "etag" for name in _resolved(document, response).get("headers") or ())


def _own(document: _Node, node: _Node) -> _Node:
    """Return a node that can be edited; one that others share, by a reference or an alias of YAML's, stays theirs.

    Beside a reference there may be a summary or a description, which counts (OpenAPI 3.1).
    """
    found = _resolved(document, node)
    beside = {} if found is node else {name: value for name, value in node.items() if name != "$ref"}
    own: _Node = _unshared({**found, **beside} if beside else found)
    return own


def _unshared(node: Any) -> Any:
    """Return a copy in which no part is in two places: deepcopy() would keep the aliases within."""
    if isinstance(node, dict):
        own = copy(node)
        own.update((name, _unshared(value)) for name, value in node.items())
        return own
    return [_unshared(value) for value in node] if isinstance(node, list) else node


def _url_of(server: _Node) -> str:
    """Return the URL of a server, with the defaults of its variables."""
    url = str(server.get("url", ""))
    for name, variable in (server.get("variables") or {}).items():
        url = url.replace(f"{{{name}}}", str(variable.get("default", "")))
    return url


def _base_of(url: str) -> str:
    """Return the path of a URL, without a slash at its end; after a dot, if it is relative to the document."""
    parts = urlsplit(url)
    is_relative = not parts.netloc and not parts.path.startswith("/")
    base = "".join(f"/{step}" for step in parts.path.split("/") if step not in ("", ".", ".."))
    return f".{base}" if is_relative and parts.path else base


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


def _link(document: _Node, path: str, described: list[tuple[_Method, _Node]]) -> None:
    """Link the 200 of a GET with each write of the same URL that takes its tag in If-Match."""
    reads = [(method, operation) for method, operation in described if method.name == "get"]
    if not reads:
        return
    read, reading = reads[0]
    responses = reading.get("responses") or {}
    key = next((key for wanted in ("200", "2XX") for key in responses if str(key) == wanted), None)
    if key is None or not _has_tag(document, responses[key]):
        return
    links: _Node = {}
    for method, writing in described:
        if not (method.replaces and read.reads_what(method)):
            continue
        link = links[f"{method.name}IfMatch"] = {"description": "Save what was read, with the tag that was read."}
        if "operationId" in writing:
            link["operationId"] = writing["operationId"]
        else:
            steps = [
                quote(step.replace("~", "~0").replace("/", "~1"), safe="~")
                for step in (path, *_steps_to(method.name))
            ]
            link["operationRef"] = f"#/paths/{'/'.join(steps)}"
        link["parameters"] = {
            **{f"path.{name[1:-1]}": f"$request.path.{name[1:-1]}" for name in _VARIABLE_OF_PATH.findall(path)},
            "header.If-Match": "$response.header.ETag",
        }
    if links:
        response = responses[key] = _own(document, responses[key])
        response["links"] = {**links, **(response.get("links") or {})}


# The command line.


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
    for rule, method, view in views_of(app):
        protection = protection_of(view)
        is_said = method in _USUAL or (version == "3.2" and method not in ("OPTIONS", "TRACE"))
        if protection is None or not is_said:
            continue
        place = paths.setdefault(_path_of(rule), {})
        *above, last = _steps_to(method.lower())
        for step in above:
            place = place.setdefault(step, {})
        variables = [
            {"name": name, "in": "path", "required": True, **(schema if is_swagger else {"schema": schema})}
            for name, schema in _variables_of(rule)
        ]
        status = "204" if method == "DELETE" else "200"
        name = re.sub(r"[^A-Za-z0-9_]", "_", f"{rule.endpoint}_{method.lower()}")
        names[name] += 1  # several routes lead to one endpoint, say
        place[last] = {
            "operationId": name if names[name] == 1 else f"{name}_{names[name]}",
            **({"parameters": variables} if variables else {}),
            "responses": {status: {"description": "OK"}},
        }
    begins = {"swagger": "2.0"} if is_swagger else {"openapi": f"{version}.0"}
    return {**begins, "info": {"title": app.name, "version": "1"}, "paths": paths}


def _variables_of(rule: Rule) -> Iterator[tuple[str, _Node]]:
    """Yield the variables of a rule, each with the schema of what its converter takes."""
    for is_variable, name in rule._trace:
        if is_variable:
            yield name, _schema_of(rule._converters[name])


def _schema_of(converter: BaseConverter) -> _Node:
    if isinstance(converter, IntegerConverter):
        return {"type": "integer"}
    if isinstance(converter, FloatConverter):
        return {"type": "number"}
    if isinstance(converter, UUIDConverter):
        return {"type": "string", "format": "uuid"}
    if isinstance(converter, AnyConverter):
        return {"type": "string", "enum": sorted(converter.items)}
    return {"type": "string"}
