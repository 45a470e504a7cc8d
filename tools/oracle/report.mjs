// node tools/oracle/report.mjs [LANE …] [--rows PATTERN] [--published] [--write]: runs the shared test of the families in each lane
// (default: both software devices in Node) and prints the table families × formats × devices, in each cell the worst error of
// any logit as a part of the largest of its row. f32, f16 and bf16 are against transformers on the same weights, q8 and q4, of
// the first row of each family, against the same rounding on the CPU.
// --rows: only the checkpoints whose names match; --published: not quantised. What was measured of the rest before stands
// (.cache/families).
// --write: puts the tables into docs/families.md and, shorter, into the README. SwiftShader takes the better part of an hour.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { familiesTable, rowsTable } from "./families-table.mjs";
import { writeBetween } from "./written.mjs";

/** @typedef {import("./families-table.mjs").Measured} Measured */

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const fixtures = join(root, "tests/fixtures/families");
const cache = join(root, ".cache/families");
/** Rows that one process measures: drivers run out of mappings where a process holds the programs of all families. */
const SLICE = 8;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: "string", default: "" },
    published: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
  },
});
const lanes = positionals.length > 0 ? positionals : ["dawn-lavapipe", "dawn-swiftshader"];

/**
 * What was measured of some rows in a lane, and the names of the tests that failed.
 * @param {string} lane @param {readonly string[]} rows
 * @returns {{ measured: Measured[], failed: string[] }}
 */
function measure(lane, rows) {
  const file = join(cache, `run-${process.pid}.json`);
  const names = `^(${rows.join("|")})${options.published ? "" : "( as q[48])?"} has the logits`;
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const reporters = ["--reporter=json", `--outputFile=${file}`];
  const { status } = spawnSync(
    process.execPath,
    [vitest, "run", "--project", lane, "-t", names, ...reporters, "tests/engine/families"],
    { cwd: root, stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, TESSERA_WHOLE_LANES: "1" } },
  );
  if (!existsSync(file)) return { measured: [], failed: [`${lane}: no answer for ${rows.join(", ")}`] };
  /** @type {{ testResults: { name: string, message: string, assertionResults: { fullName: string, status: string, meta?: { measured?: Measured } }[] }[] }} */
  const { testResults } = JSON.parse(readFileSync(file, "utf8"));
  rmSync(file);
  const tests = testResults.flatMap((result) => result.assertionResults);
  const failed = tests.filter((test) => test.status === "failed").map(({ fullName }) => `${lane}: ${fullName}`);
  if (status !== 0 && failed.length === 0) failed.push(`${lane}: the run of ${rows.join(", ")} ended with ${status}`);
  return { measured: tests.flatMap(({ meta }) => (meta?.measured ? [meta.measured] : [])), failed };
}

/** @param {string} lane @returns {{ measured: Measured[], failed: string[] }} */
function report(lane) {
  const file = join(cache, `${lane}.json`);
  const all = readdirSync(fixtures, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const rows = all.map((entry) => entry.name).filter((name) => new RegExp(options.rows).test(name));
  const merged = options.rows !== "" || options.published;
  /** @type {Measured[]} */
  const before = merged && existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
  const measured = before.filter((m) => !rows.includes(m.row) || (options.published && m.format.startsWith("q")));
  const failed = [];
  for (let i = 0; i < rows.length; i += SLICE) {
    const slice = measure(lane, rows.slice(i, i + SLICE));
    measured.push(...slice.measured);
    failed.push(...slice.failed);
    writeFileSync(file, JSON.stringify(measured)); // what is long is not lost
    console.error(
      `${lane}: ${Math.min(i + SLICE, rows.length)} of ${rows.length} checkpoints, ${failed.length} failed`,
    );
  }
  return { measured, failed };
}

mkdirSync(cache, { recursive: true });
const results = lanes.map(report);
const measured = results.flatMap((r) => r.measured);
const failed = results.flatMap((r) => r.failed);
const table = rowsTable(measured, lanes);
console.log(table);
console.log(
  `\n${new Set(measured.map((m) => m.row)).size} checkpoints, ${measured.length} measured, ${failed.length} failed`,
);
for (const name of failed) console.log(`failed: ${name}`);
process.exitCode = failed.length > 0 || measured.length === 0 ? 1 : 0;
if (options.write && process.exitCode === 0) {
  writeBetween(join(root, "docs/families.md"), "families", table);
  writeBetween(join(root, "README.md"), "families", familiesTable(measured, lanes));
}
