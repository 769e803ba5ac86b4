/**
 * The editor of one product: a form, what is typed in it, and what becomes of that when somebody else saves first.
 *
 *     <product-editor data-api="/api/products/teapot" data-who="Ann" data-copy='{"content": {...}, "etag": "..."}'>
 *
 * Attributes: `data-other`, what others are called, if there is only one of them.
 * Events: `saved`, with what has been typed, from which base, and the outcome; `clash`.
 */

import {ABSENT, Refused, Unreachable, merge, read, remove, save} from "./client.js";
import {comparison, excerpt} from "./comparison.js";
import {tagOf} from "./elements.js";
import {NAMES, LABELS, listed, parsed} from "./product.js";
import {sendAs} from "./wire.js";

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
      if (NAMES.includes(target.name)) this.#edited();
    });
    this.#on("discard", () => this.reload());
    this.#on("delete", () => this.#delete());
    window.addEventListener("online", () => this.dataset.state === "unsent" && this.save());
    if (this.dataset.copy) this.open(JSON.parse(this.dataset.copy));
  }

  /** Whether something is typed that is not saved. */
  get isDirty() {
    return this.#changes().length > 0;
  }

  /** What is typed that is not saved, by member. */
  get changes() {
    return Object.fromEntries(this.#changes().map((name) => [name, this.#control(name).value]));
  }

  /** Show a copy, with what was typed on it, or on an earlier one, before the page was left. */
  open(copy) {
    const draft = JSON.parse(sessionStorage.getItem(this.#key));
    this.#adopt(draft?.base ?? copy);
    if (!draft) {
      if (copy.content === null) this.#tell("absent", "There is no such product yet. You can create it.");
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
      const theirs = await remove(this.dataset.api, this.#base, {send: this.#send});
      if (theirs.content === null) {
        const texts = this.#texts();
        this.#adopt(ABSENT);
        this.type(texts);
        this.#tell("absent", "Deleted. What it was is still here: you can create it anew.");
      } else if (this.isDirty) {
        this.#tell(
          "refused",
          "Not deleted: it has been changed in the meantime. Save, or discard, and look first.",
        );
      } else {
        this.show(theirs);
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
        const wrong = Object.entries(error.problem?.errors ?? {}).filter(([name]) => NAMES.includes(name));
        const said = wrong.map(([name, texts]) => `${LABELS[name]}: ${[texts].flat().join(" ")}`).join(" ");
        this.#tell("refused", `Not ${what}. ${said || error.message}`);
        for (const [name] of wrong) {
          (this.querySelector(`[data-result=${name}]`) ?? this.#control(name)).setAttribute(
            "aria-invalid",
            "true",
          );
        }
      } else throw error;
    } finally {
      this.#busy = false;
      button.removeAttribute("aria-busy");
    }
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
    return {
      ...content,
      ...Object.fromEntries(
        NAMES.filter((name) => changed.has(name)).map((name) => [name, parsed(name, this.#control(name).value)]),
      ),
    };
  }

  /** The merge that is open, or null. It follows what is typed in the form meanwhile. */
  #clash() {
    return this.#theirs && merge(this.#base.content, this.#mine(), this.#theirs.content);
  }

  #resolved({merged}) {
    return {
      ...merged,
      ...Object.fromEntries(Object.entries(this.#decided).map(([name, text]) => [name, parsed(name, text)])),
    };
  }

  #decide(name, text) {
    this.#decided[name] = text;
    this.#keep();
  }

  #render() {
    for (const name of NAMES) {
      const isChanged = this.#base.content !== null && this.#control(name).value !== this.#shown[name];
      const label = this.#control(name).closest("label");
      const [before] = excerpt(this.#shown[name], this.#control(name).value);
      label.classList.toggle("changed", isChanged);
      label.querySelector("small").textContent = isChanged ? `was ${before || "empty"}` : "";
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
    const sides = this.#merged ?? {
      base: this.#base.content ?? {},
      theirs: this.#theirs.content,
      mine: this.#mine(),
      clashes: clash.clashes,
    };
    const choices = {
      decided: this.#decided,
      fieldOf: (name) => this.#control(name).cloneNode(), // which asks for the same kind of text
      decide: (name, text) => this.#decide(name, text),
    };
    panel.replaceChildren(comparison(sides, this.dataset.other, choices));
  }

  #tell(state, text) {
    this.dataset.state = state;
    const line = this.querySelector("[role=status]");
    if (line.textContent !== text) line.textContent = text;
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
}

const textsOf = (content) => Object.fromEntries(NAMES.map((name) => [name, String(content[name])]));

const ordinal = (number) => `${number}${{1: "st", 2: "nd", 3: "rd"}[number] ?? "th"}`;

customElements.define("product-editor", ProductEditor);
