import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attention } from "../../src/kernels/attention.ts";
import { expectClose } from "../reference/compare.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";
import {
  decode,
  makeData,
  prefill,
  reference,
  rowsOf,
  runCase,
  splits,
  title,
  tree,
  type Case,
  type Data,
  type Make,
  type Segment,
} from "./attention-cases.ts";

const F32 = { format: "f32", pageSize: 32, heads: 2, headDim: 8, queries: 4 } as const;
const F16 = { format: "f16", pageSize: 64, heads: 1, headDim: 64, queries: 3 } as const;
const INT8 = { format: "int8", pageSize: 32, heads: 2, headDim: 40, valueDim: 24, queries: 6 } as const;

/** Up to eight rows go through attention_split, a row to a workgroup; more through attention_tile. */
const FEW: Segment[] = [decode(1), decode(65), prefill(30, 3), decode(33)];
/** Three sequences of different lengths, two of them decoding. */
const RAGGED: Segment[] = [decode(1), decode(65), prefill(30, 7)];
/** Several splits, full and not, and some that nobody needs. */
const SPLIT = { tuning: splits(64), room: 3 };
const ONE_BY_ONE = { tuning: splits(64, { deterministic: true }) };

/** A prefill that fills tiles of 8 tokens once, almost, and one more, after a prefix at each place in a tile. */
const AROUND: Segment[][] = [
  [prefill(0, 9)],
  [prefill(31, 15)],
  [prefill(32, 16)],
  [prefill(33, 17)],
  [prefill(20, 64)],
  [prefill(63, 33), prefill(0, 1), prefill(5, 8)],
];

