/**
 * The editor of one product: a form, what is typed in it, and what becomes of that when somebody else saves first.
 *
 *     <product-editor data-api="/api/products/teapot" data-who="Ann" data-copy='{"content": {...}, "etag": "..."}'>
 *
 * Without `data-copy` nobody can type until it is shown one.
 * Events: `saved`, with what has been typed, from which base, and the outcome; `clash`.
 */

import {ABSENT, Refused, Unknown, Unreachable, Untagged, merge, read, remove, save} from "./client.js";
import {comparison, excerpt} from "./comparison.js";
import {keep, kept} from "./drafts.js";
import {element, tagOf} from "./elements.js";
import {NAMES, LABELS, listed, parsed, sentenceOf} from "./product.js";
import {sendAs} from "./wire.js";

const PAUSE = 2_000; // milliseconds, before what could not be sent is sent again; it doubles each time
const LONGEST_PAUSE = 60_000;
const RETRIES = 15;

/** Where the work on a product is. With the texts in the form, it is all that a draft keeps. */
const START = Object.freeze({
  base: ABSENT, // what the texts in the form are changes of
  theirs: null, // what a save met, as long as a clash with it is open
  decided: {}, // by member, the text that ends the clash
  asked: null, // a save that has no answer yet: its base, what it saves, and what was typed on the screen at that time
  began: null, // what was typed for the first of several attempts, and on what
  attempts: 0,
});

