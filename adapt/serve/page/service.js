/** The figures of the service: how much it holds and how fast it answers. */

import { call, inWords, newest } from "./api.js";
import { $, h } from "./dom.js";

const EVERY = 10_000; // ms between two looks while the page is seen

const looking = newest();
let refused = false; // nobody is asked for a key again and again
let timer = 0;

/** Look now and then every few seconds; `tell` is given each answer. */
export function startService(tell) {
  const look = async () => {
    clearTimeout(timer);
    await refresh(tell);
    if (!refused) timer = setTimeout(look, EVERY);
  };
  document.addEventListener("visibilitychange", () => (document.hidden || refused ? clearTimeout(timer) : look()));
  return look();
}

/** Look once, as after a write. */
export async function refresh(tell = () => undefined) {
  try {
    const info = await looking((signal) => call("GET", "v1/info", { signal }));
    if (!info) return;
    say("");
    draw(info);
    tell(info);
  } catch (problem) {
    refused = problem.status === 401;
    say(inWords(problem));
  }
}

function draw(info) {
  $("figures").replaceChildren(...Object.entries(read(info)).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** The answer of /v1/info as words and numbers. */
function read({ index, memory, latency }) {
  const whole = (value) => value.toLocaleString("en");
  const ms = (value) => (value < 10 ? value.toFixed(1) : String(Math.round(value)));
  return {
    Items: whole(index.count),
    Recall: index.recall_measured === undefined ? "not measured" : index.recall_measured.toFixed(3),
    Generation: String(Number(index.generation)),
    Events: whole(memory.events),
    "Latency, last minute": latency.requests ? `${ms(latency.p50_ms)} ms (p99 ${ms(latency.p99_ms)} ms)` : "no requests",
  };
}

function say(text) {
  $("service-problem").textContent = text;
  $("service-problem").hidden = !text;
}
