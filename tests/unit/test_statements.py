"""What a statement may write, as far as its text and its parts tell."""

from __future__ import annotations

from gc import collect
from typing import Any
from weakref import ref

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    column,
    delete,
    insert,
    select,
    table,
    text,
    update,
)
from sqlalchemy.dialects import sqlite

from flask_etag.sqlalchemy.statements import (
    ANY_TABLE,
    may_be_about,
    statement_of,
    tables_read_by,
    tables_written_by,
    told_by,
)

META = MetaData()
ONE = Table("one", META, Column("id", Integer, primary_key=True), Column("body", String))
TWO = Table("two", META, Column("id", Integer, primary_key=True))
CHANGED = update(ONE).values(body="").returning(ONE.c.id).cte("changed")


def written(statement: Any) -> frozenset[str] | None:
    return tables_written_by(statement.compile(dialect=sqlite.dialect()))


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        (update(ONE).values(body=""), {"one"}),
        (delete(ONE), {"one"}),
        (insert(ONE).values(id=1), {"one"}),
        (sqlite.insert(ONE).values(id=1).on_conflict_do_nothing(), {"one"}),
        (update(table("one", column("body"))).values(body=""), {"one"}),
        (select(CHANGED.c.id), {"one"}),
        (select(CHANGED.c.id).union(select(TWO.c.id)), {"one"}),
        (insert(TWO).from_select(["id"], select(CHANGED.c.id)), {"one", "two"}),
    ],
)
def test_a_statement_writes_to_the_tables_that_it_names(statement: Any, tables: set[str]) -> None:
    assert set(written(statement) or ()) == tables


def test_a_text_below_a_select_may_write_to_any() -> None:
    def below(sql: str) -> Any:
        return select(text(sql).columns(ONE.c.id).cte().c.id)

    assert written(below("UPDATE one SET body = '' RETURNING id")) is ANY_TABLE
    assert written(below("SELECT id FROM one")) is None


@pytest.mark.parametrize("statement", [select(ONE), select(ONE.c.id).union(select(TWO.c.id)), text("SELECT 1")])
def test_a_select_writes_to_none(statement: Any) -> None:
    assert written(statement) is None


def test_a_text_that_is_no_select_may_write_to_any() -> None:
    assert written(text("UPDATE one SET body = ''")) is ANY_TABLE
    assert written(text("UPDATE one SET body = '' RETURNING id").columns(ONE.c.id)) is ANY_TABLE
    assert written(text("SELECT id FROM one").columns(ONE.c.id)) is None


@pytest.mark.parametrize(
    ("sql", "is_read"),
    [
        ("select 1", True),
        ("  \n-- update one\nSELECT 1", True),
        ("/* update\none */ select 1", True),
        ("PRAGMA user_version", True),
        ("WITH one AS (SELECT 1) SELECT 1", True),
        ("WITH one AS (SELECT 1) UPDATE two SET id = 1", False),
        ("WITH one AS (DELETE FROM two RETURNING id) SELECT id FROM one", False),
        ("-- select\nDELETE FROM one", False),
        ("/*! DELETE FROM one */", False),
        ("(SELECT 1)", True),
        ("TABLE one", True),
        ("EXPLAIN UPDATE one SET id = 1", True),
        ("EXPLAIN (ANALYZE) UPDATE one SET id = 1", False),
        ("SELECT 1;", True),
        ("SELECT 1; UPDATE one SET id = 1", False),
        ("SELECT id INTO two FROM one", False),
        ("CALL something()", False),
        ("", False),
    ],
)
def test_a_text_is_known_by_its_first_word_and_by_what_may_write_behind_that(sql: str, is_read: bool) -> None:
    """One that is not known to write nothing may write."""
    assert (written(text(sql)) is None) == is_read


@pytest.mark.parametrize(
    ("statement", "written", "tables", "is_about"),
    [
        (update(ONE), frozenset({"one"}), frozenset({"one", "two"}), True),
        (update(ONE), frozenset({"one"}), frozenset({"two"}), False),
        (update(ONE), frozenset({"one"}), ANY_TABLE, True),
        (text("UPDATE One SET body = ''"), ANY_TABLE, frozenset({"one"}), True),
        (text("UPDATE other SET body = ''"), ANY_TABLE, frozenset({"one"}), False),
        (
            statement_of(text("UPDATE one SET body = '' RETURNING id").columns(column("id")).compile()),
            ANY_TABLE,
            frozenset({"one"}),
            True,
        ),
    ],
)
def test_a_statement_is_about_a_table_that_it_writes_or_that_its_text_names(
    statement: Any, written: frozenset[str], tables: frozenset[str], is_about: bool
) -> None:
    assert may_be_about(statement, written, tables) is is_about


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        (select(ONE.c.id).join(TWO, TWO.c.id == ONE.c.id), frozenset({"one", "two"})),
        (select(ONE.c.id).union(select(TWO.c.id)), frozenset({"one", "two"})),
        (text("SELECT 1"), ANY_TABLE),
    ],
)
def test_a_select_tells_what_it_reads_and_a_text_does_not(statement: Any, tables: frozenset[str]) -> None:
    assert tables_read_by(statement.compile()) == tables


def test_a_statement_is_looked_into_once() -> None:
    compiled = update(ONE).values(body="").compile(dialect=sqlite.dialect())
    assert told_by(compiled) is told_by(compiled)


def test_what_a_statement_tells_is_forgotten_with_it() -> None:
    compiled = update(ONE).values(body="").compile(dialect=sqlite.dialect())
    told = ref(told_by(compiled).statement)
    del compiled
    collect()
    assert told() is None
