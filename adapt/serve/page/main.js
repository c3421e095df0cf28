/** Puts the parts of the page together. */

import { onAdded, startAdd } from "./add.js";
import { markPicked } from "./cards.js";
import { onRemoved, startDetails } from "./details.js";
import { jump } from "./dom.js";
import { startHistory } from "./history.js";
import { startKey } from "./key.js";
import { refresh as recommendAgain, setMethods, startRecommend } from "./recommend.js";
import { search, setLimits, startSearch } from "./search.js";
import { refresh as lookAgain, startService } from "./service.js";
import { choose, chosen, onChange, readAddress } from "./state.js";

startKey();
startSearch();
startHistory();
startRecommend();
startDetails();
startAdd();
onChange(markPicked);

// What is written shows everywhere at once.
onAdded(() => {
  recommendAgain();
  lookAgain();
});
onRemoved((item) => {
  if (chosen.like === item.item_id) choose({ like: "" });
  else search();
  recommendAgain();
  lookAgain();
});

// The address holds the choice, so a link within the page must not change it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-jump]");
  if (link) {
    event.preventDefault();
    jump(link.dataset.jump);
  }
  const closer = event.target.closest("[data-close]");
  if (closer) closer.closest("dialog").close();
});

await startService((info) => {
  setLimits(info.limits);
  setMethods(info.methods);
});
readAddress();
addEventListener("hashchange", readAddress);
