"""Real servers for the tests, each in a temporary folder of its own, and a word where one is missing."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(what: str, install: str) -> NoReturn:
    """Skip where something that the machine may lack is not there; in CI, which has to have it, fail."""
    message = f"{what} is not there: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
