"""What a statement may write, read or lock, as far as its text and its parts tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy import (
    CTE,
    DDL,
    Column,
    Compiled,
    CompoundSelect,
    Delete,
    Insert,
    Select,
    Table,
    TableClause,
    TextClause,
    TextualSelect,
    Update,
)
from sqlalchemy.orm import FromStatement
from sqlalchemy.sql.ddl import ExecutableDDLElement
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import ReleaseSavepointClause, RollbackToSavepointClause, SavepointClause
from sqlalchemy.sql.lambdas import LambdaElement
from sqlalchemy.sql.visitors import iterate

ANY_TABLE: Final[frozenset[str]] = frozenset({"*"})
"""Of a text, which may write to any table."""

_FIRST_WORD = re.compile(r"(?:[\s(]|--[^\n]*\n|/\*(?!!).*?\*/)*(\w*)", re.DOTALL)
_WRITES_NOTHING = frozenset(
    {"select", "show", "set", "pragma", "explain", "values", "table", "with", "describe", "use", "xa"}
)
_WRITES_INSIDE = {
    "with": re.compile(r"\b(?:insert|update|delete|merge|replace|into)\b|;\s*\w", re.IGNORECASE),
    "explain": re.compile(r"\banalyze\b|;\s*\w", re.IGNORECASE),
}
"""What else a text may have in it that writes, by its first word."""
_ANOTHER_OR_INTO = re.compile(r"\binto\b|;\s*\w", re.IGNORECASE)

_AROUND = (FromStatement, TextualSelect, LambdaElement)
_OF_PARTS = (UpdateBase, Select, CompoundSelect)


@dataclass(slots=True, eq=False)
class Told:
    """What a compiled statement tells of itself.

    :param statement: what is executed: see :func:`statement_of`.
    :param tables: the names of the tables that it may write to; ``None`` where it writes nothing, and begins no
        savepoint.
    :param is_text: whether it is a text, or of a kind that is not known: see :func:`is_text`.
    """

    statement: Any
    tables: frozenset[str] | None
    is_text: bool


_told: WeakKeyDictionary[Compiled, Told] = WeakKeyDictionary()
"""By what SQLAlchemy has compiled, and keeps as long as it is used: each statement is looked into once."""


def told_by(compiled: Compiled) -> Told:
    """Return what a statement tells of itself."""
    try:
        return _told[compiled]
    except KeyError:
        statement = statement_of(compiled)
        told = _told[compiled] = Told(statement, _tables_of(statement), is_text(statement))
        return told


def tables_written_by(compiled: Compiled) -> frozenset[str] | None:
    """Name the tables that a statement may write to; ``None`` where it writes nothing, and begins no savepoint."""
    return told_by(compiled).tables


def statement_of(compiled: Compiled) -> Any:
    """Return what is executed, without what only says how to make it, or which objects to make of its rows."""
    statement: Any = compiled.statement
    while isinstance(statement, _AROUND):
        statement = statement._resolved if isinstance(statement, LambdaElement) else statement.element
    return statement


def _tables_of(statement: Any) -> frozenset[str] | None:
    """Name the tables that a statement may write to: of a kind that is not known, to any."""
    if isinstance(statement, _OF_PARTS):
        beside = _written_beside(statement)
        own = _names_of_written(statement) if isinstance(statement, UpdateBase) else frozenset()
        return ANY_TABLE if beside is ANY_TABLE else (own | beside) or None
    if isinstance(statement, SavepointClause):
        return frozenset()
    if isinstance(statement, RollbackToSavepointClause | ReleaseSavepointClause):
        return None
    text = _text_of(statement)
    if text is None:
        return None if isinstance(statement, ExecutableDDLElement) else ANY_TABLE
    return ANY_TABLE if writes_by_its_text(text) else None


def _names_of_written(statement: UpdateBase) -> frozenset[str]:
    """Name the table of a statement, and those of the columns that it sets: MariaDB's UPDATE may write several."""
    values = [getattr(statement, name, None) or () for name in ("_values", "_ordered_values")]
    tables = [each.table for columns in map(dict, values) for each in columns if isinstance(each, Column)]
    return _names_in(statement.table) | frozenset(name_of_table(each) for each in tables if each is not None)


