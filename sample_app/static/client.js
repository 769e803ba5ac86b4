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
 * time of change, are sent as they were read. JavaScript rounds integers above 2 ** 53 as it reads them: have the server send
 * such ids as texts, or they are saved rounded.
 *
 * What becomes of a write whose answer is lost, or does not tell, is one rule. If what is there shows it, it was saved: all
 * that was to be saved, whoever has done it, or an id that nobody else can know. If the tag is still the one that it was
 * sent for, it was not, and is sent again; where a tag may come back, only what does no harm if it is made twice. If
 * something else is there, what may be made twice is made again. Of all else nothing is claimed: Unknown.
 *
 * @module client
 */

const ATTEMPTS = 5;
const DEADLINE = 30_000; // milliseconds, for all attempts together
const PATIENCE = 10_000; // milliseconds, after which one answer is no longer waited for
const LOOKS = 5; // for so many, some two seconds, a replica is waited for that is behind

const LOST = [502, 503, 504, 520, 521, 522, 523, 524]; // a proxy's word: the server may have the request
const TO_BE_DONE = 202; // later, or perhaps not
const LATER = [408, 425, 429]; // a proxy may have passed the request on before it said so
const SEVERAL = 207; // statuses of several things, some of which may have failed
const GONE = [404, 410];
const OVERTAKEN = [404, 409, 410, 412]; // what there is has to be looked at
const NO_ANSWER = ["TypeError", "AbortError", "TimeoutError", "NetworkError"]; // what fetch calls that

/**
 * What was read, and its entity tag, which belong together. Both are null where there is nothing.
 *
 * @typedef {{content: Object|null, etag: string|null}} Copy
 */

/**
 * How long a function tries. `attempts`: how often, at most; at least once. `deadline`: for how many milliseconds.
 * `send`: what to fetch with.
 *
 * @typedef {{attempts?: number, deadline?: number, send?: typeof fetch}} Limits
 */

/**
 * What became of a write. `saved`: `copy` is what is there now. `clash`: both have changed the members in `clashes`;
 * decide on them, and save on `theirs`. `gone`: it has been deleted; saved on ABSENT, it is created anew. `busy`: in
 * every attempt somebody else was first, or the server was busy. `attempts`: how many requests have written. `base` and
 * `mine` are what the last of them began with, and `theirs` what it met.
 *
 * @typedef {{state: "saved"|"clash"|"gone"|"busy", attempts: number, base: Copy, mine: Object, theirs: Copy|null,
 *     copy?: Copy, clashes?: string[], pointers?: string[]}} Outcome
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

/** No answer came, also not after several attempts; nothing was saved. */
export class Unreachable extends Error {}

/**
 * An answer was lost, and what is there does not tell whether it was saved: somebody else may have made it so, or have
 * undone it, or nothing can be read any more. `mine` was to be saved, and `theirs` is what is there; null if nothing could
 * be read.
 */
export class Unknown extends Error {
  constructor(mine, theirs, options) {
    const why = theirs === null ? "nothing could be read" : "somebody else may have made what is there";
    super(`It is not known whether this was saved: the answer was lost or did not tell, and ${why}.`, options);
    this.mine = mine;
    this.theirs = theirs;
  }
}

/** The server gives no entity tag, so that nothing can be saved without the risk that somebody's work is lost. */
export class Untagged extends Error {}

/** There are no attempts left, or no time. */
class Exhausted extends Error {}

/**
 * Read what a URL names.
 *
 * @param {string} url
 * @param {Limits & {known?: Copy}} [options] `known`: a copy from before, which is returned itself if it still is what is
 *     there; that costs no body.
 * @returns {Promise<Copy>}
 * @throws {Refused|Unreachable}
 */
export async function read(url, {known = ABSENT, ...limits} = {}) {
  const call = new Call(url, limits);
  return await bounded(call, () => call.read(known));
}

/**
 * Save what somebody has made of a copy, unless that loses what somebody else has saved since.
 *
 * A refused save is merged with what is there now, and tried again. Where both sides have changed the same members,
 * nobody but a person can merge, so it ends there. A save whose answer was lost is known by what is there: it shows all
 * that was to be saved, as the server spells it.
 *
 * @param {string} url
 * @param {Copy} base the copy that the work began with.
 * @param {Object} mine the members as they are to be.
 * @param {Limits & {key?: Function}} [options] `key`: as of `merge`.
 * @returns {Promise<Outcome>}
 * @throws {Refused|Unreachable|Unknown|Untagged}
 */
