/** The catalogue: asks every few seconds whether it has changed, and lights up what has. */

import {ABSENT, read} from "./client.js";
import {element} from "./elements.js";
import {sendAs} from "./wire.js";

const INTERVAL = 3_000; // milliseconds
const LIT = 4_000;

class ProductCatalogue extends HTMLElement {
  #copy = ABSENT;
  #turn = 0; // of the questions, of which the last one's answer counts
  #send = sendAs("Catalogue");

  connectedCallback() {
    this.#poll();
    for (const happens of ["online", "visibilitychange"]) {
      (happens === "online" ? window : document).addEventListener(happens, () => this.#poll());
    }
  }

  async #poll() {
    clearTimeout(this.timer);
    if (document.hidden) return; // who does not look costs nothing
    const turn = ++this.#turn;
    let state = `Up to date. Asks every ${INTERVAL / 1000} seconds.`;
    try {
      const copy = await read(this.dataset.api + location.search, {known: this.#copy, send: this.#send, attempts: 1});
      if (turn === this.#turn && copy !== this.#copy) this.#show(copy);
    } catch {
      state = "No answer. Asks again in a moment.";
    }
    if (turn !== this.#turn) return;
    this.#tell(state);
    this.timer = setTimeout(() => this.#poll(), INTERVAL);
  }

  #show(copy) {
    const isFirst = this.#copy === ABSENT;
    const rows = new Map([...this.querySelectorAll("tbody tr")].map((row) => [row.dataset.sku, row]));
    const news = [];
    const shown = copy.content.map((product) => {
      const row = rows.get(product.sku) ?? this.#row(product.sku);
      const isNew = row.dataset.etag !== product.etag;
      row.dataset.etag = product.etag;
      for (const cell of row.querySelectorAll("[data-member]")) cell.textContent = product[cell.dataset.member];
      if (isNew && !isFirst) {
        news.push(`${product.name} has just been changed.`);
        row.classList.add("lit");
        setTimeout(() => row.classList.remove("lit"), LIT);
      }
      rows.delete(product.sku);
      return row;
    });
    for (const row of rows.values()) news.push(`${row.querySelector("a").textContent} is not here any more.`);
    const focused = this.contains(document.activeElement) ? document.activeElement : null;
    this.querySelector("tbody").replaceChildren(...shown);
    focused?.focus({preventScroll: true}); // which is lost on the way
    this.querySelector("[role=log]").replaceChildren(...news.map((text) => element("p", {}, text)));
    this.#copy = copy;
  }

  #row(sku) {
    const row = this.querySelector("template").content.firstElementChild.cloneNode(true);
    row.dataset.sku = sku;
    row.querySelector("a").href += encodeURIComponent(sku);
    return row;
  }

  #tell(text) {
    const line = this.querySelector(".state");
    if (line.textContent !== text) line.textContent = text;
  }
}

customElements.define("product-catalogue", ProductCatalogue);