def _text_of(statement: Any) -> str | None:
    """Return the text of a statement that is one; ``None`` for one of parts."""
    if isinstance(statement, TextClause):
        return statement.text
    return str(statement.statement) if isinstance(statement, DDL) else None


def ends_transaction(statement: Any, dialect: str) -> bool:
    """Tell whether a statement ends the transaction that is going on, as COMMIT does; on MariaDB, many do.

    :param dialect: the name of SQLAlchemy's dialect.
    """
    text = _text_of(statement)
    is_mysql = dialect in ("mysql", "mariadb")
    if text is None:
        return is_mysql and isinstance(statement, ExecutableDDLElement)
    return bool(_ENDS.match(text) or (is_mysql and _COMMITS_ON_MYSQL.match(text)))


_BEFORE = r"(?:\s|--[^\n]*\n|/\*(?!!).*?\*/)*"
_ENDS = re.compile(
    _BEFORE + r"(?:commit|end|abort|rollback(?!(?:\s+(?:work|transaction))?\s+to\b))\b", re.IGNORECASE | re.DOTALL
)
_COMMITS_ON_MYSQL = re.compile(
    _BEFORE
    + r"(?:(?:create|drop)\b(?!\s+temporary\b)|(?:alter|truncate|rename|lock|unlock|analyze|optimize|repair|"
    r"grant|revoke|begin|start)\b|set\s+(?:session\s+|@@(?:session\.)?)?autocommit\b)",
    re.IGNORECASE | re.DOTALL,
)


def writes_by_its_text(text: str) -> bool:
    """Tell whether a text may write: by its first word, and by what only looks like a read at first."""
    found = _FIRST_WORD.match(text)
    word = found[1].lower() if found else ""
    return word not in _WRITES_NOTHING or bool(_WRITES_INSIDE.get(word, _ANOTHER_OR_INTO).search(text))


def tables_read_by(compiled: Compiled) -> frozenset[str]:
    """Name the tables that a SELECT reads, as far as it tells: a text may read any."""
    statement = statement_of(compiled)
    return _names_in(statement) if isinstance(statement, Select | CompoundSelect) else ANY_TABLE


def may_be_about(statement: Any, written: frozenset[str], tables: frozenset[str]) -> bool:
    """Tell whether a statement may write to one of some tables: a text has to have the name of one in it.

    :param written: the tables that it may write to.
    """
    if tables is ANY_TABLE:
        return True
    if written is not ANY_TABLE:
        return bool(written & tables)
    text = _text_of(statement)
    return text is None or any(table.lower() in text.lower() for table in tables)


def name_of_table(table: Any) -> str:
    """Return the name of a table, as it is compared: most databases do not tell upper from lower case."""
    return str(table.name).lower()


def _names_in(target: Any) -> frozenset[str]:
    if isinstance(target, Table):
        return frozenset({name_of_table(target)})
    parts = [part for part in iterate(target) if isinstance(part, TableClause)]
    return frozenset(map(name_of_table, parts))


def _written_beside(statement: Any) -> frozenset[str]:
    """Name the tables that are written to by common table expressions, which a SELECT may have too."""
    names: frozenset[str] = frozenset()
    for part in iterate(statement):
        if isinstance(part, CTE):
            element: Any = part.element
            if isinstance(element, UpdateBase):
                names |= _names_in(element.table)
            elif isinstance(element, TextualSelect) and writes_by_its_text(str(element.element)):
                return ANY_TABLE
    return names


def tables_locked_by(statement: Any, *, may_choose: bool) -> frozenset[str]:
    """Name the tables whose rows a SELECT locks, and waits for: ``FOR UPDATE``, or a weaker one.

    Of a text, any of its words may be the name of one.

    :param may_choose: whether the database lets it name some of its tables for that; otherwise it locks all.
    """
    text = _text_of(statement)
    if text is not None:
        return frozenset(_WORD.findall(text.lower())) if _LOCKS.search(text) else frozenset()
    lock = getattr(statement, "_for_update_arg", None)
    if lock is None or lock.nowait or lock.skip_locked:
        return frozenset()
    return frozenset(name for part in (may_choose and lock.of) or (statement,) for name in _names_in(part))


