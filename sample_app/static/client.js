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
 * @param {{attempts?: number, send?: typeof fetch, key?: Function}} [options] `attempts`: how often to try at most; at
 *     least once. `key`: as of `merge`.
 * @returns {Promise<{state: "saved"|"clash"|"gone"|"busy", attempts: number, base: Copy, mine: Object, theirs: Copy|null,
 *     copy?: Copy, clashes?: string[], pointers?: string[]}>} `saved`: `copy` is what is there now. `clash`: both have changed the members in
 *     `clashes`; decide on them, and save on `theirs`. `gone`: it has been deleted; saved on ABSENT, it is created anew.
 *     `busy`: in every attempt somebody else was first. `base` and `mine` are what the last attempt began with, and
 *     `theirs` what it met.
 * @throws {Refused|Unreachable|Untagged}
 */
export async function save(url, base, mine, {attempts = ATTEMPTS, send = fetch, key} = {}) {
  let theirs = null;
  let restored = null; // the tag that the server gave in the place of one that a proxy has altered
  for (let attempt = 1; ; attempt++) {
    const condition = base.content === null ? {"If-None-Match": "*"} : ifStill(url, {etag: restored ?? base.etag});
    const answer = await request(send, "PUT", url, condition, mine);
    const outcome = (state, more) => ({state, attempts: attempt, base, mine, theirs, ...more});
    const isAltered = answer.status === 412 && answer.content?.reason === "weakened" && answer.etag;
    if (isAltered && restored === null && attempt < attempts) {
      restored = answer.etag;
      continue;
    }
    if (isForNow(answer)) {
      if (attempt >= attempts) return outcome("busy");
      await pause(attempt, answer.retryAfter);
      continue;
    }
    restored = null;
    if (answer.status < 300) return outcome("saved", {copy: await copyAfter(answer, url, mine, send)});
    if (![404, 409, 412].includes(answer.status)) throw new Refused(answer);
    await pause(attempt);
    theirs = await read(url, {send});
    if (theirs.content === null && base.content !== null) return outcome("gone");
    const {merged, clashes, pointers} = merge(base.content, mine, theirs.content, key);
    if (same(merged, theirs.content)) return outcome("saved", {copy: theirs});
    if (theirs.etag === base.etag && !isRace(answer)) throw new Refused(answer); // and so would be the next
    if (clashes.length > 0) return outcome("clash", {clashes, pointers});
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
 * Merge three ways: what only one side has changed, added or left out is taken from that side; objects at any depth,
 * lists and all else as a whole.
 *
 * @param {*} base what both began with.
 * @param {*} mine
 * @param {*} theirs
 * @param {(pointer: string) => string|undefined} [key] tells, for the JSON pointer of a list, which member identifies
 *     its items: then they are merged one by one.
 * @returns {{merged: *, pointers: string[], clashes: string[]}} `pointers`: the JSON pointers (RFC 6901) of what both
 *     have changed, and not to the same; `merged` has mine of it. `clashes`: the outermost members that these are in.
 */
export function merge(base, mine, theirs, key = () => undefined) {
  const pointers = [];
  const merged = mergedAt("", base ?? undefined, mine ?? undefined, theirs ?? undefined, key, pointers);
  const outermost = pointers.map((pointer) => unescaped(pointer.split("/")[1] ?? ""));
  return {merged, pointers, clashes: [...new Set(outermost)]};
}

/** Merge what is at a JSON pointer; undefined is what is not there. */
function mergedAt(at, base, mine, theirs, key, pointers) {
  if (same(mine, base)) return theirs;
  if (same(theirs, base) || same(mine, theirs)) return mine;
  if (isObject(mine) && isObject(theirs)) {
    const sides = [isObject(base) ? base : {}, mine, theirs].map((side) => new Map(Object.entries(side)));
    return Object.fromEntries(mergedMembers(sides, (name) => `${at}/${escaped(name)}`, key, pointers));
  }
  if (Array.isArray(mine) && Array.isArray(theirs) && key(at) !== undefined) {
    const sides = [base ?? [], mine, theirs].map((side) => byKey(side, key(at)));
    if (!sides.includes(null)) return mergedItems(at, sides, key, pointers);
  }
  pointers.push(at);
  return mine;
}

function mergedMembers(sides, pointerOf, key, pointers) {
  const [base, mine, theirs] = sides;
  const names = [...new Set([...base.keys(), ...theirs.keys(), ...mine.keys()])];
  const merged = names.map((name) => [
    name,
    mergedAt(pointerOf(name), ...sides.map((side) => side.get(name)), key, pointers),
  ]);
  return new Map(merged.filter(([, value]) => value !== undefined));
}

/** Merge lists item by item, in the order of whoever has changed it; what the other has added is last. */
function mergedItems(at, sides, key, pointers) {
  const [base, mine, theirs] = sides;
  const indexes = new Map([theirs, mine].flatMap((side) => [...side.keys()].map((name, index) => [name, index])));
  const merged = mergedMembers(sides, (name) => `${at}/${indexes.get(name)}`, key, pointers);
  const kept = [...base.keys()].filter((name) => mine.has(name) && theirs.has(name));
  const [ours, others] = [mine, theirs].map((side) => [...side.keys()].filter((name) => kept.includes(name)));
  if (!same(ours, kept) && !same(others, kept) && !same(others, ours)) pointers.push(at);
  const [first, second] = same(ours, kept) ? [theirs, mine] : [mine, theirs];
  return [...new Set([...first.keys(), ...second.keys()])]
    .filter((name) => merged.has(name))
    .map((name) => merged.get(name));
}

/** The items of a list by what identifies them; null if one has nothing, or two have the same. */
function byKey(items, member) {
  const names = Array.isArray(items) ? items.map((item) => (isObject(item) ? item[member] : undefined)) : [undefined];
  const isGood = names.every((name) => ["string", "number"].includes(typeof name));
  return isGood && new Set(names).size === names.length ? new Map(items.map((item) => [item[member], item])) : null;
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");
const unescaped = (name) => name.replaceAll("~1", "/").replaceAll("~0", "~");

/** Whether two values are the same JSON; the order of members means nothing there. */
const same = (one, other) => inOrder(one) === inOrder(other);

const inOrder = (value) =>
  JSON.stringify(value, (_, part) =>
    part === null || typeof part !== "object" || Array.isArray(part)
      ? part
      : Object.fromEntries(Object.keys(part).sort().map((name) => [name, part[name]])),
  );

/** Whether a refusal is of this moment alone, though nothing has changed: Flask-ETag's own 409. */
const isRace = ({status, content}) => status === 409 && ["conflict", "partial"].includes(content?.reason);

/** Whether the same request may be sent again, without looking at what is there: nobody has looked at it. */
const isForNow = ({status, content}) =>
  [408, 425, 429].includes(status) || (status === 409 && content?.reason === "busy");

/** Wait a random time, longer with each attempt, so that those who have collided do not do so again. */
const pause = (attempt, seconds = 0) =>
  new Promise((resume) => setTimeout(resume, seconds * 1_000 + Math.random() * Math.min(2_000, 50 * 2 ** attempt)));

function ifStill(url, {etag}) {
  if (etag === null) throw new Untagged(`There is no ETag of ${url}: nobody could tell whether it has changed.`);
  return {"If-Match": etag};
}

/** What is there after a save, whose answer may lack the content, or the tag (RFC 9110 section 9.3.4). */
async function copyAfter(answer, url, mine, send) {
  const content = answer.text ? contentOf(answer) : mine;
  const isOfIt = !isObject(mine) || (isObject(content) && Object.keys(mine).every((name) => name in content));
  return answer.etag && isOfIt ? {content, etag: answer.etag} : await read(url, {send});
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
    const retryAfter = Number(answer.headers.get("Retry-After")) || 0; // a date is not waited for
    return {status: answer.status, etag: answer.headers.get("ETag"), retryAfter, text, content: parsed(text)};
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