const CASES: Case[] = [
  // Around each boundary of page and split.
  ...[1, 31, 32, 33, 63, 64, 65, 130].flatMap((n): Case[] => [
    { ...F32, segments: [decode(n)] },
    { ...F16, segments: [decode(n)] },
    { ...INT8, segments: [decode(n)], ...SPLIT },
  ]),
  ...[127, 128, 129, 193].map((n): Case => ({ ...F32, segments: [decode(n), decode(1), decode(64)], ...SPLIT })),
  { ...F16, pageSize: 128, segments: [decode(64), decode(65), decode(200)], ...SPLIT },
  { ...F16, segments: [decode(70), decode(190)], tuning: splits(512) },
  // A row's splits in turn, and rows that belong to no segment.
  { ...F32, segments: [decode(193), decode(64), decode(1), prefill(60, 6)], ...ONE_BY_ONE, spare: 3 },
  { ...INT8, segments: [decode(130), prefill(0, 9)], ...ONE_BY_ONE },
  { ...F32, segments: [decode(33), decode(2)], spare: 2 },
  // Prefill from nothing and after a prefix, ragged batches with decode rows first.
  ...AROUND.flatMap((segments): Case[] => [
    { ...F32, segments },
    { ...F16, segments },
    { ...INT8, segments },
  ]),
  { ...F32, segments: [decode(33), decode(2), decode(130)] },
  { ...F32, segments: [decode(64), decode(1), prefill(0, 5), prefill(40, 30)], spare: 3 },
  { ...F16, segments: [decode(7), decode(129), prefill(63, 3)], spare: 20 },
  { ...F32, segments: [decode(129), prefill(3, 40)], tuning: { attention: { rows: 16, split: 256 } } },
  // Every way of sharing key heads, every width of a head. Each is a pipeline to compile: seconds on a software GPU.
  { ...F32, heads: 2, queries: 2, segments: RAGGED },
  { ...F32, heads: 3, queries: 9, headDim: 12, segments: RAGGED },
  { ...F16, heads: 2, queries: 16, headDim: 80, segments: RAGGED },
  { ...F16, heads: 2, queries: 16, headDim: 80, segments: FEW },
  { ...F32, heads: 1, queries: 3, headDim: 128, segments: RAGGED },
  { ...F16, heads: 1, queries: 2, headDim: 192, valueDim: 128, segments: RAGGED },
  { ...F16, heads: 1, queries: 2, headDim: 192, valueDim: 128, segments: FEW },
  { ...INT8, heads: 1, queries: 5, headDim: 8, valueDim: 72, segments: RAGGED },
  { ...INT8, heads: 1, queries: 5, headDim: 8, valueDim: 72, segments: FEW },
  { ...F32, heads: 1, queries: 1, headDim: 260, segments: RAGGED },
  // More heads than a workgroup takes.
  { ...F32, heads: 1, queries: 8, headDim: 256, segments: FEW },
  { ...F32, heads: 2, queries: 26, headDim: 8, segments: FEW },
  { ...F16, heads: 2, queries: 80, headDim: 8, segments: RAGGED },
  // Encoders: later rows of the segment are seen, other segments are not.
  { ...F32, causal: false, segments: [prefill(0, 1), prefill(0, 3), prefill(2, 2)] },
  { ...F32, causal: false, segments: [prefill(0, 1), prefill(0, 32), prefill(0, 40)] },
  { ...F32, causal: false, segments: [prefill(33, 31), decode(5)] },
  { ...F32, causal: false, segments: [prefill(0, 65)] },
  // Token trees: a chain, a fan, a binary tree, one longer than the mask; the last two in tiles.
  { ...F32, segments: [{ length: 20, count: 5, ancestors: tree([null, 0, 1, 2, 3]) }] },
  { ...F32, segments: [{ length: 31, count: 6, ancestors: tree([null, null, null, null, 0, 2]) }, decode(9)] },
  { ...F16, segments: [decode(3), { length: 63, count: 7, ancestors: tree([null, 0, 0, 1, 1, 2, 2]) }] },
  { ...F16, segments: [decode(3), { length: 63, count: 7, ancestors: tree([null, 0, 0, 1, 1, 2, 2]) }], spare: 1 },
  {
    ...F32,
    segments: [{ length: 0, count: 40, ancestors: tree(Array.from({ length: 40 }, (_, i) => (i < 2 ? null : i - 2))) }],
  },
  {
    ...F32,
    segments: [{ length: 0, count: 40, ancestors: tree(Array.from({ length: 40 }, (_, i) => (i < 2 ? null : i - 2))) }],
    ...ONE_BY_ONE,
  },
  { ...F32, causal: false, segments: [{ length: 3, count: 3, ancestors: [0b110, 0b101, 0b011] }] },
  // Sliding windows: what lies in pages before them is NaN.
  ...[1, 2, 32, 33, 64, 65, 100].map((window): Case => ({
    ...F32,
    window,
    segments: [decode(130), decode(1), decode(65), decode(33)],
    ...SPLIT,
  })),
  ...[1, 5, 31, 32, 33, 70].map((window): Case => ({ ...F32, window, segments: [decode(130), prefill(62, 40)] })),
  { ...F16, window: 40, segments: [prefill(120, 20), prefill(0, 70)] },
  { ...F32, window: 40, segments: [decode(200), prefill(120, 20)], ...ONE_BY_ONE },
  { ...F32, window: 9, causal: false, segments: [prefill(70, 20)] },
  { ...F32, window: 9, causal: false, segments: [prefill(70, 5)] },
  // The terms, on each path: few rows, several splits, tiles, splits in turn.
  ...[{}, SPLIT, { spare: 9 }, { ...ONE_BY_ONE, spare: 9 }].flatMap((path): Case[] => {
    const segments = [decode(70), decode(9), prefill(63, 3)];
    return [
      { ...F32, softcap: 2, segments, ...path },
      { ...F32, slopes: true, segments, ...path },
      { ...F32, sinks: true, segments, ...path },
      { ...F32, sinks: true, slopes: true, softcap: 5, window: 40, segments, ...path },
    ];
  }),
  { ...F32, slopes: true, causal: false, segments: [prefill(40, 12)] },
  { ...F32, slopes: true, causal: false, segments: [prefill(40, 3)] },
  { ...INT8, slopes: true, softcap: 3, segments: [decode(80), prefill(20, 14)] },
  { ...INT8, softcap: 3, sinks: true, segments: [decode(80), prefill(20, 3)] },
];

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

function run(c: Case, data: Data): Promise<Uint32Array<ArrayBuffer>> {
  return runCase(
    bench,
    c,
    data,
    (graph, q, cache, options) => attention(graph, q, cache, 1, options),
    (program, out) => program.words(out),
  );
}

const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

