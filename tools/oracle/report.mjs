// node tools/oracle/report.mjs [LANE …]: runs the shared test of the families in each lane (default: both software devices in
// Node) and prints the table families × formats × devices, in each cell the worst error of any logit as a part of the largest
// of its row. f32, f16 and bf16 are against transformers on the same weights, q8 and q4 against the same rounding on the CPU.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const lanes = process.argv.length > 2 ? process.argv.slice(2) : ["dawn-lavapipe", "dawn-swiftshader"];

/** @typedef {{ row: string, format: string, lane: string, error: number }} Measured */

/** @param {string} lane @returns {{ measured: Measured[], failed: string[] }} */
function run(lane) {
  const file = join(root, ".cache", `families-${lane}.json`);
  mkdirSync(dirname(file), { recursive: true });
  rmSync(file, { force: true });
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const reporters = ["--reporter=json", `--outputFile=${file}`];
  spawnSync(process.execPath, [vitest, "run", "--project", lane, ...reporters, "tests/engine/families"], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  /** @type {{ testResults: { assertionResults: { fullName: string, status: string, meta?: { measured?: Measured } }[] }[] }} */
  const { testResults } = JSON.parse(readFileSync(file, "utf8"));
  const tests = testResults.flatMap((result) => result.assertionResults);
  return {
    measured: tests.flatMap(({ meta }) => (meta?.measured ? [meta.measured] : [])),
    failed: tests.filter(({ status }) => status === "failed").map(({ fullName }) => `${lane}: ${fullName}`),
  };
}

const results = lanes.map(run);
const measured = results.flatMap((r) => r.measured);
const failed = results.flatMap((r) => r.failed);
const rows = [...new Set(measured.map((m) => m.row))];
const columns = lanes.flatMap((lane) => {
  const formats = [...new Set(measured.filter((m) => m.lane === lane).map((m) => m.format))];
  return ["f32", "f16", "bf16", "q8", "q4"].filter((f) => formats.includes(f)).map((format) => ({ lane, format }));
});
const line = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
console.log(line(["checkpoint", ...columns.map(({ lane, format }) => `${format}, ${lane.replace("dawn-", "")}`)]));
console.log(line(["---", ...columns.map(() => "---:")]));
for (const row of rows) {
  const cell = ({ lane, format }) =>
    measured.find((m) => m.row === row && m.lane === lane && m.format === format)?.error.toExponential(1) ?? "";
  console.log(line([row, ...columns.map(cell)]));
}
console.log(`\n${rows.length} checkpoints, ${measured.length} measured, ${failed.length} failed`);
for (const name of failed) console.log(`failed: ${name}`);
process.exitCode = failed.length > 0 || measured.length === 0 ? 1 : 0;
