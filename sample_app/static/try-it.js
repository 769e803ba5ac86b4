/** "Try it": one product in two panes, as two people, with Flask-ETag and without; and what became of their saves. */

import {ABSENT, Refused, Unreachable, read, save} from "./client.js";
import {element} from "./elements.js";
import {LABELS, NAMES} from "./product.js";
import {sendAs} from "./wire.js";

const PEOPLE = ["Ann", "Bob"];
const SUFFIX = ", blue";
const MODE = "try-it without"; // in the session's storage, so that a reload does not move the switch

class TryIt extends HTMLElement {
  #saves = {}; // this round's, by person
  #send = sendAs("Try it");

  connectedCallback() {
    this.panes = PEOPLE.map((who) => this.querySelector(`product-editor[data-who=${who}]`));
    this.control = this.querySelector("[role=switch]");
    this.control.addEventListener("change", () => this.#begin({keepTyped: true}));
    this.querySelector("[data-action=again]").addEventListener("click", () => this.#begin());
    this.addEventListener("click", ({target}) => {
      if (target.dataset.switchTo === undefined) return;
      this.control.checked = target.dataset.switchTo === "without";
      this.#begin();
    });
    this.addEventListener("saved", ({detail}) => this.#record(detail));
    this.addEventListener("clash", () => this.#step(3));
    for (const pane of this.panes) pane.saver = (base, mine) => this.#saver(pane, base, mine);
    window.addEventListener("hashchange", () => this.#openIfAsked());
    this.#openIfAsked();
  }

  get #mode() {
    return this.control.checked ? "without" : "with";
  }

  /** The address says whether the panes are open, so that they are so again after a reload. */
  #openIfAsked() {
    const isOpen = location.hash === `#${this.id}`;
    const isOpening = isOpen && this.hidden;
    this.hidden = !isOpen;
    if (isOpening) {
      this.control.checked = MODE in sessionStorage;
      this.#begin({keepDrafts: true});
    }
    if (isOpen) this.scrollIntoView({block: "start"});
  }

  /** Begin a round: both have the same copy, and each has typed something: what is there already, or a proposal. */
  async #begin({keepDrafts = false, keepTyped = false} = {}) {
    this.#saves = {};
    this.dataset.mode = this.#mode;
    if (this.control.checked) sessionStorage.setItem(MODE, "");
    else sessionStorage.removeItem(MODE);
    for (const button of this.querySelectorAll("[data-switch-to]")) button.remove();
    this.#step(1);
    try {
      const copy = await this.#product();
      const seen = this.#mode === "with" ? copy : {...copy, etag: null};
      const {name, price, stock} = copy.content;
      const sold = stock < 2 ? -10 : 1;
      const typed = {
        Ann: {price: (Number(price) + 1.5).toFixed(2), stock: String(stock - sold)},
        Bob: {
          name: name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : name + SUFFIX,
          stock: String(stock - 2 * sold),
        },
      };
      for (const pane of this.panes) {
        if (keepTyped && pane.isDirty) typed[pane.dataset.who] = pane.changes;
        if (keepDrafts) pane.open(seen);
        else pane.show(seen);
        if (!pane.isDirty) pane.type(typed[pane.dataset.who]);
      }
      this.#tell("");
    } catch (error) {
      this.#tell(`It could not begin: ${error.message}`);
    }
  }

  async #product() {
    const copy = await read(this.dataset.api, {send: this.#send});
    if (copy.content !== null) return copy;
    const made = await save(this.dataset.api, ABSENT, JSON.parse(this.dataset.seed), {send: this.#send});
    return made.copy ?? made.theirs;
  }

  #saver(pane, base, mine) {
    const send = sendAs(pane.dataset.who);
    return this.#mode === "with"
      ? save(this.dataset.api, base, mine, {send})
      : this.#saveBlindly(send, base, mine);
  }

  /** What a client does that knows of no tags: the last one wins. */
  async #saveBlindly(send, base, mine) {
    const headers = {"Content-Type": "application/json"};
    const sent = send(this.dataset.unprotected, {method: "PUT", headers, body: JSON.stringify(mine)});
    const answer = await sent.catch((cause) => Promise.reject(new Unreachable("No answer came.", {cause})));
    const content = await answer.json();
    if (!answer.ok) throw new Refused({status: answer.status, content});
    return {state: "saved", attempts: 1, base, mine, theirs: null, copy: {content, etag: null}};
  }

  #record(saved) {
    if (Object.keys(this.#saves).length === PEOPLE.length) return; // the round is over
    this.#saves[saved.who] = saved;
    if (Object.keys(this.#saves).length < PEOPLE.length) return this.#step(2);
    this.#step(4);
    const card = this.querySelector(`.outcome[data-mode=${this.#mode}]`);
    card.querySelector(".told").replaceChildren(...this.#told(saved.copy.content));
  }

  /** Tell what became of each change: it is in the store, somebody who saw it put another in its place, or it is lost. */
  #told(now) {
    const changes = Object.fromEntries(PEOPLE.map((who) => [who, changesOf(this.#saves[who])]));
    const lost = [];
    const rows = NAMES.filter((name) => PEOPLE.some((who) => name in changes[who])).map((name) => {
      const cells = PEOPLE.map((who) => {
        if (!(name in changes[who])) return element("td", {class: "none"}, "–");
        const value = String(changes[who][name]);
        if (value === String(now[name])) return element("td", {class: "kept"}, value);
        const knowing = PEOPLE.find(
          (other) =>
            name in this.#saves[other].decided ||
            (other !== who && String(this.#saves[other].base.content[name]) === value),
        );
        if (knowing) return element("td", {}, value, element("small", {}, `${knowing} decided`));
        lost.push(`${who}’s ${LABELS[name].toLowerCase()}`);
        return element("td", {class: "lost"}, element("del", {}, value), element("small", {}, "lost"));
      });
      return element(
        "tr",
        {},
        element("th", {scope: "row"}, LABELS[name]),
        ...cells,
        element("td", {}, String(now[name])),
      );
    });
    const verdict =
      lost.length > 0
        ? element("p", {class: "verdict bad"}, `Gone: ${lost.join(" and ")}. Both were told “200 OK”.`)
        : element("p", {class: "verdict good"}, `Nothing is lost.${this.#how()}`);
    const columns = ["", ...PEOPLE.map((who) => `${who}’s save`), "In the store"];
    const head = element(
      "tr",
      {},
      ...columns.map((text) => element(text ? "th" : "td", {scope: text ? "col" : null}, text)),
    );
    const other = this.#mode === "with" ? "without" : "with";
    const otherIsEmpty = !this.querySelector(`.outcome[data-mode=${other}] table`);
    return [
      verdict,
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
      ...(otherIsEmpty
        ? [element("button", {type: "button", "data-switch-to": other}, `Now the same ${other} Flask-ETag`)]
        : []),
    ];
  }

  #how() {
    const saves = Object.values(this.#saves);
    if (saves.some(({decided}) => Object.keys(decided).length > 0)) return " Whoever was second was asked.";
    return saves.some(({attempts}) => attempts > 1) ? " The second save was merged with the first." : "";
  }

  #step(number) {
    for (const [index, step] of [...this.querySelectorAll(".steps li")].entries()) {
      if (index + 1 === number) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
      step.classList.toggle("done", index + 1 < number);
    }
  }

  #tell(text) {
    this.querySelector(".failure").textContent = text;
  }
}

const changesOf = ({base, mine}) =>
  Object.fromEntries(Object.entries(mine).filter(([name, value]) => String(value) !== String(base.content[name])));

customElements.define("try-it", TryIt);
