/**
 * A client that loses nobody's work, for a JSON API with entity tags. It stands alone: copy it.
 *
 *     import {read, save} from "./client.js";
 *
 *     const copy = await read("/api/notes/1");                    // {content: {...}, etag: '"..."'}
 *     const outcome = await save("/api/notes/1", copy, {...copy.content, title: "Plan B"});
 *     if (outcome.state === "clash") ...                          // ask, and save on outcome.theirs
 *
 * @module client
 */

const ATTEMPTS = 5;
const PATIENCE = 10_000; // milliseconds, after which an answer is no longer waited for

/**
 * What was read, and its entity tag, which belong together. Both are null where there is nothing.
 *
 * @typedef {{content: Object|null, etag: string|null}} Copy
 */

/** What is at a URL that names nothing: saved on this, content is created. @type {Copy} */
export const ABSENT = Object.freeze({content: null, etag: null});

/** The server has answered, and it was no. `status` and `problem`, a problem document if it sent one, say why. */
export class Refused extends Error {
  constructor({status, content}) {
    super(content?.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.problem = content;
  }
}

/** No answer came, or not all of it: whether a save was made is not known. Saving again finds out. */
export class Unreachable extends Error {}

/**
 * Read what a URL names.
 *
 * @param {string} url
 * @param {{known?: Copy, send?: typeof fetch}} [options] `known`: a copy from before, which is returned itself if it
 *     still is what is there; that costs no body. `send`: what to fetch with.
 * @returns {Promise<Copy>}
 * @throws {Refused|Unreachable}
 */
export async function read(url, {known = ABSENT, send = fetch} = {}) {
  const answer = await request(send, "GET", url, known.etag ? {"If-None-Match": known.etag} : {});
  if (answer.status === 304) return known;
  if (answer.status === 404) return ABSENT;
  return copyOf(answer);
}

/**
 * Save what somebody has made of a copy, unless that loses what somebody else has saved since.
 *
 * A refused save is merged with what is there now, and tried again. Where both sides have changed the same members,
 * nobody but a person can merge, so it ends there.
 *
 * @param {string} url
 * @param {Copy} base the copy that the work began with.
 * @param {Object} mine the members as they are to be.
 * @param {{attempts?: number, send?: typeof fetch}} [options] `attempts`: how often to try at most.
 * @returns {Promise<{state: "saved"|"clash"|"gone"|"busy", attempts: number, base: Copy, mine: Object, theirs: Copy|null,
 *     copy?: Copy, clashes?: string[]}>} `saved`: `copy` is what is there now. `clash`: both have changed the members in
 *     `clashes`; decide on them, and save on `theirs`. `gone`: it has been deleted; saved on ABSENT, it is created anew.
 *     `busy`: in every attempt somebody else was first. `base` and `mine` are what the last attempt began with, and
 *     `theirs` what it met.
 * @throws {Refused|Unreachable}
 */
export async function save(url, base, mine, {attempts = ATTEMPTS, send = fetch} = {}) {
  let theirs = null;
  for (let attempt = 1; ; attempt++) {
    const condition = base.etag ? {"If-Match": base.etag} : {"If-None-Match": "*"};
    const answer = await request(send, "PUT", url, condition, mine);
    const outcome = (state, more) => ({state, attempts: attempt, base, mine, theirs, ...more});
    if (answer.status < 300) return outcome("saved", {copy: copyOf(answer)});
    if (![404, 409, 412].includes(answer.status)) throw new Refused(answer);
    await pause(attempt);
    theirs = await read(url, {send});
    if (theirs.content === null && base.content !== null) return outcome("gone");
    // An answer that was lost makes the next attempt look stale. Perhaps ours has landed.
    if (theirs.content !== null && isIn(mine, theirs.content)) return outcome("saved", {copy: theirs});
    const {merged, clashes} = merge(base.content, mine, theirs.content);
    if (clashes.length > 0) return outcome("clash", {clashes});
    if (attempt === attempts) return outcome("busy");
    [base, mine] = [theirs, merged];
  }
}

/**
 * Delete what was read, unless somebody has changed it since.
 *
 * @param {string} url
 * @param {Copy} copy
 * @param {{send?: typeof fetch}} [options]
 * @returns {Promise<boolean>} whether it is gone.
 * @throws {Refused|Unreachable}
 */
export async function remove(url, copy, {send = fetch} = {}) {
  const answer = await request(send, "DELETE", url, {"If-Match": copy.etag});
  if (answer.status < 300 || answer.status === 404) return true;
  if ([409, 412].includes(answer.status)) return false;
  throw new Refused(answer);
}

/**
 * Merge three ways: what only one side has changed is taken from that side.
 *
 * @param {Object|null} base what both began with.
 * @param {Object} mine the members to merge.
 * @param {Object|null} theirs
 * @returns {{merged: Object, clashes: string[]}} `clashes`: the members that both have changed, and not to the same;
 *     `merged` has mine of them.
 */
export function merge(base, mine, theirs) {
  const isMine = (name) => !same(mine[name], base?.[name]);
  const isTheirs = (name) => !same(theirs?.[name], base?.[name]);
  const names = Object.keys(mine);
  return {
    merged: Object.fromEntries(names.map((name) => [name, isMine(name) || !theirs ? mine[name] : theirs[name]])),
    clashes: theirs
      ? names.filter((name) => isMine(name) && isTheirs(name) && !same(mine[name], theirs[name]))
      : [],
  };
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const isIn = (members, content) => Object.keys(members).every((name) => same(members[name], content[name]));

/** Wait a random time, longer with each attempt, so that those who have collided do not do so again. */
const pause = (attempt) => new Promise((resume) => setTimeout(resume, Math.random() * 50 * 2 ** attempt));

/** Send, and take the whole answer in. The browser's own cache is passed by: it would hide the 304s. */
async function request(send, method, url, headers, content) {
  const body = content && JSON.stringify(content);
  if (body) headers = {...headers, "Content-Type": "application/json"};
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await send(url, {method, headers, body, signal, cache: "no-store"});
    const text = await answer.text();
    return {status: answer.status, etag: answer.headers.get("ETag"), content: text ? JSON.parse(text) : null};
  } catch (cause) {
    throw new Unreachable(`No answer came to ${method} ${url}.`, {cause});
  }
}

function copyOf(answer) {
  if (answer.status >= 300) throw new Refused(answer);
  return {content: answer.content, etag: answer.etag};
}
