"""An INSERT that changes the row where it is there already, as each database spells it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import mysql, postgresql, sqlite


def upsert(engine: Engine, model: Any, values: Any, changed: dict[str, Any] | None) -> Any:
    """Return the statement.

    :param values: of the row, or of several, where they are made.
    :param changed: what is set of a row that is there; ``None`` to leave it as it is.
    """
    if engine.dialect.name == "mysql":
        if changed is None:
            return mysql.insert(model).values(values).prefix_with("IGNORE")
        return mysql.insert(model).values(values).on_duplicate_key_update(changed)
    insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    if changed is None:
        return insert(model).values(values).on_conflict_do_nothing()
    return insert(model).values(values).on_conflict_do_update(index_elements=["id"], set_=changed)
