/** What a product is made of, in a form and in words. */

export const LABELS = {name: "Name", price: "Price", stock: "Stock", description: "Description"};
export const NAMES = Object.keys(LABELS);

const PARSERS = {
  price: (text) => (/^\d{1,8}(\.\d{1,2})?$/.test(text) ? Number(text).toFixed(2) : text),
  stock: (text) => (/^\d{1,10}$/.test(text) ? Number(text) : text),
};

/** The value that a text stands for; what stands for none is left to the server to refuse. */
export const parsed = (name, text) => PARSERS[name]?.(text) ?? text;

/** Some members in a sentence: "name, price and stock". */
export const listed = (names) =>
  names
    .map((name) => LABELS[name].toLowerCase())
    .join(", ")
    .replace(/, ([^,]*)$/, " and $1");

const LONG = 40; // characters, from which on a text is not shown in a sentence
const TEXTS = ["name", "description"]; // which need quotation marks to be told from the sentence

const shown = (name, value) => (TEXTS.includes(name) ? `“${value}”` : value);

const told = ([name, [was, became]]) =>
  was === null || Math.max(String(was).length, String(became).length) > LONG
    ? `the ${LABELS[name].toLowerCase()}`
    : `the ${LABELS[name].toLowerCase()} from ${shown(name, was)} to ${shown(name, became)}`;

/** A change of the history in a sentence: "Ann changed the price from 5.00 to 6.00 at 10:02." */
export function sentenceOf({etag, who, at, members}) {
  const time = new Date(at);
  const day = time.toDateString() === new Date().toDateString() ? {} : {year: "numeric", month: "short", day: "numeric"};
  const when = time.toLocaleString([], {...day, hour: "2-digit", minute: "2-digit"});
  const pairs = NAMES.filter((name) => name in members).map((name) => [name, members[name]]);
  const isMade = pairs.length > 0 && pairs.every(([, [was]]) => was === null);
  const what = new Intl.ListFormat("en-GB").format(pairs.map(told));
  const did = etag === null ? "deleted it" : isMade ? "made it" : `changed ${what || "nothing"}`;
  return `${who ?? "Somebody"} ${did} at ${when}.`;
}
