/**
 * A client that loses nobody's work, for a JSON API with entity tags. It stands alone: copy it.
 *
 *     import {read, save} from "./client.js";
 *
 *     const copy = await read("/api/notes/1");                    // {content: {...}, etag: '"..."'}
 *     const outcome = await save("/api/notes/1", copy, {...copy.content, title: "Plan B"});
 *     if (outcome.state === "clash") ...                          // ask, and save on outcome.theirs
 *
 * What is saved is the whole: a member that is left out is deleted. Members that the server alone sets, such as a
 * time of change, are sent as they were read.
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
    super(content?.detail ?? `The server answered ${status}${status < 300 ? ", but not in JSON" : ""}.`);
    this.status = status;
    this.problem = content;
  }
}

/** No answer came, or not all of it: whether a save was made is not known. Saving again finds out. */
export class Unreachable extends Error {}

/** The server gives no entity tag, so that nothing can be saved without the risk that somebody's work is lost. */
export class Untagged extends Error {}

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
  return {content: contentOf(answer), etag: answer.etag};
}

/**
 * Save what somebody has made of a copy, unless that loses what somebody else has saved since.
 *
 * A refused save is merged with what is there now, and tried again. Where both sides have changed the same members,
 * nobody but a person can merge, so it ends there.
 *
 * An answer that was lost makes the next save look stale. It is known by what is there: nothing is left to be saved.
 * If somebody has set it all back in the meantime, though, it is not known, and what was saved once is saved again.
 *
 * @param {string} url
 * @param {Copy} base the copy that the work began with.
 * @param {Object} mine the members as they are to be.
 * @param {{attempts?: number, send?: typeof fetch}} [options] `attempts`: how often to try at most; at least once.
 * @returns {Promise<{state: "saved"|"clash"|"gone"|"busy", attempts: number, base: Copy, mine: Object, theirs: Copy|null,
 *     copy?: Copy, clashes?: string[]}>} `saved`: `copy` is what is there now. `clash`: both have changed the members in
 *     `clashes`; decide on them, and save on `theirs`. `gone`: it has been deleted; saved on ABSENT, it is created anew.
 *     `busy`: in every attempt somebody else was first. `base` and `mine` are what the last attempt began with, and
 *     `theirs` what it met.
 * @throws {Refused|Unreachable|Untagged}
 */
export async function save(url, base, mine, {attempts = ATTEMPTS, send = fetch} = {}) {
  let theirs = null;
  for (let attempt = 1; ; attempt++) {
    const condition = base.content === null ? {"If-None-Match": "*"} : ifStill(url, base);
    const answer = await request(send, "PUT", url, condition, mine);
    const outcome = (state, more) => ({state, attempts: attempt, base, mine, theirs, ...more});
    if (answer.status < 300) return outcome("saved", {copy: await copyAfter(answer, url, mine, send)});
    if (![404, 409, 412].includes(answer.status)) throw new Refused(answer);
    await pause(attempt);
    theirs = await read(url, {send});
    if (theirs.content === null && base.content !== null) return outcome("gone");
    const {merged, clashes} = merge(base.content, mine, theirs.content);
    if (same(merged, theirs.content)) return outcome("saved", {copy: theirs});
    if (theirs.etag === base.etag && !isRace(answer)) throw new Refused(answer); // and so would be the next
    if (clashes.length > 0) return outcome("clash", {clashes});
    if (attempt >= attempts) return outcome("busy");
    [base, mine] = [theirs, merged];
  }
}

/**
 * Delete what was read, unless somebody has changed it since.
 *
 * @param {string} url
 * @param {Copy} copy
 * @param {{send?: typeof fetch}} [options]
 * @returns {Promise<Copy>} what is there now: ABSENT, or what somebody has changed, and which was not deleted therefore.
 * @throws {Refused|Unreachable|Untagged}
 */
export async function remove(url, copy, {send = fetch} = {}) {
  const answer = await request(send, "DELETE", url, ifStill(url, copy));
  if (answer.status < 300 || answer.status === 404) return ABSENT;
  if (![409, 412].includes(answer.status)) throw new Refused(answer);
  const theirs = await read(url, {send});
  if (theirs.etag === copy.etag) throw new Refused(answer);
  return theirs;
}

/**
 * Merge three ways: what only one side has changed, added or left out is taken from that side.
 *
 * @param {Object|null} base what both began with.
 * @param {Object|null} mine
 * @param {Object|null} theirs
 * @returns {{merged: Object, clashes: string[]}} `clashes`: the members that both have changed, and not to the same;
 *     `merged` has mine of them.
 */
export function merge(base, mine, theirs) {
  const [before, ours, others] = [base, mine, theirs].map((side) => new Map(Object.entries(side ?? {})));
  const names = [...new Set([...before.keys(), ...ours.keys(), ...others.keys()])];
  const isMine = (name) => !same(ours.get(name), before.get(name));
  const isTheirs = (name) => !same(others.get(name), before.get(name));
  const merged = names.map((name) => [name, (isMine(name) ? ours : others).get(name)]);
  return {
    merged: Object.fromEntries(merged.filter(([, value]) => value !== undefined)),
    clashes: names.filter(
      (name) => isMine(name) && isTheirs(name) && !same(ours.get(name), others.get(name)),
    ),
  };
}

/** Whether two values are the same JSON; the order of members means nothing there. */
const same = (one, other) => inOrder(one) === inOrder(other);

const inOrder = (value) =>
  JSON.stringify(value, (_, part) =>
    part === null || typeof part !== "object" || Array.isArray(part)
      ? part
      : Object.fromEntries(Object.keys(part).sort().map((name) => [name, part[name]])),
  );

/** Whether a refusal is of this moment alone, though nothing has changed: Flask-ETag's own 409. */
const isRace = ({status, content}) => status === 409 && content?.reason === "conflict";

/** Wait a random time, longer with each attempt, so that those who have collided do not do so again. */
const pause = (attempt) => new Promise((resume) => setTimeout(resume, Math.random() * 50 * 2 ** attempt));

function ifStill(url, {etag}) {
  if (etag === null) throw new Untagged(`There is no ETag of ${url}: nobody could tell whether it has changed.`);
  return {"If-Match": etag};
}

/** What is there after a save, whose answer may lack the content, or the tag (RFC 9110 section 9.3.4). */
async function copyAfter(answer, url, mine, send) {
  const content = answer.text ? contentOf(answer) : mine;
  return answer.etag ? {content, etag: answer.etag} : await read(url, {send});
}

function contentOf(answer) {
  if (answer.status >= 300 || answer.content === undefined) throw new Refused(answer);
  return answer.content;
}

/** Send, and take the whole answer in. The browser's own cache is passed by: it would hide the 304s. */
async function request(send, method, url, headers, content) {
  const body = content && JSON.stringify(content);
  if (body) headers = {...headers, "Content-Type": "application/json"};
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await send(url, {method, headers, body, signal, cache: "no-store"});
    const text = await answer.text();
    return {status: answer.status, etag: answer.headers.get("ETag"), text, content: parsed(text)};
  } catch (cause) {
    throw new Unreachable(`No answer came to ${method} ${url}.`, {cause});
  }
}

/** What a text is in JSON; nothing where it is none, such as a page that a proxy made. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
