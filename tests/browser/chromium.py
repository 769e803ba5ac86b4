"""A real Chromium for the tests, from the system's package, and the sample app on a port for it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from sample_app import create_app
from tests.sample_app.shop import engine_of
from tests.servers.loopback import serving

WAIT = 10_000
"""Milliseconds, for what a busy machine takes its time for."""


class ChromiumMissingError(Exception):
    """There is no browser to start."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium, without a window."""
    binary = shutil.which("chromium")
    if binary is None:
        raise ChromiumMissingError
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary)
        yield browser
        browser.close()


@contextmanager
def shop_on(database: Path) -> Iterator[str]:
    """Serve the sample app on a database file; yield its URL."""
    app = create_app({"SQLALCHEMY_DATABASE_URI": f"sqlite:///{database}"})
    with serving(app) as url:
        yield url
    engine_of(app).dispose()


def take_screenshot(target: Path) -> None:
    """Take the picture that the README shows: Bob is told that Ann saved first."""
    with TemporaryDirectory() as folder, shop_on(Path(folder) / "store.db") as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 815}, reduced_motion="reduce")
        page.goto(url)
        page.get_by_role("button", name="Try it").click()
        for who in ("Ann", "Bob"):
            window = page.get_by_role("region", name=f"{who}’s window")
            window.get_by_text("Not saved yet").wait_for()
            window.get_by_role("button", name="Save").click()
            window.get_by_text(re.compile("^Saved|saved first")).wait_for()
        page.get_by_role("radio").first.hover()  # and off the button
        page.screenshot(path=target)
