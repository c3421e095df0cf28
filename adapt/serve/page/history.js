/** The history that recommendations follow: one's own, or that of a user the service knows. */

import { call, inWords, newest, writeKey } from "./api.js";
import { $, announce, h, icon, nameOf, replaceItems } from "./dom.js";
import { thumbnail } from "./pictures.js";
import { choose, chosen, known, onChange, remember } from "./state.js";

const loading = newest();

export const isPicked = (id) => (chosen.user ? chosen.recorded : chosen.history).includes(id);

/** An item was chosen: put it into the history or take it out; for a user of the service, record it. */
export function pick(item) {
  if (chosen.user) return record(item);
  const taken = isPicked(item.item_id);
  choose({ history: taken ? without(item.item_id) : [...chosen.history, item.item_id] });
  announce(`${nameOf(item)} ${taken ? "taken out of" : "added to"} your history, ${count()}.`);
}

/** Take an item out, as when it is no longer in the catalog. */
export function takeOut(id) {
  choose({ history: without(id), recorded: chosen.recorded.filter((other) => other !== id) });
}

const without = (id) => chosen.history.filter((other) => other !== id);
const count = () => `now ${chosen.history.length || "nothing"} in it`;

async function record(item) {
  if (isPicked(item.item_id)) return announce(`${nameOf(item)} is recorded already.`);
  const user = chosen.user;
  try {
    await call("POST", "v1/events", { json: { user_id: user, item_id: item.item_id }, once: writeKey() });
    say("history-problem", "");
    if (chosen.user === user) choose({ recorded: [...chosen.recorded, item.item_id] });
    announce(`${nameOf(item)} recorded for ${user}.`);
  } catch (problem) {
    say("history-problem", `${nameOf(item)} was not recorded. ${inWords(problem)}`);
  }
}

export function startHistory() {
  $("history-clear").addEventListener("click", () => {
    const back = Boolean(chosen.user);
    choose(back ? { user: "", recorded: [] } : { history: [] });
    announce(back ? "Back to your own history." : "Your history is empty.");
    $("history-title").focus();
  });
  $("user").addEventListener("submit", (event) => {
    event.preventDefault();
    loadUser($("user-id").value.trim());
  });
  onChange((names) => {
    if (names.has("user")) $("user-id").value = chosen.user;
    if (["history", "user", "recorded"].some((name) => names.has(name))) draw();
  });
  draw();
}

async function loadUser(user) {
  say("user-problem", user ? "" : "Type the id of a user.");
  if (!user) return $("user-id").focus();
  try {
    const answer = await loading((signal) => call("POST", "v1/recommend", { json: { user_id: user, k: 1 }, signal }));
    if (answer) choose({ user, recorded: [] });
  } catch (problem) {
    say("user-problem", inWords(problem));
    $("user-id").focus();
  }
}

function draw() {
  const { user, recorded } = chosen;
  const ids = user ? recorded : chosen.history;
  $("history-title").textContent = user ? `History of ${user}` : "Your history";
  $("history-clear").textContent = user ? "Back to your own" : "Clear all";
  $("history-clear").hidden = !user && !ids.length;
  $("history-empty").textContent = user
    ? `The service knows what ${user} has met before. What you choose now is recorded there and counts at once${ids.length ? ":" : "."}`
    : "Nothing yet. Choose an item from the results: what is recommended follows at once.";
  $("history-empty").hidden = !user && ids.length > 0;
  if (user) say("user-problem", "");
  replaceItems($("history"), ids.map((id) => chip(known(id) ?? { item_id: id, title: "", has_picture: false })), $("history-title"));
  $("bar").hidden = !user && !ids.length;
  $("bar-count").textContent = user ? `${user}` : `History (${ids.length})`;
  learn(ids);
}

function chip(item) {
  const remove = h(
    "button",
    {
      class: "round",
      type: "button",
      "data-action": "remove",
      "aria-label": `Take ${nameOf(item)} out of your history`,
      title: "Take out",
      on: { click: () => pick(item) },
    },
    icon("close"),
  );
  return h(
    "li",
    { class: item.missing ? "chip missing" : "chip", "data-item": item.item_id },
    thumbnail(item, "small"),
    h("span", { class: "name" }, nameOf(item), item.missing ? h("span", { class: "soft" }, " is not in the catalog") : null),
    chosen.user ? null : remove,
  );
}

/** Ask for titles and pictures of items that only the address has named. */
async function learn(ids) {
  const unknown = ids.filter((id) => !known(id));
  if (!unknown.length) return;
  for (const id of unknown) remember({ item_id: id, title: "", has_picture: false });
  await Promise.all(
    unknown.map(async (id) => {
      try {
        remember(await call("GET", `v1/items/${encodeURIComponent(id)}`));
      } catch (problem) {
        if (problem.status === 404) known(id).missing = true;
      }
    }),
  );
  draw();
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}
