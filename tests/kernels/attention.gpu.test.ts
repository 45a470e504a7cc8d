import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attention, attentionPartial } from "../../src/kernels/attention.ts";
import type { CacheView } from "../../src/kernels/batch.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import { attentionReference, mergePartials } from "../reference/attention.ts";
import { expectClose } from "../reference/compare.ts";
import { Pool, type PoolShape } from "../reference/pool.ts";
import { Random } from "../reference/random.ts";
import { KernelBench, UNTOUCHED, type BenchGraph } from "../support/kernel-bench.ts";

interface Segment {
  /** Entries that were there before the batch. */
  length: number;
  /** Rows; one is a decode row. */
  count: number;
  ancestors?: readonly number[];
}

interface Case extends PoolShape {
  /** Query heads. */
  queries: number;
  segments: readonly Segment[];
  causal?: boolean;
  /** Rows the program is recorded for beyond the batch's. */
  spare?: number;
}

/** A decode row that sees this many entries, its own among them. */
const decode = (visible: number): Segment => ({ length: visible - 1, count: 1 });
const prefill = (length: number, count: number): Segment => ({ length, count });

const F32 = { format: "f32", pageSize: 32, heads: 2, headDim: 8, queries: 4 } as const;
const F16 = { format: "f16", pageSize: 64, heads: 1, headDim: 64, queries: 3 } as const;

/** Three sequences of different lengths, two of them decoding. */
const RAGGED: Segment[] = [decode(1), decode(65), prefill(30, 7)];

/** Row i sees itself, its parent and so on up: a token tree. */
function tree(parents: readonly (number | null)[]): number[] {
  const masks: number[] = [];
  parents.forEach((parent, i) => masks.push(((parent === null ? 0 : masks[parent]!) | (i < 32 ? 1 << i : 0)) >>> 0));
  return masks;
}

const CASES: Case[] = [
  // Around each boundary of tile and page.
  ...[1, 31, 32, 33, 63, 64, 65, 130].flatMap((n): Case[] => [
    { ...F32, segments: [decode(n)] },
    { ...F16, segments: [decode(n)] },
  ]),
  // Prefill from nothing and after a prefix, ragged batches with decode rows first.
  { ...F32, segments: [prefill(0, 33)] },
  { ...F32, segments: [prefill(31, 2)] },
  { ...F16, segments: [prefill(60, 70)] },
  { ...F32, segments: [decode(33), decode(2), decode(130)] },
  { ...F32, segments: [decode(64), decode(1), prefill(0, 5), prefill(40, 30)], spare: 3 },
  { ...F16, segments: [decode(7), decode(129), prefill(63, 3)], spare: 20 },
  // Every way of sharing key heads, every width of a head. Each is a pipeline to compile: seconds on a software GPU.
  { ...F32, heads: 2, queries: 2, segments: RAGGED },
  { ...F32, heads: 3, queries: 9, headDim: 12, segments: RAGGED },
  { ...F16, heads: 2, queries: 2, headDim: 12, segments: RAGGED },
  { ...F16, heads: 2, queries: 16, headDim: 80, segments: RAGGED },
  { ...F32, heads: 1, queries: 3, headDim: 128, segments: RAGGED },
  // More heads than a workgroup takes: 7 and 1, 32 and 8, 31 and 9.
  { ...F32, heads: 1, queries: 8, headDim: 256, segments: RAGGED },
  { ...F16, heads: 2, queries: 80, headDim: 8, segments: RAGGED },
  { ...F16, heads: 1, queries: 40, headDim: 48, segments: RAGGED },
  // Encoders: later rows of the segment are seen, other segments are not.
  { ...F32, causal: false, segments: [prefill(0, 1), prefill(0, 32), prefill(0, 40)] },
  { ...F32, causal: false, segments: [prefill(33, 31), decode(5)] },
  { ...F32, causal: false, segments: [prefill(0, 65)] },
  // Token trees: a chain, a fan, a binary tree, one longer than the mask.
  { ...F32, segments: [{ length: 20, count: 5, ancestors: tree([null, 0, 1, 2, 3]) }] },
  { ...F32, segments: [{ length: 31, count: 6, ancestors: tree([null, null, null, null, 0, 2]) }, decode(9)] },
  { ...F16, segments: [decode(3), { length: 63, count: 7, ancestors: tree([null, 0, 0, 1, 1, 2, 2]) }] },
  {
    ...F32,
    segments: [{ length: 0, count: 40, ancestors: tree(Array.from({ length: 40 }, (_, i) => (i < 2 ? null : i - 2))) }],
  },
  { ...F32, causal: false, segments: [{ length: 3, count: 3, ancestors: [0b110, 0b101, 0b011] }] },
];

