/** What outlives a reload, in the tab's session storage; where the browser has that blocked, or it is full, nothing. */

/** What is kept under a key, or null. */
export function kept(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}

/**
 * Keep a value in the place of what was kept before; null is nothing to keep.
 *
 * @returns {boolean} whether it is kept.
 */
export function keep(key, value) {
  try {
    sessionStorage.removeItem(key); // if there is no room for the new one, the old one is no help
    if (value !== null) sessionStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return value === null;
  }
}
