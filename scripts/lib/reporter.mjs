import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { root } from "./packages.mjs";

/** @typedef {{ name: string, file: string, reason: string }} Skipped */
/**
 * `kernels`: cases that passed, by kernel (tests/kernels/NAME.gpu.test.ts).
 * @typedef {{ passed: number, failed: string[], skipped: Skipped[], kernels: Record<string, number> }} LaneReport
 */

const kernelFile = /^tests\/kernels\/([\w-]+)\.gpu\.test\.ts$/;

/**
 * `it.skipIf` keeps no reason (`context.skip("why")` does); the one that is common can be told all the same.
 * @param {string} file @returns {string}
 */
function likelyReason(file) {
  if (existsSync(resolve(root, process.env["TESSERA_SHARED"] || "../shared"))) return "";
  const usesShared = /\b(?:sharedSource|sharedPath|sharedRoot|readSharedJson)\b/.test(readFileSync(file, "utf8"));
  return usesShared ? "the shared data is not here (TESSERA_SHARED names its folder)" : "";
}

/**
 * A vitest reporter that writes a LaneReport to the file named by TESSERA_LANE_REPORT. (vitest's own JSON leaves out why
 * a test was skipped.) A file that cannot be loaded, and an error outside of any test, count as one failure each.
 */
export default class LaneReporter {
  /**
   * @param {readonly import("vitest/node").TestModule[]} modules
   * @param {readonly { message: string }[]} unhandled
   */
  onTestRunEnd(modules, unhandled) {
    const target = process.env["TESSERA_LANE_REPORT"];
    if (!target) throw new Error("TESSERA_LANE_REPORT is not set; this reporter is for scripts/test.mjs.");
    /** @type {LaneReport} */
    const report = { passed: 0, failed: [], skipped: [], kernels: {} };
    for (const module of modules) {
      const file = relative(root, module.moduleId).replaceAll("\\", "/");
      const before = report.passed;
      let failures = 0;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed") report.passed++;
        else if (result.state === "skipped") {
          report.skipped.push({ name: test.fullName, file, reason: result.note || likelyReason(module.moduleId) });
        } else {
          failures++;
          report.failed.push(`${file} > ${test.fullName}${result.state === "failed" ? "" : " (did not end)"}`);
        }
      }
      const kernel = kernelFile.exec(file)?.[1];
      if (kernel !== undefined) report.kernels[kernel] = report.passed - before;
      if (failures === 0 && module.state() === "failed") report.failed.push(`${file} (the file itself)`);
    }
    for (const error of unhandled) report.failed.push(`outside of any test: ${error.message.split("\n")[0]}`);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, JSON.stringify(report));
  }
}
