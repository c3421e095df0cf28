/** All that is known of one item, and what can be done with it. */

import { call, inWords, newest, writeKey } from "./api.js";
import { $, announce, h, jump, nameOf } from "./dom.js";
import { isPicked, pick, takeOut } from "./history.js";
import { thumbnail } from "./pictures.js";
import { choose, forget } from "./state.js";

const loading = newest();
let afterRemoval = () => undefined;

/** Say what follows when an item was removed from the catalog. */
export const onRemoved = (action) => (afterRemoval = action);

/** Open the dialog on an item. */
export async function showDetails(item) {
  $("details-title").textContent = nameOf(item);
  $("details-body").replaceChildren(thumbnail(item, "huge"), facts({ Id: item.item_id }));
  $("details-actions").replaceChildren(...actions(item));
  say("");
  if (!$("details").open) $("details").showModal();
  try {
    const full = await loading((signal) => call("GET", `v1/items/${encodeURIComponent(item.item_id)}`, { signal }));
    if (full) $("details-body").replaceChildren(thumbnail(full, "huge"), facts({ Id: full.item_id, ...named(full.columns) }));
  } catch (problem) {
    say(inWords(problem));
  }
}

/** Search for items like this one and go to what is found: it may have been chosen far from there. */
export function findSimilar(item) {
  choose({ like: item.item_id, text: "" });
  jump("asked", "nearest");
}

export function startDetails() {
  $("details").addEventListener("close", () => loading.cancel());
}

/**
 * Remove an item from the catalog, for everyone.
 * @param {Object} item
 * @param {string} once the key under which it is removed once
 */
export async function remove(item, once) {
  await call("DELETE", `v1/items/${encodeURIComponent(item.item_id)}`, { once });
  forget(item.item_id);
  takeOut(item.item_id);
  announce(`${nameOf(item)} was removed from the catalog.`);
  afterRemoval(item);
}

const ELSEWHERE = ["title", "image"]; // the dialog's name, and the picture itself

function named(columns) {
  const shown = Object.entries(columns).filter(([name, value]) => !ELSEWHERE.includes(name) && String(value).trim());
  return Object.fromEntries(shown.map(([name, value]) => [name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " "), value]));
}

function facts(values) {
  const pairs = Object.entries(values).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))));
  return h("dl", { class: "columns" }, ...pairs);
}

function actions(item) {
  const close = () => $("details").close();
  const button = (text, kind, click) => h("button", { class: kind, type: "button", on: { click } }, text);
  const label = isPicked(item.item_id) ? "Take out of the history" : "Add to the history";
  return [
    button(label, "primary", () => {
      close();
      pick(item);
    }),
    button("Find similar", "quiet", () => {
      close();
      findSimilar(item);
    }),
    button("Remove from the catalog", "quiet danger", () => confirm(item)),
  ];
}

/** Ask once more: removing is for everyone and cannot be taken back. */
function confirm(item) {
  const once = writeKey();
  const sure = h("button", { class: "primary danger", type: "button" }, "Remove it");
  const keep = h("button", { class: "quiet", type: "button" }, "Keep it");
  keep.addEventListener("click", () => {
    $("details-actions").replaceChildren(...actions(item));
    $("details-actions").lastElementChild.focus();
  });
  sure.addEventListener("click", async () => {
    sure.disabled = true;
    try {
      await remove(item, once);
      $("details").close();
    } catch (problem) {
      say(inWords(problem));
      sure.disabled = false;
    }
  });
  $("details-actions").replaceChildren(h("p", { class: "ask" }, "Nobody will find it any more. Remove it?"), sure, keep);
  keep.focus();
}

function say(text) {
  $("details-problem").textContent = text;
  $("details-problem").hidden = !text;
}
