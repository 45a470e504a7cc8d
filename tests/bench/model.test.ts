/** The arithmetic and the tables of `bench decode` and `bench prefill`. */
import { describe, expect, it } from "vitest";
import { commonRate, type DecodeReport } from "../../src/bench/decode.ts";
import { madeRepo } from "../../src/bench/made.ts";
import { fitting, freshIds, summary } from "../../src/bench/model-run.ts";
import { modelReportText } from "../../src/bench/model-table.ts";
import { decodeWork, prefillWork, weightBytes, workOf, type ModelWork } from "../../src/bench/model-work.ts";
import { findShape } from "../../src/bench/models.ts";
import { benchDecode, benchPrefill, type PrefillReport } from "../../src/bench/index.ts";
import { readCheckpoint, type CheckpointOptions } from "../../src/engine/inspect.ts";

const work = async (shape: string, options: CheckpointOptions = {}): Promise<ModelWork> =>
  workOf(await readCheckpoint(madeRepo(findShape(shape)), { weights: "q4", ...options }));

describe("the work of a model", () => {
  // SmolLM2-135M by hand: q4 rows are K/2 bytes of integers and 2 for each 32, rounded up to 16; q8 rows are K and the same.
  const rowQ4 = (K: number): number => Math.ceil((K / 2 + (2 * K) / 32) / 16) * 16;
  const rowQ8 = (K: number): number => Math.ceil((K + (2 * K) / 32) / 16) * 16;
  const layer = 960 * rowQ4(576) + 576 * rowQ4(576) + 3072 * rowQ4(576) + 576 * rowQ4(1536);
  const perRow = 30 * 2 * (960 * 576 + 576 * 576 + 3072 * 576 + 576 * 1536);
  const head = 2 * 576 * 49152;

  it("is that of SmolLM2-135M, counted by hand", async () => {
    const counted = await work("smollm2-135m");
    const expected = 30 * layer + 49152 * rowQ8(576) + 61 * 576 * 4;
    expect(weightBytes(counted, 1)).toBe(expected);
    expect(weightBytes(counted, 8)).toBe(expected);
    expect(counted.gatheredBytes).toBe(rowQ8(576));
    expect(counted.flopsPerRow).toBe(perRow);
    expect(counted.headFlops).toBe(head);
  });

  it("reads the cache once a sequence and the weights once a step", async () => {
    const counted = await work("smollm2-135m");
    const entry = 2 * 3 * 64 * 2; // keys and values of 3 heads of 64 in f16
    const one = decodeWork(counted, 100, 1);
    expect(one.kvBytes).toBe(30 * 101 * entry);
    expect(one.bytes).toBe(weightBytes(counted, 1) + rowQ8(576) + one.kvBytes);
    expect(one.flops).toBe(perRow + head + 30 * 101 * 4 * 9 * 64);
    const four = decodeWork(counted, 100, 4);
    expect(four.kvBytes).toBe(4 * one.kvBytes);
    expect(four.flops).toBe(4 * one.flops);
    expect(four.bytes - one.bytes).toBe(3 * (one.kvBytes + rowQ8(576)));
  });

  it("counts a prompt's rows, each with what it sees, and one head", async () => {
    const counted = await work("smollm2-135m", { kv: "f32" });
    const { bytes, flops } = prefillWork(counted, 64);
    expect(flops).toBe(64 * perRow + head + 30 * 4 * 9 * 64 * (65 * 32));
    expect(bytes).toBe(weightBytes(counted, 64) + 64 * rowQ8(576) + 64 * 30 * 2 * 3 * 64 * 4);
  });

  it("stops at a window", () => {
    const windowed: ModelWork = {
      weights: [],
      gatheredBytes: 0,
      flopsPerRow: 0,
      headFlops: 0,
      layers: [{ entryBytes: 10, entryFlops: 1, window: 4 }],
    };
    expect(decodeWork(windowed, 2, 1).kvBytes).toBe(30);
    expect(decodeWork(windowed, 100, 1).kvBytes).toBe(40);
    expect([3, 4, 5, 10].map((n) => prefillWork(windowed, n).flops)).toEqual([6, 10, 14, 34]);
  });

  it("has experts in the share that the rows meet", async () => {
    const counted = await work("moe-24x1024");
    const stacks = counted.weights.filter(({ active }) => active < 1);
    expect(stacks.length).toBe(48);
    expect(new Set(stacks.map(({ active }) => active))).toEqual(new Set([4 / 32]));
    const experts = stacks.reduce((sum, { bytes }) => sum + bytes, 0);
    const whole = counted.weights.reduce((sum, { bytes }) => sum + bytes, 0);
    expect(weightBytes(counted, 1)).toBeCloseTo(whole - experts * (28 / 32), 3);
    expect(weightBytes(counted, 2)).toBeCloseTo(whole - experts * (28 / 32) ** 2, 3);
    expect(weightBytes(counted, 4096)).toBeCloseTo(whole, 3);
    // Four experts of 3 × 1024 × 512, attention of 1024 × (1024 + 512) and 1024 × 1024, and the router.
    expect(counted.flopsPerRow).toBe(24 * 2 * (4 * 3 * 1024 * 512 + 1024 * 1536 + 1024 * 1024 + 32 * 1024));
  });

  it("has one latent a token for all heads", async () => {
    const counted = await work("mla-12x1024");
    const { kvBytes, flops } = decodeWork(counted, 9, 1);
    expect(kvBytes).toBe(12 * 10 * (512 + 64) * 2);
    // Each of 16 heads has a score over 512 + 64 elements and a sum over 512.
    expect(flops - decodeWork(counted, 8, 1).flops).toBe(12 * 2 * 16 * (512 + 64 + 512));
    // Keys of 128 + 64 elements and values of 128 for each head of a prompt: 3.4 times fewer.
    const pairs = (512 * 513) / 2;
    const attention = prefillWork(counted, 512).flops - 512 * counted.flopsPerRow - counted.headFlops;
    expect(attention).toBe(12 * 2 * 16 * (128 + 64 + 128) * pairs);
    expect(attention).toBeLessThan((12 * 2 * 16 * (512 + 64 + 512) * pairs) / 3);
  });
});

