// Tables that a command writes into a document, so that they are what the command printed.
import { readFileSync, writeFileSync } from "node:fs";

/**
 * Replaces what stands between `<!-- NAME: … -->` and `<!-- end of NAME -->`.
 * @param {string} file @param {string} name @param {string} text
 */
export function writeBetween(file, name, text) {
  writeFileSync(file, replaceBetween(readFileSync(file, "utf8"), name, text));
}

/** @param {string} document @param {string} name @param {string} text @returns {string} */
export function replaceBetween(document, name, text) {
  const begin = new RegExp(`<!-- ${name}: [^>]*-->\n`).exec(document);
  const end = document.indexOf(`<!-- end of ${name} -->`);
  if (!begin || end < begin.index)
    throw new Error(`no place for ${name}: put <!-- ${name}: … --> and <!-- end of ${name} --> there.`);
  return `${document.slice(0, begin.index + begin[0].length)}\n${text}\n\n${document.slice(end)}`;
}
