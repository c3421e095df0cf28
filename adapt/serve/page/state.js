/** What the person has chosen; kept in the address, so that it can be shared and comes back after a reload. */

/**
 * @typedef {Object} Choice
 * @property {string} text words searched for
 * @property {string} like an item whose like is searched for; empty = none
 * @property {string[]} history item ids, oldest first
 * @property {string} user a user of the service, whose history counts instead; empty = nobody
 * @property {string[]} recorded items that this page has recorded for the user; not in the address
 * @property {string[]} hidden methods that are not shown
 */

/** @type {Choice} */
export const chosen = { text: "", like: "", history: [], user: "", recorded: [], hidden: [] };

const facts = new Map(); // what is known of each item: title and whether it has a picture
const listeners = [];

/** Call a function with the names of what has changed, whenever something does. */
export const onChange = (listener) => listeners.push(listener);

/** Change something, tell everyone, write it into the address. */
export function choose(change) {
  const names = Object.keys(change).filter((name) => String(chosen[name]) !== String(change[name]));
  if (!names.length) return;
  Object.assign(chosen, change);
  history.replaceState(null, "", address());
  for (const listener of listeners) listener(new Set(names));
}

/** Keep what an answer says of an item. */
export function remember({ item_id, title, has_picture }) {
  facts.set(item_id, { item_id, title, has_picture });
}

export const forget = (id) => facts.delete(id);
export const known = (id) => facts.get(id);

/** Take the choice from the address; returns whether it held one. */
export function readAddress() {
  const given = Object.fromEntries(
    location.hash.slice(1).split("&").filter((part) => part.includes("=")).map((part) => part.split("=", 2)),
  );
  const ids = (text) => (text ? [...new Set(text.split(",").map(plain).filter(Boolean))] : []);
  choose({
    text: plain(given.q ?? ""),
    like: plain(given.like ?? ""),
    history: ids(given.history),
    user: plain(given.user ?? ""),
    recorded: [],
    hidden: ids(given.without),
  });
}

function address() {
  const { text, like, history: items, user, hidden } = chosen;
  const code = encodeURIComponent;
  const parts = [
    text && `q=${code(text)}`,
    like && `like=${code(like)}`,
    items.length && `history=${items.map(code).join(",")}`,
    user && `user=${code(user)}`,
    hidden.length && `without=${hidden.map(code).join(",")}`,
  ].filter(Boolean);
  return parts.length ? `#${parts.join("&")}` : location.pathname + location.search;
}

function plain(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return ""; // an address cut short in the middle of a letter
  }
}
