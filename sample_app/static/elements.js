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

const hues = new Map();

/** An entity tag, short, with a colour of its own, so that equal ones are seen to be equal. */
export function tagOf(etag) {
  const made = element("code", {class: "etag", title: etag}, etag.length > 9 ? `${etag.slice(0, 7)}…"` : etag);
  if (etag === "*") return made;
  if (!hues.has(etag)) hues.set(etag, 165 + hues.size * 137.5); // degrees of the golden angle: neighbours differ
  made.style.setProperty("--hue", hues.get(etag));
  return made;
}
