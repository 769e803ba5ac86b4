"""A browser for a module, and a shop for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chromium import WAIT, ChromiumMissingError, chromium, shop_on
from tests.servers import unavailable


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module alone: Playwright leaves an event loop running, which others would stumble over."""
    expect.set_options(timeout=WAIT)
    try:
        with chromium() as browser:
            yield browser
    except ChromiumMissingError:
        unavailable("Chromium", "apt-get install chromium")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[str]:
    with shop_on(tmp_path / "store.db") as url:
        yield url
