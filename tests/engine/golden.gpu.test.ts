/**
 * The central test: checkpoints equal to their goldens, which come from other programs (Hugging Face transformers;
 * llama2.c's own weights). Always on a shuffled page table, all prompts in one ragged batch, with a fork.
 */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { InProcessEngine } from "../../src/engine/engine.ts";
import { encodeSafetensors } from "../../src/weights/write.ts";
import { parseHeader } from "../../src/weights/safetensors.ts";
import { memoryRepo } from "../support/memory.ts";
import { filesOf, goldenCheckpoints, greedy, load, loadFiles, untilEnd, type GoldenCase } from "./checkpoints.ts";

/** In Chromium a load compiles for seconds: published checkpoints there, and the small forms on SwiftShader in Node. */
const everything = inject("lane") !== "chromium";

for (const { name, source, published, tolerance, read } of goldenCheckpoints()) {
  if (!everything && !published) continue;
  describe.skipIf(source === null)(name, () => {
    let engine: InProcessEngine;
    let cases: GoldenCase[];

    beforeAll(async () => {
      engine = await load(source!);
      cases = await read();
    });
    afterAll(() => engine.dispose());

    it("has the golden logits", async () => {
      for (const { ids, logits } of cases) {
        const rows = Array.isArray(logits[0]) ? (logits as number[][]) : [logits as number[]];
        const got = await engine.logits(ids, Array.isArray(logits[0]) ? "all" : "last");
        const expected = Float32Array.from(rows.flat());
        expect(got.length).toBe(expected.length);
        const error = expected.reduce((worst, x, i) => Math.max(worst, Math.abs(x - got[i]!)), 0);
        expect(error).toBeLessThan(tolerance);
      }
    });

    it("continues as the golden does, all prompts and a fork in one batch", async () => {
      const alone = cases.map(({ ids }) => greedy(engine, ids));
      const company = engine.generate(cases[0]!.ids, { temperature: 0, maxTokens: 24, n: 2 }, () => undefined);
      const drawn = engine.generate(cases[0]!.ids, { temperature: 1, seed: 5, maxTokens: 30 }, () => undefined);
      const results = await Promise.all(alone);
      cases.forEach(({ greedy: golden }, i) => {
        expect(results[i]).toEqual(untilEnd(golden, engine.info.eosIds).slice(0, 64));
      });
      const expected = untilEnd(cases[0]!.greedy.slice(0, 24), engine.info.eosIds);
      for (const choice of (await company).choices) expect(choice.ids).toEqual(expected);
      await drawn;
      expect(engine.stats().pages.used).toBe(0);
    });

    it("continues the same from f16 pages", async () => {
      const other = await load(source!, { kv: "f16" });
      const { ids, greedy: golden } = cases[0]!;
      expect(await greedy(other, ids)).toEqual(untilEnd(golden, other.info.eosIds));
      await other.dispose();
    });

    it.each(published ? [2, 3] : [])("loads from %i shards", async (count) => {
      const files = await filesOf(source!);
      const sharded = await loadFiles(memoryRepo(cutIntoShards(files, count)));
      const { ids, greedy: golden } = cases.at(-1)!;
      expect(await greedy(sharded, ids)).toEqual(untilEnd(golden, sharded.info.eosIds));
      await sharded.dispose();
    });
  });
}

describe.skipIf(goldenCheckpoints()[1]!.source === null)("the same tokens whatever the engine's knobs", () => {
  const { source, read } = goldenCheckpoints()[1]!;
  const knobs = {
    "small pages, small chunks, no look-ahead": { pageSize: 32, maxRows: 8, lookAhead: 1 },
    "large pages, long look-ahead, another page order": { pageSize: 128, lookAhead: 8, pageSeed: 99 },
    "matrices split over bindings, two slots": { maxBindingBytes: 16384, slots: 2 },
  };
  it.each(Object.entries(knobs).slice(0, everything ? 3 : 1))("%s", async (_, tuning) => {
    const engine = await load(source!, {}, tuning);
    const [{ ids, greedy: golden }] = (await read()) as [GoldenCase];
    const [a, b, c] = await Promise.all([
      greedy(engine, ids),
      greedy(engine, ids.slice(0, 5), 20),
      greedy(engine, ids),
    ]);
    expect([a, c]).toEqual([untilEnd(golden, engine.info.eosIds), untilEnd(golden, engine.info.eosIds)]);
    expect(b).toEqual(await greedy(engine, ids.slice(0, 5), 20));
    await engine.dispose();
    expect(engine.gpu.arena.bytes).toBe(0);
  });
});

/** The same tensors in several files with an index, as large checkpoints are published. */
function cutIntoShards(files: Record<string, Uint8Array>, count: number): Record<string, Uint8Array | string> {
  const { "model.safetensors": whole, ...rest } = files;
  const length = Number(new DataView(whole!.buffer, whole!.byteOffset).getBigUint64(0, true));
  const tensors = [...parseHeader("model.safetensors", whole!.subarray(8, 8 + length), whole!.length).values()];
  const result: Record<string, Uint8Array | string> = rest;
  const map: Record<string, string> = {};
  let total = 0;
  for (let shard = 0; shard < count; shard++) {
    const name = `model-0000${shard + 1}-of-0000${count}.safetensors`;
    // Every count-th tensor, so that the parts of one matrix lie in different shards.
    const mine = tensors.filter((_, i) => i % count === shard);
    result[name] = encodeSafetensors(
      mine.map(({ name: tensor, dtype, shape, begin, end }) => ({
        name: tensor,
        dtype,
        shape,
        data: whole!.subarray(begin, end),
      })),
    );
    for (const { name: tensor, begin, end } of mine) {
      map[tensor] = name;
      total += end - begin;
    }
  }
  result["model.safetensors.index.json"] = JSON.stringify({ metadata: { total_size: total }, weight_map: map });
  return result;
}
