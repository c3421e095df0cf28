/** Small helpers to build and change the document; nothing is ever parsed from a string. */

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  plus: ["M12 5v14M5 12h14"],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  close: ["m6 6 12 12M18 6 6 18"],
  similar: ["M4 4h9v9H4Z", "M16 9h4v11H9v-4"],
  details: ["M12 11v6M12 7.2v.1", "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z"],
};

/** The element with an id; the page is written so that it exists. */
export const $ = (id) => document.getElementById(id);

/**
 * An element.
 * @param {string} tag
 * @param {Object} [attributes] as in HTML; `on` holds listeners, true is an empty attribute, null and false are left out
 * @param {...(Node|string|null)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A line drawing; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  for (const d of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Say something to people who do not see the change. */
export function announce(text) {
  const region = $("announce");
  region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}

/** Move focus to an element and into view, without touching the address. */
export function jump(id, block = "start") {
  const target = $(id);
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block, behavior: calm() ? "auto" : "smooth" });
}

const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/**
 * Put new children into a list and keep the keyboard where it was: on the same item, else on the one in its place.
 * @param {Element} list
 * @param {Element[]} children each with `data-item`
 * @param {Element} fallback takes the focus when the list is empty now
 */
export function replaceItems(list, children, fallback) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const row = focused?.closest("[data-item]");
  const place = row ? [...list.children].indexOf(row) : -1;
  const action = focused?.dataset.action;
  list.replaceChildren(...children);
  if (!focused) return;
  const next = children.find((child) => child.dataset.item === row?.dataset.item) ?? children[Math.min(place, children.length - 1)];
  const control = next?.querySelector(`[data-action="${action}"]`) ?? next?.querySelector("button");
  (control ?? fallback).focus();
}

/** Wait until there has been no further call for some milliseconds. */
export function debounced(milliseconds, action) {
  let timer = 0;
  const run = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
  run.cancel = () => clearTimeout(timer);
  return run;
}

/** `1 item`, `2 items`. */
export const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

/** What stands for an item in a sentence. */
export const nameOf = (item) => item.title || item.item_id;
