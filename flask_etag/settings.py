"""The settings of an application: its ``ETAG_`` keys, read once, and what Flask-ETag itself keeps for it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from flask import Flask

EXTENSION = "etag"
"""The key of an application's :class:`Settings` in ``app.extensions``."""

Require = Literal["enforce", "report"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one application.

    :param require: whether an unprotected write is refused, or logged and let pass.
    :param cache_control: the Cache-Control of a 200 with a tag, and of a 304; ``None`` leaves it to the views.
    :param key: the secret that turns tags into HMACs.
    :param former_keys: the secrets of before: tags made by them are accepted in If-Match, and no longer given.
    :param epoch: a text in the second half of every tag, which reads compare and writes do not: another one makes
        all cached answers stale, and no write.
    :param accept_weakened: whether to accept a tag of ours that a proxy has marked weak, or put a suffix behind.
    :param is_watched: whether to warn of views that show rows which do not move the tag: while one develops.
    :param shows_decisions: whether each answer has a field ETag-Decision: in debug mode.
    :param notices: the (endpoint, notice) pairs that the log has been told already.
    :param last: of each endpoint, where it is watched: which state its last 200 had, and the fields of that which
        its 304 has to have.
    """

    require: Require = "enforce"
    cache_control: str | None = "private, max-age=0, must-revalidate"
    key: bytes | None = None
    former_keys: tuple[bytes | None, ...] = ()
    epoch: str = ""
    accept_weakened: bool = False
    is_watched: bool = False
    shows_decisions: bool = False
    notices: set[tuple[str, str]] = field(default_factory=set)
    last: dict[str, tuple[tuple[str, str], dict[str, AbstractSet[str]]]] = field(default_factory=dict)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Settings:
        """Read the ``ETAG_`` keys of a configuration.

        :raises ValueError: if a value has the wrong type.
        """
        default = cls()
        return cls(
            require=_require(config.get("ETAG_REQUIRE", default.require)),
            cache_control=_cache_control(config.get("ETAG_CACHE_CONTROL", default.cache_control)),
            key=_key(config.get("ETAG_KEY", default.key)),
            former_keys=_former_keys(config.get("ETAG_KEY_FALLBACKS", [])),
            epoch=_epoch(config.get("ETAG_EPOCH", default.epoch)),
            accept_weakened=_accept_weakened(config.get("ETAG_ACCEPT_WEAKENED", default.accept_weakened)),
        )


def settings_of(app: Flask) -> Settings:
    """Return the settings of an application.

    :raises RuntimeError: if the extension was not initialised for the application.
    """
    try:
        settings: Settings = app.extensions[EXTENSION]
    except KeyError:
        raise RuntimeError(
            "Flask-ETag is not initialised for this application: call ETag(app) where the application is "
            "made, or etag.init_app(app)."
        ) from None
    return settings


def watch(app: Flask) -> None:
    """Warn from now on of views that show rows which do not move the tag; in debug mode, show each decision."""
    app.extensions[EXTENSION] = replace(settings_of(app), is_watched=True, shows_decisions=app.debug)


def _require(value: object) -> Require:
    if value not in get_args(Require):
        raise ValueError(f'ETAG_REQUIRE is {value!r}: it takes "enforce" or "report".')
    return value  # type: ignore[return-value]


def _cache_control(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value.isascii() and value.isprintable()):
        return value
    raise ValueError(
        f"ETAG_CACHE_CONTROL is {value!r}: it takes the text of a Cache-Control field, or None to leave that "
        "field alone."
    )


def _key(value: object, name: str = "ETAG_KEY") -> bytes | None:
    value = _as_text(value)
    if isinstance(value, str):
        value = value.encode()
    if value is None or (isinstance(value, bytes) and value):
        return value
    raise ValueError(f"{name} takes a secret text or bytes, not empty; or None for tags without a secret.")


def _former_keys(value: object) -> tuple[bytes | None, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(
            "ETAG_KEY_FALLBACKS takes a list of what ETAG_KEY was before: secrets, or None for tags without one."
        )
    return tuple(_key(each, "Each of ETAG_KEY_FALLBACKS") for each in value)


def _epoch(value: object) -> str:
    value = _as_text(value)
    if isinstance(value, str):
        return value
    raise ValueError(
        f'ETAG_EPOCH is {value!r}: it takes a text. Write it in quotes, since 1.10 would be 1.1: "1.10".'
    )


def _as_text(value: object) -> object:
    """Turn an integer back into the text that it was: Flask reads environment variables as JSON."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _accept_weakened(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(
        f"ETAG_ACCEPT_WEAKENED is {value!r}: it takes True or False; in the environment, true or false."
    )
