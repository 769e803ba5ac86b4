/** Base, theirs and mine side by side, field by field: what was merged, and what is to be decided. */

import {element} from "./elements.js";
import {LABELS, NAMES} from "./product.js";

/**
 * Make a table of the members that either side has changed.
 *
 * @param {{base: Object, theirs: Object, mine: Object, clashes: string[]}} sides
 * @param {string|undefined} other what the other side is called.
 * @param {{decided: Object, fieldOf: Function, decide: Function}} choices `decided`: by member, the text that ends a
 *     clash. `fieldOf(name)` makes a field for one, and `decide(name, text)` is called with what it is to be.
 */
export function comparison({base, theirs, mine, clashes}, other, choices) {
  const rows = NAMES.map((name) => {
    const texts = [base, theirs, mine].map((side) => String(side[name] ?? ""));
    if (new Set(texts).size === 1) return null;
    return clashes.includes(name) ? clash(name, texts, choices) : merged(name, texts, other);
  });
  const heads = ["Before", other ? `${other}’s` : "Theirs", "Yours"];
  return element(
    "table",
    {},
    element("caption", {class: "visually-hidden"}, "What was there before, what is there now, and what you typed"),
    element("thead", {}, row(heads.map((text) => element("th", {scope: "col"}, text)))),
    ...rows.filter(Boolean),
  );
}

function merged(name, [base, theirs, mine], other = "somebody else") {
  const isMine = theirs === base;
  const verdict = isMine
    ? "only you changed it"
    : theirs === mine
      ? "both wanted the same"
      : `only ${other} changed it`;
  const shown = excerpt(base, theirs, mine).map((text) => element("span", {class: "value"}, text || "(empty)"));
  const cells = shown.map((text, side) => element("td", {class: side === (isMine ? 2 : 1) && "taken"}, text));
  return group(name, "merged", verdict, row(cells));
}

function clash(name, texts, {decided, fieldOf, decide}) {
  const [before, ...others] = excerpt(...texts);
  const field = fieldOf(name);
  field.removeAttribute("name");
  field.disabled = false;
  field.dataset.result = name;
  field.placeholder = "choose above, or type";
  field.value = decided[name] ?? "";
  const radios = texts.slice(1).map((text) => {
    const radio = element("input", {type: "radio", name: `choice-${name}`, checked: decided[name] === text});
    radio.addEventListener("change", () => {
      field.value = text;
      decide(name, text);
    });
    return radio;
  });
  field.addEventListener("input", () => {
    for (const [index, radio] of radios.entries()) radio.checked = texts[index + 1] === field.value;
    decide(name, field.value);
  });
  const choices = others.map((text, index) =>
    element("td", {}, element("label", {}, radios[index], element("span", {class: "value"}, text || "(empty)"))),
  );
  const result = element("label", {class: "result"}, `${LABELS[name]} to save`, field);
  return group(
    name,
    "clash",
    "both changed it: decide",
    row([element("td", {}, element("span", {class: "value"}, before || "(empty)")), ...choices]),
    row([element("td", {colspan: 3}, result)]),
  );
}

const row = (cells) => element("tr", {}, ...cells);

const group = (name, kind, verdict, ...rows) => {
  const head = element("th", {scope: "rowgroup", colspan: 3}, LABELS[name], " ", element("small", {}, verdict));
  return element("tbody", {"data-member": name, class: kind}, row([head]), ...rows);
};

const SHORT = 80; // characters, up to which a text is shown whole
const AROUND = 20; // that are shown on both sides of a difference

/** Cut away what long texts have in common at their beginnings and ends. */
export function excerpt(...texts) {
  const shortest = Math.min(...texts.map((text) => text.length));
  if (Math.max(...texts.map((text) => text.length)) < SHORT) return texts;
  const common = (at) => {
    let count = 0;
    while (count < shortest && texts.every((text) => text.at(at(count)) === texts[0].at(at(count)))) count++;
    return Math.max(0, count - AROUND);
  };
  const head = common((count) => count);
  const tail = common((count) => -1 - count);
  return texts.map((text) => {
    const end = Math.max(text.length - tail, head);
    return `${head > 0 ? "…" : ""}${text.slice(head, end)}${end < text.length ? "…" : ""}`;
  });
}
