/**
 * Every dense family equal to Hugging Face transformers: the rows of the oracle, logits at every position and the greedy
 * continuation. Software GPUs are slow: lavapipe runs every row in every way, the others the plain row of each family.
 * `node tools/oracle/report.mjs` prints what is measured here as a table.
 */
import { describe, expect, it } from "vitest";
import { readSharedJson, sharedSource } from "../support/fixtures.ts";
import { load, type GoldenCase } from "./checkpoints.ts";
import { DENSE_ROWS } from "./families.ts";
import { argmax, everything, familyTests } from "./family-tests.ts";

familyTests(Object.values(DENSE_ROWS), [["gpt2", "q8"]]);

const sorter = sharedSource("models/gpt-nano-sort");

describe.skipIf(sorter === null)("gpt-nano-sort", () => {
  it("has the golden logits, and sorts", async () => {
    const engine = await load(sorter!);
    const { cases } = (await readSharedJson<{ cases: GoldenCase[] }>("models/gpt-nano-sort/golden.json"))!;
    for (const { ids, logits } of cases) {
      const got = await engine.logits(ids, "last");
      (logits as number[]).forEach((x, i) => expect(Math.abs(x - got[i]!)).toBeLessThan(1e-4));
    }
    // Six letters of three; the eleven positions it has give the six sorted ones.
    const inputs = Array.from({ length: 729 }, (_, n) =>
      Array.from({ length: 6 }, (__, i) => Math.floor(n / 3 ** i) % 3),
    );
    for (const input of inputs.filter((_, n) => everything || n % 81 === 5)) {
      const sorted = [...input].sort();
      const logits = await engine.logits([...input, ...sorted.slice(0, 5)], "all");
      expect(sorted.map((_, i) => argmax(logits.subarray((5 + i) * 3, (6 + i) * 3)))).toEqual(sorted);
    }
    await engine.dispose();
  });
});
