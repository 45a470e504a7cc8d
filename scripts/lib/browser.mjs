import { existsSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";

/** What a headless Chrome needs to give WebGPU to a page, and to leave the network alone. */
export const browserFlags = [
  ...(process.platform === "linux" ? ["--no-sandbox"] : []), // root and most containers have no user namespaces
  "--enable-unsafe-webgpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const names = ["google-chrome-stable", "google-chrome", "chromium", "chromium-browser", "chrome"];

/** @returns {string[]} where installers put a browser when they do not put it on the PATH */
function usualPlaces() {
  if (process.platform === "darwin") {
    const apps = ["Google Chrome", "Chromium", "Google Chrome Canary"];
    const roots = ["/Applications", join(homedir(), "Applications")];
    return roots.flatMap((root) => apps.map((app) => join(root, `${app}.app`, "Contents", "MacOS", app)));
  }
  if (process.platform === "win32") {
    const roots = [process.env["PROGRAMFILES"], process.env["PROGRAMFILES(X86)"], process.env["LOCALAPPDATA"]];
    const tails = [["Google", "Chrome"], ["Chromium"]];
    return roots.flatMap((root) => (root ? tails.map((tail) => join(root, ...tail, "Application", "chrome.exe")) : []));
  }
  return ["/opt/google/chrome/chrome", "/usr/lib/chromium/chromium", "/snap/bin/chromium"];
}

/**
 * An installed Chrome or Chromium: CHROME_PATH, else the PATH, else the usual places.
 * @returns {string | undefined}
 * @throws {Error} if CHROME_PATH names a file that is not there
 */
export function findInstalledBrowser() {
  const wanted = process.env["CHROME_PATH"];
  if (wanted) {
    if (existsSync(wanted)) return wanted;
    throw new Error(`CHROME_PATH is ${wanted}, but there is no such file. Correct it or unset it.`);
  }
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  const suffix = process.platform === "win32" ? ".exe" : "";
  const onPath = folders.flatMap((folder) => names.map((name) => join(folder, name + suffix)));
  return [...onPath, ...usualPlaces()].find((file) => existsSync(file));
}

/**
 * The browser to test with: an installed one, else the one that Playwright downloaded.
 * @returns {Promise<string | undefined>} the executable, or a launcher of it
 */
export async function findBrowser() {
  const installed = findInstalledBrowser();
  if (installed !== undefined) return installed;
  const { chromium } = await import("playwright");
  const own = chromium.executablePath();
  return existsSync(own) ? own : undefined;
}

/** @param {string} browser an executable, or a launcher of one @returns {string[]} folders that may hold its libraries */
export function browserFolders(browser) {
  return [dirname(realpathSync(browser)), "/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"];
}
