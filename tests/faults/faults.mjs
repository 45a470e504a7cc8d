// Every seeded fault: what the files of lists/ export. `node scripts/faults.mjs` puts them in one at a time and expects the
// named tests to go red: what stays green shows a test that is missing.
import { readdirSync } from "node:fs";

/** @typedef {import("./fault.mjs").Fault} Fault */

const folder = new URL("./lists/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".mjs"));

/** @type {readonly Fault[]} */
export const faults = (
  await Promise.all(files.sort().map(async (name) => Object.values(await import(new URL(name, folder).href))))
).flat(2);
