"""An INSERT that changes the row where it is there already, as each database spells it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import mysql, postgresql, sqlite


def upsert(engine: Engine, model: Any, values: dict[str, Any], changed: dict[str, Any]) -> Any:
    """Return the statement.

    :param values: of the row, where it is made.
    :param changed: what is set of it, where it is there.
    """
    if engine.dialect.name == "mysql":
        return mysql.insert(model).values(values).on_duplicate_key_update(changed)
    insert: Any = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
    return insert(model).values(values).on_conflict_do_update(index_elements=["id"], set_=changed)
