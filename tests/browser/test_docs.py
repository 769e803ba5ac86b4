"""The documentation in a real Chromium: its copy buttons, and its pictures in the dark and in a narrow window."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

from tests import ROOT

CHART = re.compile(r"/({})\.svg$".format("|".join(path.stem for path in ROOT.glob("docs/_static/*/*.svg"))))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the requests to itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Build the documentation and serve it: a page may write to the clipboard only if it comes from a server."""
    folder: Path = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", str(ROOT / "docs"), str(folder)]
    subprocess.run(build, check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def context(browser: Browser, site: str) -> Iterator[BrowserContext]:
    context = browser.new_context(base_url=site, permissions=["clipboard-read", "clipboard-write"])
    yield context
    context.close()


def copied(page: Page, block: str) -> str:
    """Press the copy button of the block that has a text; return what is in the clipboard then."""
    page.evaluate("navigator.clipboard.writeText('nothing')")
    of_block = page.locator(".highlight").filter(has_text=block).first
    of_block.hover()
    of_block.locator("button.copybtn").click()
    page.wait_for_function("navigator.clipboard.readText().then(text => text !== 'nothing')")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_what_is_copied_can_be_run(context: BrowserContext) -> None:
    """Commands without their prompts, their output and their comments, which zsh would take for arguments."""
    page = context.new_page()
    page.goto("/quickstart.html")
    install = copied(page, "pip install")
    assert install.splitlines() == [
        "python3 -m venv .venv",
        ". .venv/bin/activate",
        "pip install 'Flask-ETag[sqlalchemy]' Flask-SQLAlchemy",
    ]
    assert copied(page, "from flask import").strip() == (ROOT / "examples/notes/app.py").read_text("utf-8").strip()
    saves = [line.rstrip() for line in copied(page, "save()").splitlines()]
    assert saves == [
        """save() { curl -i -X PUT $url -H 'Content-Type: application/json' "$@"; }""",
        """save -d '{"body": "mine"}'""",
        """save -d '{"body": "mine"}' -H "If-Match: $etag\"""",
        """save -d '{"body": "late"}' -H "If-Match: $etag\"""",
    ]
    page.goto("/configuration.html")
    assert copied(page, "flask etag routes --check").strip() == "flask etag routes --check"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_pictures_fit_and_go_with_the_page(context: BrowserContext, width: int, scheme: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for path in ("/index.html", "/architecture.html", "/scale.html", "/benchmarks.html", "/browser.html"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        pictures = page.locator("article img")
        assert pictures.count() > 0
        for picture in pictures.all():
            picture.scroll_into_view_if_needed()
            assert picture.evaluate("each => each.complete && each.naturalWidth > 0")
            box, around = picture.bounding_box(), picture.locator("..").bounding_box()
            assert box is not None
            assert around is not None
            assert around["x"] + around["width"] <= width
            if not CHART.search(picture.get_attribute("src") or ""):
                assert box["x"] + box["width"] <= width
            else:  # of small texts: it can be moved sideways in what is around it
                assert box["width"] >= 570


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_pages_can_be_used_without_sight_and_without_a_mouse(
    context: BrowserContext, width: int, scheme: str
) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    pages = ["/index.html", "/quickstart.html", "/troubleshooting.html", "/api.html", "/scale.html"]
    for path in (*pages, "/search.html?q=412"):
        page.goto(path)
        assert Axe().run(page).response["violations"] == [], path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("drawing", sorted(ROOT.glob("docs/_static/*.svg")), ids=lambda path: path.stem)
def test_the_texts_of_drawings_can_be_read(context: BrowserContext, drawing: Path, scheme: str) -> None:
    """In a window of 400 px, with the contrast to their panel that WCAG 2.2 asks of small texts."""
    page = context.new_page()
    page.set_viewport_size({"width": 368, "height": 800})  # what such a window leaves to a picture
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(f"/_static/{drawing.name}")
    contrasts = page.evaluate(
        """() => {
            const luminance = (color) => {
                const [r, g, b] = color.match(/[\\d.]+/g).map((each) => each / 255)
                    .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            return [...document.querySelectorAll("text")].map((text) => {
                const {x, y, width, height} = text.getBoundingClientRect();
                const [cx, cy] = [x + width / 2, y + height / 2];
                const grounds = [...document.querySelectorAll("rect")].filter((rect) => {
                    const box = rect.getBoundingClientRect();
                    const covers = box.left <= cx && cx <= box.right && box.top <= cy && cy <= box.bottom;
                    return covers && getComputedStyle(rect).fill !== "none";
                });
                const [light, dark] = [text, grounds.at(-1)]
                    .map((each) => luminance(getComputedStyle(each).fill)).sort((one, other) => other - one);
                const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
                return [text.textContent, (light + 0.05) / (dark + 0.05), size];
            });
        }"""
    )
    assert contrasts
    unreadable = [each for each in contrasts if each[1] < 4.5 or each[2] < 10]
    assert unreadable == []