export async function save(url, base, mine, {key, ...limits} = {}) {
  const call = new Call(url, limits, base);
  const story = async () => {
    for (;;) {
      const answer = await call.write("PUT", new Saving(base, mine), ifStill(url, base), mine);
      if (isDone(answer)) return call.outcome("saved", {copy: await call.copyAfter(answer)});
      const theirs = await call.lookAfter(answer);
      if (call.isMade(theirs)) return call.outcome("saved", {copy: theirs});
      if (theirs.content === null && base.content !== null) return call.outcome("gone");
      const {merged, clashes, pointers} = merge(base.content, mine, theirs.content, key);
      if (theirs.content !== null && same(merged, theirs.content)) return call.outcome("saved", {copy: theirs});
      if (theirs.etag === base.etag) call.requireMoment(answer);
      if (clashes.length > 0) return call.outcome("clash", {clashes, pointers});
      [base, mine] = [theirs, merged];
    }
  };
  return await bounded(call, story, (theirs) => call.outcome("saved", {copy: theirs}), () => call.outcome("busy"));
}

/**
 * Change what a URL names: GET, `change(content)`, PUT; again, if somebody else was first, with what is there by then.
 *
 * If an answer is lost, a change that may be made twice is made until it is there: so let it leave a mark of its own, and
 * find that. Any other, such as one that a condition holds back, is known by a UUID that it makes anew each time, if what is
 * there has that; otherwise it is Unknown. To find out, the change is run again: on what it has made, and on states that are
 * otherwise where it has changed something.
 * An increment is worse here than elsewhere. Browsers send a request again by themselves if its connection breaks, and
 * nobody is told: an increment that was done so is refused as stale, and would be made once more.
 *
 * @param {string} url
 * @param {(content: Object) => Object|void} change returns what the content is to be, or changes what it is given.
 * @param {Limits & {uniqueTags?: boolean}} [options] `uniqueTags`: whether no tag of this resource ever comes back, as those
 *     of a version do not, and those of the content do. Then one that is still there says that nothing was saved, and a
 *     change that may not be made twice is sent again, too.
 * @returns {Promise<Outcome>} `saved` or `busy`.
 * @throws {Refused|Unreachable|Unknown|Untagged} Refused with the status 404, where there is nothing to change.
 */
export async function update(url, change, {uniqueTags = false, ...limits} = {}) {
  const call = new Call(url, limits);
  const story = async () => {
    call.theirs = await call.read();
    for (;;) {
      const base = call.theirs;
      if (base.content === null) throw new Refused(call.last);
      const mine = changed(change, base.content);
      const sent = new Changing(base, mine, change, uniqueTags);
      if (same(mine, base.content)) return call.outcome("saved", {copy: base});
      const answer = await call.write("PUT", sent, ifStill(url, base), mine);
      if (isDone(answer)) return call.outcome("saved", {copy: await call.copyAfter(answer)});
      const theirs = await call.lookAfter(answer);
      if (call.isMade(theirs)) return call.outcome("saved", {copy: theirs});
      if (theirs.etag === base.etag) call.requireMoment(answer);
    }
  };
  return await bounded(call, story, (theirs) => call.outcome("saved", {copy: theirs}), () => call.outcome("busy"));
}

/**
 * Delete what was read, unless somebody has changed it since.
 *
 * @param {string} url
 * @param {Copy} base
 * @param {Limits} [limits]
 * @returns {Promise<Copy>} what is there now: ABSENT, or what somebody has changed, and which was not deleted therefore.
 * @throws {Refused|Unreachable|Unknown|Untagged}
 */
export async function remove(url, base, limits = {}) {
  const call = new Call(url, limits, base);
  const story = async () => {
    for (;;) {
      const answer = await call.write("DELETE", new Deleting(base, null), ifMatch(url, base));
      if (isDone(answer) && answer.status === 200) await call.copyAfter(answer);
      if (isDone(answer) || GONE.includes(answer.status)) return ABSENT;
      const theirs = await call.lookAfter(answer);
      if (theirs.content === null || call.isMade(theirs)) return ABSENT;
      if (theirs.etag !== base.etag) return theirs;
      call.requireMoment(answer);
    }
  };
  return await bounded(call, story, (theirs) => theirs);
}

