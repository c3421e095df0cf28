/** Add an item to the catalog, and show that it can be found. */

import { call, inWords, writeKey } from "./api.js";
import { card } from "./cards.js";
import { remove } from "./details.js";
import { $, h, nameOf } from "./dom.js";
import { carriesFiles, pictureIn, preview, renewed, smallEnough } from "./pictures.js";
import { searchPicture, searchWords } from "./search.js";
import { remember } from "./state.js";

let picture = null;
let once = writeKey(); // sending the same form again adds it once
let afterAdding = () => undefined;

/** Say what follows when an item was added. */
export const onAdded = (action) => (afterAdding = action);

export function startAdd() {
  const form = $("add-form");
  $("add-open").addEventListener("click", open);
  form.addEventListener("input", () => {
    once = writeKey();
    clearProblems();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("add-picture").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  $("add-picture-clear").addEventListener("click", () => {
    take(null);
    $("add-picture").focus();
  });
  takeDropsAndPastes();
}

function open() {
  $("add-form").reset();
  take(null);
  clearProblems();
  $("add").showModal();
  $("add-id").focus();
}

function take(file) {
  picture = file;
  once = writeKey();
  clearProblems();
  $("add-preview").replaceChildren(...(file ? [preview(file, "The picture to be added")] : []));
  $("add-preview").hidden = !file;
  $("add-picture-clear").hidden = !file;
  if (!file) $("add-picture").value = "";
}

function takeDropsAndPastes() {
  const zone = $("add-drop");
  const over = (on) => (event) => carriesFiles(event.dataTransfer) && zone.classList.toggle("over-it", on);
  $("add").addEventListener("dragover", over(true));
  $("add").addEventListener("dragleave", over(false));
  $("add").addEventListener("drop", (event) => {
    zone.classList.remove("over-it");
    const file = pictureIn(event.dataTransfer);
    if (file) take(file);
    else say("add-problem", "What was dropped is not a picture.");
  });
  $("add").addEventListener("paste", (event) => {
    const file = pictureIn(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    take(file);
  });
}

async function send() {
  const item_id = $("add-id").value.trim();
  const title = $("add-item-title").value.trim();
  const description = $("add-description").value.trim();
  if (!item_id) return refuse("add-id", "add-id-problem", "Give it an id, such as NEW-1.");
  if (!title && !description && !picture) {
    return refuse("add-item-title", "add-title-problem", "Give a title, a description or a picture: something to find it by.");
  }
  const submit = $("add-form").querySelector("[type=submit]");
  submit.disabled = true;
  submit.textContent = "Adding…";
  try {
    const file = picture && (await smallEnough(picture));
    const written = await call("PUT", `v1/items/${encodeURIComponent(item_id)}`, { ...body(title, description, file), once });
    renewed(item_id);
    $("add").close();
    await present({ item_id, title, has_picture: Boolean(file) }, written, description, file);
  } catch (problem) {
    say("add-problem", inWords(problem));
  } finally {
    submit.disabled = false;
    submit.textContent = "Add to the catalog";
  }
}

function body(title, description, file) {
  const columns = Object.fromEntries(Object.entries({ title, description }).filter(([, value]) => value));
  if (!file) return { json: columns };
  const form = new FormData();
  for (const [name, value] of Object.entries(columns)) form.append(name, value);
  form.append("image", file);
  return { form };
}

/** Search for the new item as anyone would, show it and go there. */
async function present(item, written, description, file) {
  remember(item);
  afterAdding(item);
  const words = item.title || description;
  const found = await (words ? searchWords(words) : searchPicture(file));
  const results = $("results");
  const place = [...results.children].find((child) => child.dataset.item === item.item_id);
  const shown = place ?? card(item);
  if (!place) results.prepend(shown);
  shown.classList.add("new");
  shown.querySelector("button").focus();
  shown.scrollIntoView({ block: "nearest" });
  const further = found && !place ? ` Other items are closer to these words: it is not among the first ${found.length} results.` : "";
  notice(item, `${nameOf(item)} was ${written.replaced ? "replaced" : "added"} and can be found now.${further}`);
}

/** Say what happened and offer to undo it. */
function notice(item, text) {
  const key = writeKey();
  const undo = h("button", { class: "quiet", type: "button" }, "Remove it again");
  undo.addEventListener("click", async () => {
    undo.disabled = true;
    try {
      await remove(item, key);
      notice.close();
    } catch (problem) {
      undo.disabled = false;
      line.textContent = inWords(problem);
    }
  });
  const line = h("p", {}, text);
  notice.close = () => {
    $("notice").hidden = true;
    $("notice").replaceChildren();
    $("query").focus();
  };
  $("notice").hidden = false;
  $("notice").replaceChildren(line, undo);
}

function refuse(field, problem, text) {
  say(problem, text);
  $(field).setAttribute("aria-invalid", "true");
  $(field).focus();
}

function clearProblems() {
  for (const id of ["add-problem", "add-id-problem", "add-title-problem"]) say(id, "");
  for (const id of ["add-id", "add-item-title"]) $(id).removeAttribute("aria-invalid");
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}
