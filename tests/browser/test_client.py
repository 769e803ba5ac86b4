"""The client module, which users copy: its merge, its retries and their bound, in a real Chromium."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import Browser, Page

from tests import ROOT
from tests.browser.chromium import shop_on
from tests.client.papers import create_app
from tests.client.proxy import Proxy, between
from tests.client.test_cases import Stage, cases
from tests.servers.loopback import serving

Members = dict[str, Any]


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with shop_on(tmp_path_factory.mktemp("shop") / "store.db") as url:
        page = browser.new_page()
        page.goto(f"{url}/static/icon.svg")
        yield page


def run(page: Page, body: str, **arguments: Any) -> Any:
    """Run the body of an asynchronous function that has the client module's names."""
    names = ", ".join(arguments)
    script = f"async ({{{names}}}) => {{ const client = await import('/static/client.js'); {body} }}"
    return page.evaluate(script, arguments)


@cases("merges")
def test_merges(page: Page, case: Members) -> None:
    """The table of cases that the client in Python is held to as well."""
    found = run(
        page,
        "return client.merge(base, mine, theirs, (pointer) => key[pointer])",
        **{
            "key": {},
            **{name: case.get(name) for name in ("base", "mine", "theirs")},
            **({"key": case["key"]} if "key" in case else {}),
        },
    )
    assert (found["merged"], found["pointers"]) == (case["merged"], case["clashes"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(create_app(f"sqlite:///{tmp_path_factory.mktemp('papers') / 'papers.db'}")) as url:
        yield url


@pytest.fixture(scope="module")
def proxy(server: str) -> Iterator[Proxy]:
    with between(server) as proxy:
        proxy.closes = True
        yield proxy


@pytest.fixture(scope="module")
def tab(browser: Browser, proxy: Proxy) -> Iterator[Page]:
    """A page of the proxy's, which has the module as well."""
    tab = browser.new_page()
    module = ROOT / "sample_app" / "static" / "client.js"
    tab.route("**/static/client.js", lambda route: route.fulfill(path=module, content_type="text/javascript"))
    tab.goto(f"{proxy.url}/papers/nothing")
    yield tab
    tab.close()


OUTCOME = """
const limits = {attempts: attempts ?? 20};
const outcomes = {saved: "saved", clash: "clash", gone: "clash", busy: "gave up"};
const kinds = ["Unknown", "Unreachable", "Refused", "Untagged"];
try {
  const {state, copy, pointers} = await act(limits);
  return {outcome: outcomes[state], copy: copy ?? null, clashes: state === "gone" ? [""] : pointers ?? []};
} catch (error) {
  const kind = kinds.find((name) => error instanceof client[name]);
  if (kind === undefined) throw error;
  return {outcome: kind.toLowerCase(), theirs: error.theirs ?? null, clashes: []};
}
"""
CHANGES = """
const add = (content) => { content.n += 1; };
const set = (content) => ({...content, n: 5});
const price = (content) => ({...content, price: "7"});
const mark = (content) => {
  content.marks ??= [];
  if (!content.marks.includes("mine")) content.marks.push("mine");
};
const claim = (content) => { content.claims = [...content.claims ?? [], crypto.randomUUID()]; };
const line = (content) => { content.lines = [...content.lines ?? [], {id: crypto.randomUUID()}]; };
const sellIfAny = (content) => { if (content.n > 0) content.n -= 1; };
const own = (content) => { content.owner ??= "me"; };
const job = (content) => { content.jobs.shift(); };
const work = (content) => {
  const free = content.jobs.find((each) => each.by === null);
  if (free) free.by = "me";
};
const seat = (content) => {
  if (content.seats.length < 2 && !content.seats.includes("me")) content.seats.push("me");
};
const move = (content) => ({...content, paid: content.paid + content.owed, owed: 0});
const part = (content) => { for (const each of content.parts) if (each.id === "b") each.n = 5; };
const drop = (content) => { delete content.note; };
const leave = (content) => ({...content, seats: content.seats.filter((each) => each !== "me")});
const take = (content) => { content.n = Math.max(0, content.n - 1); };
let ticks = 1000;
const sell = (content) => ({...content, n: content.n - 1, at: ticks++}); // by a clock
const append = (content) => { content.items = [...content.items ?? [], {id: crypto.randomUUID()}]; };
"""


@cases("saves")
def test_saves(tab: Page, server: str, proxy: Proxy, case: Members) -> None:
    stage = Stage(server, proxy, case)
    found = run(
        tab,
        f"""const base = await client.read(url);
        const act = (limits) => client.save(url, base, {{...base.content, ...mine}}, limits);
        {OUTCOME}""",
        url=stage.url,
        mine=case["mine"],
        attempts=case.get("attempts"),
    )
    assert (found["outcome"], found["clashes"]) == (case["outcome"], case.get("clashes", []))
    check_stored(stage, case, found)


@cases("removals")
def test_removals(tab: Page, server: str, proxy: Proxy, case: Members) -> None:
    stage = Stage(server, proxy, case)
    outcome = run(
        tab,
        """const base = await client.read(url);
        try {
          return (await client.remove(url, base)).content === null ? "gone" : "clash";
        } catch (error) {
          return error.constructor.name.toLowerCase();
        }""",
        url=stage.url,
    )
    assert (outcome, stage.stored()) == (case["outcome"], case["stored"])


@cases("updates")
def test_updates(tab: Page, server: str, proxy: Proxy, case: Members) -> None:
    stage = Stage(server, proxy, case)
    found = run(
        tab,
        f"""{CHANGES}
        const changes = {{add, set, price, mark, append, claim, line, take, sell, own, job, work, seat, move, part,
          drop, leave, "sell if any": sellIfAny}};
        const act = (limits) => client.update(url, changes[change], {{uniqueTags, ...limits}});
        {OUTCOME}""",
        url=stage.url,
        change=case["change"],
        uniqueTags=case.get("uniqueTags", False),
        attempts=case.get("attempts"),
    )
    assert found["outcome"] == case["outcome"]
    if found["outcome"] == "unknown":
        assert found["theirs"] == (stage.shown() or {"content": None, "etag": None})
    check_stored(stage, case, found)


def check_stored(stage: Stage, case: Members, found: Members) -> None:
    if found["outcome"] == "saved":
        assert found["copy"] == stage.shown()
    stage.check_stored(case)
    assert stage.counts(case) == {name: case[name] for name in ("puts", "gets") if name in case}


def test_a_browser_sends_again_by_itself_which_a_mark_of_the_change_s_own_survives(
    tab: Page, server: str, proxy: Proxy
) -> None:
    """The module has sent one PUT, and knows of no lost answer; the server has seen two."""
    proxy.closes = False
    stage = Stage(server, proxy, {"faults": {"PUT": ["answer lost"]}})
    found = run(tab, f"{CHANGES} return await client.update(url, mark)", url=stage.url)
    proxy.closes = True
    assert (found["state"], found["attempts"], proxy.count("PUT")) == ("saved", 1, 2)
    assert stage.stored() == {"n": 1, "title": "Plan", "marks": ["mine"]}


def test_clashes_are_the_outermost_members(page: Page) -> None:
    found = run(
        page,
        """return client.merge(
        {a: {x: 1, y: 1}, "b/c": 1}, {a: {x: 2, y: 2}, "b/c": 2}, {a: {x: 3, y: 3}, "b/c": 3})""",
    )
    assert found["clashes"] == ["a", "b/c"]
    assert found["pointers"] == ["/a/x", "/a/y", "/b~1c"]


START = "const url = '/api/products/lantern'; const base = await client.read(url);"


def test_what_is_still_there_is_not_read_again(page: Page) -> None:
    assert run(page, f"{START} return base === await client.read(url, {{known: base}})")
    assert run(page, f"{START} return base !== await client.read(url)")
    assert run(page, "return client.ABSENT === await client.read('/api/products/nothing')")


# Somebody else is first, each time that a save is on its way: as often as `rivals` says.
RIVALS = """
let puts = 0;
const members = {...base.content, price: `1.0${rivals}`};
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
        "state": "saved", "attempts": rivals + 1, "puts": rivals + 1, "price": f"1.0{rivals}", "same": True,
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
          .catch((error) => [error instanceof client.Unknown, error.theirs, error.cause.message])""",
    )
    assert unreachable == [True, None, "offline"]


# A server of notes in memory, whose habits a test may change.
NOTES = """
let note = {title: "Plan"}, version = 1;
const tag = () => `"${version}"`;
const shown = () => new Response(JSON.stringify(note), {headers: {ETag: tag()}});
const put = (members) => { note = members; version++; };
let answerTo = {GET: shown, PUT: shown};
const send = async (url, {method, headers, body}) => {
  if (method === "GET") return note ? answerTo.GET() : new Response(null, {status: 404});
  const holds = note ? headers["If-Match"] === tag() : headers["If-None-Match"] === "*";
  if (!holds) return new Response("", {status: 412});
  put(JSON.parse(body));
  return answerTo.PUT();
};
const read = () => client.read("/note", {send});
const save = (copy, members, options) => client.save("/note", copy, members, {send, ...options});
"""


def test_a_member_that_somebody_else_has_added_is_kept(page: Page) -> None:
    found = run(
        page,
        f"""{NOTES}
        const [ann, bob] = [await read(), await read()];
        await save(ann, {{...ann.content, due: "Friday"}});
        const {{state, attempts}} = await save(bob, {{...bob.content, title: "Plan B"}});
        return [state, attempts, note];""",
    )
    assert found == ["saved", 2, {"title": "Plan B", "due": "Friday"}]


@pytest.mark.parametrize("tagged", [True, False])
def test_after_an_answer_without_content_the_copy_is_what_is_there(page: Page, tagged: bool) -> None:
    """RFC 9110 section 9.3.4: a 204, with the tag, or without one, where the server has stored something else."""
    found = run(
        page,
        f"""{NOTES}
        answerTo.PUT = () => new Response(null, {{status: 204, headers: tagged ? {{ETag: tag()}} : {{}}}});
        const {{copy}} = await save(await read(), {{title: "Mine"}});
        const again = await save(copy, {{title: "Mine again"}});
        note = null;
        const onDeleted = await save(again.copy, {{title: "Not anew"}});
        return [copy, again.state, onDeleted.state, note];""",
        tagged=tagged,
    )
    assert found == [{"content": {"title": "Mine"}, "etag": '"2"'}, "saved", "gone", None]


def test_what_has_no_tag_is_neither_saved_nor_deleted(page: Page) -> None:
    found = run(
        page,
        f"""{NOTES}
        answerTo.GET = () => new Response('{{"title": "Plan"}}');
        const copy = await read();
        const told = (error) => error instanceof client.Untagged && error.message;
        return [copy, await save(copy, {{title: "B"}}).catch(told),
                await client.remove("/note", copy, {{send}}).catch(told),
                await client.remove("/note", client.ABSENT, {{send}}).catch(told), note];""",
    )
    untagged = "There is no ETag of /note: nobody could tell whether it has changed."
    assert found == [{"content": {"title": "Plan"}, "etag": None}, *[untagged] * 3, {"title": "Plan"}]


@pytest.mark.parametrize(
    ("status", "reason", "puts", "told"),
    [
        (412, "weakened", 1, "A proxy has rewritten the tag."),
        (409, None, 1, "A proxy has rewritten the tag."),
        (404, None, 1, "A proxy has rewritten the tag."),
        (409, "conflict", 3, "busy"),
    ],
)
def test_what_would_be_refused_again_is_not_repeated(
    page: Page, status: int, reason: str | None, puts: int, told: str
) -> None:
    found = run(
        page,
        f"""{NOTES}
        let puts = 0;
        const problem = JSON.stringify({{detail: "A proxy has rewritten the tag.", reason}});
        const refusing = async (url, options) => {{
          if (options.method === "GET") return send(url, options);
          puts++;
          return new Response(problem, {{status}});
        }};
        const told = await client.save("/note", await read(), {{title: "B"}}, {{send: refusing, attempts: 3}})
          .then(({{state}}) => state, (error) => error instanceof client.Refused && error.message);
        return [puts, told];""",
        status=status,
        reason=reason,
    )
    assert found == [puts, told]


@pytest.mark.parametrize(
    ("status", "reason", "headers"),
    [
        (409, "busy", {"Retry-After": "0"}),
        (429, None, {}),
        (412, "weakened", {"ETag": '"1"'}),
        (409, "conflict", {}),
        (409, "partial", {}),
    ],
)
def test_what_was_refused_for_the_moment_is_sent_again(
    page: Page, status: int, reason: str | None, headers: dict[str, str]
) -> None:
    found = run(
        page,
        f"""{NOTES}
        const sent = [];
        const refusing = async (url, options) => {{
          if (options.method === "GET") return send(url, options);
          sent.push(options.headers["If-Match"]);
          if (sent.length === 1) return new Response(JSON.stringify({{reason}}), {{status, headers}});
          return send(url, options);
        }};
        const copy = await read();
        const altered = reason === "weakened" ? {{...copy, etag: `W/${{copy.etag}}`}} : copy;
        const {{state, attempts}} = await client.save("/note", altered, {{title: "B"}}, {{send: refusing}});
        return [state, attempts, sent, note];""",
        status=status,
        reason=reason,
        headers=headers,
    )
    first = 'W/"1"' if reason == "weakened" else '"1"'
    assert found == ["saved", 2, [first, '"1"'], {"title": "B"}]


def test_an_answer_that_speaks_of_something_else_is_not_taken_for_what_is_there(page: Page) -> None:
    found = run(
        page,
        f"""{NOTES}
        answerTo.PUT = () => new Response('{{"status": "done"}}', {{headers: {{ETag: tag()}}}});
        return (await save(await read(), {{title: "B"}})).copy;""",
    )
    assert found == {"content": {"title": "B"}, "etag": '"2"'}


def test_no_attempts_are_one(page: Page) -> None:
    found = run(
        page,
        f"""{NOTES}
        const copy = {{content: {{title: "Older"}}, etag: '"0"'}};
        const {{state, attempts}} = await save(copy, {{title: "Older", due: "Friday"}}, {{attempts: 0}});
        return [state, attempts];""",
    )
    assert found == ["busy", 1]


@pytest.mark.parametrize(
    ("status", "of_the_read", "of_the_save"),
    [
        (200, "Refused", "Unknown"),
        (413, "Refused", "Refused"),
        (500, "Refused", "Unknown"),
        (502, "Unreachable", "Unknown"),
    ],
)
def test_a_page_that_is_no_json_is_an_answer_all_the_same(
    page: Page, status: int, of_the_read: str, of_the_save: str
) -> None:
    found = run(
        page,
        f"""{NOTES}
        const copy = await read();
        answerTo.PUT = answerTo.GET = () => new Response("<h1>Log in</h1>", {{status}});
        const kinds = ["Refused", "Unknown", "Unreachable"];
        const told = (error) => kinds.find((name) => error instanceof client[name]);
        const limits = {{send, attempts: 2}};
        return [await client.read("/note", limits).catch(told),
                await save(copy, {{title: "B"}}, limits).then(({{state}}) => state, told)];""",
        status=status,
    )
    assert found == [of_the_read, of_the_save]


@pytest.mark.parametrize("is_done", [True, False])
def test_a_write_that_was_redirected_is_known_by_what_is_there(page: Page, is_done: bool) -> None:
    """It may have become a GET on its way, whose answer is no success of the write."""
    found = run(
        page,
        f"""{NOTES}
        const redirecting = async (url, options) => {{
          const answer = options.method === "GET" || isDone ? await send(url, options) : shown();
          return Object.defineProperty(answer, "redirected", {{value: options.method !== "GET"}});
        }};
        return client.save("/note", await read(), {{title: "B"}}, {{send: redirecting}})
          .then(({{state, copy}}) => [state, copy.content])
          .catch((error) => [error instanceof client.Refused, note]);""",
        isDone=is_done,
    )
    assert found == (["saved", {"title": "B"}] if is_done else [True, {"title": "Plan"}])


def test_a_deletion_whose_answer_is_lost_claims_nothing_of_what_is_there_by_then(page: Page) -> None:
    found = run(
        page,
        f"""{NOTES}
        const copy = await read();
        const lossy = async (url, options) => {{
          if (options.method === "GET") return send(url, options);
          if (options.headers["If-Match"] !== tag()) return send(url, options);
          put({{title: "Made anew"}});
          throw new TypeError("lost");
        }};
        const unknown = await client.remove("/note", copy, {{send: lossy}}).catch((error) => error);
        const busy = async (url, options) =>
          options.method === "GET" ? send(url, options) : new Response('{{"reason": "busy"}}', {{status: 409}});
        const outcome = await save(await read(), {{title: "B"}}, {{send: busy, attempts: 2}});
        const isUnknown = unknown instanceof client.Unknown;
        return [isUnknown, unknown.theirs.content, outcome.state, outcome.theirs.content];""",
    )
    assert found == [True, {"title": "Made anew"}, "busy", {"title": "Made anew"}]


def test_what_somebody_has_changed_is_not_deleted_but_shown(page: Page) -> None:
    found = run(
        page,
        f"""{START}
        const stock = base.content.stock + 7;
        await client.save(url, base, {{...base.content, stock}});
        const theirs = await client.remove(url, base);
        return [theirs.content.stock - base.content.stock, await client.remove(url, theirs) === client.ABSENT];""",
    )
    assert found == [7, True]


NODE = """
import {pathToFileURL} from "node:url";
const [module, url] = process.argv.slice(-2);
const {read, Unreachable} = await import(pathToFileURL(module));
const told = [];
const tell = async (story) => told.push(await story().then((copy) => copy.content.n, (error) => error.name));
await tell(() => read(url, {deadline: 1500.5}));
await tell(() => read("no URL", {attempts: 2}));
let asked = 0;
await tell(() => read(url, {send: async () => { asked += 1; throw new RangeError("a mistake"); }}));
await tell(() => read(url, {send: () => null.fetch()}));
const nobody = await read("http://127.0.0.1:1/", {attempts: 2}).catch((error) => error instanceof Unreachable);
console.log(JSON.stringify([...told, asked, nobody]));
"""


def test_node_reads_within_a_deadline_and_a_mistake_is_no_failure_of_the_network(
    server: str, proxy: Proxy, tmp_path: Path
) -> None:
    """By the Node that comes with Playwright."""
    module = tmp_path / "client.mjs"
    module.write_bytes((ROOT / "sample_app" / "static" / "client.js").read_bytes())
    (tmp_path / "try.mjs").write_text(NODE)
    stage = Stage(server, proxy, {})
    node = compute_driver_executable()[0]
    ran = subprocess.run(
        [node, tmp_path / "try.mjs", module, stage.direct], capture_output=True, text=True, check=False, timeout=30
    )
    assert ran.stderr == ""
    assert json.loads(ran.stdout) == [1, "TypeError", "RangeError", "TypeError", 1, True]
