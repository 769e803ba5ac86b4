"""Real servers for the tests, each in a temporary folder of its own, and a word where one is missing."""

from __future__ import annotations

import os
from typing import NoReturn


def unavailable(what: str, install: str) -> NoReturn:
    """Skip where something that the machine may lack is not there; in CI, which has to have it, fail."""
    import pytest  # noqa: PLC0415 - the benchmarks start the same servers, and have no pytest

    message = f"{what} is not there: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
