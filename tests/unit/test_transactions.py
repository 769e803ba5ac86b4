"""What is known of the transaction on one connection, without a database."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from flask_etag.sqlalchemy.transactions import Transaction


@pytest.fixture
def transaction() -> Transaction:
    return Transaction()


def test_what_was_written_inside_a_savepoint_goes_with_it(transaction: Transaction) -> None:
    transaction.begin_savepoint("a")
    transaction.wrote()
    transaction.roll_back(transaction.depth_inside("a"))
    assert (transaction.wrote_at, transaction.depth) == (None, 0)


def test_what_was_written_before_a_savepoint_outlives_it(transaction: Transaction) -> None:
    transaction.wrote()
    transaction.begin_savepoint("a")
    transaction.wrote()
    transaction.roll_back(transaction.depth_inside("a"))
    assert transaction.wrote_at == 0


def test_what_was_written_in_a_released_savepoint_is_written_in_what_that_is_in(transaction: Transaction) -> None:
    transaction.begin_savepoint("a")
    transaction.begin_savepoint("b")
    transaction.wrote()
    transaction.release(transaction.depth_inside("b"))
    assert (transaction.wrote_at, transaction.depth) == (1, 1)
    transaction.roll_back(transaction.depth_inside("a"))
    assert transaction.wrote_at is None


def test_an_error_leaves_nothing_to_do_but_to_roll_back_as_far_as_it_reaches(transaction: Transaction) -> None:
    transaction.begin_savepoint("a")
    first = ValueError()
    transaction.broke(first, ended=False)
    transaction.broke(TypeError(), ended=False)
    assert (transaction.broken_at, transaction.broken_by) == (1, first)
    transaction.roll_back(transaction.depth_inside("a"))
    assert (transaction.broken_at, transaction.broken_by) == (None, None)


def test_a_database_that_has_ended_everything_knows_no_savepoint_any_more(transaction: Transaction) -> None:
    transaction.begin_savepoint("a")
    transaction.wrote()
    error = ValueError()
    transaction.broke(error, ended=True)
    assert (transaction.broken_at, transaction.wrote_at, transaction.depth) == (0, None, 0)
    transaction.roll_back(0)
    assert transaction.broken_by is None


def test_a_savepoint_of_before_is_not_known(transaction: Transaction) -> None:
    transaction.begin_savepoint("a")
    assert transaction.depth_inside("of before") == 0


def test_a_flush_within_another_ends_by_itself_alone(transaction: Transaction) -> None:
    outer, inner = Session(), Session()
    for session in (outer, inner, outer):
        transaction.flushing(session)
    transaction.flushed(inner)
    assert transaction.flushes == [outer]
    transaction.flushed(inner)
    transaction.flushed(outer)
    transaction.flushing(None)
    assert transaction.flushes == []
