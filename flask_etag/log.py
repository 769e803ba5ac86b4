"""The logger ``flask_etag``, and what a view's author is told once, to mend it; ``decisions`` records refusals."""

from __future__ import annotations

import logging

from flask import current_app, request

from flask_etag.settings import settings_of

logger: logging.Logger = logging.getLogger("flask_etag")


def once(notice: str) -> None:
    """Warn about the view that is being served: of each notice once in the life of the process."""
    told = settings_of(current_app).notices
    if (mark := (str(request.endpoint), notice)) not in told:
        told.add(mark)
        logger.warning("%s: %s", *mark)
