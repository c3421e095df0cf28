/** Search by words, by a picture, or by an item. */

import { call, inWords, newest } from "./api.js";
import { card } from "./cards.js";
import { $, announce, count, debounced, h, icon, nameOf, replaceItems } from "./dom.js";
import { carriesFiles, pictureIn, preview, smallEnough } from "./pictures.js";
import { choose, chosen, known, onChange } from "./state.js";

const PAUSE = 220; // ms of no typing before a search

const ask = newest();
const typed = debounced(PAUSE, (text) => choose({ text, like: "" }));
let picture = null; // the file searched with; wins over words
let wanted = 0; // how many results
let most = 100; // that the service gives at once; it says so itself
let running = Promise.resolve(); // the search that the last choice began

export function startSearch() {
  const query = $("query");
  query.addEventListener("input", () => typed(query.value.trim()));
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    typed.cancel();
    if (query.value.trim() === chosen.text && !picture) search();
    else choose({ text: query.value.trim(), like: "" });
  });
  $("query-picture").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // the same file may be chosen again
    if (file) searchPicture(file);
  });
  $("more").addEventListener("click", () => more());
  $("search-hint").addEventListener("click", () => $("query-picture").click()); // the field itself serves the keyboard
  takeDropsAndPastes();
  onChange((names) => {
    if (!names.has("text") && !names.has("like")) return;
    picture = null;
    wanted = page();
    if (document.activeElement !== query || chosen.like) query.value = chosen.text;
    running = search();
  });
}

/** Take over what the service accepts. */
export const setLimits = (limits) => (most = limits.k);

/** Search by words, as if they had been typed; returns the results. */
export function searchWords(text) {
  typed.cancel();
  picture = null;
  wanted = page();
  $("query").value = text;
  if (text === chosen.text && !chosen.like) return search();
  choose({ text, like: "" });
  return running;
}

/** Search with a picture instead of words. */
export async function searchPicture(file) {
  typed.cancel();
  $("query").value = "";
  if (chosen.text || chosen.like) choose({ text: "", like: "" });
  picture = file;
  wanted = page();
  await search();
}

/** Ask for what is searched for; returns the results, or nothing when a newer search took over. */
export async function search() {
  const { text, like } = chosen;
  const request = picture ? byPicture(picture) : like ? byItem(like) : text ? byWords(text) : null;
  drawAsked();
  say("");
  if (!request) return clear();
  $("find").setAttribute("aria-busy", "true");
  if (!$("results").children.length) $("results").replaceChildren(...waiting());
  try {
    const answer = await ask(request);
    if (!answer) return undefined;
    $("find").removeAttribute("aria-busy");
    return show(answer.items);
  } catch (problem) {
    clear();
    drawAsked();
    say(inWords(problem));
    return undefined;
  }
}

const page = () => (matchMedia("(max-width: 46rem)").matches ? 6 : 12);
const byWords = (text) => (signal) => call("POST", "v1/search", { json: { text, k: wanted }, signal });
const byItem = (id) => (signal) => call("POST", "v1/similar", { json: { item_id: id, k: wanted }, signal });

function byPicture(file) {
  return async (signal) => {
    const form = new FormData();
    form.append("image", await smallEnough(file));
    form.append("k", String(wanted));
    return call("POST", "v1/search", { form, signal });
  };
}

function show(items) {
  const cards = items.map(card);
  replaceItems($("results"), cards, $("query"));
  $("more").hidden = items.length < wanted || wanted >= most;
  if (!items.length) $("results").replaceChildren(h("li", { class: "soft none" }, "Nothing in the catalog is close to this."));
  announce(`${count(items.length, "result")}${picture ? " for your picture" : ""}.`);
  return items;
}

async function more() {
  const before = $("results").children.length;
  wanted = Math.min(wanted + page(), most);
  const items = await search();
  if (items && items.length > before) $("results").children[before].querySelector("button").focus();
}

function clear() {
  ask.cancel();
  $("find").removeAttribute("aria-busy");
  $("results").replaceChildren();
  $("more").hidden = true;
  return undefined;
}

/** What is searched with, where it is not the words in the box. */
function drawAsked() {
  const { like } = chosen;
  const line = $("asked");
  line.hidden = !picture && !like;
  if (line.hidden) return line.replaceChildren();
  const about = picture ? "Items that look like your picture" : `Similar to ${nameOf(known(like) ?? { item_id: like })}`;
  const stop = h(
    "button",
    { class: "round", type: "button", "aria-label": "Stop this search", title: "Stop this search", on: { click: leave } },
    icon("close"),
  );
  return line.replaceChildren(...[picture ? preview(picture, "") : null, h("span", {}, about), stop].filter(Boolean));
}

function leave() {
  picture = null;
  $("query").value = "";
  if (chosen.like || chosen.text) choose({ like: "", text: "" });
  else search();
  $("query").focus();
}

function takeDropsAndPastes() {
  let depth = 0; // of elements the pointer has entered
  const over = (event, change) => {
    if (!carriesFiles(event.dataTransfer) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    depth = change(depth);
    $("dropping").hidden = depth <= 0;
  };
  addEventListener("dragenter", (event) => over(event, (now) => now + 1));
  addEventListener("dragleave", (event) => over(event, (now) => now - 1));
  addEventListener("dragover", (event) => carriesFiles(event.dataTransfer) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event.dataTransfer)) return;
    event.preventDefault(); // a missed drop must not open the file in place of the page
    depth = 0;
    $("dropping").hidden = true;
    if (document.querySelector("dialog[open]")) return;
    const file = pictureIn(event.dataTransfer);
    if (file) searchPicture(file);
    else say("What was dropped is not a picture. Drop a JPEG, PNG, WebP or GIF file.");
  });
  addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    searchPicture(file);
  });
}

function say(text) {
  $("search-problem").textContent = text;
  $("search-problem").hidden = !text;
}

function waiting() {
  return Array.from({ length: 4 }, () => h("li", { class: "card ghost", "aria-hidden": "true" }));
}
