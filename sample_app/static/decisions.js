/** The picture of the last minutes' decisions: asks every few seconds, and can be paused. */

import {element} from "./elements.js";

const INTERVAL = 2_000; // milliseconds
const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200; // units of the picture, which is stretched to its place
const WIDTH = 600;
const REFUSALS = ["stale", "raced", "other"];

class DecisionsPicture extends HTMLElement {
  #names = new Map(); // of the kinds, in the order in which a bar is stacked
  #totals = null;
  #isPaused = false;

  connectedCallback() {
    for (const part of this.querySelectorAll(".totals > [data-kind]:not([data-kind=bytes])"))
      this.#names.set(part.dataset.kind, part.querySelector("dt").textContent);
    const button = this.querySelector("[data-action=pause]");
    button.hidden = false;
    button.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      button.setAttribute("aria-pressed", this.#isPaused);
      this.#poll();
    });
    document.addEventListener("visibilitychange", () => this.#poll());
    this.#poll();
  }

  async #poll() {
    clearTimeout(this.timer);
    if (this.#isPaused) return this.#tell("Paused.");
    if (document.hidden) return; // who does not look costs nothing
    try {
      const answer = await fetch(this.dataset.source);
      if (!answer.ok) throw new Error(answer.status);
      this.#show(await answer.json());
      this.#tell(`Up to date. Asks every ${INTERVAL / 1000} seconds. Of this process alone.`);
    } catch {
      this.#tell("No answer. Asks again in a moment.");
    }
    if (!this.#isPaused) this.timer = setTimeout(() => this.#poll(), INTERVAL);
  }

  #show({bars, rows, totals}) {
    for (const part of this.querySelectorAll(".totals > [data-kind]")) {
      const count = totals[part.dataset.kind] ?? 0;
      part.querySelector("dd").textContent = part.dataset.kind === "bytes" ? sizeOf(count) : count;
    }
    this.querySelector(".nothing").hidden = rows.length > 0;
    this.querySelector(".timeline").hidden = rows.length === 0;
    this.#draw(bars);
    this.querySelector("tbody").replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          {},
          element("th", {scope: "row"}, row.endpoint),
          ...[...this.#names.keys()].map((kind) => element("td", {class: "number"}, `${row[kind] ?? 0}`)),
        ),
      ),
    );
    this.#announce(totals);
    this.#totals = totals;
  }

  #draw(bars) {
    const heights = bars.map((bar) => Object.values(bar).reduce((sum, count) => sum + count, 0));
    const highest = Math.max(1, ...heights);
    const width = WIDTH / bars.length;
    const parts = bars.flatMap((bar, index) => {
      let top = HEIGHT;
      return [...this.#names.keys()]
        .filter((kind) => bar[kind])
        .map((kind) => {
          const height = (bar[kind] / highest) * (HEIGHT - 4);
          top -= height;
          const part = document.createElementNS(SVG, "rect");
          const attributes = {x: index * width + 1, y: top, width: width - 2, height, "data-kind": kind};
          for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
          const title = document.createElementNS(SVG, "title");
          title.textContent = `${bar[kind]} ${this.#names.get(kind)}`;
          part.append(title);
          return part;
        });
    });
    this.querySelector("svg").replaceChildren(...parts);
    const step = Number(this.dataset.step);
    this.querySelector(".scale").textContent = `highest bar: ${highest} in ${step} seconds`;
    const busiest = (bars.length - 1 - heights.lastIndexOf(highest)) * step;
    const when = busiest < step ? "just now" : `${busiest} seconds ago`;
    const sum = heights.reduce((all, height) => all + height, 0);
    this.querySelector("#in-words").textContent = `${sum} requests; most of them ${when}. The table has the numbers.`;
  }

  /** Say which refusals are new, to who does not see the picture. */
  #announce(totals) {
    if (this.#totals === null) return;
    const news = REFUSALS.map((kind) => [kind, (totals[kind] ?? 0) - (this.#totals[kind] ?? 0)])
      .filter(([, more]) => more > 0)
      .map(([kind, more]) => element("p", {}, `${more} more ${this.#names.get(kind)}`));
    if (news.length > 0) this.querySelector("[role=log]").replaceChildren(...news);
  }

  #tell(text) {
    const line = this.querySelector(".state");
    if (line.textContent !== text) line.textContent = text;
  }
}

function sizeOf(bytes) {
  return bytes < 10_000 ? `${bytes} B` : `${(bytes / 1000).toFixed(bytes < 100_000 ? 1 : 0)} kB`;
}

customElements.define("decisions-picture", DecisionsPicture);