const title = ({ format, pageSize, heads, headDim, queries, segments, causal, spare }: Case): string =>
  `${format} pages of ${pageSize}, ${queries}/${heads} heads of ${headDim}${causal === false ? ", not causal" : ""}: ` +
  segments.map((s) => `${s.count} after ${s.length}${s.ancestors ? " (tree)" : ""}`).join(", ") +
  (spare ? `, ${spare} spare` : "");

interface Data {
  pool: Pool;
  /** [rows, queries · headDim] */
  q: Float32Array<ArrayBuffer>;
  scale: number;
  /** The entries' keys and values by slot, index and head. */
  entry(slot: number, index: number, head: number): { key: Float64Array; value: Float64Array };
}

/** Every entry that exists has values, and everything else in the pool is NaN. */
function makeData(c: Case, make: (random: Random, count: number, what: "q" | "k" | "v") => Float32Array): Data {
  const random = new Random(c.headDim * 31 + c.queries + c.segments.length);
  const pool = new Pool(
    c,
    c.segments.map((s) => s.length + s.count),
    random,
  );
  const entries = c.segments.map((s, slot) =>
    Array.from({ length: s.length + s.count }, (_, index) =>
      Array.from({ length: c.heads }, (_, head) => {
        return pool.store(slot, index, head, make(random, c.headDim, "k"), make(random, c.headDim, "v"));
      }),
    ),
  );
  const rows = c.segments.reduce((n, s) => n + s.count, 0) + (c.spare ?? 0);
  const q = new Float32Array(rows * c.queries * c.headDim);
  for (let at = 0; at < q.length; at += c.headDim) q.set(make(random, c.headDim, "q"), at);
  return { pool, q, scale: c.headDim ** -0.5, entry: (slot, index, head) => entries[slot]![index]![head]! };
}

const normal = (random: Random, count: number, what: "q" | "k" | "v"): Float32Array =>
  random.normals(count, what === "q" ? 3 : 1);

/** What a row sees, from the contract of Row and Segment. */
function seen({ length, count, ancestors }: Segment, offset: number, causal = true): number[] {
  const indices: number[] = [];
  for (let index = 0; index < length + count; index++) {
    const row = index - length;
    const allowed = row < 0 || row >= 32 || ((ancestors?.[offset] ?? 0xffffffff) >>> row) & 1;
    if (allowed && (row <= offset || !causal)) indices.push(index);
  }
  return indices;
}

function reference(c: Case, data: Data): Float64Array {
  const perGroup = c.queries / c.heads;
  const result: number[] = [];
  let row = 0;
  c.segments.forEach((segment, slot) => {
    for (let offset = 0; offset < segment.count; offset++, row++) {
      const indices = seen(segment, offset, c.causal);
      for (let h = 0; h < c.queries; h++) {
        const at = (row * c.queries + h) * c.headDim;
        const entries = indices.map((index) => data.entry(slot, index, Math.floor(h / perGroup)));
        const [keys, values] = [entries.map((e) => e.key), entries.map((e) => e.value)];
        result.push(
          ...attentionReference({ query: data.q.subarray(at, at + c.headDim), keys, values, scale: data.scale }),
        );
      }
    }
  });
  return Float64Array.from(result);
}

