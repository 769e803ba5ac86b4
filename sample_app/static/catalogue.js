/** The catalogue: asks every few seconds whether it has changed, and lights up what has. */

import {ABSENT, read} from "./client.js";
import {element} from "./elements.js";
import {sendAs} from "./wire.js";

const INTERVAL = 3_000; // milliseconds
const LIT = 4_000;

class ProductCatalogue extends HTMLElement {
  #copy = ABSENT;
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
    try {
      const copy = await read(this.dataset.api + location.search, {known: this.#copy, send: this.#send});
      if (copy !== this.#copy) this.#show(copy);
      this.#tell(`Up to date. Asks every ${INTERVAL / 1000} seconds.`);
    } catch {
      this.#tell("No answer. Asks again in a moment.");
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#poll(), INTERVAL);
  }

  #show(copy) {
    const isFirst = this.#copy === ABSENT;
    const rows = new Map([...this.querySelectorAll("tbody tr")].map((row) => [row.dataset.sku, row]));
    const shown = copy.content.map((product) => {
      const row = rows.get(product.sku) ?? this.#row(product.sku);
      const isNew = row.dataset.etag !== product.etag;
      row.dataset.etag = product.etag;
      for (const cell of row.querySelectorAll("[data-member]")) cell.textContent = product[cell.dataset.member];
      if (isNew && !isFirst) this.#lightUp(row, product.name);
      return row;
    });
    this.querySelector("tbody").replaceChildren(...shown);
    this.#copy = copy;
  }

  #row(sku) {
    const row = this.querySelector("template").content.firstElementChild.cloneNode(true);
    row.dataset.sku = sku;
    row.querySelector("a").href += encodeURIComponent(sku);
    return row;
  }

  #lightUp(row, name) {
    row.classList.add("lit");
    setTimeout(() => row.classList.remove("lit"), LIT);
    this.querySelector("[role=log]").replaceChildren(element("span", {}, `${name} has just been changed.`));
  }

  #tell(text) {
    const line = this.querySelector(".state");
    if (line.textContent !== text) line.textContent = text;
  }
}

customElements.define("product-catalogue", ProductCatalogue);
