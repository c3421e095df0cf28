/** Requests to the service: keys, problems in words, and requests that a newer one makes void. */

const KEY = "adapt-key";

/** What went wrong, in the service's own words. */
export class Problem extends Error {
  constructor({ status = 0, title = "", detail = "", hint = "", errors = [], retryAfter = 0 }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, hint, errors, retryAfter });
  }
}

let askForKey = async () => null;

/** Say how a key is asked for: a function of what was wrong ("none" or "refused") to a key or null. */
export function onKeyNeeded(ask) {
  let asking = null; // requests that are refused together ask once
  askForKey = (why) => (asking ??= ask(why).finally(() => (asking = null)));
}

export const heldKey = () => sessionStorage.getItem(KEY) ?? "";

export function holdKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** A key under which a write is done once, however often it is sent. */
export function writeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // randomUUID is missing on plain http beyond loopback
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Ask the service.
 * @param {string} method of HTTP
 * @param {string} path without a leading slash, so that the page also works below a prefix
 * @param {{json?: Object, form?: FormData, once?: string, signal?: AbortSignal, blob?: boolean}} [options]
 * @returns the answer as an object, or as a Blob
 * @throws {Problem} for every answer that is not a success and where there is none
 */
export async function call(method, path, options = {}) {
  const used = heldKey();
  const response = await send(method, path, options, used);
  if (response.ok) return options.blob ? response.blob() : response.json();
  if (![401, 403].includes(response.status)) throw await problemOf(response);
  const key = heldKey() !== used ? heldKey() : await askForKey(used ? "refused" : "none");
  if (!key) throw await problemOf(response);
  holdKey(key);
  return call(method, path, options);
}

async function send(method, path, { json, form, once, signal }, key) {
  const headers = {};
  if (json) headers["Content-Type"] = "application/json";
  if (once) headers["Idempotency-Key"] = once;
  if (key) headers.Authorization = `Bearer ${key}`;
  try {
    return await fetch(path, { method, headers, signal, body: json ? JSON.stringify(json) : form });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The service did not answer", detail: "The service did not answer. Is it still running?" });
  }
}

async function problemOf(response) {
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const known = { status: response.status, title: response.statusText, retryAfter };
  try {
    return new Problem({ ...known, ...(await response.json()) });
  } catch {
    return new Problem({ ...known, detail: `The service answered with status ${response.status}.` });
  }
}

/** A problem as sentences: what it is and how to fix it. */
export function inWords(problem) {
  if (!(problem instanceof Problem)) return `Something went wrong on this page: ${problem.message}`;
  const wait = problem.retryAfter ? `Try again in ${problem.retryAfter} s.` : "";
  return [problem.message, problem.hint, wait].filter(Boolean).map(sentence).join(" ");
}

function sentence(text) {
  const trimmed = text.trim();
  const ended = /[.!?:]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

/**
 * Keep only the newest of several requests: starting one cancels the one before.
 * @returns a function of (signal) => Promise to a promise of its value, or of undefined when a newer one took over
 */
export function newest() {
  let controller = null;
  const run = async (work) => {
    controller?.abort();
    const mine = (controller = new AbortController());
    try {
      const value = await work(mine.signal);
      return mine.signal.aborted ? undefined : value;
    } catch (error) {
      if (mine.signal.aborted) return undefined;
      throw error;
    }
  };
  run.cancel = () => controller?.abort();
  return run;
}
