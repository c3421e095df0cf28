/** What is recommended, by each method side by side. */

import { call, inWords, newest } from "./api.js";
import { row } from "./cards.js";
import { $, announce, count, h, icon, replaceItems } from "./dom.js";
import { choose, chosen, onChange } from "./state.js";

const length = () => (matchMedia("(max-width: 46rem)").matches ? 5 : 10); // stacked, more would bury the next method
const AT_ONCE = 3;

const EXPLAINED = {
  "zero-shot": ["Zero-shot", "Reads this history and the words and pictures of the catalog."],
  "few-shot": ["Few-shot", "Also reads what other users chose next; nothing is trained."],
  "fine-tuned": ["Fine-tuned", "Also trained on what the users of this catalog did."],
};

let columns = [];

export function startRecommend() {
  onChange((names) => {
    if (["history", "user", "recorded"].some((name) => names.has(name))) refresh();
    if (names.has("hidden")) arrange();
  });
}

/** Show one column for each method the service offers. */
export function setMethods(methods) {
  const names = methods.slice(0, AT_ONCE);
  if (names.join() === columns.map((column) => column.method).join()) return;
  for (const column of columns) column.ask.cancel();
  columns = names.map(makeColumn);
  $("methods").replaceChildren(...columns.map((column) => column.section));
  $("compare").replaceChildren($("compare").firstElementChild, ...columns.map(toggle));
  $("compare").hidden = columns.length < 2;
  arrange();
}

/** Ask anew, as after the catalog has changed. */
export async function refresh() {
  const wanted = Boolean(chosen.user || chosen.history.length);
  $("methods").hidden = !wanted;
  $("recommend-empty").hidden = wanted;
  if (!wanted) {
    for (const column of columns) clear(column);
    return;
  }
  const said = await Promise.all(columns.filter((column) => !column.section.hidden).map(load));
  if (said.every(Boolean) && said.length) announce(`Recommendations changed: ${said.join(", ")}.`);
}

function arrange() {
  const shown = columns.filter((column) => !chosen.hidden.includes(column.method));
  for (const column of columns) {
    column.section.hidden = !shown.includes(column);
    column.box.checked = shown.includes(column);
    column.box.disabled = shown.length === 1 && shown.includes(column);
  }
  $("methods").dataset.columns = String(shown.length);
  refresh();
}

function makeColumn(method) {
  const [label, about] = EXPLAINED[method] ?? [method, ""];
  const id = `method-${method}`;
  const list = h("ol", { class: "rows", "aria-labelledby": id });
  const title = h("h3", { id, tabindex: "-1" }, label);
  const took = h("span", { class: "took" });
  const problem = h("div", { class: "problem", role: "alert", hidden: true });
  const box = h("input", { type: "checkbox", id: `show-${method}` });
  const section = h(
    "section",
    { class: "method", "aria-labelledby": id },
    h("div", { class: "method-head" }, title, took),
    h("p", { class: "soft small about" }, about),
    problem,
    list,
  );
  return { method, label, section, list, title, took, problem, box, ask: newest(), seen: null };
}

function toggle(column) {
  column.box.addEventListener("change", () => {
    const others = chosen.hidden.filter((method) => method !== column.method);
    choose({ hidden: column.box.checked ? others : [...others, column.method] });
  });
  return h("label", { class: "toggle", for: column.box.id }, column.box, h("span", {}, icon("check"), column.label));
}

/** Ask for one column; returns what to say of it, or nothing when a newer request took over. */
async function load(column) {
  const asked = chosen.user ? { user_id: chosen.user } : { history: chosen.history };
  column.section.setAttribute("aria-busy", "true");
  if (!column.list.children.length) column.list.replaceChildren(...waiting());
  const started = performance.now();
  try {
    const json = { ...asked, k: length(), method: column.method, explain: true };
    const answer = await column.ask((signal) => call("POST", "v1/recommend", { json, signal }));
    if (!answer) return undefined;
    column.section.removeAttribute("aria-busy");
    column.took.textContent = `${Math.max(1, Math.round(performance.now() - started))} ms`;
    return show(column, answer.items);
  } catch (problem) {
    column.section.removeAttribute("aria-busy");
    fail(column, problem);
    return undefined;
  }
}

function show(column, items) {
  const rows = items.map(row);
  if (column.seen) for (const element of rows) element.classList.toggle("fresh", !column.seen.has(element.dataset.item));
  column.seen = new Set(items.map((item) => item.item_id));
  column.problem.hidden = true;
  if (items.length) replaceItems(column.list, rows, column.title);
  else column.list.replaceChildren(h("li", { class: "soft none" }, "Nothing to recommend from this history."));
  return `${column.label} ${count(items.length, "item")}`;
}

function fail(column, problem) {
  clear(column);
  const again = h("button", { class: "quiet", type: "button", on: { click: () => load(column).then(announce) } }, "Try again");
  column.problem.replaceChildren(h("p", {}, inWords(problem)), again);
  column.problem.hidden = false;
}

function clear(column) {
  column.ask.cancel();
  column.section.removeAttribute("aria-busy");
  column.list.replaceChildren();
  column.took.textContent = "";
  column.problem.hidden = true;
  column.seen = null;
}

function waiting() {
  return Array.from({ length: 5 }, () => h("li", { class: "row ghost", "aria-hidden": "true" }));
}
