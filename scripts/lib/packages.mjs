import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** @typedef {{ packages: Record<string, { version?: string; optional?: boolean; devOptional?: boolean; }> }} Lockfile */

/** @param {string} file @returns {Lockfile} */
function readLockfile(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

/**
 * Whether node_modules holds what package-lock.json says. Contents are compared, not times: a fresh clone's times mean
 * nothing. Optional packages may be absent (they are for other systems).
 * @param {string} [folder]
 */
export function packagesAreInstalled(folder = root) {
  const installedFile = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(installedFile)) return false;
  const installed = readLockfile(installedFile).packages;
  return Object.entries(readLockfile(join(folder, "package-lock.json")).packages).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    return found === undefined ? wanted.optional || wanted.devOptional : found.version === wanted.version;
  });
}

/** The way to start npm: by the very file that runs us, else by name. @returns {[command: string, args: string[], shell: boolean]} */
function npm() {
  const file = process.env["npm_execpath"];
  if (file && /^np[mx]-cli\.c?js$/.test(basename(file))) {
    return [process.execPath, [join(dirname(file), "npm-cli.js")], false];
  }
  return ["npm", [], process.platform === "win32"];
}

/**
 * Runs `npm ci` where node_modules is absent or is not what the lockfile says. Its output goes to stderr.
 * @throws {Error} if npm fails
 */
export function installPackages() {
  if (packagesAreInstalled()) return;
  console.error("Installing packages (npm ci) …");
  const [command, args, shell] = npm();
  const all = [...args, "ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund"];
  const { status, error } = spawnSync(command, all, { cwd: root, shell, stdio: ["ignore", 2, 2] });
  if (error || status !== 0) {
    throw new Error(`npm ci failed (${error?.message ?? `exit ${status}`}). Mend what it says above and try again.`);
  }
}