/** A write that was sent, and the rule by which its lost answer is told. */
class Saving {
  constructor(base, mine) {
    Object.assign(this, {base, mine});
  }

  /** Whether what is there has all that was written, whoever has written it. */
  isIn(theirs) {
    return theirs.content !== null && isThere(this.base.content, this.mine, theirs.content);
  }

  /** Whether what is there shows that the write was done. */
  isShownBy(theirs) {
    return this.isIn(theirs);
  }

  /** Whether the same request does no harm, though it may have been done and undone. */
  maySendAgain() {
    return true;
  }

  /** Whether it was done: false too if it may be made once more; null if nothing tells. */
  toldBy(theirs) {
    if (theirs.etag === this.base.etag && this.maySendAgain()) return false;
    return this.isShownBy(theirs) ? true : null;
  }
}

class Deleting extends Saving {
  isIn(theirs) {
    return theirs.content === null;
  }
}

/** What a change has made of a content. It may leave an id of its own there, or may be made twice. */
class Changing extends Saving {
  constructor(base, mine, change, uniqueTags) {
    super(base, mine);
    Object.assign(this, {change, uniqueTags});
  }

  isShownBy(theirs) {
    if (theirs.content === null) return false;
    const known = new Set([this.base.content, changed(this.change, this.base.content)].flatMap(uuidsIn));
    const there = new Set(uuidsIn(theirs.content));
    if (uuidsIn(this.mine).some((uuid) => there.has(uuid) && !known.has(uuid))) return true;
    const isDone = super.isShownBy(theirs) || same(changed(this.change, theirs.content), theirs.content);
    return isDone && this.mayMakeAgain(theirs);
  }

  maySendAgain() {
    return this.uniqueTags || this.isIdempotentOn(this.base.content);
  }

  mayMakeAgain(theirs) {
    return theirs.content !== null && [this.base, theirs].every(({content}) => this.isIdempotentOn(content));
  }

  toldBy(theirs) {
    const told = super.toldBy(theirs);
    return told === null && this.mayMakeAgain(theirs) ? false : told;
  }

  /**
   * Whether the change does nothing to its own result, and the same whatever it finds. On one state alone, it may do nothing
   * for want of stock, say, or since somebody else was first.
   */
  isIdempotentOn(content) {
    const base = this.base.content;
    const made = changed(this.change, content);
    const isRested = (state) => same(changed(this.change, state), state);
    const isSame = (_, way) => {
      const before = otherwise(base, this.mine, content, way);
      const after = changed(this.change, before);
      return isSameOfAny(base, this.mine, before, after, made) && isRested(after);
    };
    return isRested(made) && Array.from({length: WAYS}, isSame).every(Boolean);
  }
}

/** What one call of a function has left, and what it has met. */
class Call {
  writes = 0; // requests
  tries = 0;
  sent = new Saving(ABSENT, null); // last
  lost = false; // whether that may have been done, or may yet be, and its answer did not come
  unclear = false; // whether that may have been done, and its answer does not tell
  last = null; // answer

  /** `theirs`: what was read last. */
  constructor(url, {attempts = ATTEMPTS, deadline = DEADLINE, send = fetch} = {}, theirs = null) {
    Object.assign(this, {url, attempts, send, theirs, ends: performance.now() + deadline});
  }

  get isOpen() {
    return this.lost || this.unclear;
  }

  outcome(state, more) {
    return {state, attempts: this.writes, base: this.sent.base, mine: this.sent.mine, theirs: this.theirs, ...more};
  }

  async request(method, headers, content) {
    const patience = Math.min(PATIENCE, Math.max(1_000, this.ends - performance.now()));
    return (this.last = await request(this.send, method, this.url, headers, content, patience));
  }

  /** Wait a random time, longer with each attempt, so that those who have collided do not do so again. */
  async pause() {
    const wait = this.last.retryAfter + Math.random() * Math.min(2_000, 50 * 2 ** ++this.tries);
    if (this.tries >= this.attempts || performance.now() + wait > this.ends) throw new Exhausted();
    await new Promise((resume) => setTimeout(resume, wait));
  }

  async read(known = ABSENT) {
    for (;;) {
      const answer = await this.request("GET", known.etag ? {"If-None-Match": known.etag} : {});
      if (answer.status === 304 && known.etag) return known;
      if (GONE.includes(answer.status)) return ABSENT;
      if (isDone(answer) && answer.content !== undefined) return {content: answer.content, etag: answer.etag};
      if (!isLost(answer) && !isOfTheMoment(answer)) throw new Refused(answer);
      await this.pause();
    }
  }

