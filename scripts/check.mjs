// npm run check: types, lint, format, layers, shaders, lockfile, traces. One line each; what a failed one said follows it.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { findTraces, lockfileFaults } from "./lib/hygiene.mjs";
import { installPackages, root } from "./lib/packages.mjs";
import { lintWgsl } from "./lib/wgsl-lint.mjs";

/** @typedef {() => Promise<string>} Check resolves with what is wrong; empty: nothing */

/** @param {string} script below node_modules @param {string[]} args @returns {Check} */
function tool(script, ...args) {
  return async () => {
    const child = spawn(process.execPath, [join(root, "node_modules", script), ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (said += text));
    child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
    const status = await new Promise((done) => child.once("close", done).once("error", () => done(1)));
    return status === 0 ? "" : said || `ended with ${status}`;
  };
}

/** @param {string} path */
const read = (path) => readFileSync(join(root, path), "utf8");

/** @returns {string[]} every file that is in the repository or would be added to it; all of the folder's without git */
function repositoryFiles() {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  const { status, stdout } = spawnSync("git", args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 26 });
  if (status !== 0) throw new Error("git ls-files failed: this check needs a git checkout.");
  return [...new Set(stdout.split("\0"))].filter((path) => path !== "" && existsSync(join(root, path)));
}

async function shaders() {
  if (!existsSync(join(root, "shaders"))) return "";
  const files = readdirSync(join(root, "shaders"), { recursive: true, encoding: "utf8" });
  const wgsl = files.filter((name) => name.endsWith(".wgsl")).map((name) => `shaders/${name}`);
  return wgsl.flatMap((file) => lintWgsl(file, read(file))).join("\n");
}

async function traces() {
  const texts = repositoryFiles().map((file) => /** @type {const} */ ([file, read(file)]));
  return texts.flatMap(([file, text]) => (text.includes("\0") ? [] : findTraces(file, text))).join("\n");
}

async function lockfile() {
  return lockfileFaults(JSON.parse(read("package.json")), JSON.parse(read("package-lock.json"))).join("\n");
}

/** @type {[name: string, check: Check][]} */
const checks = [
  ["types", tool("typescript/bin/tsc", "--noEmit", "-p", ".")],
  ["lint", tool("eslint/bin/eslint.js", "--max-warnings", "0", ".")],
  ["format", tool("prettier/bin/prettier.cjs", "--check", "--log-level", "warn", ".")],
  ["layers", tool("vitest/vitest.mjs", "run", "--project", "pure", "tests/layers.test.ts")],
  ["shaders", shaders],
  ["lockfile", lockfile],
  ["traces", traces],
];

async function main() {
  installPackages();
  for (const [name, check] of checks) {
    const from = performance.now();
    const fault = (await check()).trim();
    const seconds = `${((performance.now() - from) / 1000).toFixed(1)} s`;
    console.log(`${name.padEnd(10)}${fault === "" ? "ok" : "FAILED"}  ${seconds}`);
    if (fault === "") continue;
    console.log(fault.replace(/^/gm, "    "));
    process.exitCode = 1;
  }
}

main().catch((error) => {
  console.error(`npm run check: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
});