describe("the rate of sequences that decode together", () => {
  const every = (from: number, gap: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => from + i * gap);

  it("of one is its intervals'", () => {
    expect(commonRate([every(1000, 50, 11)])).toBeCloseTo(20, 9);
  });

  it("adds up", () => {
    expect(commonRate([every(0, 100, 10), every(0.1, 100, 10), every(0.2, 100, 10)])).toBeCloseTo(30, 9);
  });

  it("leaves out what came while not all were there", () => {
    // The first is quick while it is alone, and again when the second has ended.
    const first = [0, 10, 20, 30, ...every(130, 100, 8), ...every(840, 10, 5)];
    const second = every(130.2, 100, 8);
    expect(commonRate([first, second])).toBeCloseTo(20, 1);
  });

  it("is none where they did not run together", () => {
    expect(() => commonRate([every(0, 10, 10), every(1000, 10, 10)])).toThrow(/2 sequences did not decode together/);
  });
});

describe("what is measured", () => {
  it("is a median with its quartiles' distance", () => {
    expect(summary([4, 1, 3, 2, 100])).toEqual({ median: 3, spread: 2 / 3 });
  });

  it("is on ids that are spread and other ones each time", () => {
    const ids = freshIds(4096, 512, 7);
    expect(new Set(ids).size).toBe(512);
    expect(Math.min(...ids)).toBe(0);
    expect(Math.max(...ids)).toBe(511);
    expect(freshIds(64, 49152, 1).filter((id, i) => id === freshIds(64, 49152, 2)[i]).length).toBeLessThan(3);
  });

  it("fits the checkpoint", () => {
    expect(fitting([64, 512], 17, 8192)).toEqual([64, 512]);
    expect(fitting([64, 512], 17, 528)).toEqual([64]);
    expect(fitting([64, 512], 17, 529)).toEqual([64, 512]);
    expect(fitting([64, 512], 17, 32)).toEqual([15]);
  });

  it.each([
    ["contexts", () => benchDecode({ contexts: [64, 0] }), "contexts and sequences are integers from 1 up, not 0"],
    ["sequences", () => benchDecode({ sequences: [1.5] }), "not 1.5"],
    ["no contexts", () => benchDecode({ contexts: [] }), "the list is empty"],
    ["tokens", () => benchDecode({ tokens: 9 }), "tokens is 9; a round takes at least 10"],
    ["prompts", () => benchPrefill({ prompts: [-1] }), "prompts are integers from 1 up, not -1"],
    ["a shape", () => benchPrefill({ shape: "none" }), 'no shape "none"'],
  ])("refuses %s before it asks for a device", async (_, run, message) => {
    await expect(run()).rejects.toThrow(message);
  });
});

describe("the table", () => {
  const head = {
    schema: 1,
    version: "1.2.3",
    date: "2026-01-01T00:00:00.000Z",
    agent: "test",
    device: { description: "a device" },
    software: false,
    peaks: { readGBs: 100, f32GFLOPs: 1000, f16GFLOPs: null, dispatchUs: 1, submitUs: 2 },
    model: {
      name: "tiny",
      made: true,
      parameters: 1_234_567,
      layers: 2,
      weights: { format: "q4", reason: "", bytes: 2_000_000 },
      kv: "f16",
    },
    loadMs: 1500,
  };
  const row = {
    rounds: 3,
    ms: 12.34,
    spread: 0.05,
    tokensPerS: 81,
    hostMs: 0.5,
    submits: 1,
    floorMs: 1.234,
    share: 0.1,
  };

  it("of decode", () => {
    const rows = [
      {
        ...row,
        context: 64,
        sequences: 1,
        tokens: 16,
        dispatches: 17,
        dispatchesPerLayer: 8.5,
        bytes: 1e6,
        kvBytes: 2e5,
      },
    ];
    const text = modelReportText({ kind: "tessera decode", ...head, rows } as unknown as DecodeReport);
    expect(text).toContain(
      "a device; test; Tessera 1.2.3\ntiny, random weights: 1.23 M parameters in 2 layers, q4 (2.00 MB), f16 cache",
    );
    expect(text).toMatch(/^context +seq\. +ms\/step +± +tokens\/s .* of roof$/m);
    expect(text).toMatch(/^64 +1 +12\.3 +5\.0 % +81\.0 +0\.500 +17\.0 +8\.50 +1\.00 +1\.00 MB +200 kB +1\.23 +10 %$/m);
  });

  it("of prefill", () => {
    const rows = [{ ...row, tokens: 64, steps: 1, dispatches: 17, bytes: 1e6, flops: 2e9, gflopPerS: 162 }];
    const text = modelReportText({
      kind: "tessera prefill",
      ...head,
      software: true,
      rows,
    } as unknown as PrefillReport);
    expect(text).toContain("its times are no measure of any GPU");
    expect(text).toMatch(/^64 +12\.3 +5\.0 % +81\.0 +1\.00 +0\.500 +17\.0 +1\.00 +2\.00 +162 +1\.23 +10 %$/m);
  });
});
