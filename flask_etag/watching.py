"""An aid while one develops: it tells what an answer shows of rows that its tag knows nothing of."""

from __future__ import annotations

from typing import Any

from flask import Response

from flask_etag import log
from flask_etag.backend import owner_of
from flask_etag.exchange import Exchange
from flask_etag.resources import Resource
from flask_etag.validators import Found


def serve_watched(exchange: Exchange, resource: Resource[..., Any], target: Any) -> Response:
    """Run the view of a read, and warn of the rows that were loaded for it and can change without its tag."""
    store = owner_of(target) if isinstance(resource.validator, Found) else None
    if store is None or hasattr(type(target), "__etag__"):
        return exchange.serve(target)
    before = store.uncovered(target)
    response = exchange.serve(target)
    for part, (advice, is_content) in store.uncovered(target).items():
        if is_content or part not in before:
            log.once(
                f"{part} is loaded for its answer, and what changes there does not change the ETag, so that a 304 "
                f"can be stale: {advice}. This is told in debug and testing mode only."
            )
    return response
