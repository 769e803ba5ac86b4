/**
 * The editor of one product: a form, what is typed in it, and what becomes of that when somebody else saves first.
 *
 *     <product-editor data-api="/api/products/teapot" data-who="Ann" data-copy='{"content": {...}, "etag": "..."}'>
 *
 * Attributes: `data-other`, what others are called, if there is only one of them.
 * Events: `saved`, with what has been typed, from which base, and the outcome; `clash`.
 */

import {ABSENT, Refused, Unreachable, merge, read, remove, save} from "./client.js";
import {element, tagOf} from "./elements.js";
import {sendAs} from "./wire.js";

const LABELS = {name: "Name", price: "Price", stock: "Stock", description: "Description"};
const NAMES = Object.keys(LABELS);
const PARSERS = {
  price: (text) => (/^\d{1,8}(\.\d{1,2})?$/.test(text) ? Number(text).toFixed(2) : text),
  stock: (text) => (/^\d{1,10}$/.test(text) ? Number(text) : text),
};

class ProductEditor extends HTMLElement {
  /** How a save is made; another one may be put here. */
  saver = (base, mine) => save(this.dataset.api, base, mine, {send: this.#send});

  #base = ABSENT; // what the work began with
  #theirs = null; // what a save met, as long as a clash with it is open
  #decided = {}; // by member, the text that ends the clash
  #merged = null; // what the last save met and merged by itself, to be looked at
  #began = null; // what was typed for the first of several attempts, and on what
  #attempts = 0;
  #busy = false;
  #shown = {}; // by member, the base's text as the form has it
  #send;

  connectedCallback() {
    if (this.form) return;
    this.form = this.querySelector("form");
    this.#send = sendAs(this.dataset.who);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    this.form.addEventListener("input", ({target}) => {
      if (target.dataset.result) this.#decide(target.dataset.result, target.value);
      else if (target.type !== "radio") this.#edited();
    });
    this.#on("discard", () => this.reload());
    this.#on("delete", () => this.#delete());
    window.addEventListener("online", () => this.dataset.state === "unsent" && this.save());
    if (this.dataset.copy) this.open(JSON.parse(this.dataset.copy));
  }

