// What the test lanes need beside npm packages: a browser, and Mesa's software Vulkan driver. System packages are only
// ever installed as root on a Debian-like Linux; elsewhere the lane's line in the table says how to get them.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backportsSource } from "./apt.mjs";
import { findBrowser } from "./browser.mjs";
import { root } from "./packages.mjs";
import { findLavapipe, hasVulkanLoader } from "./vulkan.mjs";

const aptFolder = "/etc/apt";
const oldestMesa = 25; // older ones lack what Dawn asks of a Vulkan driver

/** @param {string} command @param {string[]} args */
function run(command, args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  return spawnSync(command, args, { cwd: root, env, stdio: ["ignore", 2, 2], timeout: 600_000 }).status === 0;
}

function mayUseApt() {
  return process.platform === "linux" && process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
}

/** @param {string[]} packages @param {string[]} [options] */
function aptInstall(packages, options = []) {
  const apt = ["-q", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"];
  run("apt-get", [...apt, "update"]); // one source that cannot be reached must not stop the others
  return run("apt-get", [...apt, "install", "-y", "--no-install-recommends", ...options, ...packages]);
}

/** A browser, from whoever can bring it. @returns {Promise<string | undefined>} the executable */
export async function provideBrowser() {
  const found = await findBrowser();
  if (found !== undefined) return found;
  console.error("There is no Chrome or Chromium here; trying Playwright's …");
  const playwright = [join(root, "node_modules/playwright/cli.js")];
  if (run(process.execPath, [...playwright, "install", "--no-shell", "chromium"])) {
    if (mayUseApt()) run(process.execPath, [...playwright, "install-deps", "chromium"]);
  } else if (mayUseApt()) {
    console.error("Playwright's cannot be had; trying the system's package …");
    aptInstall(["chromium"]);
  }
  return findBrowser();
}

/** @returns {number | undefined} the major version of the installed Mesa driver, where a package database knows it */
function mesaVersion() {
  const { stdout, status } = spawnSync("dpkg-query", ["-W", "-f", "${Version}", "mesa-vulkan-drivers"]);
  const major = status === 0 ? Number.parseInt(String(stdout).replace(/^\d+:/, ""), 10) : NaN;
  return Number.isNaN(major) ? undefined : major;
}

function lavapipeIsGood() {
  return hasVulkanLoader() && findLavapipe() !== undefined && (mesaVersion() ?? oldestMesa) >= oldestMesa;
}

/** @returns {string} such as "bookworm" */
function releaseName() {
  const text = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  return /^VERSION_CODENAME="?([a-z]+)"?$/m.exec(text)?.[1] ?? "";
}

/** @returns {Record<string, string>} the sources that apt reads, by file */
function aptSources() {
  const parts = join(aptFolder, "sources.list.d");
  const names = existsSync(parts) ? readdirSync(parts).filter((name) => /\.(sources|list)$/.test(name)) : [];
  const files = [join(aptFolder, "sources.list"), ...names.map((name) => join(parts, name))];
  return Object.fromEntries(files.filter((f) => existsSync(f)).map((f) => [f, readFileSync(f, "utf8")]));
}

/** Debian 12 has Mesa 22; its backports have 25. @returns {string[]} options for apt-get */
function useBackports() {
  if (releaseName() !== "bookworm") return [];
  const suite = "bookworm-backports";
  const added = backportsSource(aptSources(), "bookworm", suite);
  if (added === "absent") return [];
  if (added !== "present")
    writeFileSync(join(aptFolder, "sources.list.d", `tessera-backports.${added.kind}`), added.text);
  return ["-t", suite];
}

/** Mesa's software Vulkan driver and the Vulkan loader, where they may be installed. @returns {void} */
export function provideLavapipe() {
  if (process.platform !== "linux" || lavapipeIsGood() || !mayUseApt()) return;
  console.error(`There is no lavapipe of Mesa ${oldestMesa} or newer here; installing mesa-vulkan-drivers …`);
  aptInstall(["mesa-vulkan-drivers", "libvulkan1"], useBackports());
}

/** @returns {string | undefined} why the lane on lavapipe cannot run */
export function lavapipeIsMissing() {
  if (process.platform !== "linux") return "lavapipe is for Linux";
  if (!hasVulkanLoader()) return "no Vulkan loader: install libvulkan1";
  if (findLavapipe() === undefined) return `no lavapipe: install mesa-vulkan-drivers, ${oldestMesa} or newer`;
  if (!lavapipeIsGood()) return `Mesa ${mesaVersion()} is too old: install mesa-vulkan-drivers, ${oldestMesa} or newer`;
  return undefined;
}
