"""The story of a guarded write."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from flask import Response, request

from flask_etag.entity_tags import EntityTag
from flask_etag.errors import PreconditionRequired, WriteConflict
from flask_etag.exchange import asked, is_success, is_unchanged, tag
from flask_etag.guards import Guard, Refused, refused, store_of
from flask_etag.resources import Resource

logger = logging.getLogger("flask_etag")


def write(
    resource: Resource[..., Any],
    url_arguments: dict[str, Any],
    serve: Callable[[Any], Response],
    *,
    protected: bool,
) -> Response:
    """Answer a request that may change its target: run the view only on the state that the sender has seen.

    :param serve: runs the view on the object that was loaded.
    :param protected: whether to refuse a request that sets no condition on what it overwrites.
    :raises PreconditionRequired: if it is refused for that.
    :raises PreconditionFailed: if a condition does not hold, or no longer holds when the store refuses.
    :raises WriteConflict: if the store refuses, and the conditions hold all the same.
    """
    target = _load(resource, url_arguments)
    preconditions = asked()
    if protected and not preconditions.protect:
        raise PreconditionRequired
    current = resource.representation(target)
    is_unchanged(preconditions, current)

    guard = _guard_of(target, current.etag, resource)
    try:
        with guard.writing():
            response = serve(target)
            if response.status_code < 400:
                guard.flush()
    except Refused as refusal:
        # Another writer was first. Whether this request was stale is for the state that won to tell; if that
        # cannot be read, or part of this write is done, the answer is only that they met.
        with suppress(Refused), guard.judging():
            winner = resource.load(url_arguments)
            if not guard.committed:
                is_unchanged(preconditions, resource.representation(winner))
        if refusal.perhaps is not None:
            raise refusal.perhaps from refusal.perhaps.__cause__
        raise WriteConflict from refusal

    if is_success(response) and _describes_target(response):
        tag(response, guard.etag)
    return response


def _load(resource: Resource[..., Any], url_arguments: dict[str, Any]) -> Any:
    """Load the target, unless the store is locked by another writer for longer than it waits."""
    try:
        return resource.load(url_arguments)
    except Exception as error:
        if refused(error):
            raise WriteConflict from error
        raise


def _describes_target(response: Response) -> bool:
    """Tell whether an answer speaks of the target as it is now (RFC 9110 sections 9.3.3 and 15.3.3).

    A 202 speaks of what will be. A POST's 201 speaks of what was made; its tag is for the view to give.
    """
    return response.status_code != 202 and not (request.method == "POST" and response.status_code == 201)


def _guard_of(target: object, etag: EntityTag | None, resource: Resource[..., Any]) -> Guard:
    store = store_of(target)
    if store is None:
        return _Unguarded()
    return store.guard(target, etag, resource.etag_of)


class _Unguarded:
    """The guard of an object that is in no store: it was judged, and nothing holds it to that.

    So the answer carries no tag: another writer may have been there in the meantime.
    """

    etag: EntityTag | None = None
    committed = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        _warn_once(str(request.endpoint))
        yield

    judging = writing

    def flush(self) -> None:
        pass


_warned: set[str] = set()


def _warn_once(endpoint: str) -> None:
    if endpoint not in _warned:
        _warned.add(endpoint)
        logger.warning(
            "%s: judged, not guarded. What its loader returns is in no store that can refuse a stale write, "
            "so two requests at the same moment may still overwrite each other, and its answer has no ETag.",
            endpoint,
        )
