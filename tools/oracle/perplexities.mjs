// node tools/oracle/perplexities.mjs [--write]: what rounding costs, as the perplexity of real checkpoints over a text that they
// were not trained on (TinyStories' valid.txt, 234 kB). Prints a table and fails where a format costs more than it may.
// Needs the folder named by TESSERA_SHARED (default ../shared); says so and ends where it is not there. --write: puts the table
// into the README. The adapter is lavapipe unless VK_DRIVER_FILES names another; a quarter of an hour on two cores.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findLavapipe } from "../../scripts/lib/vulkan.mjs";
import { writeBetween } from "./written.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const shared = resolve(root, process.env["TESSERA_SHARED"] ?? "../shared");
const text = join(shared, "corpora/tinystories/valid.txt");
const stories = join(shared, "models/stories260K/f32");
const embedded = join(root, "demo/public/model");

/**
 * `most`: per cent above the first row of the checkpoint that a row may cost. Plain rounding to 4 bits would cost 13.8.
 * @typedef {{ name: string, model: string, weights: string, kv: string, most?: number }} Row
 * @typedef {{ perplexity: number, bitsPerByte: number, adapter: { description: string } }} Measured
 */

/** @type {Row[]} */
const rows = [
  { name: "stories260K", model: stories, weights: "f32", kv: "f32" },
  { name: "stories260K", model: stories, weights: "f16", kv: "f32", most: 0.1 },
  { name: "stories260K", model: stories, weights: "bf16", kv: "f32", most: 0.3 },
  { name: "stories260K", model: stories, weights: "q8", kv: "f32", most: 0.3 },
  { name: "stories260K", model: stories, weights: "q4", kv: "f32", most: 10 },
  { name: "stories260K", model: stories, weights: "f32", kv: "int8", most: 0.4 },
  { name: "embedded", model: embedded, weights: "bf16", kv: "f32" },
  { name: "embedded", model: embedded, weights: "q8", kv: "f32", most: 0.3 },
  { name: "embedded", model: embedded, weights: "q4", kv: "f32", most: 10 },
];

const env = { ...process.env };
env["VK_DRIVER_FILES"] ??= findLavapipe();

/** @param {Row} row @returns {Measured} */
function measure({ name, model, weights, kv }) {
  const args = ["perplexity", "--model", model, "--text", text, "--weights", weights, "--kv", kv, "--json"];
  const { status, stdout } = spawnSync(process.execPath, [join(root, "scripts/tessera.mjs"), ...args], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${name} as ${weights}: tessera ended with ${status}; see above.`);
  return JSON.parse(stdout);
}

/** @param {number} cost @returns {string} */
function signed(cost) {
  const rounded = Math.round(100 * cost) / 100;
  return `${rounded < 0 ? "−" : "+"}${Math.abs(rounded).toFixed(2)} %`;
}

/** @returns {number} */
function main() {
  const { write } = parseArgs({ options: { write: { type: "boolean", default: false } } }).values;
  const missing = [text, stories].filter((path) => !existsSync(path));
  if (missing.length > 0) {
    console.log(`perplexities: skipped, for ${missing.join(" and ")} is not there; TESSERA_SHARED names the folder.`);
    return 0;
  }
  const lines = ["| checkpoint | weights | cache | perplexity | bits a byte | |", "|---|---|---|---:|---:|---:|"];
  const failed = [];
  /** @type {Map<string, number>} */
  const plain = new Map();
  let adapter = "";
  for (const row of rows) {
    const measured = measure(row);
    const base = plain.get(row.model) ?? measured.perplexity;
    plain.set(row.model, base);
    const cost = 100 * (measured.perplexity / base - 1);
    const said = row.most === undefined ? "" : signed(cost);
    const figures = [measured.perplexity.toFixed(4), measured.bitsPerByte.toFixed(4), said];
    lines.push(`| ${[row.name, row.weights, row.kv, ...figures].join(" | ")} |`);
    console.error(lines.at(-1));
    // What is not a number is past any bound.
    if (row.most !== undefined && !(cost <= row.most)) failed.push(`${row.name} as ${row.weights}, ${row.kv}: ${said}`);
    adapter = measured.adapter.description;
  }
  const table = lines.join("\n");
  console.log(`${table}\n\nTinyStories, valid.txt, on ${adapter}`);
  for (const what of failed) console.log(`costs more than it may: ${what}`);
  if (write && failed.length === 0) writeBetween(join(root, "README.md"), "perplexities", table);
  return failed.length === 0 ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  console.error(`perplexities: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
