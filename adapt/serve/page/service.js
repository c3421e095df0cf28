/** The figures of the service: how much it holds and how fast it answers. */

import { call, inWords, newest } from "./api.js";
import { $, h } from "./dom.js";

const EVERY = 10_000; // ms between two looks while the page is seen

const looking = newest();
let timer = 0;

/** Look now and then every few seconds; `tell` is given each answer. */
export function startService(tell) {
  const look = async () => {
    clearTimeout(timer);
    await refresh(tell);
    timer = setTimeout(look, EVERY);
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
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
    say(inWords(problem));
  }
}

function draw(info) {
  const figures = Object.entries(read(info)).filter(([, value]) => value);
  $("figures").replaceChildren(...figures.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** The answer of /v1/info as words and numbers. */
function read({ index = {}, memory = {}, latency = {} }) {
  const whole = (value) => (Number.isFinite(value) ? value.toLocaleString("en") : "");
  const ms = (value) => (Number.isFinite(value) ? `${value < 10 ? value.toFixed(1) : Math.round(value)}` : "");
  return {
    Items: whole(index.items),
    Recall: Number.isFinite(index.recall?.measured) ? index.recall.measured.toFixed(3) : "exact",
    Generation: String(Number(index.generation)),
    Events: whole(memory.events),
    "Latency of a minute": Number.isFinite(latency.p50_ms) ? `${ms(latency.p50_ms)} ms, p99 ${ms(latency.p99_ms)}` : "no requests",
  };
}

function say(text) {
  $("service-problem").textContent = text;
  $("service-problem").hidden = !text;
}
