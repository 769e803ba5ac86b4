/** "Try it": one product in two panes, as two people, with Flask-ETag and without; and what became of their saves. */

import {Refused, Unreachable, read, save} from "./client.js";
import {keep, kept} from "./drafts.js";
import {element} from "./elements.js";
import {LABELS, NAMES} from "./product.js";
import {sendAs} from "./wire.js";

const PEOPLE = ["Ann", "Bob"];
const SOMEBODY = "somebody else";
const SUFFIX = ", blue";
const LONGEST = 200; // characters of a name
const MODE = "try-it without"; // a reload does not move the switch

class TryIt extends HTMLElement {
  #round = {mode: "with", saves: []};
  #turn = 0; // of the beginnings, of which the last one counts
  #failed = null; // how the beginning was asked for that failed
  #proposed = {}; // by person, what the round began with
  #makers = new Map(); // by tag, who has made that state
  #send = sendAs("Try it");

  connectedCallback() {
    this.panes = PEOPLE.map((who) => this.querySelector(`product-editor[data-who=${who}]`));
    this.control = this.querySelector("[role=switch]");
    this.control.addEventListener("change", () => this.#begin({keepTyped: true}));
    this.querySelector("[data-action=again]").addEventListener("click", () => {
      if (this.#mayDrop()) this.#begin();
    });
    this.addEventListener("click", ({target}) => {
      if (target.dataset.switchTo === undefined) return;
      this.control.checked = target.dataset.switchTo === "without";
      this.#begin({keepTyped: true});
    });
    this.addEventListener("saved", ({detail}) => this.#record(detail));
    this.addEventListener("clash", ({detail}) => this.#step(3, detail.who));
    for (const pane of this.panes) {
      pane.saver = (base, mine) => this.#save(pane.dataset.who, base, mine);
      pane.authorOf = ({etag}) => this.#makers.get(etag);
    }
    window.addEventListener("hashchange", () => this.#openIfAsked());
    window.addEventListener("online", () => this.#failed && this.#begin(this.#failed));
    this.#openIfAsked();
  }

  /** The address says whether the panes are open, so that they are so again after a reload. */
  #openIfAsked() {
    const isOpen = location.hash === `#${this.id}`;
    const isOpening = isOpen && this.hidden;
    this.hidden = !isOpen;
    if (isOpening) {
      this.control.checked = kept(MODE) !== null;
      this.#begin({keepDrafts: true});
    }
    if (isOpen) this.scrollIntoView({block: "start"});
  }

  /** Begin a round: both have the same copy, and each has typed something: what is there already, or a proposal. */
  async #begin(how = {}) {
    const turn = ++this.#turn;
    this.#failed = null;
    this.dataset.mode = this.control.checked ? "without" : "with";
    keep(MODE, this.control.checked || null);
    for (const pane of this.panes) pane.form.inert = true;
    try {
      await Promise.all(this.panes.map((pane) => pane.idle())); // a save belongs to the round that it was made in
      const copy = await this.#product(how);
      if (turn === this.#turn) this.#open(copy, how);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#failed = how;
      this.#tell(`It could not begin: ${error.message} Begin again later.`);
    }
  }

  #open(copy, {keepDrafts = false, keepTyped = false}) {
    this.#round = {mode: this.dataset.mode, saves: []};
    this.#tell("");
    for (const button of this.querySelectorAll("[data-switch-to]")) button.remove();
    this.#step(1);
    const seen = this.#round.mode === "with" ? copy : {...copy, etag: null};
    this.#proposed = proposals(copy.content);
    for (const pane of this.panes) {
      const typed = keepTyped && pane.isDirty ? pane.changes : this.#proposed[pane.dataset.who];
      if (keepDrafts) pane.open(seen);
      else pane.show(seen);
      if (!pane.isDirty) pane.type(typed);
    }
  }

  /** What somebody has typed by hand is dropped only if that is wanted. */
  #mayDrop() {
    const who = this.panes
      .filter(({changes, dataset}) => {
        const proposed = this.#proposed[dataset.who] ?? {};
        return Object.entries(changes).some(([name, text]) => text !== proposed[name]);
      })
      .map(({dataset}) => dataset.who);
    return who.length === 0 || confirm(`What ${who.join(" and ")} typed is not saved. Drop it?`);
  }

  /** The product to begin with: what is there after a reload, and otherwise the one that the first round began with. */
  async #product({keepDrafts = false}) {
    const copy = await read(this.dataset.api, {send: this.#send});
    const seed = JSON.parse(this.dataset.seed);
    const isAsWanted = copy.content !== null && NAMES.every((name) => copy.content[name] === seed[name]);
    if (isAsWanted || (keepDrafts && copy.content !== null)) return copy;
    const made = await save(this.dataset.api, copy, {...copy.content, ...seed}, {send: this.#send});
    return made.copy ?? made.theirs;
  }

  async #save(who, base, mine) {
    const send = sendAs(who, who);
    if (this.#round.mode === "without") return this.#saveBlindly(send, base, mine);
    const outcome = await save(this.dataset.api, base, mine, {send});
    if (outcome.state === "saved" && outcome.copy !== outcome.theirs) this.#makers.set(outcome.copy.etag, who);
    return outcome;
  }

  /** What a client does that knows of no tags: the last one wins. What was there is read for the record alone. */
  async #saveBlindly(send, base, mine) {
    const replaced = await read(this.dataset.api, {send: this.#send});
    const headers = {"Content-Type": "application/json"};
    const sent = send(this.dataset.unprotected, {method: "PUT", headers, body: JSON.stringify(mine)});
    const answer = await sent.catch((cause) => Promise.reject(new Unreachable("No answer came.", {cause})));
    const content = await answer.json().catch(() => null);
    if (answer.status === 404) content.detail = "It has been deleted: begin again, which makes it anew.";
    if (!answer.ok || content === null) throw new Refused({status: answer.status, content});
    return {state: "saved", attempts: 1, base, mine, theirs: null, replaced, copy: {content, etag: null}};
  }

  #record(saved) {
    const {mode, saves} = this.#round;
    saves.push(saved);
    const missing = PEOPLE.find((who) => !saves.some((save) => save.who === who));
    if (missing) return this.#step(2, missing);
    this.#step(4, saved.who);
    const card = this.querySelector(`.outcome[data-mode=${mode}]`);
    card.querySelector(".told").replaceChildren(...this.#told());
    card.scrollIntoView({block: "nearest"});
  }

  /** Tell what became of each change: it is in the store, somebody who saw it put another there, or it is lost. */
  #told() {
    const {mode, saves} = this.#round;
    const {makers, lost, now} = historyOf(saves);
    const typed = Object.fromEntries(PEOPLE.map((who) => [who, changesOf(saves.filter((save) => save.who === who))]));
    const deciders = Object.assign({}, ...saves.map(({who, decided}) => Object.fromEntries(Object.keys(decided).map((name) => [name, who]))));
    const isTold = (name) => PEOPLE.some((who) => name in typed[who]) || lost.some((change) => change.name === name);
    const rows = NAMES.filter(isTold).map((name) => {
      const cells = PEOPLE.map((who) => {
        if (!(name in typed[who])) return element("td", {class: "none"}, "–");
        const text = typed[who][name];
        if (text === String(now[name])) return element("td", {class: "kept"}, text);
        if (lost.some((change) => change.who === who && change.name === name && change.text === text)) {
          return element("td", {class: "lost"}, element("del", {}, text), element("small", {}, "lost"));
        }
        const then = deciders[name] ? `${deciders[name]} decided` : `${PEOPLE.includes(makers[name]) ? makers[name] : SOMEBODY} changed it`;
        return element("td", {}, text, element("small", {}, then));
      });
      return element(
        "tr",
        {},
        element("th", {scope: "row"}, LABELS[name]),
        ...cells,
        element("td", {}, String(now[name])),
      );
    });
    const gone = [...new Set(lost.map(({who, name}) => `${who}’s ${LABELS[name].toLowerCase()}`))];
    const verdict =
      gone.length > 0
        ? element("p", {class: "verdict bad"}, `Gone: ${gone.join(" and ")}. Both were told “200 OK”.`)
        : element("p", {class: "verdict good"}, `Nothing is lost.${howOf(saves)}`);
    const columns = ["", ...PEOPLE.map((who) => `${who}’s save`), "In the store"];
    const head = element(
      "tr",
      {},
      ...columns.map((text) => element(text ? "th" : "td", {scope: text ? "col" : null}, text)),
    );
    const other = mode === "with" ? "without" : "with";
    const otherIsEmpty = !this.querySelector(`.outcome[data-mode=${other}] table`);
    return [
      verdict,
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
      ...(otherIsEmpty
        ? [element("button", {type: "button", "data-switch-to": other}, `Now the same ${other} Flask-ETag`)]
        : []),
    ];
  }

  /** Show which step is the next one, and whose button does it; what is done is ticked, under the name of who did it. */
  #step(number, second = PEOPLE.at(-1)) {
    const first = PEOPLE.find((who) => who !== second);
    for (const name of this.querySelectorAll(".first")) name.textContent = first;
    for (const name of this.querySelectorAll(".second")) name.textContent = second;
    const wasDecided = this.#round.saves.some(({decided}) => Object.keys(decided).length > 0);
    for (const step of this.querySelectorAll(".steps li")) {
      const place = Number(step.dataset.step);
      if (place === number) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
      step.classList.toggle("done", place < number && (place < 3 || wasDecided));
    }
    const next = {1: first, 2: second, 3: second}[number];
    for (const pane of this.panes) pane.toggleAttribute("data-is-next", pane.dataset.who === next);
  }

  #tell(text) {
    this.querySelector(".failure").textContent = text;
  }
}

/** What each may change, so that both sell from one stock; the product stays within its limits. */
function proposals({name, price, stock}) {
  const sold = stock < 2 ? -10 : 1;
  const rise = Number(price) > 99_999_990 ? -1.5 : 1.5;
  const without = name.endsWith(SUFFIX) && name.slice(0, -SUFFIX.length);
  return {
    Ann: {price: (Number(price) + rise).toFixed(2), stock: String(stock - sold)},
    Bob: {
      name: without || [...name].slice(0, LONGEST - SUFFIX.length).join("") + SUFFIX,
      stock: String(stock - 2 * sold),
    },
  };
}

/** What the saves of one person have changed altogether, by member. */
const changesOf = (saves) =>
  Object.assign(
    {},
    ...saves.flatMap(({typed: {base, mine}}) =>
      NAMES.filter((name) => String(mine[name]) !== String(base.content?.[name])).map((name) => ({
        [name]: String(mine[name]),
      })),
    ),
  );

/**
 * Go through the saves of a round. What a save replaces is lost if whoever saved had not seen it, unless it is back.
 *
 * `makers`: by member, who has made what is in the store, as far as the round knows.
 */
function historyOf(saves) {
  const makers = {};
  const lost = [];
  let now = null;
  for (const {who, outcome} of saves) {
    // A save with a tag was made on the very state that its base is; or there was nothing left to save.
    const seen = outcome.copy === outcome.theirs ? outcome.theirs : outcome.base;
    const before = outcome.replaced ?? seen;
    for (const name of NAMES) {
      const [was, saw, is] = [before, seen, outcome.copy].map(({content}) => String(content?.[name]));
      if (now === null ? was !== saw : was !== String(now[name])) makers[name] = SOMEBODY;
      if (is === was) continue;
      if (was !== saw && makers[name]) lost.push({who: makers[name], name, text: was});
      makers[name] = String(outcome.mine[name]) === saw ? null : who; // who overwrites unseen makes nothing
    }
    now = outcome.copy.content;
  }
  return {makers, lost: lost.filter(({name, text}) => text !== String(now[name])), now};
}

function howOf(saves) {
  if (saves.some(({decided}) => Object.keys(decided).length > 0)) return " Whoever was second was asked.";
  return saves.some(({attempts}) => attempts > 1) ? " The second save was merged with the first." : "";
}

customElements.define("try-it", TryIt);