function cacheOf(graph: BenchGraph, { format, pageSize, heads, headDim }: Case, pool: Pool): CacheView {
  const decoy = graph.upload(new Uint32Array(64).fill(UNTOUCHED));
  const layers = [
    { pool: decoy, valueOffset: 0 },
    { pool: graph.upload(pool.words), ...pool.offsets },
  ];
  return { kind: "kv", format, pageSize, heads, headDim, layers };
}

function setup(c: Case, pool: Pool): Parameters<KernelBench["run"]>[0] {
  const rows = c.segments.reduce((n, s) => n + s.count, 0);
  return {
    plan: {
      segments: c.segments.map(({ count, ancestors }, slot) => ({
        slot,
        tokens: new Array<number>(count).fill(0),
        ...(ancestors && { ancestors }),
      })),
    },
    slots: c.segments.map(({ length }, slot) => ({ length, position: length + 1000, pages: pool.pages[slot]! })),
    limits: { rows: 256, pagesPerSequence: pool.pagesPerSequence },
    rows: rows + (c.spare ?? 0),
  };
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

function run(c: Case, data: Data): Promise<Uint32Array<ArrayBuffer>> {
  const draw = (graph: BenchGraph): Tensor => {
    const q = graph.input("rows", c.queries * c.headDim, data.q);
    const options = { scale: data.scale, ...(c.causal === false && { causal: false }) };
    return attention(graph, q, cacheOf(graph, c, data.pool), 1, options);
  };
  return bench.run(setup(c, data.pool), draw, (program, out) => program.words(out));
}

interface Partial {
  out: Float32Array;
  lse: Float32Array;
}

function runPartial(c: Case, data: Data): Promise<Partial> {
  const draw = (graph: BenchGraph): ReturnType<typeof attentionPartial> => {
    const q = graph.input("rows", c.queries * c.headDim, data.q);
    return attentionPartial(graph, q, cacheOf(graph, c, data.pool), 1, { scale: data.scale });
  };
  return bench.run(setup(c, data.pool), draw, async (program, { out, lse }) => ({
    out: await program.floats(out),
    lse: await program.floats(lse),
  }));
}

const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

describe("attention", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const data = makeData(c, normal);
    const words = await run(c, data);
    const expected = reference(c, data);
    expectClose(floats(words.subarray(0, expected.length)), expected);
    const beyond = words.subarray(expected.length);
    expect(beyond.length).toBe((c.spare ?? 0) * c.queries * c.headDim);
    expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
  });

  it("is right where scores and values are large", async () => {
    // Whole numbers, so that scores of some 10⁴ are exact in f32 and their differences are the reference's.
    const whole = (random: Random, count: number, what: "q" | "k" | "v"): Float32Array =>
      Float32Array.from({ length: count }, () => (random.below(17) - 8) * { q: 16, k: 16, v: 8000 }[what]);
    for (const shape of [F32, F16]) {
      const c: Case = { ...shape, segments: [decode(70), prefill(20, 20)] };
      const data = { ...makeData(c, whole), scale: 2 ** -4 };
      expectClose(floats(await run(c, data)), reference(c, data));
    }
  });

  it("gives a row that sees nothing zeros", async () => {
    const c: Case = { ...F32, segments: [{ length: 0, count: 3, ancestors: [0, 0b10, 0] }] };
    const data = makeData(c, normal);
    const out = floats(await run(c, data));
    expect(out.subarray(0, 32).every((v) => v === 0)).toBe(true);
    expect(out.subarray(64).every((v) => v === 0)).toBe(true);
    expectClose(out, reference({ ...c, segments: [{ length: 0, count: 3, ancestors: [0, 0b10, 0] }] }, data));
  });

  it("gives a row the same bits in any company, and in every run", async () => {
    const c: Case = { ...F16, segments: [decode(33), decode(100), prefill(50, 6)] };
    const data = makeData(c, normal);
    const all = await run(c, data);
    expect(await run(c, data)).toEqual(all);
    const width = c.queries * c.headDim;
    // The second sequence alone: its slot, its pages, its row.
    const alone = await bench.run(
      {
        plan: { segments: [{ slot: 4, tokens: null }] },
        slots: [{}, {}, {}, {}, { length: 99, pages: data.pool.pages[1]! }],
        limits: { pagesPerSequence: data.pool.pagesPerSequence },
      },
      (graph) => {
        const q = graph.input("rows", width, data.q.slice(width, 2 * width));
        return attention(graph, q, cacheOf(graph, c, data.pool), 1, { scale: data.scale });
      },
      (program, out) => program.words(out),
    );
    expect(alone).toEqual(all.subarray(width, 2 * width));
    // The last row of a prefill, as a decode row.
    const later: Case = { ...c, segments: [c.segments[0]!, c.segments[1]!, decode(56)] };
    const same = { ...data, q: Float32Array.from([...data.q.subarray(0, 2 * width), ...data.q.subarray(7 * width)]) };
    expect((await run(later, same)).subarray(2 * width)).toEqual(all.subarray(7 * width));
  });
});

