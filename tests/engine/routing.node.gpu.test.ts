/** Experts in an engine: where tokens went, and that both ways of multiplying give the same. */
import { describe, expect, inject, it } from "vitest";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { greedy, load } from "./checkpoints.ts";
import { readGolden, rowSource, worstError } from "./families.ts";

const everything = inject("lane") === "dawn-lavapipe";

describe("counts of experts", () => {
  it.each([
    { row: "qwen3_moe-dense", layers: [3], experts: 16, topK: 4 },
    { row: "deepseek_v3", layers: [1, 2], experts: 16, topK: 3 },
  ])("$row: every row of every layer with experts is counted", async ({ row, layers, experts, topK }) => {
    const { ids, contextTokens } = await readGolden(row);
    const engine = await load(rowSource(row), { contextTokens });
    const none = await engine.routing();
    expect(none).toEqual(layers.map((layer) => ({ layer, counts: new Array<number>(experts).fill(0) })));
    await engine.logits(ids, "all");
    const prompt = await engine.routing();
    const sums = (all: typeof prompt): number[] => all.map(({ counts }) => counts.reduce((a, b) => a + b, 0));
    expect(sums(prompt)).toEqual(layers.map(() => ids.length * topK));
    // Not all to one: some expert was chosen by less than all rows.
    for (const { counts } of prompt) expect(Math.max(...counts)).toBeLessThan(ids.length);
    const before = engine.stats();
    await greedy(engine, ids.slice(3, 12), 5);
    const { rows, submits, steps } = engine.stats();
    const computed = rows.prefill + rows.decode - before.rows.prefill - before.rows.decode;
    const [after, again] = await Promise.all([engine.routing(), engine.routing()]);
    expect(again).toEqual(after);
    expect(sums(after)).toEqual(layers.map(() => (ids.length + computed) * topK));
    // A step is one submit; nothing else goes to the device while tokens are made.
    expect(submits - before.submits).toBeGreaterThanOrEqual(steps - before.steps);
    await engine.dispose();
    await expect(engine.routing()).rejects.toThrow();
  });

  it("has no rows for a model without experts", async () => {
    const engine = await load(rowSource("llama-linear"), { contextTokens: 64 });
    expect(await engine.routing()).toEqual([]);
    await engine.dispose();
  });
});

describe.skipIf(!everything)("both ways of multiplying with experts", () => {
  it.each(["qwen2_moe", "gpt_oss"])("%s: pair by pair and expert by expert", async (row) => {
    const { ids, contextTokens, logits } = await readGolden(row);
    for (const maxColumns of [0, 1024]) {
      const kernels = { matVec: { ...PORTABLE.matVec, maxColumns } };
      const engine = await load(rowSource(row), { contextTokens }, { kernels });
      expect(worstError(await engine.logits(ids, "all"), logits, engine.info.vocabSize)).toBeLessThan(1e-4);
      await engine.dispose();
    }
  });
});
