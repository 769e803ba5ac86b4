"""The story of a conditional read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response

from flask_etag.exchange import asked, is_success, is_unchanged, not_modified, tag
from flask_etag.resources import Resource


def read(
    resource: Resource[..., Any], url_arguments: dict[str, Any], serve: Callable[[Any], Response]
) -> Response:
    """Answer GET or HEAD: 304 where the sender has the current representation, or else the view's answer.

    :param serve: runs the view on the object that was loaded.
    :raises PreconditionFailed: if a condition of the request does not hold.
    """
    target = resource.load(url_arguments)
    current = resource.representation(target)
    if is_unchanged(asked(), current):
        return not_modified(current)
    response = serve(target)
    if is_success(response):
        tag(response, current.etag)
    return response
