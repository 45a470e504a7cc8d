import { describe, expect, it } from "vitest";
import type { LaneRow } from "../../scripts/lib/table.mjs";
import { kernelTable, laneTable, tooFewCases, totals } from "../../scripts/lib/table.mjs";

const rows: LaneRow[] = [
  { name: "pure", passed: 12, failed: [], skipped: [], kernels: {}, missing: undefined },
  {
    name: "chromium",
    passed: 3,
    failed: ["tests/a.gpu.test.ts > a fails"],
    skipped: [
      { name: "f16 one", file: "tests/a.gpu.test.ts", reason: "no shader-f16" },
      { name: "f16 two", file: "tests/a.gpu.test.ts", reason: "no shader-f16" },
      { name: "stories", file: "tests/b.gpu.test.ts", reason: "" },
    ],
    kernels: { linear: 600, batch: 3, norm: 29 },
    missing: undefined,
  },
  { name: "dawn-lavapipe", passed: 0, failed: [], skipped: [], kernels: {}, missing: "no lavapipe: install it" },
];

describe("the end of npm test", () => {
  it("has a line for each lane, with why", () => {
    const lines = laneTable(rows).split("\n");
    expect(lines).toContain("pure               12       0        0");
    expect(lines).toContain(
      "chromium            3       1        3  no shader-f16; a condition in tests/b.gpu.test.ts",
    );
    expect(lines).toContain("dawn-lavapipe       0       0        0  not run: no lavapipe: install it");
  });

  it("names what was skipped by reason, and what failed", () => {
    const text = laneTable(rows);
    expect(text).toContain("  chromium: 2 skipped: no shader-f16\n    - f16 one\n    - f16 two\n");
    expect(text).toContain("Failed:\n  chromium: tests/a.gpu.test.ts > a fails\n");
  });

  it("counts the cases of each kernel where kernels ran", () => {
    expect(kernelTable(rows).split("\n")).toEqual([
      "kernel cases  chromium",
      "batch                3",
      "linear             600",
      "norm                29",
      "in all             632",
      "",
    ]);
    expect(kernelTable(rows.slice(0, 1))).toBe("");
  });

  it("says where there are too few of them", () => {
    expect(tooFewCases(rows[0]!)).toEqual([]);
    expect(tooFewCases(rows[1]!)).toEqual(["kernel norm: 29 cases, at least 30 are wanted"]);
    expect(tooFewCases({ ...rows[1]!, kernels: { linear: 599 } })).toEqual([
      "kernels: 599 cases, at least 600 are wanted",
    ]);
  });

  it("sums up", () => {
    expect(totals(rows)).toBe("15 passed, 1 failed, 3 skipped");
    expect(totals(rows.slice(0, 1))).toBe("12 passed, 0 failed");
  });
});
