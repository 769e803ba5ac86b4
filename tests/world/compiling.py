"""What is compiled once serves all tests, though each makes an application and an engine of its own."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule


def share_what_is_compiled(patch: pytest.MonkeyPatch) -> None:
    """Have Werkzeug compile once what builds the URLs of rules that are alike, and SQLAlchemy statements."""
    _share_builders(patch)
    _share_statements(patch)


def _share_builders(patch: pytest.MonkeyPatch) -> None:
    compiled: dict[tuple[object, ...], Any] = {}
    compile_builder: Any = Rule._compile_builder

    def builder(rule: Rule, append_unknown: bool = True) -> Any:
        if rule.defaults:  # which would be compiled into it
            return compile_builder(rule, append_unknown)
        spelling = (rule.rule, *rule._trace, append_unknown)
        if spelling not in compiled:
            compiled[spelling] = compile_builder(rule, append_unknown)
        return compiled[spelling]

    patch.setattr(Rule, "_compile_builder", builder)


def _share_statements(patch: pytest.MonkeyPatch) -> None:
    """Have engines share one cache, in which dialects of one kind, version and settings are one key."""
    shared: LRUCache[Any, Any] = LRUCache(5_000)
    has_cache = "_has_cache"

    def give(engine: Engine, own: Any) -> None:
        setattr(engine, has_cache, own is not None)

    def cache_of(engine: Engine) -> Any:
        return shared if getattr(engine, has_cache) else None

    patch.setattr(Engine, "_compiled_cache", property(cache_of, give), raising=False)
    patch.setattr(DefaultDialect, "__hash__", lambda dialect: hash(_settings_of(dialect)))
    patch.setattr(DefaultDialect, "__eq__", lambda one, other: _settings_of(one) == _settings_of(other))


def _settings_of(dialect: DefaultDialect) -> Any:
    settings = vars(dialect).get("_settings")
    if settings is None:
        plain = frozenset(pair for pair in vars(dialect).items() if _is_plain(pair[1]))
        settings = (type(dialect), plain)
        if dialect.server_version_info is not None:  # it has met its server, and changes no more
            vars(dialect)["_settings"] = settings
    return settings


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
