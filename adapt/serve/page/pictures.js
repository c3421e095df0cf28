/** Pictures: thumbnails of items, and what a person drops, pastes or chooses. */

import { call, heldKey } from "./api.js";
import { h } from "./dom.js";

const LONGEST = 1600; // pixels; more than any image encoder reads
const KEPT = 200; // pictures fetched with a key that are held at once

const fetched = new Map();
const versions = new Map();

const address = (id) => {
  const version = versions.get(id);
  return `v1/items/${encodeURIComponent(id)}/picture?size=256${version ? `&version=${version}` : ""}`;
};

/** The picture of an item has changed: show the new one from now on. */
export function renewed(id) {
  versions.set(id, (versions.get(id) ?? 0) + 1);
  fetched.delete(id);
}

/** A square with an item's picture, or its initial while there is none. */
export function thumbnail(item, size = "") {
  const box = h("span", { class: `thumb ${size} t${tint(item.item_id)}`, "aria-hidden": "true" }, initial(item));
  if (item.has_picture) {
    const image = h("img", { alt: "", decoding: "async", on: { load: () => box.replaceChildren(image) } });
    source(item.item_id).then((url) => (image.src = url), () => undefined); // the initial stays
  }
  return box;
}

/** An <img> sends no key, so with one the picture is fetched. */
async function source(id) {
  if (!heldKey()) return address(id);
  if (!fetched.has(id)) {
    fetched.set(id, call("GET", address(id), { blob: true }).then((blob) => URL.createObjectURL(blob)));
    if (fetched.size > KEPT) drop(fetched.keys().next().value);
  }
  return fetched.get(id);
}

function drop(id) {
  fetched.get(id)?.then((url) => URL.revokeObjectURL(url), () => undefined);
  fetched.delete(id);
}

function initial(item) {
  return ([...(item.title || item.item_id)].find((letter) => /[\p{L}\p{N}]/u.test(letter)) ?? "?").toUpperCase();
}

function tint(id) {
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.codePointAt(0)) % 997;
  return sum % 6;
}

/** The first picture among what is dropped or pasted, or null. */
export function pictureIn(transfer) {
  return [...(transfer?.files ?? [])].find((file) => file.type.startsWith("image/")) ?? null;
}

/** Whether files are being dragged; their kind is not always told before they are dropped. */
export const carriesFiles = (transfer) => [...(transfer?.types ?? [])].includes("Files");

/**
 * A picture small enough to send. Photographs of a telephone are larger than any encoder reads.
 * What the browser cannot read is returned as it is, for the service to say what is wrong with it.
 */
export async function smallEnough(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const scale = LONGEST / Math.max(bitmap.width, bitmap.height);
    if (scale >= 1) return file;
    const canvas = h("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // JPEG has no transparency
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
    return blob ? new File([blob], "picture.jpg", { type: blob.type }) : file;
  } catch {
    return file;
  }
}

/** A preview of a file that is about to be sent. */
export function preview(file, alt) {
  const url = URL.createObjectURL(file);
  const release = () => URL.revokeObjectURL(url);
  return h("img", { src: url, alt, on: { load: release, error: release } });
}