class ProductEditor extends HTMLElement {
  /** How a save is made; another one may be put here. */
  saver = (base, mine) => save(this.dataset.api, base, mine, {send: this.#send});

  /** Who has made a copy, by name; another one that knows may be put here. */
  authorOf = () => undefined;

  #work = START;
  #shown = {}; // by member, the base's text as the form has it
  #merged = null; // what the last save met and merged by itself, to be looked at
  #task = null; // a promise of what is under way
  #isAskedAgain = false; // whether somebody has asked for a save meanwhile
  #retries = 0;
  #send;

  connectedCallback() {
    if (this.form) return;
    this.form = this.querySelector("form");
    this.form.inert = true;
    this.#send = sendAs(this.dataset.who, this.dataset.user);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.save();
    });
    this.form.addEventListener("input", ({target}) => {
      if (NAMES.includes(target.name)) this.#edited();
    });
    this.#on("discard", () => this.reload());
    this.#on("delete", () => this.#delete());
    window.addEventListener("online", () => this.#sendAsked());
    if (this.dataset.copy) this.open(JSON.parse(this.dataset.copy), this.#early());
  }

  /** Whether something is typed that is not saved. */
  get isDirty() {
    return Object.keys(this.changes).length > 0;
  }

  /** What is typed that is not saved, by member. */
  get changes() {
    return difference(this.#texts(), this.#shown);
  }

  /** Resolve when nothing is under way. */
  async idle() {
    while (this.#task) await this.#task;
  }

  /** Show a copy, with what was typed on it, or on an earlier one, before the page was left; and further texts. */
  open(copy, early = {}) {
    const {texts, ...work} = {...START, base: copy, ...kept(this.#key)};
    this.#begin(work, {...texts, ...early});
    if (texts === undefined) {
      if (copy.content === null) this.#tell("absent", "There is no such product yet. You can create it.");
      else this.#edited();
    } else if (work.base.content === null && !work.theirs && copy.content !== null) {
      this.#tell(
        "absent",
        "Somebody has made it anew. What you typed is here as well: save it to compare, or discard it.",
      );
    } else this.#tell(work.theirs ? "clash" : "edited", "What you typed before, and did not save, is here again.");
    if (work.asked) this.#sendAsked();
  }

  /** Type something into fields, as a person would. */
  type(texts) {
    this.#type(texts);
    this.#edited();
  }

  /** Drop what is typed, and show what is there now. */
  async reload() {
    const before = this.#texts();
    await this.#during("loaded", async () => {
      const copy = await read(this.dataset.api, {send: this.#send});
      this.show(copy, difference(this.#texts(), before));
    });
  }

  /** Show a copy, and drop what is typed, but for some texts. */
  show(copy, texts = {}) {
    this.#begin({...START, base: copy}, texts);
    if (copy.content === null) this.#tell("absent", "There is no such product. You can create it.");
    else this.#edited();
  }

  /** Save what is typed; merge and ask as needed. */
  async save() {
    if (this.#task) {
      this.#isAskedAgain = true;
      return;
    }
    const clash = this.#clash();
    const undecided = (clash?.clashes ?? []).filter((name) => !(name in this.#work.decided));
    if (undecided.length > 0) {
      this.#tell("clash", `Decide first: ${listed(undecided)}.`);
      this.querySelector(".conflict input[type=radio]").focus();
      return;
    }
    if (!this.#isValid()) return;
    const {base, theirs, began} = this.#work;
    const [on, mine] = clash ? [theirs, this.#resolved(clash)] : [base, this.#mine()];
    this.#work.asked = {base: on, mine, texts: this.#texts(), changed: Object.keys(this.changes)};
    this.#work.began = clash && began ? began : {base, mine: this.#mine()};
    this.#retries = 0;
    await this.#sendAsked();
  }

  async #sendAsked() {
    if (!this.#work.asked) return;
    await this.#during("saved", async () => {
      const {base, mine, texts, changed} = this.#work.asked;
      const outcome = await this.saver(base, mine).catch((error) => this.#unknown(base, error));
      this.#work.asked = null;
      this.#work.attempts += outcome.attempts;
      const settle = {saved: this.#saved, clash: this.#clashed, gone: this.#gone, busy: this.#missed}[
        outcome.state
      ];
      settle.call(this, outcome, difference(this.#texts(), texts), changed);
    });
  }

  /** Whether a save was made is not known, and somebody has changed the same, or deleted it: a person has to look. */
  #unknown(base, error) {
    if (!(error instanceof Unknown) || error.theirs === null) throw error;
    const {mine, theirs} = error;
    return {state: theirs.content === null ? "gone" : "clash", attempts: 1, base, mine, theirs};
  }

  #saved(outcome, typedSince, changed) {
    const {copy, theirs} = outcome;
    const {attempts, began, decided} = this.#work;
    const met = theirs ?? this.#work.theirs;
    const others = NAMES.filter(
      (name) => met && !changed.includes(name) && String(copy.content?.[name]) !== String(began.mine[name]),
    );
    this.#begin({...START, base: copy}, typedSince);
    if (others.length > 0 && Object.keys(decided).length === 0) {
      this.#merged = {base: began.base.content ?? {}, theirs: met.content, mine: began.mine, clashes: [], by: met};
      this.#renderConflict();
    }
    const merged = [
      others.length > 0 && `${listed(others)} as ${this.#nameOf(met)} saved it`,
      Object.keys(decided).length > 0 && `${listed(Object.keys(decided))} as you decided`,
    ].filter(Boolean);
    const how = merged.length > 0 ? ` Merged: ${merged.join("; ")}.` : "";
    const often = attempts > 1 ? ` on the ${ordinal(attempts)} try` : "";
    const more = this.isDirty ? ` Not saved yet: ${listed(Object.keys(this.changes))}.` : "";
    this.#tell("saved", `Saved${often}.${how}${more}`);
    const detail = {who: this.dataset.who, typed: began, outcome, decided, attempts};
    this.dispatchEvent(new CustomEvent("saved", {detail, bubbles: true}));
  }

  /** List who has changed what since a copy was read, as far as the shop's history knows. */
  async #tellSince({etag}) {
    const list = this.querySelector(".since");
    const work = this.#work;
    if (!etag) return;
    const url = `${this.dataset.history}?since=${encodeURIComponent(etag)}`;
    const {content} = await read(url, {send: this.#send, attempts: 1}).catch(() => ABSENT);
    if (work === this.#work) list.replaceChildren(...(content ?? []).map((change) => element("li", {}, sentenceOf(change))));
  }

  #clashed({base, mine, theirs}, typedSince) {
    this.#begin({...this.#work, base, theirs, decided: {}}, {...textsOf(mine), ...typedSince});
    const {clashes} = this.#clash();
    const open = clashes.length > 0 ? `You both changed ${listed(clashes)}: decide, and save.` : "Save again.";
    this.#tell("clash", `Not saved yet: ${this.#nameOf(theirs)} saved first. ${open}`);
    this.dispatchEvent(new CustomEvent("clash", {detail: {who: this.dataset.who, clashes}, bubbles: true}));
  }

  #gone({base, mine}, typedSince) {
    this.#begin({...START, attempts: this.#work.attempts}, {...textsOf(mine), ...typedSince});
    this.#tellSince(base);
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
    await this.#during("deleted", async () => {
      const theirs = await remove(this.dataset.api, this.#work.base, {send: this.#send});
      if (theirs.content === null) {
        this.#begin(START, this.#texts());
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

  /** Do what needs an answer of the server, one thing at a time; whatever comes instead, what is typed stays. */
  async #during(what, task) {
    if (this.#task) return;
    const button = this.#button("save");
    button.setAttribute("aria-busy", "true");
    clearTimeout(this.timer);
    for (const control of this.form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
    this.#task = task().catch((error) => this.#failed(what, error));
    try {
      await this.#task;
    } finally {
      this.#task = null;
      button.removeAttribute("aria-busy");
      this.#keep();
    }
    const isSettled = ["saved", "unsent"].includes(this.dataset.state);
    const isWanted = this.#isAskedAgain && isSettled && this.isDirty;
    this.#isAskedAgain = false;
    if (isWanted) await this.save();
    else if (this.#work.asked && this.#retries < RETRIES) {
      const pause = Math.min(PAUSE * 2 ** this.#retries++, LONGEST_PAUSE);
      this.timer = setTimeout(() => this.#sendAsked(), pause);
    }
  }

  #failed(what, error) {
    const isOffline = error instanceof Unreachable || error instanceof Unknown;
    if (isOffline && what === "saved") {
      const kept = `What you typed is kept here${this.#keep() ? ", also over a reload" : ""}.`;
      const then = this.#retries < RETRIES ? "It is sent when the connection is back." : "Save again later.";
      this.#tell("unsent", `No connection. ${kept} ${then}`);
    } else if (isOffline) {
      const isKnown = error instanceof Unreachable;
      this.#tell("refused", `${isKnown ? `Not ${what}` : `It is not known whether it is ${what}`}: there is no connection.`);
    } else if (error instanceof Refused) {
      if (what === "saved") this.#work.asked = null;
      const wrong = Object.entries(error.problem?.errors ?? {}).filter(([name]) => NAMES.includes(name));
      const said = wrong.map(([name, texts]) => `${LABELS[name]}: ${[texts].flat().join(" ")}`).join(" ");
      this.#tell("refused", `Not ${what}. ${said || error.message}`);
      for (const [name] of wrong) {
        (this.querySelector(`[data-result=${name}]`) ?? this.#control(name)).setAttribute("aria-invalid", "true");
      }
    } else if (error instanceof Untagged) {
      this.#work.asked = null;
      this.#tell("refused", `Not ${what}. ${error.message}`);
    } else throw error;
  }

  #edited() {
    this.#merged = null;
    const isKept = this.#keep();
    this.#render();
    if (this.#work.theirs || this.#work.asked) return;
    const names = Object.keys(this.changes);
    if (this.#work.base.content === null) this.#tell("absent", this.querySelector("[role=status]").textContent);
    else if (names.length === 0) this.#tell("clean", "");
    else {
      const lasts = isKept ? "" : " It goes with this page: your browser lets it store nothing.";
      this.#tell("edited", `Not saved yet: ${listed(names)}.${lasts}`);
    }
  }

  /** Go to where the work is to be from now on, with texts that are typed on its base. */
  #begin(work, texts) {
    this.#work = {...work};
    this.#merged = null;
    const focused = this.contains(document.activeElement) && document.activeElement.dataset.result;
    for (const name of NAMES) {
      const control = this.#control(name);
      control.value = String(work.base.content?.[name] ?? "");
      this.#shown[name] = control.value; // browsers have their own ways with line ends
    }
    this.#type(texts);
    this.#keep();
    this.#render();
    this.querySelector(".since").replaceChildren();
    if (work.theirs) this.#tellSince(work.base);
    this.querySelector(".fields").hidden = work.theirs !== null;
    this.form.inert = false;
    if (focused in texts && !work.theirs) this.#control(focused).focus();
  }

  #keep() {
    const isWork = this.isDirty || this.#work.theirs || this.#work.asked;
    return keep(this.#key, isWork ? {...this.#work, texts: this.#typed()} : null);
  }

  #type(texts) {
    for (const [name, text] of Object.entries(texts)) this.#control(name).value = text;
  }

  /** What was typed before this module was there. */
  #early() {
    const before = this.#typed();
    this.form.reset();
    return difference(before, this.#typed());
  }

  /** By member, what the form has. */
  #typed() {
    return Object.fromEntries(NAMES.map((name) => [name, this.#control(name).value]));
  }

  /** By member, what is on the screen to be saved: what the form has, or what is decided instead. */
  #texts() {
    return {...this.#typed(), ...this.#work.decided};
  }

  /** The members as they are to be: of those that nobody has typed in, the very values that came. */
  #mine() {
    const {content} = this.#work.base;
    const typed = content === null ? this.#typed() : difference(this.#typed(), this.#shown);
    return {...content, ...valuesOf(typed)};
  }

  /** The merge that is open, or null. It follows what is typed in the form meanwhile. */
  #clash() {
    const {base, theirs} = this.#work;
    return theirs && merge(base.content, this.#mine(), theirs.content);
  }

  #resolved({merged}) {
    return {...merged, ...valuesOf(this.#work.decided)};
  }

  /** Whether all can be sent, as far as one can tell here; what is wrong is shown, and told. */
  #isValid() {
    for (const control of this.form.elements) control.setCustomValidity(tooLong(control));
    const fields = this.querySelector(".fields");
    fields.hidden &&= NAMES.every((name) => this.#control(name).disabled || this.#control(name).validity.valid);
    return this.form.reportValidity();
  }

  #render() {
    const clash = this.#clash();
    for (const name of NAMES) {
      const control = this.#control(name);
      const isChanged = this.#work.base.content !== null && control.value !== this.#shown[name];
      const label = control.closest("label");
      const [before] = excerpt(this.#shown[name], control.value);
      label.classList.toggle("changed", isChanged);
      label.querySelector("small").textContent = isChanged ? `was ${before || "empty"}` : "";
      control.disabled = clash !== null && clash.clashes.includes(name); // it is decided on elsewhere
      label.hidden = control.disabled;
    }
    const {base, theirs} = this.#work;
    const isAbsent = base.content === null;
    this.#button("save").textContent = theirs ? "Save the merged product" : isAbsent ? "Create it" : "Save";
    this.#button("discard").hidden = !this.isDirty && theirs === null;
    const erase = this.#button("delete");
    if (erase) erase.hidden = isAbsent || theirs !== null;
    this.querySelector(".holds").replaceChildren(
      ...(base.etag ? [this.dataset.who === "You" ? "have seen " : "has seen ", tagOf(base.etag)] : []),
    );
    const heading = this.querySelector("h1");
    if (heading && !isAbsent) {
      heading.textContent = base.content.name;
      document.title = document.title.replace(/.*(?= · )/s, () => base.content.name);
    }
    this.#renderConflict();
  }

  /** Show base, theirs and mine side by side: to be decided on, or to tell what has been merged. */
  #renderConflict() {
    const clash = this.#clash();
    const panel = this.querySelector(".conflict");
    panel.hidden = clash === null && this.#merged === null;
    if (panel.hidden) return panel.replaceChildren();
    const {base, theirs, decided} = this.#work;
    const sides = this.#merged ?? {
      base: base.content ?? {},
      theirs: theirs.content,
      mine: this.#mine(),
      clashes: clash.clashes,
      by: theirs,
    };
    const choices = {
      decided,
      fieldOf: (name) => this.#control(name).cloneNode(), // which asks for the same kind of text
      decide: (name, text) => {
        this.#work.decided = {...this.#work.decided, [name]: text};
        this.#keep();
      },
    };
    panel.replaceChildren(comparison(sides, this.authorOf(sides.by), choices));
  }

  #tell(state, text) {
    this.dataset.state = state;
    const line = this.querySelector("[role=status]");
    if (line.textContent !== text) line.textContent = text;
  }

  #nameOf(copy) {
    return this.authorOf(copy) ?? "somebody else";
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
}

const difference = (texts, before) =>
  Object.fromEntries(Object.entries(texts).filter(([name, text]) => text !== before[name]));

const textsOf = (content) => Object.fromEntries(NAMES.map((name) => [name, String(content[name] ?? "")]));

const valuesOf = (texts) =>
  Object.fromEntries(Object.entries(texts).map(([name, text]) => [name, parsed(name, text)]));

/** What is too long is told, never cut; the server counts characters as this does, which `maxlength` does not. */
function tooLong({value, dataset: {longest}}) {
  const length = [...value].length;
  return length > Number(longest) ? `These are ${length} characters, of ${longest} at most.` : "";
}

const ordinal = (number) => `${number}${{1: "st", 2: "nd", 3: "rd"}[number] ?? "th"}`;

customElements.define("product-editor", ProductEditor);
