"""What an application configured, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

EXTENSION = "etag"
"""Under this name an application keeps its :class:`Settings`, in ``app.extensions``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of one application.

    :param cache_control: the Cache-Control of a tagged 200 and of a 304; ``None`` leaves it to the views.
    """

    cache_control: str | None = "private, max-age=0, must-revalidate"

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Read the keys that begin with ``ETAG_``.

        :raises ValueError: if a value has the wrong type.
        """
        cache_control = config.get("ETAG_CACHE_CONTROL", cls().cache_control)
        if not (cache_control is None or isinstance(cache_control, str)):
            raise ValueError(
                f"ETAG_CACHE_CONTROL is {cache_control!r}: it takes the text of a Cache-Control field, "
                "or None to leave that field alone."
            )
        return cls(cache_control)


def settings_of(extensions: Mapping[str, Any]) -> Settings:
    """Return the settings that an application keeps among its extensions.

    :raises RuntimeError: if the extension was never initialised there.
    """
    settings = extensions.get(EXTENSION)
    if not isinstance(settings, Settings):
        raise RuntimeError(
            "Flask-ETag is not initialised for this application: call ETag(app) where the application is "
            "made, or etag.init_app(app)."
        )
    return settings
