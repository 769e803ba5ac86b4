"""What the log is told: each refusal, and once for each view what its author should know."""

from __future__ import annotations

import logging

from flask import current_app, request

from flask_etag.settings import settings_of

logger = logging.getLogger("flask_etag")


def refusal(reason: str) -> None:
    """Record that a request was refused, or would have been: neither tags nor values from its URL."""
    if logger.isEnabledFor(logging.INFO):  # or what is asked of the request would cost more than the rest
        logger.info("%s: %s %s", reason, request.method, request.endpoint)


def once(notice: str) -> None:
    """Warn of something about the view that is being served, the first time only."""
    told = settings_of(current_app).notices
    if (mark := (str(request.endpoint), notice)) not in told:
        told.add(mark)
        logger.warning("%s: %s", *mark)