  /** Read what there is, after a pause; again, if it is still what the server says that it is not: a replica is behind. */
  async lookAfter(answer) {
    const {etag} = this.sent.base;
    const isOfAnother = answer.status === 412 && [undefined, "stale"].includes(reasonOf(answer)) && current(answer) !== etag;
    for (let look = 0; look < LOOKS; look++) {
      await this.pause();
      this.theirs = await this.read();
      if (!isOfAnother || this.theirs.etag !== etag) break;
    }
    return this.theirs;
  }

  /** Send a write until its answer says more than to try again. Throws Refused if what is there does not matter. */
  async write(method, sent, condition, content) {
    if (content === null) throw new TypeError("null is no content that can be saved. `remove` deletes what is there.");
    this.sent = sent;
    for (let isRestored = false; ; ) {
      this.writes++;
      const answer = await this.request(method, condition, content);
      const isPartial = answer.status === 409 && reasonOf(answer) === "partial";
      if (isLost(answer) || isPartial || answer.status === TO_BE_DONE) this.lost = true;
      if (isUnclear(answer)) this.unclear = true;
      if (isDone(answer)) this.lost = this.unclear = false;
      const isAltered = answer.status === 412 && reasonOf(answer) === "weakened" && condition["If-Match"];
      if (isAltered && current(answer) && !isRestored) {
        isRestored = true; // a proxy has altered the tag; the server gives it in the place of that
        condition = {"If-Match": current(answer)};
      } else if (isBusy(answer) || (isToRepeat(answer) && this.maySendAgain())) await this.pause();
      else if (isDone(answer) || isLost(answer) || isUnclear(answer) || OVERTAKEN.includes(answer.status)) return answer;
      else throw new Refused(answer);
    }
  }

  /** Whether a write whose answer did not tell is in what is there; if not, it may be made again. Throws Unknown. */
  isMade(theirs) {
    if (!this.isOpen) return false;
    let told;
    try {
      told = this.sent.toldBy(theirs);
    } catch (cause) {
      throw new Unknown(this.sent.mine, theirs, {cause}); // the change will not run on its own result, or on theirs
    }
    if (told === null) throw new Unknown(this.sent.mine, theirs);
    if (theirs.etag !== this.sent.base.etag) this.lost = this.unclear = false; // what was sent for a state that is gone
    return told;
  }

  maySendAgain() {
    try {
      return this.sent.maySendAgain();
    } catch {
      return false; // the change's own error; it is told where the change is run on what is there
    }
  }

  /** Throw what a write was answered, unless it was for what happened at that moment alone: the next would be no better. */
  requireMoment(answer) {
    this.unclear = false;
    if (!isOfTheMoment(answer)) throw new Refused(answer);
  }

  /** What is there after a write, whose answer may lack the content, or the tag (RFC 9110 section 9.3.4). */
  async copyAfter(answer) {
    const {etag, content} = answer;
    const {base, mine} = this.sent;
    const isTold = content !== undefined && hasMembersOf(content, mine);
    if (etag && isTold) return {content, etag};
    try {
      let copy = await this.read();
      for (let look = 0; look < LOOKS && same(copy, base); look++) {
        await this.pause(); // a replica is behind
        copy = await this.read();
      }
      const isDoubtful = same(copy, base) || (isAnybodys(answer) && !isTold);
      if (isDoubtful && !(this.sent.isIn(copy) || readsAs(copy.content, mine))) throw new Unknown(mine, copy);
      return copy;
    } catch (error) {
      if (!(error instanceof Refused || error instanceof Exhausted)) throw error;
      if (isAnybodys(answer)) throw new Unknown(mine, null, {cause: error});
      return {content: mine, etag: null}; // it is saved
    }
  }
}

/**
 * Go through a story; where it ends in vain, tell what is known of what was sent.
 *
 * @param {(theirs: Copy) => *} [saved] what to return where it is saved all the same.
 * @param {() => *} [busy] what to return where the attempts are over.
 */
