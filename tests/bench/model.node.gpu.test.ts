/** `benchDecode` and `benchPrefill` over the smallest made model on the lane's device. Its times say nothing of any GPU. */
import { describe, expect, it } from "vitest";
import { benchDecode, benchPrefill, type ModelBenchProgress } from "../../src/bench/index.ts";
import { llama } from "../../src/models/llama.ts";
import { watchedDevice } from "../engine/device.ts";

/** Dispatches of a step of the tiny shape over a short cache: the family's budget, two of the draw and the advance. */
const STEP = 2 * llama.dispatches.layer + llama.dispatches.other + llama.dispatches.head + 3;

describe("bench decode", () => {
  it("counts a step's dispatches and submits, and leaves nothing on the device", async () => {
    const { device, live } = await watchedDevice();
    const seen: ModelBenchProgress[] = [];
    const report = await benchDecode({
      device,
      shape: "tiny",
      contexts: [32, 300],
      sequences: [1, 3],
      tokens: 10,
      rounds: 2,
      agent: "test",
      onProgress: (progress) => seen.push(progress),
    });
    expect(live).toEqual({ buffers: 0, bytes: 0 });
    device.destroy();
    expect(report).toMatchObject({ kind: "tessera decode", schema: 1, agent: "test" });
    expect(report.model).toMatchObject({ name: "tiny", made: true, layers: 2, weights: { format: "q4" }, eosIds: [] });
    // A cache past one split has a merge in each layer.
    expect(report.rows.map((r) => [r.context, r.sequences, r.dispatches, r.submits])).toEqual([
      [32, 1, STEP, 1],
      [300, 1, STEP + 2, 1],
      [32, 3, STEP, 1],
    ]);
    for (const row of report.rows) {
      expect(row).toMatchObject({ tokens: 10, rounds: 2, dispatchesPerLayer: row.dispatches / 2 });
      expect(Math.min(row.ms, row.floorMs, row.hostMs)).toBeGreaterThan(0);
      expect(row.tokensPerS).toBeCloseTo((1000 * row.sequences) / row.ms, 6);
      expect(row.share).toBeCloseTo(row.floorMs / row.ms, 6);
    }
    // An entry is keys and values of 2 heads of 32 in f16 in 2 layers; it grows by 10 tokens, 5 on average, and its own.
    expect(report.rows.map((r) => r.kvBytes)).toEqual([38 * 512, 306 * 512, 3 * 38 * 512]);
    expect(seen.map((p) => [p.done, p.total, p.at])).toEqual([
      [0, 5, "peaks"],
      [1, 5, "loading"],
      [2, 5, "1 × 32"],
      [3, 5, "1 × 300"],
      [4, 5, "3 × 32"],
    ]);
  });

  it("has its sequences start together, though their prompts take more steps than a round has tokens", async () => {
    const { rows } = await benchDecode({ shape: "tiny", contexts: [512], sequences: [6], tokens: 10, rounds: 1 });
    expect(rows.map((r) => [r.sequences, r.submits, r.dispatches])).toEqual([[6, 1, STEP + 2]]);
  });

  it("ends with an abort when told to, and frees everything", async () => {
    const { device, live } = await watchedDevice();
    const abort = new AbortController();
    const bench = benchDecode({
      device,
      shape: "tiny",
      signal: abort.signal,
      onProgress: ({ at }) => at.startsWith("1 ×") && setTimeout(() => abort.abort(), 5),
    });
    await expect(bench).rejects.toMatchObject({ code: "abort" });
    expect(live).toEqual({ buffers: 0, bytes: 0 });
    device.destroy();
  });
});

describe("bench prefill", () => {
  it("computes every prompt, in as many steps as its rows need", async () => {
    const report = await benchPrefill({ shape: "tiny", prompts: [64, 300], rounds: 2 });
    expect(report.kind).toBe("tessera prefill");
    // 300 rows are a step of 256 and one of the rest; the first has no head.
    expect(report.rows.map((r) => [r.tokens, r.rounds, r.steps, r.submits])).toEqual([
      [64, 2, 1, 1],
      [300, 2, 2, 2],
    ]);
    expect(report.rows[0]!.dispatches).toBe(STEP);
    for (const row of report.rows) {
      expect(Math.min(row.ms, row.floorMs)).toBeGreaterThan(0);
      expect(row.tokensPerS).toBeCloseTo((1000 * row.tokens) / row.ms, 6);
      expect(row.gflopPerS).toBeCloseTo(row.flops / (row.ms * 1e6), 6);
    }
  });

  it("takes a checkpoint too, by default as it is published", async () => {
    const folder = new URL("../../demo/public/model", import.meta.url).pathname;
    const { model, rows } = await benchPrefill({ source: folder, prompts: [40], rounds: 1 });
    expect(model).toMatchObject({ made: false, weights: { reason: "as published" }, eosIds: [], tokenizer: false });
    expect(rows.length).toBe(1);
  });
});
