// node scripts/faults.mjs [FILTER …]: puts the faults of tests/faults/faults.mjs into the kernels one at a time, runs the
// tests that should notice, and prints which did. Ends with 1 if any fault went unnoticed. Filters are parts of names.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { faults } from "../tests/faults/faults.mjs";
import { installPackages, root } from "./lib/packages.mjs";

/** @typedef {import("../tests/faults/faults.mjs").Fault} Fault */

const limitMs = 5 * 60_000;

/**
 * Runs the fault's tests in one lane, up to the first failure.
 * @param {Fault} fault @param {string} lane
 * @returns {Promise<"red" | "green" | string>} anything else: why there is no answer
 */
async function tryFault(fault, lane) {
  const file = join(root, `.cache/faults-${process.pid}.json`); // runs beside each other do not share it
  mkdirSync(dirname(file), { recursive: true });
  rmSync(file, { force: true });
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const filter = fault.match ? ["-t", fault.match] : [];
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts/lib/reporter.mjs")}`];
  const child = spawn(
    process.execPath,
    [vitest, "run", "--project", lane, "--bail", "1", ...filter, ...reporters, ...fault.tests],
    {
      cwd: root,
      env: { ...process.env, TESSERA_FAULT: fault.id, TESSERA_LANE_REPORT: file, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
  const stop = setTimeout(() => child.kill("SIGKILL"), limitMs);
  await new Promise((done) => child.once("close", done).once("error", done));
  clearTimeout(stop);
  if (!existsSync(file)) return `no answer from ${lane}:\n${said.slice(-2000)}`;
  /** @type {import("./lib/reporter.mjs").LaneReport} */
  const { passed, failed } = JSON.parse(readFileSync(file, "utf8"));
  rmSync(file);
  // A fault that does not compile is no test of the tests.
  const broken = /GpuError: .*|SyntaxError: .*|fault ".*": its text.*/.exec(said);
  if (broken && !fault.lanes?.includes("pure")) return `does not run: ${broken[0]}`;
  if (failed.length > 0) return "red";
  return passed > 0 ? "green" : `no test ran in ${lane}`;
}

async function main() {
  installPackages();
  const filters = process.argv.slice(2);
  const chosen = faults.filter(({ id }) => filters.length === 0 || filters.some((text) => id.includes(text)));
  if (chosen.length === 0) throw new Error(`no fault is named like ${filters.join(" or ")}.`);
  const unnoticed = [];
  for (const fault of chosen) {
    const from = performance.now();
    const results = [];
    for (const lane of fault.lanes ?? ["dawn-lavapipe"]) {
      const result = await tryFault(fault, lane);
      results.push(`${lane} ${result}`);
      if (result !== "green") break;
    }
    const noticed = results.at(-1)?.endsWith(" red") ?? false;
    if (!noticed) unnoticed.push(fault.id);
    const seconds = ((performance.now() - from) / 1000).toFixed(1);
    console.log(`${noticed ? "red  " : "GREEN"}  ${fault.id}: ${results.join(", ")} (${seconds} s)`);
  }
  console.log(`\n${chosen.length - unnoticed.length} of ${chosen.length} faults noticed`);
  if (unnoticed.length > 0) console.log(`unnoticed: ${unnoticed.join("; ")}`);
  process.exitCode = unnoticed.length > 0 ? 1 : 0;
}

main().catch((error) => {
  console.error(`faults: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
});
