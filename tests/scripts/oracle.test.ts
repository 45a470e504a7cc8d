/** The tables that tools/oracle writes into the documents. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { familiesTable, rowsTable } from "../../tools/oracle/families-table.mjs";
import { replaceBetween } from "../../tools/oracle/written.mjs";
import { repoRoot } from "../support/shared.ts";

const LANES = ["dawn-lavapipe", "dawn-swiftshader"];
const MEASURED = [
  { row: "gemma", format: "f32", lane: LANES[0]!, error: 2e-6 },
  { row: "gemma", format: "q8", lane: LANES[0]!, error: 0 },
  { row: "stablelm", format: "bf16", lane: LANES[0]!, error: 1e-6 },
  { row: "stablelm-parallel", format: "f16", lane: LANES[0]!, error: 7e-6 },
  { row: "stablelm", format: "bf16", lane: LANES[1]!, error: 5e-6 },
];

describe("the table of rows", () => {
  it("has a line a checkpoint, and a column for each format and device that was measured", () => {
    expect(rowsTable(MEASURED, LANES).split("\n")).toEqual([
      "| checkpoint | f32, lavapipe | f16, lavapipe | bf16, lavapipe | bf16, swiftshader | q8, lavapipe |",
      "| --- | ---: | ---: | ---: | ---: | ---: |",
      "| gemma | 2.0e-6 |  |  |  | 0 |",
      "| stablelm |  |  | 1.0e-6 | 5.0e-6 |  |",
      "| stablelm-parallel |  | 7.0e-6 |  |  |  |",
    ]);
  });
});

describe("the table of families", () => {
  it("has the worst of each family's rows", () => {
    const lines = familiesTable(MEASURED, LANES).split("\n");
    expect(lines[0]).toMatch(/^3 checkpoints of 2 families on lavapipe and swiftshader: .*7\.0e-6/);
    expect(lines).toContain("| gemma | 2.0e-6 |  | 0 |  |  |  |");
    expect(lines).toContain("| stablelm | 7.0e-6 | 5.0e-6 |  |  |  |  |");
  });
});

describe("writing between marks", () => {
  const document = "a\n<!-- t: by x -->\nold\n<!-- end of t -->\nb\n";

  it("replaces what is there, and nothing else", () => {
    const written = replaceBetween(document, "t", "new");
    expect(written).toBe("a\n<!-- t: by x -->\n\nnew\n\n<!-- end of t -->\nb\n");
    expect(replaceBetween(written, "t", "new")).toBe(written);
  });

  it("refuses a document without them", () => {
    expect(() => replaceBetween("a", "t", "new")).toThrow("no place for t");
    expect(() => replaceBetween("<!-- end of t --><!-- t: -->\n", "t", "new")).toThrow("no place for t");
  });

  it.each([
    ["README.md", "families"],
    ["README.md", "perplexities"],
    ["docs/families.md", "families"],
  ])("%s has a place for %s", (file, name) => {
    expect(replaceBetween(readFileSync(join(repoRoot, file), "utf8"), name, "new")).toContain("\nnew\n");
  });
});
