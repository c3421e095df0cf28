/** An item on the page: as a card among results, as a row among recommendations. */

import { findSimilar, showDetails } from "./details.js";
import { h, icon, nameOf } from "./dom.js";
import { isPicked, pick } from "./history.js";
import { thumbnail } from "./pictures.js";
import { remember } from "./state.js";

/** One result: picture, title, id; choosing it changes the history. */
export function card(item) {
  remember(item);
  return h(
    "li",
    { class: "card", "data-item": item.item_id },
    thumbnail(item, "large"),
    h("div", { class: "card-text" }, pickButton(item), h("span", { class: "id" }, item.item_id)),
    h("div", { class: "card-actions" }, similarButton(item), detailsButton(item)),
  );
}

/** One recommendation: rank, picture, title and why it is here. */
export function row(item) {
  remember(item);
  return h(
    "li",
    { class: "row", "data-item": item.item_id },
    h("span", { class: "rank", "aria-hidden": "true" }, String(item.rank)),
    thumbnail(item),
    h("div", { class: "row-text" }, pickButton(item), item.reason ? h("p", { class: "reason" }, item.reason.text) : null),
    h("div", { class: "row-actions" }, similarButton(item), detailsButton(item)),
  );
}

/** Show on every card whether its item is in the history. */
export function markPicked() {
  for (const button of document.querySelectorAll('button[data-action="pick"]')) {
    const id = button.closest("[data-item]").dataset.item;
    button.setAttribute("aria-pressed", String(isPicked(id)));
  }
}

function pickButton(item) {
  const button = h(
    "button",
    {
      class: "pick",
      type: "button",
      "data-action": "pick",
      "aria-pressed": String(isPicked(item.item_id)),
      "aria-describedby": "pick-help",
      on: { click: () => pick(item) },
    },
    h("span", { class: "name" }, nameOf(item)),
    h("span", { class: "mark" }, icon("plus"), icon("check")),
  );
  return button;
}

function similarButton(item) {
  return small("similar", "Similar", `Similar to ${nameOf(item)}`, () => findSimilar(item));
}

function detailsButton(item) {
  return small("details", "Details", `Details of ${nameOf(item)}`, () => showDetails(item));
}

function small(name, word, label, click) {
  const attributes = { class: "round", type: "button", "data-action": name, "aria-label": label, title: word, on: { click } };
  return h("button", attributes, icon(name), h("span", {}, word));
}
