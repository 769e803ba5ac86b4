/** The wire view: each request that this page makes, and its answer. */

import {element, tagOf} from "./elements.js";

const wire = new EventTarget();
const LONGEST = 60; // entries that are kept

/**
 * A `fetch` whose requests and answers are shown, with the name of who sends them.
 *
 * @param {string} who
 * @param {string} [user] who the server is told that it is, for the history.
 */
export function sendAs(who, user) {
  return async (url, options) => {
    if (user) options = {...options, headers: {...options.headers, User: user}};
    const sent = {
      who,
      method: options.method,
      path: url,
      ifMatch: options.headers["If-Match"],
      ifNoneMatch: options.headers["If-None-Match"],
    };
    const show = (received) => wire.dispatchEvent(new CustomEvent("exchange", {detail: {...sent, ...received}}));
    try {
      const answer = await fetch(url, options);
      const bytes = (await answer.clone().arrayBuffer()).byteLength;
      show({status: answer.status, etag: answer.headers.get("ETag"), bytes});
      return answer;
    } catch (failure) {
      show({status: "no answer"});
      throw failure;
    }
  };
}

const NAMES = {
  200: "OK",
  201: "Created",
  204: "Deleted",
  304: "Not Modified",
  404: "Not Found",
  409: "Conflict",
  412: "Precondition Failed",
  422: "Unprocessable",
  428: "Precondition Required",
};

class WireView extends HTMLElement {
  #sizes = new Map(); // of bodies, by path and tag
  #requests = 0;
  #unchanged = 0;
  #saved = 0;
  #last = {};

  connectedCallback() {
    // Where there is no room beside the page, the wire is a line at its foot, which opens.
    this.querySelector("details").open = matchMedia("(min-width: 68rem)").matches;
    wire.addEventListener("exchange", ({detail}) => this.#show(detail));
  }

  #show(exchange) {
    const {status, path, etag, bytes} = exchange;
    this.#requests++;
    if (status === 200) this.#sizes.set(`${path} ${etag}`, bytes);
    if (status === 304) {
      this.#unchanged++;
      this.#saved += this.#sizes.get(`${path} ${etag}`) ?? 0;
    }
    this.querySelector(".totals").textContent =
      `${count(this.#requests, "request")}, ${this.#unchanged} answered 304: saved ${size(this.#saved)}.`;
    const spared = this.#sizes.get(`${path} ${etag}`);
    exchange.spared = status === 304 ? spared : undefined;
    const list = this.querySelector("ol");
    if (this.#isRepeated(exchange)) {
      list.firstElementChild.replaceWith(this.#entry(exchange, ++this.#last.times));
    } else {
      this.#last = {exchange, times: 1};
      list.prepend(this.#entry(exchange, 1));
      if (list.children.length > LONGEST) list.lastElementChild.remove();
    }
  }

  /** The same 304 again is counted, so that polling does not push away what matters. */
  #isRepeated(exchange) {
    const last = this.#last.exchange;
    return last !== undefined && exchange.status === 304 && JSON.stringify(last) === JSON.stringify(exchange);
  }

  #entry({who, method, path, ifMatch, ifNoneMatch, status, etag, bytes, spared}, times) {
    const conditions = [
      ["If-Match", ifMatch],
      ["If-None-Match", ifNoneMatch],
    ]
      .filter(([, value]) => value)
      .map(([name, value]) => element("div", {}, `${name}: `, tagOf(value)));
    const answer = element(
      "div",
      {class: "answer"},
      element("strong", {class: "status"}, [status, NAMES[status]].filter(Boolean).join(" ")),
    );
    if (etag) answer.append(" ", element("span", {}, "ETag: ", tagOf(etag)));
    if (spared) answer.append(" ", element("span", {class: "spared"}, `saved ${size(spared)}`));
    else if (bytes !== undefined) answer.append(" ", element("span", {class: "bytes"}, size(bytes)));
    return element(
      "li",
      {"data-status": status},
      element(
        "div",
        {},
        element("b", {class: "who", "data-who": who}, who),
        " ",
        element("code", {class: "request"}, `${method} ${path}`),
        times > 1 ? element("span", {class: "times"}, ` ${times} times`) : "",
      ),
      ...conditions,
      answer,
    );
  }
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

const size = (bytes) => (bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KiB`);

customElements.define("wire-view", WireView);
