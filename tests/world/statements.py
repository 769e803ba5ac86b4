"""What an application says to its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

CONTROL = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """Yield a list that grows by each statement, in one line; what controls a transaction is left out."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        text = " ".join(statement.split())
        if not text.startswith(CONTROL):
            statements.append(text)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def verbs(statements: list[str]) -> list[str]:
    """Return the first word of each statement, and forget them all."""
    found = [statement.split(maxsplit=1)[0] for statement in statements]
    statements.clear()
    return found
