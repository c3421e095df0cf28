/** The dialog that asks for an API key. */

import { heldKey, holdKey, onKeyNeeded } from "./api.js";
import { $ } from "./dom.js";

const WHY = {
  none: "Whoever runs the service has set keys: one to read, one to write.",
  refused: "The key of this tab is not accepted for this. Writing needs a key that may write.",
};

export function startKey() {
  onKeyNeeded(ask);
  if (heldKey()) offer();
  $("key-change").addEventListener("click", () => {
    holdKey("");
    location.reload();
  });
}

/** Resolves to the key that was typed, or to null when the person gives none. */
function ask(why) {
  const dialog = $("key");
  const field = $("key-value");
  $("key-why").textContent = WHY[why];
  field.value = "";
  say("");
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    let key = null;
    const submit = (event) => {
      event.preventDefault();
      key = field.value.trim() || null;
      if (key) dialog.close();
      else say("Paste the key here.");
    };
    $("key-form").addEventListener("submit", submit);
    dialog.addEventListener(
      "close",
      () => {
        $("key-form").removeEventListener("submit", submit);
        resolve(key);
        offer(key ?? undefined);
      },
      { once: true },
    );
  });
}

/** A way to the other state: with a key or without. */
function offer(key = heldKey()) {
  $("key-change").textContent = key ? "Forget the key" : "Enter a key";
  $("key-change").hidden = false;
}

function say(text) {
  $("key-problem").textContent = text;
  $("key-problem").hidden = !text;
}
