import { describe, expect, it } from "vitest";
import { laneTable, totals } from "../../scripts/lib/table.mjs";

const rows = [
  { name: "pure", passed: 12, failed: [], skipped: [], missing: undefined },
  {
    name: "chromium",
    passed: 3,
    failed: ["tests/a.gpu.test.ts > a fails"],
    skipped: [
      { name: "f16 one", file: "tests/a.gpu.test.ts", reason: "no shader-f16" },
      { name: "f16 two", file: "tests/a.gpu.test.ts", reason: "no shader-f16" },
      { name: "stories", file: "tests/b.gpu.test.ts", reason: "" },
    ],
    missing: undefined,
  },
  { name: "dawn-lavapipe", passed: 0, failed: [], skipped: [], missing: "no lavapipe: install it" },
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

  it("sums up", () => {
    expect(totals(rows)).toBe("15 passed, 1 failed, 3 skipped");
    expect(totals(rows.slice(0, 1))).toBe("12 passed, 0 failed");
  });
});
