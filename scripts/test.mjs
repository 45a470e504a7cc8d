// npm test [-- --lane NAME … FILTER …]: installs what is missing, runs every lane, ends with a table and the counts.
// CI=true makes a lane that cannot run a failure.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { installPackages, root } from "./lib/packages.mjs";
import { lavapipeIsMissing, provideBrowser, provideLavapipe } from "./lib/system.mjs";
import { kernelTable, laneTable, tooFewCases, totals } from "./lib/table.mjs";
import { findSwiftshader, hasVulkanDriver, hasVulkanLoader } from "./lib/vulkan.mjs";

/** @typedef {import("./lib/reporter.mjs").LaneReport} LaneReport */
/** @typedef {{ name: string, missing: string | undefined }} Lane */

const laneLimitMs = 25 * 60_000;
/** Lanes with a browser, one after another, beside all others, one after another: together they fill two cores. */
const withBrowser = new Set(["chromium", "e2e"]);
const inCi = /^(1|true)$/i.test(process.env["CI"] ?? "");

/** @param {string | undefined} browser @returns {Lane[]} */
function lanes(browser) {
  const noBrowser =
    browser === undefined
      ? "no browser: install Chrome or Chromium, or set CHROME_PATH, or run npx playwright install chromium"
      : undefined;
  const dawn = join(root, "node_modules/webgpu/dist");
  const folder = process.platform === "darwin" ? "darwin-universal" : `${process.platform}-${process.arch}`;
  const noDawn = existsSync(join(dawn, folder)) ? undefined : `the webgpu package has no Dawn for ${folder}`;
  const noLavapipe = noDawn ?? lavapipeIsMissing();
  const noSwiftshader = noDawn ?? swiftshaderIsMissing(browser);
  /** @type {Lane[]} */
  const all = [
    { name: "pure", missing: undefined },
    { name: "dawn-lavapipe", missing: noLavapipe },
    { name: "chromium", missing: noBrowser },
    { name: "dawn-plain", missing: noLavapipe },
    { name: "dawn-swiftshader", missing: noSwiftshader },
    { name: "e2e", missing: noBrowser },
  ];
  const ownGpu = process.platform !== "linux" || (hasVulkanLoader() && hasVulkanDriver());
  if (noLavapipe && noSwiftshader && !noDawn && ownGpu) all.splice(2, 0, { name: "dawn-default", missing: undefined });
  return all;
}

/** @param {string | undefined} browser @returns {string | undefined} */
function swiftshaderIsMissing(browser) {
  if (process.platform !== "linux") return "SwiftShader's Vulkan driver comes with Chrome for Linux";
  if (!hasVulkanLoader()) return "no Vulkan loader: install libvulkan1";
  if (findSwiftshader(browser) === undefined) return "no vk_swiftshader_icd.json beside a Chrome or Chromium";
  return undefined;
}

/**
 * @param {string} name @param {string[]} filters
 * @param {boolean} later what it prints comes in one piece at its end @returns {Promise<LaneReport>}
 */
async function runLane(name, filters, later) {
  if (!later) console.log(`\n── ${name} ──`);
  const file = join(root, ".cache/tests", `${name}.json`);
  rmSync(file, { force: true });
  const vitest = join(root, "node_modules/vitest/vitest.mjs");
  const reporters = ["--reporter=default", `--reporter=${join(root, "scripts/lib/reporter.mjs")}`];
  const child = spawn(
    process.execPath,
    [vitest, "run", "--project", name, ...reporters, "--passWithNoTests", ...filters],
    {
      cwd: root,
      // Who asks for certain files gets them in whatever lane.
      env: { ...process.env, TESSERA_LANE_REPORT: file, ...(filters.length > 0 && { TESSERA_WHOLE_LANES: "1" }) },
      stdio: ["ignore", later ? "pipe" : "inherit", later ? "pipe" : "inherit"],
    },
  );
  /** @type {Buffer[]} */
  const printed = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (piece) => printed.push(piece));
  let late = false;
  const stop = setTimeout(() => {
    late = true;
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), 10_000).unref();
  }, laneLimitMs);
  const status = await new Promise((done) => child.once("close", done).once("error", () => done(1)));
  clearTimeout(stop);
  if (later) process.stdout.write(`\n── ${name} ──\n${Buffer.concat(printed)}`);

  /** @type {LaneReport} */
  const report = existsSync(file)
    ? JSON.parse(readFileSync(file, "utf8"))
    : { passed: 0, failed: [], skipped: [], kernels: {} };
  if (late) report.failed.push(`the lane took more than ${laneLimitMs / 60_000} minutes and was stopped`);
  else if (status !== 0 && report.failed.length === 0) report.failed.push(`vitest ended with ${status}; see above`);
  return report;
}

async function main() {
  const { values, positionals } = parseArgs({
    options: { lane: { type: "string", multiple: true } },
    allowPositionals: true,
  });
  installPackages();
  const wanted = values.lane;
  const needsGpu = wanted === undefined || wanted.some((name) => name !== "pure");
  const browser = needsGpu ? await provideBrowser() : undefined;
  if (needsGpu) provideLavapipe();
  const all = lanes(browser);
  const unknown = wanted?.find((name) => all.every((lane) => lane.name !== name));
  if (unknown !== undefined) {
    throw new Error(`there is no lane ${unknown} here. Lanes: ${all.map((lane) => lane.name).join(", ")}.`);
  }

  /** @param {Lane} lane @param {boolean} later */
  const rowOf = async ({ name, missing }, later) => {
    if (missing !== undefined) {
      const failed = inCi || wanted ? [`the lane could not run: ${missing}`] : [];
      return { name, passed: 0, failed, skipped: [], kernels: {}, missing };
    }
    const report = await runLane(name, positionals, later);
    const ran = report.passed + report.failed.length;
    if (ran === 0 && positionals.length === 0) report.failed.push("the lane ran no test");
    if (positionals.length === 0 && report.failed.length === 0) report.failed.push(...tooFewCases(report));
    return { name, ...report, missing: undefined };
  };

  /** @type {import("./lib/table.mjs").LaneRow[]} */
  const rows = [];
  const chosen = all.filter(({ name }) => wanted === undefined || wanted.includes(name));
  const queues = [
    chosen.filter(({ name }) => withBrowser.has(name)),
    chosen.filter(({ name }) => !withBrowser.has(name)),
  ];
  const both = queues.every((lanes) => lanes.length > 0);
  await Promise.all(
    queues.map(async (lanes, i) => {
      // Of two that print at once, one waits.
      for (const lane of lanes) rows.push(await rowOf(lane, both && i > 0));
    }),
  );
  rows.sort(
    (a, b) => chosen.findIndex((lane) => lane.name === a.name) - chosen.findIndex((lane) => lane.name === b.name),
  );
  if (positionals.length > 0 && rows.every((row) => row.passed + row.failed.length + row.skipped.length === 0)) {
    rows[0]?.failed.push(`no test file matches ${positionals.join(" ")}`);
  }
  console.log(`\n${kernelTable(rows)}${laneTable(rows)}`);
  console.log(totals(rows));
  process.exitCode = rows.some((row) => row.failed.length > 0) ? 1 : 0;
}

main().catch((error) => {
  console.error(`npm test: ${error instanceof Error ? error.message : error}`);
  console.log("0 passed, 1 failed");
  process.exit(1);
});
