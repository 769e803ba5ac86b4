"""The sample app in a real Chromium: conflicts that are caught and merged, and nothing that is typed lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    Route,
    expect,
)

from tests.browser.chromium import WAIT
from tests.servers.loopback import serving

# What Chromium itself logs of an answer that is no success, or of none.
REFUSALS = re.compile(r"Failed to load resource: (the server responded with a status of 4|net::ERR_)")
POT = "/products/teapot"
DEMO = "teapot-for-two"
INTERVAL = 3_000  # milliseconds, between two questions of the catalogue


@pytest.fixture
def context(browser: Browser, shop: str) -> Iterator[BrowserContext]:
    """A browser whose pages may log refusals, and nothing else."""
    context = browser.new_context(base_url=shop, viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(WAIT)
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not REFUSALS.match(message.text):
            said.append(message.text)

    context.on("console", listen)
    context.on("weberror", lambda error: said.append(str(error.error)))
    yield context
    context.close()
    assert said == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def opened(context: BrowserContext) -> Callable[[str], Page]:
    """A function that opens a path in a new tab."""

    def opened(path: str) -> Page:
        tab = context.new_page()
        tab.goto(path)
        return tab

    return opened


def stored(shop: str, sku: str = "teapot") -> dict[str, Any]:
    with urlopen(f"{shop}/api/products/{sku}") as answer:  # noqa: S310 - the server that was started here
        product: dict[str, Any] = json.load(answer)
    return product


def send(
    shop: str,
    method: str,
    sku: str = "teapot",
    *,
    condition: str = "If-Match",
    user: str | None = None,
    **members: Any,
) -> None:
    """Change the teapot, or delete it, from elsewhere."""
    headers = {condition: "*", "Content-Type": "application/json", **({"User": user} if user else {})}
    body = json.dumps(members).encode()
    urlopen(Request(f"{shop}/api/products/{sku}", body, headers, method=method)).close()  # noqa: S310 - as above


def type_in(editor: Page | Locator, **texts: str) -> None:
    for name, text in texts.items():
        field(editor, name).fill(text)


def type_during_a_save(tab: Page, **texts: str) -> None:
    def type_and_go_on(route: Route) -> None:
        type_in(tab, **texts)
        route.continue_()

    tab.route(f"**/api{POT}", type_and_go_on, times=1)


def field(editor: Page | Locator, name: str) -> Locator:
    return editor.locator(f"[name={name}]")


def save(editor: Page | Locator) -> None:
    editor.locator("[data-action=save]").click()


def told(editor: Page | Locator) -> Locator:
    return editor.get_by_role("status")


def window_of(page: Page, who: str) -> Locator:
    return page.get_by_role("region", name=f"{who}’s window")


def wire(page: Page, who: str, text: str) -> Locator:
    return page.locator("wire-view li").filter(has_text=who).filter(has_text=text)


def since(editor: Page | Locator) -> Locator:
    """What the history says was changed since."""
    return editor.locator(".since li")


def compared(editor: Page | Locator, member: str) -> Locator:
    """What a member was before, is now, and was typed."""
    return editor.locator(f".conflict [data-member={member}] .value")


def try_it(page: Page) -> tuple[Locator, Locator]:
    """Open the two panes; return Ann's and Bob's."""
    page.goto("/#try-it")
    ann, bob = window_of(page, "Ann"), window_of(page, "Bob")
    expect(told(bob)).to_contain_text("Not saved yet")
    return ann, bob


def test_within_a_minute_a_conflict_is_caught_and_merged_and_without_the_extension_lost(
    page: Page, shop: str
) -> None:
    page.goto("/")
    page.get_by_role("button", name="Try it").click()
    ann, bob = window_of(page, "Ann"), window_of(page, "Bob")
    expect(field(ann, "price")).to_have_value("36.00")
    expect(field(bob, "stock")).to_have_value("10")
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    save(bob)

    expect(told(bob)).to_contain_text("Ann saved first. You both changed stock: decide, and save.")
    expect(wire(page, "Bob", "412 Precondition Failed")).to_contain_text("If-Match")
    expect(compared(bob, "price")).to_have_text(["34.50", "36.00", "34.50"])
    expect(compared(bob, "stock")).to_have_text(["12", "11", "10"])
    expect(since(bob)).to_have_text(
        re.compile(r"Ann changed the price from 34\.50 to 36\.00 and the stock from 12 to 11 at \d\d:\d\d.*")
    )
    save(bob)
    expect(told(bob)).to_have_text("Decide first: stock.")
    assert stored(shop, DEMO)["stock"] == 11
    bob.get_by_label("Stock to save").fill("9")
    save(bob)
    expect(told(bob)).to_have_text("Saved on the 2nd try. Merged: price as Ann saved it; stock as you decided.")
    product = stored(shop, DEMO)
    assert (product["name"], product["price"], product["stock"]) == ("Teapot for two, blue", "36.00", 9)
    protected = page.locator(".outcome[data-mode=with]")
    expect(protected).to_contain_text("Nothing is lost. Whoever was second was asked.")

    expect(protected).to_contain_text("Bob decided")
    expect(protected).to_be_in_viewport(ratio=1)

    page.get_by_role("button", name="Now the same without Flask-ETag").click()
    expect(told(ann)).to_contain_text("Not saved yet")
    expect(field(ann, "price")).to_have_value("36.00")
    expect(field(bob, "stock")).to_have_value("10")
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    save(bob)
    expect(told(bob)).to_have_text("Saved.")
    unprotected = page.locator(".outcome[data-mode=without]")
    expect(unprotected).to_contain_text("Gone: Ann’s price and Ann’s stock. Both were told “200 OK”.")
    expect(protected).to_be_visible()
    product = stored(shop, DEMO)
    assert (product["price"], product["stock"]) == ("34.50", 10)
    for exchange in wire(page, "Bob", "/unprotected/").all():
        assert "If-Match" not in exchange.inner_text()


def test_the_next_button_is_seen_without_scrolling(page: Page) -> None:
    page.set_viewport_size({"width": 1400, "height": 800})
    page.goto("/")
    page.get_by_role("button", name="Try it").click()
    ann, bob = window_of(page, "Ann"), window_of(page, "Bob")

    def press(button: Locator) -> None:
        expect(button).to_be_in_viewport(ratio=1)
        button.click()

    def save_both() -> None:
        expect(told(bob)).to_contain_text("Not saved yet")
        press(ann.locator("[data-action=save]"))
        expect(told(ann)).to_have_text("Saved.")
        press(bob.locator("[data-action=save]"))

    save_both()
    bob.get_by_label("Stock to save").fill("9")
    press(bob.locator("[data-action=save]"))
    press(page.get_by_role("button", name="Now the same without Flask-ETag"))
    expect(page.locator(".outcome[data-mode=with] table")).to_be_hidden()
    save_both()
    for mode in ("with", "without"):
        expect(page.locator(f".outcome[data-mode={mode}] table")).to_be_in_viewport(ratio=1)


def test_it_can_be_tried_by_keyboard_alone(page: Page, shop: str) -> None:
    page.goto("/")

    def tab_to(target: Locator) -> None:
        for _ in range(40):
            if target.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        pytest.fail(f"{target} is not reached")

    tab_to(page.get_by_role("button", name="Try it"))
    page.keyboard.press("Enter")
    ann, bob = window_of(page, "Ann"), window_of(page, "Bob")
    expect(field(bob, "stock")).to_have_value("10")
    for window in (ann, bob):
        tab_to(window.locator("[data-action=save]"))
        page.keyboard.press("Enter")
        expect(told(window)).to_contain_text("aved")
    expect(told(bob)).to_contain_text("decide")
    page.keyboard.press("Enter")  # on the same button: the focus goes to where there is something to decide
    tab_to(bob.get_by_role("radio", name="11"))
    page.keyboard.press("ArrowRight")
    expect(bob.get_by_label("Stock to save")).to_have_value("10")
    page.keyboard.press("Enter")
    expect(told(bob)).to_contain_text("Saved on the 2nd try.")
    assert stored(shop, DEMO)["stock"] == 10


def test_the_panes_and_the_switch_are_as_they_were_after_a_reload(page: Page) -> None:
    page.goto("/")
    page.get_by_role("button", name="Try it").click()
    bob = window_of(page, "Bob")
    expect(field(bob, "stock")).to_have_value("10")
    type_in(bob, description="Typed by hand.")
    page.get_by_role("switch").check()
    expect(bob.locator(".etag")).to_have_count(0)
    expect(field(bob, "description")).to_have_value("Typed by hand.")
    page.reload()
    expect(field(bob, "description")).to_have_value("Typed by hand.")
    expect(page.get_by_role("switch")).to_be_checked()
    asked: list[str] = []

    def keep(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", keep)
    page.get_by_role("button", name="Begin again").click()
    expect(field(bob, "description")).to_have_value("Typed by hand.")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Begin again").click()
    expect(field(bob, "description")).not_to_have_value("Typed by hand.")
    assert asked == ["What Bob typed is not saved. Drop it?"]


def test_two_tabs_that_changed_different_fields_are_merged_by_themselves(
    opened: Callable[[str], Page], shop: str
) -> None:
    one, other = opened(POT), opened(POT)
    type_in(one, price="40", name="Pot")
    type_in(other, stock="3")
    save(one)
    expect(told(one)).to_have_text("Saved.")
    save(other)
    expect(told(other)).to_have_text("Saved on the 2nd try. Merged: name and price as somebody else saved it.")
    product = stored(shop)
    assert (product["name"], product["price"], product["stock"]) == ("Pot", "40.00", 3)
    expect(field(other, "price")).to_have_value("40.00")
    expect(other.get_by_role("heading", level=1)).to_have_text("Pot")
    expect(other).to_have_title("Pot · Flask-ETag")
    expect(compared(other, "price")).to_have_text(["34.50", "40.00", "34.50"])
    expect(compared(other, "stock")).to_have_text(["12", "12", "3"])
    type_in(other, stock="4")
    expect(other.get_by_role("table")).to_have_count(0)


def test_two_tabs_that_changed_the_same_long_text_see_where_and_one_of_them_decides(
    opened: Callable[[str], Page], shop: str
) -> None:
    text = stored(shop)["description"]
    one, other = opened(POT), opened(POT)
    type_in(one, description=text.replace("two large cups", "2 large cups"))
    type_in(other, description=text.replace("two large cups", "three large cups"), stock="3")
    save(one)
    expect(told(one)).to_have_text("Saved.")
    save(other)
    expect(told(other)).to_contain_text("You both changed description")
    excerpts = [f"…f a litre, which is {count} large cups and one …" for count in ("two", "2", "three")]
    expect(compared(other, "description")).to_have_text(excerpts)
    assert stored(shop)["stock"] == 12

    other.reload()  # in the middle of it
    expect(told(other)).to_contain_text("is here again")
    other.get_by_role("radio").first.check()
    expect(other.get_by_label("Description to save")).to_have_value(text.replace("two large cups", "2 large cups"))
    other.reload()
    expect(other.get_by_role("radio").first).to_be_checked()
    save(other)
    expect(told(other)).to_have_text("Saved on the 2nd try. Merged: description as you decided.")
    assert stored(shop)["description"] == text.replace("two large cups", "2 large cups")
    assert stored(shop)["stock"] == 3


def test_who_is_refused_is_told_who_has_changed_what_and_the_page_of_the_history_has_it(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    type_in(tab, stock="3", name="Mine")
    send(shop, "PATCH", user="Ann", stock=5)
    send(shop, "PATCH", name="<b>Pot</b>", description="x" * 100)
    save(tab)
    first, second = (
        r"Ann changed the stock from 12 to 5 at ",
        "Somebody changed the name from “Stoneware teapot” to ",
    )
    expect(since(tab)).to_have_text(
        [re.compile(first), re.compile(second + "“<b>Pot</b>” and the description at ")]
    )
    tab.reload()  # in the middle of it
    expect(since(tab)).to_have_count(2)
    for choice in tab.get_by_role("radio").all()[1::2]:
        choice.check()
    save(tab)
    expect(told(tab)).to_contain_text("Saved on the 2nd try.")
    expect(since(tab)).to_have_count(0)

    type_in(tab, stock="4")
    send(shop, "DELETE", user="Bob")
    save(tab)
    expect(since(tab)).to_have_text(re.compile(r"Bob deleted it at "))
    send(shop, "PUT", condition="If-None-Match", user="Bob", name="Anew", description="", price="1.00", stock=1)
    tab.get_by_role("button", name="Create it").click()
    expect(told(tab)).to_contain_text("You both changed")
    tab.get_by_role("link", name="Its history").click()
    expect(tab.locator(".history li")).to_contain_text(["Bob", "Bob", "Somebody", "Somebody", "Ann", "Somebody"])
    expect(tab.locator(".history li").nth(4)).to_contain_text("stock: 12 → 5")


def test_where_no_history_answers_a_conflict_is_what_it_was(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    tab.route("**/changes?*", lambda route: route.abort())
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)
    save(tab)
    expect(wire(tab, "You", "no answer")).to_have_count(1)
    expect(told(tab)).to_contain_text("You both changed stock")
    expect(since(tab)).to_have_count(0)


def test_who_decides_is_not_saved_over_a_third(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)
    save(tab)
    expect(told(tab)).to_contain_text("You both changed stock")
    tab.get_by_label("Stock to save").fill("4")
    send(shop, "PATCH", stock=6)
    save(tab)
    expect(told(tab)).to_contain_text("You both changed stock")
    expect(compared(tab, "stock")).to_have_text(["5", "6", "4"])
    assert stored(shop)["stock"] == 6
    tab.get_by_role("radio").last.check()
    save(tab)
    expect(told(tab)).to_have_text("Saved on the 3rd try. Merged: stock as you decided.")
    assert stored(shop)["stock"] == 4


def test_what_is_typed_is_there_after_a_reload_and_still_not_saved_over_others(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    type_in(tab, stock="3", name="Pot")
    send(shop, "PATCH", stock=5)
    tab.reload()
    expect(field(tab, "name")).to_have_value("Pot")
    expect(field(tab, "stock")).to_have_value("3")
    save(tab)
    expect(told(tab)).to_contain_text("You both changed stock")
    tab.get_by_role("button", name="Discard my changes").click()
    expect(field(tab, "stock")).to_have_value("5")
    tab.reload()
    expect(field(tab, "name")).to_have_value("Stoneware teapot")


def test_a_product_that_was_deleted_meanwhile_is_created_anew(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    type_in(tab, name="Pot", stock="3")
    send(shop, "DELETE")
    save(tab)
    expect(told(tab)).to_contain_text("deleted in the meantime. What you typed is still here")
    tab.reload()
    expect(field(tab, "name")).to_have_value("Pot")
    tab.get_by_role("button", name="Create it").click()
    expect(told(tab)).to_contain_text("Saved")
    expect(wire(tab, "You", "201 Created")).to_contain_text("If-None-Match: *")
    assert (stored(shop)["name"], stored(shop)["stock"]) == ("Pot", 3)


def test_what_was_decided_is_there_when_the_product_is_deleted_meanwhile(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)
    save(tab)
    tab.get_by_label("Stock to save").fill("4")
    send(shop, "DELETE")
    save(tab)
    expect(told(tab)).to_contain_text("deleted in the meantime.")
    expect(field(tab, "stock")).to_have_value("4")


def test_two_who_create_the_same_product_are_merged_too(opened: Callable[[str], Page], shop: str) -> None:
    one, other = opened("/products/jug"), opened("/products/jug")
    for tab, stock in ((one, "1"), (other, "2")):
        expect(told(tab)).to_contain_text("no such product")
        type_in(tab, name="Jug", price="5", stock=stock, description="")
        tab.get_by_role("button", name="Create it").click()
        expect(told(tab)).to_contain_text("aved")
    expect(told(other)).to_contain_text("You both changed stock")
    other.get_by_role("radio").last.check()
    save(other)
    expect(told(other)).to_contain_text("Saved on the 2nd try.")
    assert stored(shop, "jug")["stock"] == 2


def test_a_product_is_deleted_unless_somebody_changed_it_and_can_be_had_back(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    send(shop, "PATCH", stock=5)
    tab.get_by_role("button", name="Delete").click()
    expect(told(tab)).to_contain_text(
        "Not deleted: it has been changed in the meantime. This is what is there now."
    )
    expect(field(tab, "stock")).to_have_value("5")
    send(shop, "PATCH", stock=6)
    type_in(tab, stock="7")
    tab.get_by_role("button", name="Delete").click()
    expect(told(tab)).to_contain_text("Save, or discard, and look first.")
    expect(field(tab, "stock")).to_have_value("7")
    tab.get_by_role("button", name="Discard my changes").click()
    expect(field(tab, "stock")).to_have_value("6")
    tab.get_by_role("button", name="Delete").click()
    expect(told(tab)).to_contain_text("Deleted.")
    tab.get_by_role("button", name="Create it").click()
    expect(told(tab)).to_have_text("Saved.")
    assert stored(shop)["stock"] == 6


def test_what_is_saved_offline_is_kept_and_sent_when_the_connection_is_back(
    context: BrowserContext, opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    type_in(tab, stock="3")
    context.set_offline(True)
    save(tab)
    expect(told(tab)).to_contain_text("No connection. What you typed is kept here")
    tab.get_by_role("button", name="Delete").click()
    expect(told(tab)).to_have_text("It is not known whether it is deleted: there is no connection.")
    save(tab)
    expect(told(tab)).to_contain_text("No connection. What you typed is kept here")
    send(shop, "PATCH", name="Pot")
    context.set_offline(False)
    expect(told(tab)).to_contain_text("Saved on the 2nd try. Merged: name")
    assert (stored(shop)["name"], stored(shop)["stock"]) == ("Pot", 3)


def test_an_unprotected_save_is_kept_offline_too(context: BrowserContext, page: Page, shop: str) -> None:
    _, bob = try_it(page)
    page.get_by_role("switch").check()
    expect(bob.locator(".etag")).to_have_count(0)
    context.set_offline(True)
    save(bob)
    expect(told(bob)).to_contain_text("No connection.")
    context.set_offline(False)
    expect(told(bob)).to_have_text("Saved.")
    assert stored(shop, DEMO)["stock"] == 10


def test_a_save_whose_answer_was_lost_is_not_taken_for_somebody_else_s(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort()

    tab.route(f"**/api{POT}", lose, times=1)
    type_in(tab, stock="3")
    save(tab)
    expect(told(tab)).to_have_text("Saved on the 2nd try.")
    expect(wire(tab, "You", "412 Precondition Failed")).to_have_count(1)
    assert stored(shop)["stock"] == 3


def test_a_save_of_which_nobody_knows_whether_it_was_made_is_for_a_person_to_look_at(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)

    def lose(route: Route) -> None:
        route.fetch()
        send(shop, "PATCH", user="Ann", stock=5)
        route.abort()

    tab.route(f"**/api{POT}", lose, times=1)
    type_in(tab, stock="3")
    save(tab)
    expect(told(tab)).to_contain_text("You both changed stock")
    expect(since(tab).last).to_contain_text("Ann changed the stock from 3 to 5")
    assert stored(shop)["stock"] == 5


def test_what_the_server_refuses_is_told_at_its_field_and_stays(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    type_in(tab, stock="9999999999")
    save(tab)
    expect(told(tab)).to_contain_text("Not saved.")
    expect(field(tab, "stock")).to_have_attribute("aria-invalid", "true")
    expect(field(tab, "stock")).to_have_value("9999999999")
    type_in(tab, stock="9")
    save(tab)
    expect(told(tab)).to_have_text("Saved.")
    assert stored(shop)["stock"] == 9


def test_what_is_typed_while_a_save_is_under_way_stays(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)

    type_during_a_save(tab, name="Pot")
    type_in(tab, stock="3")
    save(tab)
    expect(wire(tab, "You", "200 OK")).to_have_count(1)
    expect(field(tab, "name")).to_have_value("Pot")
    assert stored(shop)["name"] == "Stoneware teapot"
    save(tab)
    expect(wire(tab, "You", "200 OK")).to_have_count(2)
    assert (stored(shop)["name"], stored(shop)["stock"]) == ("Pot", 3)


def test_what_is_typed_while_a_save_meets_another_stays(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)

    type_during_a_save(tab, name="Pot")
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)
    save(tab)
    expect(told(tab)).to_contain_text("You both changed stock")
    expect(compared(tab, "name").last).to_have_text("Pot")


def test_what_is_typed_stays_text(opened: Callable[[str], Page], shop: str) -> None:
    attack = (
        "'\"></textarea></script><script>document.title = 'x'</script><img src=x onerror=\"document.title='x'\">"
    )
    send(shop, "PATCH", name=attack, description=attack)
    catalogue, tab = opened("/"), opened(POT)
    type_in(tab, name=f"{attack} mine", description="")
    send(shop, "PATCH", name=f"{attack} theirs")
    save(tab)
    expect(compared(tab, "name").last).to_contain_text("> mine")
    expect(catalogue.get_by_role("link", name=f"{attack} theirs")).to_be_visible()
    assert "x" not in (catalogue.title(), tab.title())


def test_polling_costs_no_body_until_something_changes_which_lights_up(page: Page, shop: str) -> None:
    page.clock.install()
    page.goto("/")
    expect(wire(page, "Catalogue", "200 OK")).to_have_count(1)
    page.clock.run_for(INTERVAL)
    unchanged = wire(page, "Catalogue", "304 Not Modified")
    expect(unchanged).to_contain_text("saved 5.")
    expect(unchanged).to_contain_text("If-None-Match")
    expect(page.locator("wire-view .totals")).to_contain_text("1 answered 304: saved 5.0 KiB.")
    send(shop, "PATCH", stock=5)
    page.clock.run_for(INTERVAL)
    row = page.get_by_role("row").filter(has_text="Stoneware teapot")
    expect(row).to_have_class("lit")
    expect(row).to_contain_text("5")
    expect(page.get_by_role("log")).to_have_text("Stoneware teapot has just been changed.")
    expect(page.locator(".lit")).to_have_count(1)
    send(shop, "DELETE")
    send(shop, "PATCH", "lantern", stock=5)
    send(shop, "PATCH", "umbrella", name="Rug")
    page.clock.run_for(INTERVAL)
    expect(row).to_have_count(0)
    news = "Storm lantern has just been changed.Rug has just been changed.Stoneware teapot is not here any more."
    expect(page.get_by_role("log")).to_have_text(news)


def test_an_answer_that_was_overtaken_is_not_shown(page: Page, shop: str) -> None:
    page.clock.install()
    page.goto("/")
    expect(wire(page, "Catalogue", "200 OK")).to_have_count(1)
    stock = page.locator("[data-sku=teapot] [data-member=stock]")

    def ask_again(route: Route) -> None:
        older = route.fetch()
        send(shop, "PATCH", stock=42)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(stock).to_have_text("42")
        route.fulfill(response=older)

    send(shop, "PATCH", stock=41)
    page.route("**/api/products", ask_again, times=1)
    page.clock.run_for(INTERVAL)
    expect(wire(page, "Catalogue", "200 OK")).to_have_count(3)
    expect(stock).to_have_text("42")


def test_the_catalogue_says_that_it_is_offline_and_is_back_at_once(context: BrowserContext, page: Page) -> None:
    page.clock.install()
    page.goto("/")
    state = page.locator("product-catalogue .state")
    expect(state).to_contain_text("Up to date.")
    context.set_offline(True)
    page.clock.run_for(INTERVAL)
    expect(state).to_contain_text("No answer.")
    context.set_offline(False)
    expect(state).to_contain_text("Up to date.")


def test_who_does_not_look_is_not_polled_for(page: Page) -> None:
    page.clock.install()
    page.goto("/")
    expect(wire(page, "Catalogue", "200 OK")).to_have_count(1)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.clock.run_for(60_000)
    expect(page.locator("wire-view li")).to_have_count(1)
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    expect(wire(page, "Catalogue", "304 Not Modified")).to_have_count(1)


def test_no_accessibility_violation_and_nothing_wider_than_the_window(page: Page, shop: str) -> None:
    def check() -> None:
        for width, scheme in ((400, "light"), (400, "dark"), (1400, "light"), (1400, "dark")):
            page.set_viewport_size({"width": width, "height": 1000})
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
            assert Axe().run(page).response["violations"] == [], f"{scheme}, {width} px"
            assert page.evaluate("document.documentElement.scrollWidth") <= width

    send(shop, "PATCH", name="x" * 200)
    ann, bob = try_it(page)
    type_in(bob, name="y" * 200)
    save(ann)
    expect(told(ann)).to_contain_text("Saved")
    save(bob)
    expect(told(bob)).to_contain_text("decide")
    check()
    bob.get_by_role("radio").first.check()
    save(bob)
    expect(page.locator(".outcome .good")).to_be_visible()
    page.get_by_role("button", name="Now the same without").click()
    expect(told(ann)).to_contain_text("Not saved yet")  # the product is as it was at first, and both have typed
    expect(field(bob, "price")).to_have_value("34.50")
    save(ann)
    expect(told(ann)).to_contain_text("Saved")
    save(bob)
    expect(page.locator(".outcome .bad")).to_be_visible()
    check()
    page.goto(POT)
    type_in(page, stock="9999999999")
    save(page)
    expect(told(page)).to_contain_text("Not saved.")
    check()
    page.get_by_role("link", name="Its history").click()
    check()


def test_what_is_typed_before_the_page_is_ready_stays(page: Page) -> None:
    def type_first(route: Route) -> None:
        type_in(page, name="Early")
        route.continue_()

    page.route("**/static/editor.js", type_first)
    page.goto(POT)
    expect(told(page)).to_have_text("Not saved yet: name.")
    expect(field(page, "name")).to_have_value("Early")


def test_the_panes_wait_for_their_product(page: Page) -> None:
    def look(route: Route) -> None:
        expect(window_of(page, "Ann").locator("form")).to_have_attribute("inert", "")
        route.continue_()

    page.route(f"**/api/products/{DEMO}", look, times=1)
    ann, _ = try_it(page)
    type_in(ann, name="Pot")


@pytest.mark.parametrize("is_third", [False, True], ids=["saved", "another-clash"])
def test_what_is_typed_into_a_decision_that_is_under_way_stays(
    opened: Callable[[str], Page], shop: str, is_third: bool
) -> None:
    tab = opened(POT)
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)
    save(tab)
    tab.get_by_label("Stock to save").fill("4")

    def type_meanwhile(route: Route) -> None:
        if is_third:
            send(shop, "PATCH", stock=6)
        tab.get_by_label("Stock to save").fill("44")
        route.continue_()

    tab.route(f"**/api{POT}", type_meanwhile, times=1)
    save(tab)
    if is_third:
        expect(compared(tab, "stock")).to_have_text(["5", "6", "44"])
    else:
        expect(told(tab)).to_contain_text("Merged: stock as you decided. Not saved yet: stock.")
        expect(field(tab, "stock")).to_have_value("44")
        expect(field(tab, "stock")).to_be_focused()


@pytest.mark.parametrize(
    ("action", "said"), [("discard", "Not saved yet: name."), ("delete", "Save, or discard, and look first.")]
)
def test_what_is_typed_while_something_else_is_under_way_stays(
    opened: Callable[[str], Page], shop: str, action: str, said: str
) -> None:
    tab = opened(POT)
    if action == "discard":
        type_in(tab, stock="3")
    send(shop, "PATCH", stock=5)

    def type_meanwhile(route: Route) -> None:
        if route.request.method == "GET":
            type_in(tab, name="Pot")
        route.continue_()

    tab.route(f"**/api{POT}", type_meanwhile)
    tab.locator(f"[data-action={action}]").click()
    expect(told(tab)).to_contain_text(said)
    expect(field(tab, "name")).to_have_value("Pot")


def test_what_is_undone_or_emptied_while_a_save_clashes_can_still_be_saved(
    opened: Callable[[str], Page], shop: str
) -> None:
    tab = opened(POT)
    type_during_a_save(tab, name="")
    type_in(tab, stock="3")
    send(shop, "PATCH", stock=4)
    save(tab)
    tab.get_by_role("radio").last.check()
    save(tab)
    expect(field(tab, "name")).to_be_focused()  # it was put away, but nothing can be saved without it
    type_in(tab, name="Pot")
    save(tab)
    expect(told(tab)).to_have_text("Saved on the 2nd try. Merged: stock as you decided.")
    assert (stored(shop)["name"], stored(shop)["stock"]) == ("Pot", 3)

    type_during_a_save(tab, stock="5")
    type_in(tab, stock="6")
    send(shop, "PATCH", stock=5)
    save(tab)
    expect(told(tab)).to_have_text("Not saved yet: somebody else saved first. Save again.")
    save(tab)
    expect(told(tab)).to_contain_text("Saved on the 2nd try.")
    assert stored(shop)["stock"] == 5


def test_what_is_too_long_is_told_and_not_cut(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    name = field(tab, "name")
    type_in(tab, name="😀" * 201)
    save(tab)
    expect(name).to_have_js_property("validationMessage", "These are 201 characters, of 200 at most.")
    type_in(tab, name="😀" * 200)
    save(tab)
    expect(told(tab)).to_have_text("Saved.")
    assert stored(shop)["name"] == "😀" * 200


def test_a_save_that_found_no_server_is_sent_again_by_itself(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    tab.clock.install()
    tab.route(f"**/api{POT}", lambda route: route.abort())
    type_in(tab, stock="3")
    save(tab)
    expect(told(tab)).to_contain_text("No connection. What you typed is kept here, also over a reload.")
    type_in(tab, name="Pot")
    tab.unroute(f"**/api{POT}")
    tab.clock.run_for(2_000)
    expect(told(tab)).to_have_text("Saved. Not saved yet: name.")
    assert (stored(shop)["name"], stored(shop)["stock"]) == ("Stoneware teapot", 3)

    tab.route(f"**/api{POT}", lambda route: route.abort())
    save(tab)
    expect(told(tab)).to_contain_text("No connection.")
    tab.unroute(f"**/api{POT}")
    tab.reload()
    expect(told(tab)).to_have_text("Saved.")
    assert stored(shop)["name"] == "Pot"


def test_an_answer_that_is_no_json_is_no_lost_connection(opened: Callable[[str], Page]) -> None:
    tab = opened(POT)
    tab.route(f"**/api{POT}", lambda route: route.fulfill(status=413, body="<h1>Too large</h1>"))
    type_in(tab, stock="3")
    save(tab)
    expect(told(tab)).to_have_text("Not saved. The server answered 413.")


def test_what_was_deleted_and_lives_again_can_be_seen(opened: Callable[[str], Page], shop: str) -> None:
    tab = opened(POT)
    tab.get_by_role("button", name="Delete").click()
    expect(told(tab)).to_contain_text("Deleted.")
    send(shop, "PUT", condition="If-None-Match", name="Anew", description="", price="1.00", stock=1)
    tab.reload()
    expect(told(tab)).to_contain_text("Somebody has made it anew.")
    expect(field(tab, "name")).to_have_value("Stoneware teapot")
    tab.get_by_role("button", name="Discard my changes").click()
    expect(field(tab, "name")).to_have_value("Anew")


def test_where_the_browser_stores_nothing_all_else_goes_on(context: BrowserContext, page: Page, shop: str) -> None:
    context.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', {get() { throw new DOMException('', 'SecurityError'); }})"
    )
    page.goto(POT)
    type_in(page, stock="3")
    expect(told(page)).to_contain_text("It goes with this page: your browser lets it store nothing.")
    save(page)
    expect(told(page)).to_have_text("Saved.")
    assert stored(shop)["stock"] == 3
    ann, _ = try_it(page)
    expect(field(ann, "price")).to_have_value("36.00")


def test_a_change_that_was_overwritten_unseen_is_told_though_its_author_saved_twice(page: Page, shop: str) -> None:
    ann, bob = try_it(page)
    page.get_by_role("switch").check()
    expect(bob.locator(".etag")).to_have_count(0)
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    type_in(ann, stock="10")
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    save(bob)
    card = page.locator(".outcome[data-mode=without]")
    expect(card).to_contain_text("Gone: Ann’s price. Both were told “200 OK”.")
    assert (stored(shop, DEMO)["price"], stored(shop, DEMO)["stock"]) == ("34.50", 10)
    save(ann)  # on what she has seen, and so over Bob's
    expect(card).to_contain_text("Gone: Bob’s name. Both were told “200 OK”.")
    page.get_by_role("button", name="Begin again").click()
    expect(told(ann)).to_contain_text("Not saved yet")
    send(shop, "DELETE", DEMO)
    save(ann)
    expect(told(ann)).to_have_text("Not saved. It has been deleted: begin again, which makes it anew.")


def test_what_a_third_has_changed_is_not_told_as_lost_nor_as_ann_s(page: Page, shop: str) -> None:
    ann, bob = try_it(page)
    save(bob)  # first, for once
    expect(page.locator("[aria-current=step]")).to_have_text("Ann has not seen that. Save as Ann.")
    send(shop, "PATCH", DEMO, name="Pot")
    save(ann)
    expect(told(ann)).to_contain_text("somebody else saved first. You both changed stock")
    ann.get_by_role("radio").first.check()
    save(ann)
    expect(told(ann)).to_contain_text("Merged: name as somebody else saved it; stock as you decided.")
    card = page.locator(".outcome[data-mode=with]")
    expect(card).to_contain_text("Nothing is lost.")
    expect(card.get_by_role("row").filter(has_text="Name")).to_contain_text("somebody else changed it")


def test_what_is_decided_stays_when_the_switch_is_moved_and_a_save_belongs_to_its_own_round(
    page: Page, shop: str
) -> None:
    ann, bob = try_it(page)
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    save(bob)
    bob.get_by_label("Stock to save").fill("7")
    type_in(ann, description="Typed by Ann.")

    def switch(route: Route) -> None:
        page.get_by_role("switch").check()
        route.continue_()

    page.route(f"**/api/products/{DEMO}", switch, times=1)
    save(ann)
    expect(ann.locator(".etag")).to_have_count(0)
    expect(wire(page, "Ann", "200 OK")).to_have_count(2)
    expect(field(ann, "description")).to_have_value(
        "Stoneware, with two spouts. Whoever pours last wins, unless somebody looks."
    )
    expect(field(bob, "stock")).to_have_value("7")
    expect(page.locator("[aria-current=step]")).to_have_text("Both have typed. Save as Ann.")


def test_both_can_save_a_product_that_is_at_its_limits(page: Page, shop: str) -> None:
    limits: dict[str, Any] = {"name": "x" * 200, "description": "", "price": "99999999.99", "stock": 2**31 - 1}
    send(shop, "PUT", DEMO, condition="If-None-Match", **limits)
    ann, bob = try_it(page)
    save(ann)
    expect(told(ann)).to_have_text("Saved.")
    save(bob)
    expect(told(bob)).to_contain_text("decide")


OTHER_SITE = """
async ({shop}) => {
  const product = {name: "Evil", description: "", price: "1.00", stock: 0};
  const json = {"Content-Type": "application/json", "If-Match": "*"};
  const body = JSON.stringify(product);
  const attempts = [];
  for (const path of ["/api/products/teapot-for-two", "/unprotected/products/teapot-for-two"]) {
    attempts.push([path, {method: "PUT", headers: json, body}]);
    attempts.push([path, {method: "PUT", body}]);
    attempts.push([path, {method: "PATCH", headers: json, body}]);
    attempts.push([path, {method: "DELETE", headers: json}]);
    attempts.push([path, {method: "POST", body, mode: "no-cors"}]);
  }
  const changes = JSON.stringify([{sku: "teapot-for-two", stock: 0}]);
  attempts.push(["/api/products", {method: "PATCH", headers: json, body: changes}]);
  const made = JSON.stringify({sku: "evil", ...product});
  attempts.push(["/api/products", {method: "POST", headers: json, body: made}]);
  for (const type of ["text/plain", "application/x-www-form-urlencoded", ""]) {
    attempts.push(["/api/products", {method: "POST", mode: "no-cors", body: new Blob([made], {type})}]);
  }
  return await Promise.all(attempts.map(([path, options]) =>
    fetch(shop + path, options).then((answer) => answer.type, () => "refused")));
}
"""


def test_a_page_of_another_site_writes_nothing(browser: Browser, shop: str) -> None:
    page = browser.new_page()
    page.goto(shop)
    page.get_by_role("button", name="Try it").click()
    expect(field(window_of(page, "Bob"), "stock")).to_have_value("10")
    before = stored(shop, DEMO)
    other = Flask("other")
    other.get("/")(lambda: "another site")
    with serving(other) as url:
        page.goto(url.replace("127.0.0.1", "localhost"))
        answers = page.evaluate(OTHER_SITE, {"shop": shop})
    assert set(answers) == {"refused", "opaque"}
    assert stored(shop, DEMO) == before
    with urlopen(f"{shop}/api/products") as answer:  # noqa: S310 - the server that was started here
        assert "evil" not in answer.read().decode()
    page.close()


def test_the_api_can_be_tried_out_with_if_match(context: BrowserContext, shop: str) -> None:
    page = context.new_page()
    page.goto("/")
    page.get_by_role("link", name="The API").click()
    operation = page.locator("#operations-default-patchProduct")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("tr", has_text="sku").locator("input").fill("teapot")
    operation.locator("textarea").fill('{"stock": 77}')
    with urlopen(f"{shop}/api{POT}") as answer:  # noqa: S310 - the server that was started here
        etag = answer.headers["ETag"]
    for condition, status in (("", "428"), (etag, "200"), (etag, "412")):
        operation.locator("tr", has_text="If-Match").locator("input").fill(condition)
        with page.expect_response(lambda response: response.request.method == "PATCH"):
            operation.get_by_role("button", name="Execute").click()
        expect(operation.locator(".live-responses-table .response .response-col_status").first).to_contain_text(
            status
        )
    assert stored(shop)["stock"] == 77
