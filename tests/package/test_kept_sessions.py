"""The tests on PostgreSQL share sessions, and none sees that another has been there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, text

from tests.world.databases import ServerWorld


@pytest.fixture
def engine(postgresql_world: ServerWorld) -> Iterator[Engine]:
    engine = create_engine(postgresql_world.empty(), poolclass=NullPool)
    if engine.driver != "psycopg":
        pytest.skip("this driver's sessions are not kept")
    yield engine
    engine.dispose()


def number(connection: Connection) -> int:
    return int(connection.scalar(text("SELECT pg_backend_pid()")) or 0)


def test_the_session_of_a_connection_that_is_closed_is_the_next_one_s_and_as_new(engine: Engine) -> None:
    with engine.connect() as connection:
        session = number(connection)
        connection.execute(text("SET lock_timeout = 100"))
        connection.execute(text("CREATE TEMPORARY TABLE mine (id integer)"))
        connection.execute(text("SELECT pg_advisory_lock(1)"))
        connection.commit()
        driver = connection.connection.driver_connection
    with engine.connect() as connection:
        assert number(connection) == session
        assert connection.connection.driver_connection is not driver
        assert connection.scalar(text("SHOW lock_timeout")) == "0"
        assert connection.scalar(text("SELECT to_regclass('mine')")) is None
        assert connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) == 0
    assert driver is not None
    assert driver.closed


def test_two_connections_at_once_have_two_sessions(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other:
        assert number(one) != number(other)


def test_a_session_that_was_ended_is_nobody_s(engine: Engine) -> None:
    with engine.connect() as ended, engine.connect() as spare, engine.connect() as other:
        sessions = [number(ended), number(spare)]
        other.execute(text("SELECT pg_terminate_backend(:id, 5000)"), {"id": sessions[0]})
        spare.close()  # it is kept, and ended then
        other.execute(text("SELECT pg_terminate_backend(:id, 5000)"), {"id": sessions[1]})
        ended.invalidate()
    with engine.connect() as one, engine.connect() as another:
        assert {number(one), number(another)}.isdisjoint(sessions)


def test_a_session_in_a_transaction_is_closed(engine: Engine) -> None:
    proxied = engine.raw_connection()
    driver = proxied.driver_connection
    assert driver is not None
    session = driver.execute("SELECT pg_backend_pid()").fetchone()
    driver.close()
    proxied.invalidate()
    with engine.connect() as connection:
        assert (number(connection),) != session