describe("attention", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const data = makeData(c);
    const words = await run(c, data);
    const expected = reference(c, data);
    expectClose(floats(words.subarray(0, expected.length)), expected);
    const beyond = words.subarray(expected.length);
    expect(beyond.length).toBe((c.spare ?? 0) * c.queries * (c.valueDim ?? c.headDim));
    expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
  });

  it.each<Case>([
    { ...F32, segments: [decode(70), prefill(20, 20)] },
    { ...F16, segments: [decode(70), prefill(20, 20)] },
    { ...F32, segments: [decode(70), prefill(20, 3)], ...SPLIT },
    { ...F16, segments: [decode(70), prefill(20, 3)] },
  ])("is right where scores and values are large: %o", async (c) => {
    // Whole numbers, so that scores of some 10⁴ are exact in f32 and their differences are the reference's.
    const whole: Make = (random, count, what) =>
      Float32Array.from({ length: count }, () => (random.below(17) - 8) * { q: 16, k: 16, v: 8000 }[what]);
    const data = { ...makeData(c, whole), scale: 2 ** -4 };
    expectClose(floats(await run(c, data)), reference(c, data));
  });

  it.each([{}, SPLIT, { spare: 9 }, { ...ONE_BY_ONE, spare: 9 }])(
    "takes queries and keys of 10⁴ on %o",
    async (path) => {
      // Scores of up to 10⁸: the largest takes it all.
      const large: Make = (random, count, what) => random.normals(count, what === "v" ? 1 : 1e4);
      const c: Case = { ...F32, segments: [decode(70), prefill(3, 3)], ...path };
      const data = makeData(c, large);
      const width = c.queries * c.headDim;
      const out = floats(await run(c, data)).subarray(0, rowsOf(c) * width);
      expectClose(out, reference(c, data));
    },
  );

  it.each([{}, SPLIT, { spare: 9 }])("weighs equal scores equally on %o", async (path) => {
    const c: Case = { ...F32, segments: [decode(70), prefill(3, 3)], ...path };
    const data = makeData(c, (random, count, what) => (what === "k" ? new Float32Array(count) : random.normals(count)));
    expectClose(floats(await run(c, data)).subarray(0, rowsOf(c) * c.queries * c.headDim), reference(c, data));
  });

  it.each<Partial<Case>>([{}, SPLIT, { spare: 9 }, { ...ONE_BY_ONE, spare: 9 }, { sinks: true }])(
    "gives a row that sees nothing zeros: %o",
    async (path) => {
      const c: Case = { ...F32, segments: [{ length: 0, count: 3, ancestors: [0, 0b10, 0] }], ...path };
      const data = makeData(c);
      const out = floats(await run(c, data)).subarray(0, 96);
      expect(out.subarray(0, 32).every((v) => v === 0)).toBe(true);
      expect(out.subarray(64).every((v) => v === 0)).toBe(true);
      expectClose(out, reference(c, data));
    },
  );
});

describe("attention, bit for bit", () => {
  it.each<Case>([
    { ...F16, segments: [decode(33), decode(100), prefill(50, 3)], ...SPLIT },
    { ...F16, segments: [decode(33), decode(100), prefill(50, 16)] },
    { ...INT8, segments: [decode(33), decode(100), prefill(50, 16)], ...ONE_BY_ONE },
  ])("is the same in every run: %o", async (c) => {
    const data = makeData(c);
    expect(await run(c, data)).toEqual(await run(c, data));
  });

  it("gives a row that needs one split the same, however many were recorded", async () => {
    const c: Case = { ...F16, segments: [decode(64), decode(1), decode(33)], tuning: splits(64) };
    const one: Case = { ...c, tuning: splits(128) };
    const data = makeData(one);
    expect(data.pool.pagesPerSequence * c.pageSize).toBe(128);
    const expected = await run(one, data);
    expect(await run(c, data)).toEqual(expected);
    expect(await run({ ...c, room: 5 }, data)).toEqual(expected);
  });

  it("joins splits the same, one after another or side by side", async () => {
    for (const shape of [F32, F16, INT8]) {
      const c: Case = { ...shape, segments: [decode(250), decode(65), prefill(126, 4)], tuning: splits(64) };
      const data = makeData(c);
      const wide: Case = { ...c, spare: 5, tuning: splits(64, { deterministic: true }) };
      const width = c.queries * ("valueDim" in shape ? shape.valueDim : shape.headDim);
      const q = new Float32Array(11 * c.queries * c.headDim);
      q.set(data.q);
      const all = await run(wide, { ...data, q });
      expect(await run(c, data)).toEqual(all.subarray(0, 6 * width));
    }
  });

  it("gives a row of a deterministic engine the same in any company", async () => {
    const c: Case = { ...F16, segments: [decode(33), decode(100), prefill(50, 9)], ...ONE_BY_ONE };
    const data = makeData(c);
    const all = await run(c, data);
    const width = c.queries * c.headDim;
    const rows = (...at: number[]): Float32Array<ArrayBuffer> =>
      Float32Array.from(at.flatMap((row) => [...data.q.subarray(row * width, (row + 1) * width)]));
    // The second sequence alone, in another slot's place, and the last row of the prefill as a decode row.
    const alone: Case = { ...c, segments: [decode(1), decode(100)], ...ONE_BY_ONE };
    expect((await run(alone, { ...data, q: rows(5, 1) })).subarray(width)).toEqual(all.subarray(width, 2 * width));
    const later: Case = { ...c, segments: [decode(33), decode(100), decode(59)] };
    const last = await run(later, { ...data, q: rows(0, 1, 10) });
    expect(last.subarray(2 * width)).toEqual(all.subarray(10 * width));
  });

  it("keeps f16 tiles of f16 entries what they are", async () => {
    const c: Case = { ...F16, segments: [decode(70), prefill(50, 20)] };
    const data = makeData(c);
    expect(await run({ ...c, tuning: { f16: false } }, data)).toEqual(await run(c, data));
  });
});
