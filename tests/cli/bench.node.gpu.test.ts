/** `tessera bench` as a process. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parseReport, type DecodeReport } from "../../src/bench/index.ts";
import { repoRoot } from "../support/shared.ts";

function tessera(args: string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(repoRoot, "dist/cli.js"), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  // From our first line on: Dawn's come before.
  const ours = stderr.split("\n").filter((line) => !/^Warning: |^ +at |^$|^built cli/.test(line));
  return { status, stdout, stderr: ours.join("\n") };
}

beforeAll(() => {
  const built = spawnSync(process.execPath, [join(repoRoot, "scripts/tessera.mjs"), "--version"], { encoding: "utf8" });
  expect(built.status).toBe(0);
});

describe("tessera bench", () => {
  it("prints one report and nothing else with --json", () => {
    const { status, stdout, stderr } = tessera(["bench", "kernels", "--filter", "embed m1", "--quick", "--json"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.trimEnd()).not.toContain("\n");
    const report = parseReport(stdout);
    expect(report.cases.map((c) => [c.name, c.sane])).toEqual([["embed/smollm2-135m/q8/m1", true]]);
    expect(report.agent).toBe(`Node ${process.version}`);
  });

  it("prints a table", () => {
    const { status, stdout } = tessera(["bench", "kernels", "--filter", "add_norm m1", "--quick"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/Streaming read +[\d.]+ GB\/s\n.*\ncase +ms .*\nadd_norm\/smollm2-135m\/m1 +[\d.]+ /s);
  });

  it("makes a model and prints one report of its decoding with --json", () => {
    const flags = "--shape tiny --context 32 --sequences 1,2 --tokens 10 --rounds 1 --json";
    const { status, stdout, stderr } = tessera(["bench", "decode", ...flags.split(" ")]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout.trimEnd()).not.toContain("\n");
    const report = JSON.parse(stdout) as DecodeReport;
    expect(report).toMatchObject({ kind: "tessera decode", agent: `Node ${process.version}`, model: { name: "tiny" } });
    expect(report.rows.map((r) => [r.context, r.sequences, r.submits])).toEqual([
      [32, 1, 1],
      [32, 2, 1],
    ]);
  });

  it("prints a table of prefill, of a checkpoint too", () => {
    const { status, stdout } = tessera(["bench", "prefill", "--model", "demo/public/model", "--prompt", "32"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/\ntokens +ms +.*\n32 +[\d.]+ /s);
  });

  it.each([
    ["decode --shape nonesuch", /^tessera: There is no shape "nonesuch"[^\n]+smollm2-135m[^\n]+$/],
    ["decode --tokens 3", /^tessera: tokens is 3; [^\n]+$/],
    ["prefill --shape tiny --prompt 5000", /^tessera: contextTokens is 5001; [^\n]+2048[^\n]+$/],
  ])("tells what is wrong with bench %s", (line, message) => {
    const { status, stdout, stderr } = tessera(["bench", ...line.split(" ")]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });

  it("tells a filter that names no case, before it asks for a device", () => {
    const hidden = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
    const { status, stdout, stderr } = tessera(["bench", "kernels", "--filter", "nonesuch"], hidden);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^tessera: --filter "nonesuch": no case is named so\. [^\n]+linear[^\n]+$/);
  });

  it.skipIf(process.platform !== "linux")("ends with 2 and one line without an adapter", () => {
    const hidden = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
    const { status, stdout, stderr } = tessera(["bench", "kernels", "--json"], hidden);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^tessera: No WebGPU adapter: install [^\n]+$/);
  });
});