describe("attention, unfinished", () => {
  it.each<Case>([
    { ...F32, segments: [decode(70), prefill(3, 4)] },
    { ...F32, segments: [decode(1), prefill(60, 5), prefill(0, 3)] },
    { ...F16, segments: [decode(70), prefill(60, 5)] },
  ])("emits maximum, sum and unscaled result: %o", async (c) => {
    const data = makeData(c, normal);
    const { out, lse } = await runPartial(c, data);
    const finished = Float64Array.from(out, (v, i) => v / lse[2 * Math.floor(i / c.headDim) + 1]!);
    expectClose(finished, reference(c, data));
    // The first row's first head.
    const scores = seen(c.segments[0]!, 0).map((index) =>
      data.entry(0, index, 0).key.reduce((sum, k, d) => sum + k * data.q[d]! * data.scale, 0),
    );
    const top = Math.max(...scores);
    expectClose(lse.subarray(0, 2), [top, scores.reduce((sum, s) => sum + Math.exp(s - top), 0)]);
  });

  it("merges over two halves of the keys to the whole", async () => {
    // Slot 0 holds 75 entries, slots 1 and 2 the first 42 and the other 33 of them.
    const [cut, width] = [42, F16.queries * F16.headDim];
    const c: Case = { ...F16, segments: [decode(75), decode(cut), decode(75 - cut)] };
    const data = makeData(c, normal);
    for (let index = 0; index < 75; index++) {
      const [slot, at] = index < cut ? [1, index] : [2, index - cut];
      const whole = data.entry(0, index, 0);
      data.pool.store(slot, at, 0, whole.key, whole.value);
    }
    data.q.copyWithin(width, 0, width);
    data.q.copyWithin(2 * width, 0, width);
    const { out, lse } = await runPartial(c, data);
    const merged = Array.from({ length: F16.queries }, (_, h) =>
      mergePartials(
        [1, 2].map((row) => {
          const at = (row * F16.queries + h) * F16.headDim;
          const [m, l] = lse.subarray(2 * (row * F16.queries + h));
          return { out: out.subarray(at, at + F16.headDim), m: m!, l: l! };
        }),
      ),
    );
    expectClose(
      merged.flatMap((head) => [...head]),
      reference(c, data).subarray(0, width),
    );
  });

  it("weighs a row that sees nothing zero", async () => {
    const c: Case = { ...F32, segments: [{ length: 0, count: 1, ancestors: [0] }] };
    const { out, lse } = await runPartial(c, makeData(c, normal));
    expect(out.every((v) => v === 0)).toBe(true);
    for (let h = 0; h < c.queries; h++) {
      expect(lse[2 * h]).toBeLessThan(-1e29);
      expect(lse[2 * h + 1]).toBe(0);
    }
  });
});
