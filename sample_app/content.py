"""The content of a request: how much of it there may be, of which type, and what is read from it."""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request
from marshmallow import ValidationError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, UnsupportedMediaType

from sample_app.problems import answer_error

_LARGEST = 1_000_000  # bytes
_MEDIA_TYPES = {
    "POST": ["application/json"],
    "PUT": ["application/json"],
    "PATCH": ["application/merge-patch+json", "application/json"],
}


def check_content() -> Response | None:
    """Refuse content that is too large (413) or of a wrong type (415).

    Both come before a request is judged by its preconditions, and so before any view (RFC 9110 section 13.2.1).
    """
    request.max_content_length = _LARGEST + 1
    try:
        content = request.get_data()
    except HTTPException:
        raise
    except Exception as error:  # of the server's own kind: gunicorn's for a chunk whose size is none, say
        raise BadRequest("The content cannot be read.") from error
    if len(content) > _LARGEST:  # a chunked body, which does not say how long it is, was cut off there
        raise RequestEntityTooLarge
    accepted = _MEDIA_TYPES.get(request.method)
    if accepted is None or request.mimetype in accepted or not (content or request.mimetype):
        return None
    response = answer_error(UnsupportedMediaType(f"{request.method} takes {' or '.join(accepted)}."))
    response.headers["Accept-Patch" if request.method == "PATCH" else "Accept"] = ", ".join(accepted)
    return response


def read_object() -> dict[str, Any]:
    """Return the JSON object that the request carries; 400 where it is no JSON, 422 where it is no object."""
    content = _read_json()
    if not isinstance(content, dict):
        raise ValidationError("Not a JSON object.")
    return content


def read_objects() -> list[dict[str, Any]]:
    """Return the JSON objects that the request carries as a list; 400 and 422 as for one."""
    content = _read_json()
    if not (isinstance(content, list) and all(isinstance(member, dict) for member in content)):
        raise ValidationError("Not a list of JSON objects.")
    return content


def _read_json() -> Any:
    """Return what the request carries; 400 where it is no JSON."""
    try:
        return json.loads(request.get_data().decode("utf-8"), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The content is not JSON in UTF-8, or it is nested too deeply.") from error


def _integer(digits: str) -> int | float:
    """Read an integer, also one of so many digits that Python would refuse to: it is out of every range."""
    return int(digits) if len(digits) < 20 else float(digits)
