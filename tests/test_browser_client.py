"""The client module, which users copy: its merge, its retries and their bound, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser import ChromiumMissingError, chromium, shop_on
from tests.conftest import unavailable

Members = dict[str, Any]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    try:
        with shop_on(tmp_path_factory.mktemp("shop") / "store.db") as url, chromium() as browser:
            page = browser.new_page()
            page.goto(f"{url}/static/icon.svg")
            yield page
    except ChromiumMissingError:
        unavailable("Chromium", "apt-get install chromium")


def run(page: Page, body: str, **arguments: Any) -> Any:
    """Run the body of an asynchronous function that has the client module's names."""
    names = ", ".join(arguments)
    script = f"async ({{{names}}}) => {{ const client = await import('/static/client.js'); {body} }}"
    return page.evaluate(script, arguments)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged", "clashes"),
    [
        ({"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}, []),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": 2, "b": 1}, []),
        ({"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 3}, {"a": 1, "b": 3}, []),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3}, {"a": 2, "b": 3}, []),
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 1}, []),
        ({"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "b": 1}, {"a": 2, "b": 2}, ["a"]),
        ({"a": [1]}, {"a": [1]}, {"a": [1, 2]}, {"a": [1, 2]}, []),
        ({"a": "", "x": 1}, {"a": None}, {"a": "", "x": 2}, {"a": None}, []),
        (None, {"a": 1, "b": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 2}, ["b"]),
        (None, {"a": 1}, None, {"a": 1}, []),
    ],
    ids=["none", "mine", "theirs", "each", "same", "clash", "list", "only-mine", "both-created", "nothing-there"],
)
def test_merge_takes_what_only_one_side_has_changed(
    page: Page, base: Members, mine: Members, theirs: Members, merged: Members, clashes: list[str]
) -> None:
    found = run(page, "return client.merge(base, mine, theirs)", base=base, mine=mine, theirs=theirs)
    assert found == {"merged": merged, "clashes": clashes}


START = "const url = '/api/products/lantern'; const base = await client.read(url);"


def test_what_is_still_there_is_not_read_again(page: Page) -> None:
    assert run(page, f"{START} return base === await client.read(url, {{known: base}})")
    assert run(page, f"{START} return base !== await client.read(url)")
    assert run(page, "return client.ABSENT === await client.read('/api/products/nothing')")


# Somebody else is first, each time that a save is on its way: as often as `rivals` says.
RIVALS = """
let puts = 0;
const members = {...base.content, price: "1.00"};
const send = async (target, options) => {
  if (options.method === "PUT" && puts++ < rivals) {
    const headers = {"Content-Type": "application/json", "If-Match": "*"};
    await fetch(target, {method: "PATCH", headers, body: JSON.stringify({stock: Date.now() % 1e9})});
  }
  return fetch(target, options);
};
const {state, attempts, copy} = await client.save(url, base, members, {send, attempts: 3});
return {state, attempts, puts, price: copy?.content.price, same: copy?.etag === (await client.read(url)).etag};
"""


@pytest.mark.parametrize("rivals", [0, 1, 2])
def test_a_refused_save_is_merged_and_tried_again(page: Page, rivals: int) -> None:
    assert run(page, START + RIVALS, rivals=rivals) == {
        "state": "saved", "attempts": rivals + 1, "puts": rivals + 1, "price": "1.00", "same": True,
    }  # fmt: skip


def test_the_attempts_are_bounded(page: Page) -> None:
    found = run(page, START + RIVALS, rivals=9)
    assert (found["state"], found["attempts"], found["puts"]) == ("busy", 3, 3)


def test_the_pauses_between_attempts_are_random(page: Page) -> None:
    """Those who collided do not do so again: twenty saves, each refused once, do not wait equally long."""
    waited = run(
        page,
        f"""{START}
        const waits = [];
        const own = setTimeout;
        globalThis.setTimeout = (resume, wait) => {{ waits.push(wait); own(resume, 0); }};
        for (let time = 0; time < 20; time++) {{
          await client.save(url, {{...base, etag: '"stale"'}}, (await client.read(url)).content);
        }}
        globalThis.setTimeout = own;
        return waits;""",
    )
    assert len(waited) == len(set(waited)) == 20
    assert all(0 <= wait <= 100 for wait in waited)


def test_what_no_retry_can_help_is_thrown_with_its_reason(page: Page) -> None:
    refused = run(
        page,
        f"""{START}
        return client.save(url, base, {{...base.content, stock: -1}})
          .catch((error) => [error instanceof client.Refused, error.status, Object.keys(error.problem.errors)])""",
    )
    assert refused == [True, 422, ["stock"]]
    unreachable = run(
        page,
        f"""{START}
        const send = () => Promise.reject(new TypeError("offline"));
        return client.save(url, base, base.content, {{send}})
          .catch((error) => [error instanceof client.Unreachable, error.cause.message])""",
    )
    assert unreachable == [True, "offline"]
