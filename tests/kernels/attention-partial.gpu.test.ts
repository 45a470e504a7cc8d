import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attentionPartial, joinAttention, mergeAttention, type PartialAttention } from "../../src/kernels/attention.ts";
import type { BenchGraph } from "../support/kernel-bench.ts";
import { attentionReference, mergePartials } from "../reference/attention.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";
import {
  decode,
  makeData,
  prefill,
  problem,
  reference,
  rowsOf,
  runCase,
  splits,
  statsReference,
  title,
  type Case,
} from "./attention-cases.ts";

const F32 = { format: "f32", pageSize: 32, heads: 2, headDim: 8, queries: 4 } as const;
const F16 = { format: "f16", pageSize: 64, heads: 1, headDim: 64, queries: 3 } as const;
const INT8 = { format: "int8", pageSize: 32, heads: 1, headDim: 16, valueDim: 264, queries: 2 } as const;

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

interface Record {
  out: Float32Array;
  m: number;
  l: number;
}

/** [rows][heads][parts] of a partial result's floats. */
function recordsOf(state: Float32Array, { parts, heads, valueDim }: PartialAttention): Record[][][] {
  const rows = state.length / (parts * heads * (valueDim + 4));
  const record = (row: number, h: number, part: number): Record => {
    const at = ((row * parts + part) * heads + h) * (valueDim + 4);
    const [m, l] = state.subarray(at + valueDim);
    return { out: state.subarray(at, at + valueDim), m: m!, l: l! };
  };
  const all = (n: number): number[] => [...Array(n).keys()];
  return all(rows).map((row) => all(heads).map((h) => all(parts).map((part) => record(row, h, part))));
}

const CASES: Case[] = [
  { ...F32, segments: [decode(70), prefill(3, 4)] },
  { ...F32, segments: [decode(70), prefill(3, 4), decode(200)], tuning: splits(64), room: 2 },
  { ...F32, segments: [decode(1), prefill(60, 5), prefill(0, 3)] },
  { ...F32, segments: [decode(200), prefill(60, 9)], tuning: splits(64, { deterministic: true }) },
  { ...F16, segments: [decode(70), prefill(60, 5)] },
  { ...F16, segments: [decode(70), prefill(60, 15)], spare: 2 },
  // Both sides of a split's and a tile's edge.
  ...[31, 32, 33, 64, 65].map((n): Case => ({ ...F32, segments: [decode(n), decode(1)], tuning: splits(32), room: 1 })),
  ...[31, 32, 33].map((n): Case => ({ ...F16, segments: [prefill(n, 12)] })),
  { ...INT8, segments: [decode(70), prefill(60, 15)] },
  { ...INT8, segments: [decode(70), prefill(60, 2)] },
  { ...F32, segments: [decode(130), prefill(60, 3)], slopes: true, softcap: 3, window: 70, tuning: splits(32) },
  { ...F32, segments: [decode(130), prefill(60, 9)], slopes: true, softcap: 3, window: 70, causal: false },
];

describe("attention, unfinished", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const data = makeData(c);
    const records = await runCase(
      bench,
      c,
      data,
      (graph, q, cache, options) => attentionPartial(graph, q, cache, 1, options),
      async (program, partial) => recordsOf(await program.floats(partial.state), partial),
    );
    const rows = records.slice(0, rowsOf(c));
    expectClose(
      rows.flatMap((heads) => heads.flatMap((parts) => [...mergePartials(parts)])),
      reference(c, data),
    );
    const stats = rows.flat().map((parts) => {
      const m = Math.max(...parts.map((p) => p.m));
      return { m, l: parts.reduce((sum, p) => sum + p.l * Math.exp(p.m - m), 0) };
    });
    const expected = statsReference(c, data);
    expectClose(
      stats.map((s) => s.m),
      expected.map((s) => s.m),
    );
    expectClose(
      stats.map((s) => s.l),
      expected.map((s) => s.l),
    );
    for (const { l } of records.slice(rowsOf(c)).flat(2)) expect(l).toBeNaN();
  });

  it.each([{}, { tuning: splits(32), room: 2 }, { spare: 9 }])(
    "weighs a row that sees nothing zero: %o",
    async (path) => {
      const c: Case = { ...F32, segments: [{ length: 0, count: 1, ancestors: [0] }], ...path };
      const records = await runCase(
        bench,
        c,
        makeData(c),
        (graph, q, cache, options) => attentionPartial(graph, q, cache, 1, options),
        async (program, partial) => recordsOf(await program.floats(partial.state), partial),
      );
      for (const { m, l } of records[0]!.flat()) {
        expect(m).toBeLessThan(-1e29);
        expect(l).toBe(0);
      }
    },
  );
});

