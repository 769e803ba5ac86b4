"""Refusals as problem documents (RFC 9457); those of Flask-ETag are such already."""

from __future__ import annotations

import json
from typing import Any, cast

from flask import Response
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, UnprocessableEntity


def answer_error(error: HTTPException, **members: Any) -> Response:
    """Answer any HTTP error, and keep its header fields: Allow, say.

    :param members: further members of the document.
    """
    response = cast(Response, error.get_response())
    problem = {"type": "about:blank", "title": error.name, "status": error.code, "detail": error.description}
    response.data = json.dumps({**problem, **members}) + "\n"
    response.content_type = "application/problem+json"
    return response


def answer_invalid(error: ValidationError) -> Response:
    """Answer content that cannot be accepted; ``errors`` says by member what is wrong."""
    errors = error.normalized_messages()  # type: ignore[no-untyped-call]
    return answer_error(UnprocessableEntity("The members named in errors are wrong."), errors=errors)
