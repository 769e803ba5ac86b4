"""The page of the last decisions in a real Chromium: live, by keyboard, for a screen reader, and on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import WAIT

WINDOWS = ((400, "light"), (400, "dark"), (1400, "light"), (1400, "dark"))
POT = "/api/products/teapot"


@pytest.fixture
def page(browser: Browser, shop: str) -> Iterator[Page]:
    context = browser.new_context(base_url=shop, reduced_motion="reduce")
    context.set_default_timeout(WAIT)
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    context.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    page = context.new_page()
    page.goto("/decisions")
    yield page
    context.close()
    assert errors == []


def send(shop: str, **fields: str) -> str:
    """Change the teapot, or read it where there is no If-Match; return the ETag that is answered."""
    body = json.dumps({"stock": 7}).encode() if "if_match" in fields else None
    headers = {name.replace("_", "-"): value for name, value in fields.items()} | {
        "Content-Type": "application/json"
    }
    request = Request(shop + POT, body, headers, method="PATCH" if body else "GET")  # noqa: S310 - our own
    try:
        with urlopen(request) as answer:  # noqa: S310
            return str(answer.headers["ETag"])
    except HTTPError as refusal:
        refusal.close()
        return str(refusal.headers["ETag"])


def use(shop: str) -> None:
    """One save, one stale one, a read, and one that is unchanged."""
    etag = send(shop)
    send(shop, if_none_match=etag)
    send(shop, if_match=etag)
    send(shop, if_match=etag)


def total(page: Page, kind: str) -> str:
    return page.locator(f".totals [data-kind={kind}] dd").inner_text()


def test_what_is_decided_appears_by_itself_in_the_picture_and_in_the_table(page: Page, shop: str) -> None:
    expect(page.get_by_text("Nothing was asked in these minutes.")).to_be_visible()
    expect(page.get_by_text("Up to date.")).to_be_visible()
    use(shop)
    expect(page.locator("tbody tr")).to_have_count(2)
    [changes, reads] = page.locator("tbody tr").all()
    expect(changes).to_have_text("products.patch_product100100")
    expect(reads).to_have_text("products.read_product011000")
    kinds = page.locator("svg rect").evaluate_all("rects => rects.map(rect => rect.dataset.kind)")
    assert sorted(kinds) == ["accepted", "served", "stale", "unchanged"]
    assert [total(page, kind) for kind in ("accepted", "unchanged", "stale", "raced")] == ["1", "1", "1", "0"]
    assert total(page, "bytes").endswith("kB") or int(total(page, "bytes").removesuffix(" B")) > 1000
    expect(page.get_by_text("Nothing was asked in these minutes.")).to_be_hidden()


def test_a_screen_reader_is_told_in_words_and_of_new_refusals_alone(page: Page, shop: str) -> None:
    use(shop)
    picture = page.get_by_role("img")
    when = "(just now|10 seconds ago)"  # the picture counts by tens of seconds, and one may end meanwhile
    told = re.compile(rf"Over time 4 requests; most of them {when}\. The table has the numbers\.")
    expect(picture).to_have_accessible_name(told, timeout=WAIT)
    send(shop, if_match='"old"')
    expect(page.get_by_role("log")).to_have_text("1 more stale: refused")


def test_it_can_be_paused_and_read_by_keyboard(page: Page, shop: str) -> None:
    expect(page.get_by_text("Up to date.")).to_be_visible()
    pause = page.get_by_role("button", name="Pause")
    for _ in range(10):
        page.keyboard.press("Tab")
        if pause.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Paused.")).to_be_visible()
    use(shop)
    page.wait_for_timeout(2_500)
    assert page.locator("tbody tr").count() == 0
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.set_viewport_size({"width": 400, "height": 900})
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "scrolls":
            break
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(500)
    assert page.locator(".scrolls").evaluate("place => place.scrollLeft") > 0


def test_no_accessibility_violation_and_nothing_wider_than_the_window(page: Page, shop: str) -> None:
    use(shop)
    expect(page.locator("tbody tr")).to_have_count(2)
    for width, scheme in WINDOWS:
        page.set_viewport_size({"width": width, "height": 1000})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert Axe().run(page).response["violations"] == [], f"{scheme}, {width} px"
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_that_is_away_is_told(page: Page, shop: str) -> None:
    page.route("**/decisions/last", lambda route: route.fulfill(status=200, body="no JSON"))
    expect(page.get_by_text("No answer. Asks again in a moment.")).to_be_visible()