_WORD = re.compile(r"\w+")
_LOCKS = re.compile(
    r"\b(?:for\s+(?:no\s+key\s+)?update|for\s+(?:key\s+)?share|in\s+share\s+mode)\b"
    r"(?!.*\b(?:nowait|skip\s+locked)\b)",
    re.IGNORECASE | re.DOTALL,
)


def columns_set_by(compiled: Compiled) -> frozenset[tuple[str, str]] | None:
    """Name the columns that an UPDATE sets, each after its table; ``None`` for any other statement.

    A column that the table sets by itself with each UPDATE is one of them, unless the statement gives it a value.
    One that is set to itself is none, nor is a generated one: that says nothing but what the others do.
    """
    statement = compiled.statement
    if not isinstance(statement, Update) or not isinstance(statement.table, Table) or _written_beside(statement):
        return None
    table, made = statement.table, cast(Any, compiled)
    by_itself = {
        column: None
        for column in table.columns
        if (column.onupdate or column.server_onupdate) and column.computed is None
    }
    by_parameter: dict[Any, Any] = dict.fromkeys(made.column_keys or ())
    values: dict[Any, Any] = {}
    for key, value in (by_itself | by_parameter | dict(made.compile_state._dict_parameters or {})).items():
        column: Any = table.columns.get(key) if isinstance(key, str) else key
        if column is not None:  # or it is a parameter of the WHERE
            values[_name_of(column)] = value
    return frozenset(name for name, value in values.items() if name != _name_of(value))


def _name_of(value: Any) -> tuple[str, str] | None:
    """Name a column, after its table; ``None`` for whatever is none."""
    return (str(value.table.name), str(value.name)) if isinstance(value, Column) else None


def is_plain_insert(statement: Any) -> bool:
    """Tell whether a statement can only make rows: the dialects have classes of their own for more."""
    return type(statement) is Insert and not (statement._prefixes or _written_beside(statement))


def changes_only_what_it_finds(statement: Any) -> bool:
    """Tell whether a statement only changes or deletes rows, so that its count of rows says all."""
    return isinstance(statement, Update | Delete) and not _written_beside(statement)


def may_upsert(statement: Any) -> bool:
    """Tell whether a statement makes rows, or changes those that are there already."""
    return isinstance(statement, Insert) and not is_plain_insert(statement)


def may_insert(statement: Any) -> bool:
    """Tell whether a statement makes rows; a text may."""
    return isinstance(statement, Insert) or is_text(statement)


def may_delete(statement: Any) -> bool:
    """Tell whether a statement takes rows away; a text may."""
    return isinstance(statement, Delete) or is_text(statement)


def is_text(statement: Any) -> bool:
    """Tell whether a statement is a text, or of a kind that is not known, which does not tell its tables."""
    return not isinstance(statement, _OF_PARTS)


def keys_of(statement: Any, parameters: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]] | None:
    """Return the primary keys that an INSERT names among its parameters; ``None`` where it does not.

    :param parameters: its sets of parameters, by name.
    """
    if not isinstance(statement, Insert) or not isinstance(statement.table, Table):
        return None
    columns = [column.key for column in statement.table.primary_key.columns]
    rows = parameters_of_rows(statement, parameters)
    if not all(column in each for each in rows for column in columns):
        return None
    return [tuple(each[column] for column in columns) for each in rows]


def parameters_of_rows(statement: Any, parameters: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the parameters of each row that a statement is about, by the key of the column that each is for.

    :param parameters: its sets of parameters, by name.
    """
    if not getattr(statement, "_multi_values", ()):
        return parameters
    suffixes = [f"_m{number}" for number in range(rows_of(statement, 1))]
    return [
        {name.removesuffix(suffix): value for name, value in each.items() if name.endswith(suffix)}
        for each in parameters
        for suffix in suffixes
    ]


def rows_of(statement: Any, multiparams: int) -> int:
    """Tell how many rows an INSERT is about."""
    values = getattr(statement, "_multi_values", ())
    return sum(len(each) for each in values) or multiparams
