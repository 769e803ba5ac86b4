/** Small helpers to make elements. What users have typed gets in as text alone, never as markup. */

/**
 * Make an element.
 *
 * @param {string} tag
 * @param {Object} attributes of which `undefined`, `null` and `false` are left out.
 * @param {...(Node|string)} children
 */
export function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** An entity tag, short, with a colour of its own, so that equal ones are seen to be equal. */
export function tagOf(etag) {
  const made = element("code", {class: "etag", title: etag}, etag.length > 9 ? `${etag.slice(0, 7)}…"` : etag);
  if (etag === "*") return made;
  const hue = [...etag].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);
  made.style.setProperty("--hue", hue);
  return made;
}
