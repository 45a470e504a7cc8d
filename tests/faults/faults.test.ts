import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repoRoot } from "../support/shared.ts";
import { faults } from "./faults.mjs";
import { withFault } from "./plugin.mjs";

/** The faults themselves are put in by `node scripts/faults.mjs`; this keeps them from going stale meanwhile. */
describe("seeded faults", () => {
  it.each(faults.map((fault) => [fault.id, fault] as const))("%s: has its one place", (_, fault) => {
    const text = readFileSync(join(repoRoot, fault.file), "utf8");
    expect(withFault(text, fault)).not.toBe(text);
    for (const filter of fault.tests) {
      const folder = join(repoRoot, filter, "..");
      expect(readdirSync(folder).some((name) => join(folder, name).startsWith(join(repoRoot, filter)))).toBe(true);
    }
  });

  it("have names of their own, and reach every shader", () => {
    expect(new Set(faults.map((f) => f.id)).size).toBe(faults.length);
    expect(existsSync(join(repoRoot, "shaders"))).toBe(true);
    const shaders = readdirSync(join(repoRoot, "shaders"), { encoding: "utf8" }).filter((f) => f.endsWith(".wgsl"));
    const reached = new Set(faults.map((f) => f.file));
    expect(shaders.filter((name) => !reached.has(`shaders/${name}`))).toEqual([]);
  });
});
