import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { browserFolders } from "./browser.mjs";

const manifestFolders = [
  "/usr/share/vulkan/icd.d",
  "/usr/local/share/vulkan/icd.d",
  "/etc/vulkan/icd.d",
  "/run/opengl-driver/share/vulkan/icd.d",
];

/** @param {string} folder @returns {string[]} */
function manifests(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => join(folder, name));
}

/**
 * Mesa's software Vulkan driver: f16, subgroups of 8.
 * @returns {string | undefined} its manifest, a value for VK_DRIVER_FILES
 */
export function findLavapipe() {
  if (process.platform !== "linux") return undefined;
  return manifestFolders.flatMap(manifests).find((file) => /[/\\]lvp_icd[^/\\]*\.json$/.test(file));
}

/**
 * The software Vulkan driver that Chrome ships: no f16, subgroups of 4.
 * @param {string | undefined} browser the executable beside which it lies
 * @returns {string | undefined} its manifest, a value for VK_DRIVER_FILES
 */
export function findSwiftshader(browser) {
  if (process.platform !== "linux" || browser === undefined) return undefined;
  const files = browserFolders(browser).map((folder) => join(folder, "vk_swiftshader_icd.json"));
  return files.find((file) => existsSync(file));
}

/** Whether Dawn will find libvulkan.so.1; taken as yes where the linker's cache cannot be asked. */
export function hasVulkanLoader() {
  const { stdout, status } = spawnSync("ldconfig", ["-p"], {
    env: { ...process.env, PATH: `${process.env["PATH"]}:/sbin:/usr/sbin` },
  });
  return status !== 0 || String(stdout).includes("libvulkan.so.1");
}

/** Whether some Vulkan driver, of hardware or not, is installed. */
export function hasVulkanDriver() {
  return manifestFolders.flatMap(manifests).length > 0;
}