describe("merging attention", () => {
  /** Slot 0 holds all entries; the slots after it hold a share of them each. One query for all. */
  async function merged(
    shape: typeof F32 | typeof F16,
    cuts: number[],
    merge: (
      graph: BenchGraph,
      parts: PartialAttention[],
      sinks: Float32Array<ArrayBuffer>,
    ) => ReturnType<typeof mergeAttention>,
    path: Partial<Case> = {},
  ): Promise<{ out: Float32Array; expected: Float64Array }> {
    const length = cuts.reduce((a, b) => a + b, 0);
    const c: Case = { ...shape, segments: [length, ...cuts].map(decode), sinks: true, ...path };
    const data = makeData(c);
    let from = 0;
    cuts.forEach((count, part) => {
      for (let index = 0; index < count; index++) {
        for (let head = 0; head < c.heads; head++) {
          const { key, value } = data.entry(0, from + index, head);
          data.pool.store(part + 1, index, head, key, value);
        }
      }
      from += count;
    });
    const width = c.queries * c.headDim;
    for (let row = 1; row <= cuts.length; row++) data.q.copyWithin(row * width, 0, width);
    const expected = Float64Array.from({ length: c.queries }, (_, h) => h).reduce<number[]>(
      (all, h) => [...all, ...attentionReference(problem(c, data, 0, 0, 0, h), c.headDim)],
      [],
    );
    // Rows of one program cannot be merged: run once, then give row i of the result as row 0 of part i.
    const records = await runCase(
      bench,
      c,
      data,
      (graph, q, cache, options) => attentionPartial(graph, q, cache, 1, options),
      async (program, partial) => ({ words: await program.floats(partial.state), partial }),
    );
    const { parts } = records.partial;
    const row = parts * c.queries * (c.headDim + 4);
    const out = await bench.run(
      { plan: { segments: [{ slot: 0, tokens: null }] }, rows: 2 },
      (graph) => {
        const states = cuts.map((_, i): PartialAttention => {
          const words = new Float32Array(2 * row).fill(NaN);
          words.set(records.words.subarray((i + 1) * row, (i + 2) * row));
          return { ...records.partial, state: graph.input("rows", row, words) };
        });
        return merge(graph, states, data.sinks);
      },
      (program, tensor) => program.words(tensor),
    );
    expect(out.subarray(width).every((word) => word === UNTOUCHED)).toBe(true);
    return { out: new Float32Array(out.slice(0, width).buffer), expected: Float64Array.from(expected) };
  }

  const whole = (graph: BenchGraph, parts: PartialAttention[], sinks: Float32Array<ArrayBuffer>) =>
    mergeAttention(graph, parts, { sinks: graph.upload(sinks) });

  it.each([
    [F16, [42, 33]],
    [F32, [1, 70]],
    [F32, [70, 1]],
    [F32, [5, 64, 33]],
    [F32, [30, 2, 40, 1, 7]],
    [F16, [75]],
  ] as const)("gives the whole of keys in several parts: %o, %o", async (shape, cuts) => {
    const { out, expected } = await merged(shape, [...cuts], whole);
    expectClose(out, expected);
  });

  it("takes parts that are split themselves", async () => {
    const { out, expected } = await merged(F32, [130, 3, 65], whole, { tuning: splits(32), room: 2 });
    expectClose(out, expected);
  });

  it("joins two parts to one that can be merged again", async () => {
    const again = (graph: BenchGraph, [a, b, d]: PartialAttention[], sinks: Float32Array<ArrayBuffer>) =>
      whole(graph, [joinAttention(graph, a!, joinAttention(graph, b!, d!))], sinks);
    const { out, expected } = await merged(F32, [20, 31, 40], again, { tuning: splits(32) });
    expectClose(out, expected);
  });

  it.each([1, 2, 3])(
    "gives zeros where %i parts are all empty, whatever is where their sums would be",
    async (count) => {
      const random = new Random(count);
      const [heads, valueDim] = [3, 12];
      const out = await bench.run(
        { plan: { segments: [{ slot: 0, tokens: null }] } },
        (graph) => {
          const parts = Array.from({ length: count }, (): PartialAttention => {
            const words = new Float32Array(heads * (valueDim + 4)).fill(NaN);
            for (let h = 0; h < heads; h++) words.set([-1e30, 0, 0, 0], h * (valueDim + 4) + valueDim);
            return { state: graph.input("rows", words.length, words), parts: 1, heads, valueDim };
          });
          return mergeAttention(graph, parts, random.below(2) ? {} : { sinks: graph.upload(new Float32Array(heads)) });
        },
        (program, tensor) => program.floats(tensor),
      );
      expect([...out].every((v) => v === 0)).toBe(true);
    },
  );
});
