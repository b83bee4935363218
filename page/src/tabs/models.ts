// The models that answer right now, with their cards.
import { cards } from "virtual:shipped-content";
import * as api from "../api";
import { fill, make } from "../dom";
import { explain } from "../problems";

/** The codec is two networks under one name. */
const networks = (model: string): string[] => Object.keys(cards).filter((name) => name === model || name.startsWith(`${model}_`));

function card(name: string): HTMLElement {
  const body = make("div", { class: "card" });
  // Made of our own cards when the page was built.
  body.innerHTML = cards[name]!;
  for (const table of body.querySelectorAll("table")) {
    const scroller = make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Table of the card" });
    table.replaceWith(scroller);
    scroller.append(table);
  }
  for (const heading of body.querySelectorAll("h1, h2")) {
    const smaller = make(heading.tagName === "H1" ? "h3" : "h4");
    smaller.append(...heading.childNodes);
    heading.replaceWith(smaller);
  }
  return make("details", { class: "panel" }, make("summary", {}, `Card of ${name}`), body);
}

export function modelsTab(): { element: HTMLElement; enter: () => void } {
  const content = make("div", {}, make("p", { class: "message" }, "Asking each model …"));
  const enter = async () => {
    try {
      const models = await api.models();
      const table = make("table", { class: "figures" },
        make("thead", {}, make("tr", {}, ...["model", "version", "hash", "run by"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, ...models.map(({ name, version, hash, engine }) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, version), make("td", {}, make("code", {}, hash)), make("td", {}, engine ?? "–")))));
      const scroller = make("div", { class: "scroller", tabindex: 0, role: "region", "aria-label": "Models in service" }, table);
      fill(content, make("div", { class: "panel" }, make("h2", {}, "Models in service"), make("p", { class: "hint" }, "Each of them has just answered, for a drawing of the mean face."), scroller),
        ...models.flatMap(({ name }) => networks(name)).map(card));
    } catch (error) {
      fill(content, make("p", { class: "message error" }, explain(error)));
    }
  };
  return { element: make("section", { class: "models-tab" }, content), enter: () => void enter() };
}