  /** Whether something is typed that is not saved. */
  get isDirty() {
    return NAMES.some((name) => this.#control(name).value !== (this.#shown[name] ?? ""));
  }

  /** Show a copy, with what was typed on it, or on an earlier one, before the page was left. */
  open(copy) {
    const draft = JSON.parse(sessionStorage.getItem(this.#key));
    this.#adopt(draft?.base ?? copy);
    if (!draft) {
      if (copy.content === null)
        this.#tell("absent", "There is no product with this name in its address. You can create it.");
      return;
    }
    this.#type(draft.texts);
    [this.#theirs, this.#decided] = [draft.theirs, draft.decided];
    this.#render();
    this.#tell(this.#theirs ? "clash" : "edited", "What you typed before, and did not save, is here again.");
  }

  /** Type something into fields, as a person would. */
  type(texts) {
    this.#type(texts);
    this.#edited();
  }

  /** Drop what is typed, and show what is there now. */
  async reload() {
    await this.#trying("loaded", async () => this.show(await read(this.dataset.api, {send: this.#send})));
  }

  /** Show a copy, and drop what is typed. */
  show(copy) {
    this.#forget();
    this.#adopt(copy);
    this.#tell(copy.content === null ? "absent" : "clean", copy.content === null ? "It has been deleted." : "");
  }

  /** Save what is typed; merge and ask as needed. */
  async save() {
    if (this.#busy) return;
    const clash = this.#clash();
    if (clash && clash.clashes.some((name) => !(name in this.#decided))) {
      this.#tell("clash", `Decide first: ${listed(clash.clashes.filter((name) => !(name in this.#decided)))}.`);
      this.querySelector(".conflict input[type=radio]").focus();
      return;
    }
    if (!this.form.reportValidity()) return;
    const [base, mine] = clash ? [this.#theirs, this.#resolved(clash)] : [this.#base, this.#mine()];
    const sent = this.#texts();
    if (!clash || !this.#began) this.#began = {base: this.#base, mine: this.#mine()};
    await this.#trying("saved", async () => {
      const outcome = await this.saver(base, mine);
      this.#attempts += outcome.attempts;
      const settle = {saved: this.#saved, clash: this.#clashed, gone: this.#gone, busy: this.#missed}[
        outcome.state
      ];
      settle.call(this, outcome, sent);
    });
  }

  #saved({copy, theirs, mine}, sent) {
    const [attempts, began, decided] = [this.#attempts, this.#began, this.#decided];
    const others = NAMES.filter((name) => !(name in decided) && String(mine[name]) !== String(began.mine[name]));
    const typedSince = this.#typedSince(sent);
    this.#forget();
    if (others.length > 0 && Object.keys(decided).length === 0) {
      this.#merged = {base: began.base.content, theirs: theirs.content, mine: began.mine, clashes: []};
    }
    this.#adopt(copy);
    if (Object.keys(typedSince).length > 0) this.type(typedSince);
    const merged = [
      others.length > 0 && `${listed(others)} as ${this.#other} saved it`,
      Object.keys(decided).length > 0 && `${listed(Object.keys(decided))} as you decided`,
    ].filter(Boolean);
    const how = merged.length > 0 ? ` Merged: ${merged.join("; ")}.` : "";
    const often = attempts > 1 ? ` on the ${ordinal(attempts)} try` : "";
    this.#tell("saved", `Saved${often}.${how}`);
    const detail = {who: this.dataset.who, ...began, copy, theirs, decided, attempts};
    this.dispatchEvent(new CustomEvent("saved", {detail, bubbles: true}));
  }

  #clashed({base, mine, theirs, clashes}, sent) {
    const texts = {...textsOf(mine), ...this.#typedSince(sent)};
    this.#adopt(base);
    this.#type(texts);
    [this.#theirs, this.#decided] = [theirs, {}];
    this.#keep();
    this.#render();
    this.#tell(
      "clash",
      `Not saved yet: ${this.#other} saved first. You both changed ${listed(clashes)}: decide, and save.`,
    );
    this.dispatchEvent(new CustomEvent("clash", {detail: {who: this.dataset.who, clashes}, bubbles: true}));
  }

  #gone({mine}, sent) {
    const texts = {...textsOf(mine), ...this.#typedSince(sent)};
    [this.#theirs, this.#decided] = [null, {}];
    this.#adopt(ABSENT);
    this.type(texts);
    this.#tell(
      "absent",
      "This product has been deleted in the meantime. What you typed is still here: you can create it anew.",
    );
  }

  #missed({attempts}) {
    this.#tell(
      "refused",
      `Tried ${attempts} times, and each time somebody else was first. Nothing is lost: save again.`,
    );
  }

  async #delete() {
    await this.#trying("deleted", async () => {
      const texts = this.#texts();
      const isDirty = this.isDirty;
      if (await remove(this.dataset.api, this.#base, {send: this.#send})) {
        this.#adopt(ABSENT);
        this.type(texts);
        this.#tell("absent", "Deleted. What it was is still here: you can create it anew.");
      } else if (isDirty) {
        this.#tell(
          "refused",
          "Not deleted: it has been changed in the meantime. Save, or discard, and look first.",
        );
      } else {
        this.show(await read(this.dataset.api, {send: this.#send}));
        this.#tell("refused", "Not deleted: it has been changed in the meantime. This is what is there now.");
      }
    });
  }

  /** What somebody has typed while a save was under way. */
  #typedSince(sent) {
    return Object.fromEntries(Object.entries(this.#texts()).filter(([name, text]) => text !== sent[name]));
  }

  /** Do what needs an answer of the server; whatever comes instead of one, what is typed stays. */
  async #trying(what, task) {
    if (this.#busy) return;
    this.#busy = true;
    const button = this.#button("save");
    button.setAttribute("aria-busy", "true");
    for (const control of this.form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    try {
      await task();
    } catch (error) {
      if (error instanceof Unreachable && what === "saved") {
        this.#tell(
          "unsent",
          "No connection. What you typed is kept here, also over a reload. It is sent when the connection is back, or when you save again.",
        );
      } else if (error instanceof Unreachable) {
        this.#tell("refused", `Not ${what}: there is no connection.`);
      } else if (error instanceof Refused) {
        this.#tell("refused", `Not ${what}. ${error.message}`);
        for (const [name, texts] of Object.entries(error.problem?.errors ?? {})) this.#complain(name, texts);
      } else throw error;
    } finally {
      this.#busy = false;
      button.removeAttribute("aria-busy");
    }
  }

  #complain(name, texts) {
    if (!(name in LABELS)) return;
    this.#control(name).setAttribute("aria-invalid", "true");
    this.#note(name, [texts].flat().join(" "));
  }

  #edited() {
    this.#merged = null;
    this.#keep();
    this.#render();
    if (this.#theirs) return;
    const count = this.#changes().length;
    if (this.#base.content === null) this.#tell("absent", this.querySelector("[role=status]").textContent);
    else this.#tell(count ? "edited" : "clean", count ? `Not saved yet: ${listed(this.#changes())}.` : "");
  }

  #adopt(copy) {
    this.#base = copy;
    for (const name of NAMES) {
      const control = this.#control(name);
      control.value = String(copy.content?.[name] ?? "");
      this.#shown[name] = control.value; // browsers have their own ways with line ends
    }
    this.#render();
  }

  #forget() {
    sessionStorage.removeItem(this.#key);
    [this.#theirs, this.#decided, this.#merged, this.#began, this.#attempts] = [null, {}, null, null, 0];
  }

  #keep() {
    const draft = {base: this.#base, texts: this.#texts(), theirs: this.#theirs, decided: this.#decided};
    if (this.isDirty || this.#theirs) sessionStorage.setItem(this.#key, JSON.stringify(draft));
    else sessionStorage.removeItem(this.#key);
  }

  #type(texts) {
    for (const [name, text] of Object.entries(texts)) this.#control(name).value = text;
  }

  #texts() {
    return Object.fromEntries(NAMES.map((name) => [name, this.#control(name).value]));
  }

  #changes() {
    return NAMES.filter((name) => this.#control(name).value !== this.#shown[name]);
  }

  /** The members as they are to be: of those that nobody has typed in, the very values that came. */
  #mine() {
    const content = this.#base.content;
    const changed = new Set(content === null ? NAMES : this.#changes());
    return Object.fromEntries(
      NAMES.map((name) => [
        name,
        changed.has(name) ? this.#parsed(name, this.#control(name).value) : content[name],
      ]),
    );
  }

  #parsed(name, text) {
    return PARSERS[name]?.(text) ?? text;
  }

  /** The merge that is open, or null. It follows what is typed in the form meanwhile. */
  #clash() {
    return this.#theirs && merge(this.#base.content, this.#mine(), this.#theirs.content);
  }

  #resolved({merged}) {
    return {
      ...merged,
      ...Object.fromEntries(Object.entries(this.#decided).map(([name, text]) => [name, this.#parsed(name, text)])),
    };
  }

  #decide(name, text) {
    this.#decided[name] = text;
    this.#keep();
    for (const radio of this.form.elements[`choice-${name}`]) radio.checked = radio.dataset.text === text;
  }

  #render() {
    for (const name of NAMES) {
      const isChanged = this.#base.content !== null && this.#control(name).value !== this.#shown[name];
      this.#control(name).closest("label").classList.toggle("changed", isChanged);
      this.#note(
        name,
        isChanged ? `was ${excerpt(this.#shown[name], this.#control(name).value)[0] || "empty"}` : "",
      );
    }
    const isAbsent = this.#base.content === null;
    this.#button("save").textContent = isAbsent ? "Create it" : this.#theirs ? "Save the merged product" : "Save";
    this.#button("discard").hidden = !this.isDirty || isAbsent;
    const erase = this.#button("delete");
    if (erase) erase.hidden = isAbsent || this.#theirs !== null;
    this.querySelector(".holds").replaceChildren(
      ...(this.#base.etag
        ? [this.dataset.who === "You" ? "have seen " : "has seen ", tagOf(this.#base.etag)]
        : []),
    );
    this.#renderConflict();
  }

  /** Show base, theirs and mine side by side: to be decided on, or to tell what has been merged. */
  #renderConflict() {
    const clash = this.#clash();
    const panel = this.querySelector(".conflict");
    this.querySelector(".fields").hidden = clash !== null;
    panel.hidden = clash === null && this.#merged === null;
    if (panel.hidden) return panel.replaceChildren();
    const {base, theirs, mine, clashes} = this.#merged ?? {
      base: this.#base.content ?? {},
      theirs: this.#theirs.content,
      mine: this.#mine(),
      clashes: clash.clashes,
    };
    const differing = NAMES.filter(
      (name) => String(base[name]) !== String(theirs[name]) || String(base[name]) !== String(mine[name]),
    );
    const head = element(
      "tr",
      {},
      ...["Before", this.#others, "Yours"].map((text) => element("th", {scope: "col"}, text)),
    );
    panel.replaceChildren(
      element(
        "table",
        {},
        element(
          "caption",
          {class: "visually-hidden"},
          "What was there before, what is there now, and what you typed",
        ),
        element("thead", {}, head),
        ...differing.map((name) =>
          this.#comparison(name, base[name] ?? "", theirs[name], mine[name], clashes.includes(name)),
        ),
      ),
    );
  }

  #comparison(name, base, theirs, mine, isClash) {
    const [before, others, own] = excerpt(String(base), String(theirs), String(mine));
    const takesMine = String(mine) !== String(base) && String(theirs) === String(base);
    const verdict = isClash
      ? "both changed it: decide"
      : takesMine
        ? "only you changed it: yours"
        : `only ${this.#other} changed it: ${this.#others.toLowerCase() === "theirs" ? "theirs" : this.#others}`;
    const agreed = String(mine) === String(theirs) ? "both wanted the same" : verdict;
    const cell = (text, value, isTaken) =>
      element(
        "td",
        {class: isTaken && "taken"},
        isClash && value !== undefined
          ? this.#choice(name, String(value), text)
          : element("span", {class: "value"}, text || "(empty)"),
      );
    const body = element(
      "tbody",
      {"data-member": name, class: isClash ? "clash" : "merged"},
      element(
        "tr",
        {},
        element("th", {scope: "rowgroup", colspan: 3}, LABELS[name], " ", element("small", {}, agreed)),
      ),
      element(
        "tr",
        {},
        cell(before),
        cell(others, theirs, !isClash && !takesMine),
        cell(own, mine, !isClash && takesMine),
      ),
    );
    if (isClash) body.append(element("tr", {}, element("td", {colspan: 3}, this.#result(name))));
    return body;
  }

  #choice(name, text, shown) {
    const radio = element("input", {
      type: "radio",
      name: `choice-${name}`,
      "data-text": text,
      checked: this.#decided[name] === text,
    });
    radio.addEventListener("change", () => {
      this.querySelector(`[data-result=${name}]`).value = text;
      this.#decide(name, text);
    });
    return element("label", {}, radio, element("span", {class: "value"}, shown || "(empty)"));
  }

  #result(name) {
    const field = this.#control(name).cloneNode(); // which asks for the same kind of text
    field.removeAttribute("name");
    field.dataset.result = name;
    field.placeholder = "choose above, or type";
    field.value = this.#decided[name] ?? "";
    return element("label", {class: "result"}, `${LABELS[name]} to save`, field);
  }

  #tell(state, text) {
    this.dataset.state = state;
    const line = this.querySelector("[role=status]");
    if (line.textContent !== text) line.textContent = text;
  }

  #note(name, text) {
    this.#control(name).closest("label").querySelector("small").textContent = text;
  }

  #control(name) {
    return this.form.elements[name];
  }

  #button(action) {
    return this.querySelector(`[data-action=${action}]`);
  }

  #on(action, listener) {
    this.#button(action)?.addEventListener("click", listener);
  }

  get #key() {
    return `draft of ${this.dataset.who}: ${this.dataset.api}`;
  }

