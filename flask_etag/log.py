"""The logger ``flask_etag``: it records each refusal, and warns a view's author once of what to mend."""

from __future__ import annotations

import logging

from flask import current_app, request

from flask_etag.settings import settings_of

logger: logging.Logger = logging.getLogger("flask_etag")


def refusal(reason: str, cause: BaseException | None = None) -> None:
    """Record that a request was refused, or would have been: by method and endpoint, without tags or values.

    :param cause: the error of the store that is behind it: its kind is told, and not its text, which has values.
    """
    if not logger.isEnabledFor(logging.INFO):  # looking up the request costs more than all the rest
        return
    kinds = [type(each).__name__ for each in (cause, getattr(cause, "orig", None)) if each is not None]
    behind = f" ({', '.join(kinds)})" if kinds else ""
    logger.info("%s: %s %s%s", reason, request.method, request.endpoint, behind)


def once(notice: str) -> None:
    """Warn about the view that is being served: of each notice once in the life of the process."""
    told = settings_of(current_app).notices
    if (mark := (str(request.endpoint), notice)) not in told:
        told.add(mark)
        logger.warning("%s: %s", *mark)
