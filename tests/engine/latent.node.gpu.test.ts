/** Latent attention in an engine: prompts are expanded, decode steps absorbed, and one is the other's result. */
import { describe, expect, inject, it } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { greedy, load } from "./checkpoints.ts";
import { readGolden, rowSource, worstError } from "./families.ts";

const everything = inject("lane") === "dawn-lavapipe";

/** Dispatches of a prompt's one step. */
async function dispatchesOf(engine: InProcessEngine, ids: number[]): Promise<number> {
  const before = engine.stats();
  await greedy(engine, ids, 1);
  const after = engine.stats();
  expect(after.steps - before.steps).toBe(1);
  return after.dispatches - before.dispatches;
}

describe.skipIf(!everything).each(["deepseek_v2-lite", "deepseek_v3"])("%s", (row) => {
  it.each([64, 32, 16, 8, 1])("has its logits with %i rows a step", async (maxRows) => {
    const { ids, contextTokens, logits, greedy: expected } = await readGolden(row);
    const engine = await load(rowSource(row), { contextTokens }, { maxRows, pageSize: 32, lookAhead: 1 });
    expect(worstError(await engine.logits(ids, "all"), logits, engine.info.vocabSize)).toBeLessThan(1e-4);
    expect(await greedy(engine, ids, 6)).toEqual(expected.slice(0, 6));
    await engine.dispose();
  });

  it("expands a prompt, where one path is not asked for", async () => {
    const { ids, contextTokens } = await readGolden(row);
    const [engine, strict] = await Promise.all(
      [false, true].map((deterministic) => load(rowSource(row), { contextTokens, deterministic }, { maxRows: 64 })),
    );
    const [expanded, absorbed] = [await dispatchesOf(engine!, ids), await dispatchesOf(strict!, ids)];
    // Rooms once a step, and a layer's attention in three dispatches more; experts in two more, sorted by them.
    const { layers } = engine!.info;
    const sparse = (await engine!.routing()).length;
    expect(expanded - absorbed).toBe(1 + 3 * layers + 2 * sparse);
    await Promise.all([engine!.dispose(), strict!.dispose()]);
  });
});