  get #other() {
    return this.dataset.other ?? "somebody else";
  }

  get #others() {
    return this.dataset.other ? `${this.dataset.other}’s` : "Theirs";
  }
}

const textsOf = (content) => Object.fromEntries(NAMES.map((name) => [name, String(content[name])]));

const listed = (names) =>
  names
    .map((name) => LABELS[name].toLowerCase())
    .join(", ")
    .replace(/, ([^,]*)$/, " and $1");

const ordinal = (number) => `${number}${{1: "st", 2: "nd", 3: "rd"}[number] ?? "th"}`;

/** Cut away what long texts have in common at their ends. */
export function excerpt(...texts) {
  if (Math.max(...texts.map((text) => text.length)) < 80) return texts;
  const length = (isEqualAt) => {
    const shortest = Math.min(...texts.map((text) => text.length));
    let count = 0;
    while (count < shortest && texts.every((text) => isEqualAt(text, texts[0], count))) count++;
    return count;
  };
  const head = Math.max(0, length((text, first, at) => text[at] === first[at]) - 20);
  const tail = Math.max(0, length((text, first, at) => text.at(-1 - at) === first.at(-1 - at)) - 20);
  return texts.map((text) => {
    const end = Math.max(text.length - tail, head);
    return `${head > 0 ? "…" : ""}${text.slice(head, end)}${end < text.length ? "…" : ""}`;
  });
}

customElements.define("product-editor", ProductEditor);