async function bounded(call, story, saved, busy) {
  try {
    return await story();
  } catch (error) {
    if (![Refused, Untagged, Exhausted].some((kind) => error instanceof kind)) throw error;
    const {last, lost} = call;
    const cause = error instanceof Exhausted ? last.cause : error;
    if (call.isOpen) {
      const answer = await call.request("GET", {});
      const isRead = isDone(answer) && answer.content !== undefined;
      if (!isRead && !GONE.includes(answer.status)) throw new Unknown(call.sent.mine, null, {cause});
      const theirs = isRead ? {content: answer.content, etag: answer.etag} : ABSENT;
      const isAsBefore = theirs.etag === call.sent.base.etag;
      const mayComeYet = isAsBefore && lost;
      if (!mayComeYet && call.isMade(theirs)) return saved(theirs);
      if (mayComeYet || !isAsBefore) throw new Unknown(call.sent.mine, theirs, {cause});
    }
    if (!(error instanceof Exhausted)) throw error;
    if (isLost(last)) throw new Unreachable(`No answer came from ${call.url}.`, {cause});
    if (call.writes === 0 || !busy) throw new Refused(last);
    return busy();
  }
}

/** What a change makes of a content, which stays as it is. */
function changed(change, content) {
  const copy = structuredClone(content);
  return change(copy) ?? copy;
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
 *     have changed, and not to the same, in mine, and what that has left out, in theirs; `merged` has mine of it. `clashes`: the outermost members that these are in.
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
    const sides = [Array.isArray(base) ? base : [], mine, theirs].map((side) => byKey(side, key(at)));
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
  const names = items.map((item) => (isObject(item) ? item[member] : undefined));
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

/** The value of a member, or undefined. */
const member = (side, name) => (isObject(side) && Object.hasOwn(side, name) ? side[name] : undefined);

// A change is known by what it makes of states that are otherwise just where it has changed something: what sets a member
// does so whatever was there, what counts makes another number, and what a condition holds back does nothing.

const APART = [1, -1, 1e3, -1e3, 1e6, -1e6, 1e9, -1e9];
const FEW = 9; // items that were added, of which it is looked how a server has spelt them
const WAYS = 1 + APART.length; // in which `otherwise` makes a state another

/**
 * A state that is otherwise where mine is not the base; at first, as the base is. Items of a list may have moved meanwhile:
 * what is changed of some is otherwise in each.
 */
function otherwise(base, mine, state, way) {
  if (same(base, mine)) return state;
  const before = asBefore(base, mine);
  if ([before, mine, state].every(isObject)) {
    const names = Object.keys({...state, ...before, ...mine});
    const values = names.map((name) => otherwise(...[before, mine, state].map((side) => member(side, name)), way));
    return Object.fromEntries(names.map((name, index) => [name, values[index]]).filter(([, value]) => value !== undefined));
  }
  if ([before, mine, state].every(Array.isArray)) return itemsOtherwise(before, mine, state, way);
  return valueOtherwise(base, mine, way);
}

/** Whether a change makes the same of any state, where mine is not the base: it makes `after` of `before`, which is otherwise. */
function isSameOfAny(base, mine, before, after, made) {
  if (same(base, mine)) return true;
  base = asBefore(base, mine);
  const sides = [base, mine, before, after, made];
  if (sides.every(isObject)) {
    const names = Object.keys({...base, ...mine});
    return names.every((name) => isSameOfAny(...sides.map((side) => member(side, name))));
  }
  if (sides.slice(0, 4).every(Array.isArray)) return !same(before, after); // the other items are otherwise, too
  return same(after, made);
}

/** What an object, or a list, began with that was not there. */
function asBefore(base, mine) {
  if (base !== undefined) return base;
  return Array.isArray(mine) ? [] : isObject(mine) ? {} : base;
}

function itemsOtherwise(base, mine, state, way) {
  if (base.length === mine.length) {
    const pairs = base.map((item, index) => [item, mine[index]]).filter(([before, after]) => !same(before, after));
    const [before, after] = asOne(pairs);
    return state.map((item) => otherwise(before, after, item, way));
  }
  const [added, removed] = [without(mine, base), without(base, mine)];
  const respelt = added.slice(0, FEW);
  const kept = without(state, added).filter((item) => !respelt.some((one) => readsAs(item, one)));
  const undone = [...kept, ...without(removed, kept)];
  const others = removed.length > 0 && way > 0 ? like(removed[0], way) : [];
  return way % 2 ? [...others, ...undone] : [...undone, ...others];
}

function without(items, others) {
  const known = new Set(others.map(inOrder));
  return items.filter((item) => !known.has(inOrder(item)));
}

/** One pair of items that differ wherever one of several pairs does. */
function asOne(pairs) {
  if (!pairs.flat().every(isObject)) return pairs[0];
  const [before, after] = [{}, {}];
  for (const [one, other] of pairs) {
    for (const name of Object.keys({...one, ...other})) {
      if (!same(member(one, name), member(other, name))) [before[name], after[name]] = [member(one, name), member(other, name)];
    }
  }
  return [before, after];
}

/** Other items that are like one; of an object, each with one member that is otherwise. */
function like(item, way) {
  if (!isObject(item)) return [valueOtherwise(item, undefined, way)];
  const others = Object.entries(item).map(([name, value]) => ({...item, [name]: valueOtherwise(value, undefined, way)}));
  return others.filter((other) => !same(other, item));
}

/** The base, or a value like it, or, where there was none, one like mine. */
function valueOtherwise(base, mine, way) {
  if (way === 0) return base;
  const like = base ?? mine;
  let other = base === null ? "" : base;
  if (typeof like === "boolean") other = !like;
  if (typeof like === "number") other = like + APART[way - 1];
  if (typeof like === "string") other = way % 2 ? `${way}${like}` : `${like}${way}`; // a number of its own, if it is one
  return same(other, mine) ? base : other;
}

/** Whether what is there shows all that mine has changed of the base, as a server may have respelt it. */
function isThere(base, mine, theirs) {
  if (same(mine, base) || same(mine, theirs)) return true;
  if (isObject(base) && isObject(mine) && isObject(theirs)) {
    const names = Object.keys({...base, ...mine});
    return names.every((name) => isThere(...[base, mine, theirs].map((side) => member(side, name))));
  }
  const lists = [base, mine, theirs];
  if (lists.every((side) => Array.isArray(side) && side.length === mine?.length)) {
    return mine.every((_, index) => isThere(...lists.map((side) => side[index])));
  }
  return !readsAs(base, mine) && readsAs(theirs, mine);
}

/**
 * Whether a server may have stored what was sent like this. A whole number may have got decimals, a time another zone, an
 * id other letters, a text may be trimmed, and members added. An empty object shows nothing of itself where there is
 * another one.
 */
function readsAs(stored, sent) {
  if (isObject(stored) && isObject(sent)) {
    const isShown = ([name, value]) => Object.hasOwn(stored, name) && readsAs(stored[name], value);
    const members = Object.entries(sent);
    return members.length > 0 ? members.every(isShown) : Object.keys(stored).length === 0;
  }
  if (Array.isArray(stored) && Array.isArray(sent)) {
    return stored.length === sent.length && sent.every((value, index) => readsAs(stored[index], value));
  }
  const areTexts = typeof stored === "string" && typeof sent === "string";
  return same(stored, sent) || isSameNumber(stored, sent) || (areTexts && meant(stored) === meant(sent));
}

const DECIMAL = /^(-?(?:0|[1-9][0-9]*))(?:\.([0-9]+))?$/;

/**
 * Whether a server that was sent a number may have spelt it like this. A text is not known to be a number: "1.1" and "1.10"
 * may be two versions of a program. So in a text only a whole number may have got decimals.
 */
function isSameNumber(stored, sent) {
  const [there, mine] = [stored, sent].map((each) => {
    const parts = ["string", "number"].includes(typeof each) ? DECIMAL.exec(String(each).trim()) : null;
    const value = `${parts?.[1]}.${(parts?.[2] ?? "").replace(/0+$/, "")}`.replace(/^-0\.$/, "0.");
    return parts && {value, decimals: parts[2]};
  });
  const isSame = there !== null && mine !== null && there.value === mine.value;
  return isSame && (typeof stored === "number" || mine.decimals === undefined);
}

const MOMENT = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/i;
const UUID = /(?<![0-9A-F])[0-9A-F]{8}-?(?:[0-9A-F]{4}-?){3}[0-9A-F]{12}(?![0-9A-F])/gi;
const plain = (uuid) => uuid.replaceAll("-", "").toLowerCase();

/** The UUIDs (RFC 9562) that are anywhere in a content, in small letters and without hyphens. */
const uuidsIn = (content) => (JSON.stringify(content).match(UUID) ?? []).map(plain);

/** What a text stands for, however a server spells it: an id, a moment, or itself. */
function meant(text) {
  text = text.trim();
  if (text.match(UUID)?.[0] === text) return plain(text);
  if (MOMENT.test(text)) {
    const hasZone = /(Z|[+-]\d\d:?\d\d)$/i.test(text.slice(10));
    const moment = Date.parse(hasZone ? text : `${text}Z`);
    const finer = (/\.\d{3}(\d*)/.exec(text)?.[1] ?? "").replace(/0+$/, ""); // than milliseconds
    if (!Number.isNaN(moment)) return `${hasZone ? "moment" : "local"} ${moment} ${finer}`;
  }
  return `text ${text.replaceAll("\r\n", "\n").normalize("NFC")}`;
}

/** Whether an answer may be what was sent, as it is stored, and not a word on it. */
const hasMembersOf = (content, sent) =>
  isObject(sent)
    ? isObject(content) && Object.keys(sent).every((name) => name in content)
    : Array.isArray(content) && Array.isArray(sent);

const isDone = ({status, isRedirected}) =>
  status >= 200 && status < 300 && ![TO_BE_DONE, SEVERAL].includes(status) && !isRedirected;

/** Whether something else than the resource may have answered 200, such as a page that asks to log in. */
const isAnybodys = ({status, etag}) => status === 200 && etag === null;

/** Whether nobody knows what became of the request. */
const isLost = ({status}) => status === null || LOST.includes(status);

/** Whether the server may have done what it was asked to, and does not say so. */
const isUnclear = (answer) =>
  answer.isRedirected ||
  [TO_BE_DONE, SEVERAL].includes(answer.status) ||
  LATER.includes(answer.status) ||
  (answer.status >= 300 && answer.status < 400) ||
  (answer.status >= 500 && !isLost(answer));

/** Whether the same may be asked again later, if that does no harm. */
const isToRepeat = (answer) => isLost(answer) || LATER.includes(answer.status);

/** Whether two requests have met, though what is there may not have changed. */
const isOfTheMoment = (answer) =>
  LATER.includes(answer.status) || (answer.status === 409 && ["busy", "conflict", "partial"].includes(reasonOf(answer)));

/** Whether the same request may be sent again without looking at what is there: the server says that it was not done. */
const isBusy = (answer) => answer.status === 409 && reasonOf(answer) === "busy";

const reasonOf = ({content}) => content?.reason;

/** The tag of what is there, as a refusal tells it: a proxy that compresses alters the field alone. */
const current = ({etag, content}) => (typeof content?.etag === "string" ? content.etag : etag);

/** The field that lets a write pass only while a copy is what is there. */
const ifStill = (url, copy) => (copy.content === null ? {"If-None-Match": "*"} : ifMatch(url, copy));

function ifMatch(url, {etag}) {
  if (etag === null) throw new Untagged(`There is no ETag of ${url}: nobody could tell whether it has changed.`);
  return {"If-Match": etag};
}

/**
 * Send, and take the whole answer in; a status of null is none. The browser's own cache is passed by: it would hide the
 * 304s. A write that was redirected may have become a GET on its way, whose answer says nothing of it.
 */
async function request(send, method, url, headers, content, patience) {
  const body = content === undefined ? undefined : JSON.stringify(content);
  if (body !== undefined) headers = {...headers, "Content-Type": "application/json"};
  const signal = AbortSignal.timeout(Math.ceil(patience)); // Node takes no fraction
  const options = {method, headers, body, signal, cache: "no-store"};
  if (send === fetch) new Request(url, options); // a URL or a header that is none is no failure of the network
  const sending = send(url, options);
  let answer, text;
  try {
    answer = await sending;
    text = await answer.text();
  } catch (cause) {
    if (!NO_ANSWER.includes(cause?.name)) throw cause; // a mistake, of whoever has written `send`
    return {status: null, etag: null, retryAfter: 0, text: "", content: undefined, cause};
  }
  return {
    status: answer.status,
    isRedirected: answer.redirected && method !== "GET",
    etag: answer.headers.get("ETag"),
    retryAfter: milliseconds(answer.headers.get("Retry-After")),
    text,
    content: parsed(text),
  };
}

/** How long a server asks to wait (RFC 9110 section 10.2.3). */
function milliseconds(retryAfter) {
  const wait = /^\d+$/.test(retryAfter ?? "") ? Number(retryAfter) * 1_000 : Date.parse(retryAfter) - Date.now();
  return Math.max(0, wait) || 0;
}

/** What a text is in JSON; nothing where it is none, such as a page that a proxy made. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
