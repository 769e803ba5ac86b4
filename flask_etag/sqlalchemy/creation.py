"""What a request makes while its URL names nothing: whether that is what the URL names afterwards, or another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstanceState

from flask_etag.sqlalchemy import databases, statements
from flask_etag.sqlalchemy.databases import Row
from flask_etag.sqlalchemy.models import key_of


@dataclass(slots=True)
class _Executed:
    """A statement that was not a flush's: what it may have made or taken away is known by its table alone.

    :param rows: of how many rows it was.
    :param rowcount: what the database has answered; -1 before it has.
    """

    statement: Any
    tables: frozenset[str]
    rows: int
    rowcount: int = -1


class Creation:
    """What a request has made, and what it has written to that was there: by objects and by statements."""

    def __init__(self) -> None:
        self._made: list[InstanceState[Any]] = []
        self._rows: list[Row] = []  # of what was going to be made: the winner's row, where another has made it
        self._replaced: list[InstanceState[Any]] = []
        self._executed: list[_Executed] = []

    @property
    def may_have_made(self) -> bool:
        """Whether there is anything that the URL may name by now."""
        return bool(self._made or self._replaced or self._executed)

    def rows(self) -> list[Row]:
        """Return the rows that were going to be made, where their keys were known before."""
        return self._rows

    def inserting(self, state: InstanceState[Any], key: tuple[Any, ...], replaced: object | None) -> None:
        """Note an object that a flush is about to insert, and one of the same key that it deletes."""
        self._made.append(state)
        if None not in key:
            self._rows.append(Row(state.mapper, key))
        if replaced is not None:
            self.replacing(replaced._sa_instance_state)  # type: ignore[attr-defined]

    def replacing(self, state: InstanceState[Any]) -> None:
        """Note an object that a flush is about to change or delete, unless the request has made it."""
        if not any(state is made for made in self._made):
            self._replaced.append(state)

    def is_key_taken(self, error: BaseException) -> bool:
        """Tell whether an error means that another has made what the request was going to make first."""
        is_violation = isinstance(error, IntegrityError) and bool(self._made)
        return is_violation and databases.is_key_taken(error, self._made[0].mapper)

    def executing(self, statement: Any, tables: frozenset[str], rows: int) -> None:
        """Note a statement that is about to be executed."""
        self._executed.append(_Executed(statement, tables, statements.rows_of(statement, rows)))

    def executed(self, rowcount: int) -> None:
        """Note what the database has answered to the last one."""
        if self._executed:
            last = self._executed[-1]
            last.rowcount = max(last.rowcount, 0) + max(rowcount, 0)

    def has_made(self, connection: Connection, row: Row) -> bool:
        """Tell whether the request itself has made a row, and has not replaced another's by that.

        :param connection: one that sees the row.
        """
        if any(row.is_named_by(each.mapper, _key_of(each)) for each in self._replaced):
            return False
        executed = [each for each in self._executed if each.tables & {row.table}]
        if any(statements.may_delete(each.statement) and each.rowcount > 0 for each in executed):
            return False
        if any(row.is_named_by(each.mapper, _key_of(each)) for each in self._made):
            return True
        inserts = [each for each in executed if statements.may_insert(each.statement)]
        return bool(inserts) and not any(
            statements.may_upsert(each.statement)
            and databases.has_replaced(connection, row, each.rowcount, each.rows)
            for each in inserts
        )


def _key_of(state: InstanceState[Any]) -> tuple[Any, ...] | None:
    """Return the primary key of an object; ``None`` for one that was not inserted, or whose INSERT is undone."""
    return None if state.key is None else key_of(state)
