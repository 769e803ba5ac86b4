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
