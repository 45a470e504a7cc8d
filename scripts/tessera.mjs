// npm run -s tessera -- COMMAND …: the command line from a checkout. Installs and builds what is missing or old (all of
// that talk goes to stderr), then runs dist/cli.js in this process.
import { spawnSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { installPackages, root } from "./lib/packages.mjs";

const cli = join(root, "dist/cli.js");

/** @param {string} path @returns {number} the latest change of a file, or of anything in a folder, itself included; ms */
function lastChange(path) {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  const below = stat.isDirectory() ? readdirSync(path).map((name) => lastChange(join(path, name))) : [];
  return Math.max(stat.mtimeMs, ...below);
}

function isBuilt() {
  const sources = ["src", "shaders", "scripts/build.mjs", "package-lock.json"].map((path) => join(root, path));
  const built = statSync(cli, { throwIfNoEntry: false });
  return built !== undefined && built.mtimeMs >= Math.max(...sources.map(lastChange));
}

try {
  installPackages();
  if (!isBuilt()) {
    const build = join(root, "scripts/build.mjs");
    const { status } = spawnSync(process.execPath, [build, "cli"], { stdio: ["ignore", 2, 2] });
    if (status !== 0) throw new Error("the command line could not be built; see above.");
  }
} catch (error) {
  console.error(`tessera: ${error instanceof Error ? error.message : error}`);
  process.exit(1);
}
process.argv[1] = cli;
await import(pathToFileURL(cli).href);
