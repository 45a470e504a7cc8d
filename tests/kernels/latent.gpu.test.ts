import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { LatentView } from "../../src/kernels/batch.ts";
import { mergeAttention } from "../../src/kernels/attention-merge.ts";
import { latentPrompt, latentRooms, takesPrompts } from "../../src/kernels/latent-expand.ts";
import {
  latentAttention,
  latentOutput,
  latentPartial,
  latentQuery,
  latentWrite,
  type LatentHeads,
  type LatentRope,
} from "../../src/kernels/latent.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { expectClose, F16_BOUND, F32_BOUND } from "../reference/compare.ts";
import { latentReference, mixedValues } from "../reference/latent.ts";
import { normReference } from "../reference/norm.ts";
import { Pool } from "../reference/pool.ts";
import { Random } from "../reference/random.ts";
import { ropeFrequencies, ropeReference, ropeTableValues } from "../reference/rope.ts";
import type { WeightLayout } from "../../src/weights/quant/layout.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, UNTOUCHED, type BenchGraph } from "../support/kernel-bench.ts";

/** Sizes of a latent cache, as LatentView names them. */
interface Shape {
  format: "f32" | "f16";
  pageSize: number;
  rank: number;
  ropeDim: number;
}

interface Segment {
  length: number;
  position?: number;
  count: number;
  ancestors?: readonly number[];
}

interface WriteCase extends Shape {
  segments: readonly Segment[];
  interleaved?: boolean;
  magnitude?: number;
  zero?: boolean;
  /** Column of a wider row from which the latent is read. */
  column?: number;
  spare?: number;
  subgroups?: false;
}

interface AttentionCase extends Shape {
  heads: number;
  segments: readonly Segment[];
  /** Tokens of a split; as the portable tuning has it where absent. */
  split?: number;
  deterministic?: boolean;
  magnitude?: number;
  spare?: number;
}

const SMALL = { format: "f32", pageSize: 32, rank: 24, ropeDim: 8 } as const;
const DEEPSEEK = { pageSize: 64, rank: 512, ropeDim: 64 } as const;
const one = (length: number, position = length): Segment => ({ length, position, count: 1 });
const run = (length: number, count: number): Segment => ({ length, position: length, count });

const WRITES: WriteCase[] = [
  ...[0, 1, 31, 32, 33, 255, 256, 257].flatMap((length): WriteCase[] => [
    { ...SMALL, segments: [one(length)] },
    { ...SMALL, format: "f16", interleaved: true, segments: [one(length)] },
  ]),
  ...[4095, 4096, 65535, 100_000].map((position): WriteCase => ({ ...SMALL, segments: [one(40, position)] })),
  { ...SMALL, segments: [run(5, 70)] },
  { ...SMALL, format: "f16", segments: [one(31), run(60, 12), run(0, 40)], spare: 6 },
  // Widths on both sides of one round of 64 lanes, whole and with a rest.
  ...[8, 240, 248, 256, 264, 512].map((rank): WriteCase => ({ ...SMALL, rank, segments: [run(30, 4)] })),
  ...[4, 12, 16, 64].map((ropeDim): WriteCase => ({ ...SMALL, ropeDim, interleaved: true, segments: [run(30, 4)] })),
  ...(["f32", "f16"] as const).map((format): WriteCase => ({ ...DEEPSEEK, format, segments: [one(63), run(62, 3)] })),
  { ...SMALL, rank: 264, segments: [run(30, 4)], subgroups: false },
  { ...SMALL, magnitude: 1e5, segments: [run(30, 4)] },
  { ...SMALL, format: "f16", magnitude: 1e5, segments: [run(30, 4)] },
  { ...SMALL, magnitude: 1e-3, segments: [run(30, 4)] },
  { ...SMALL, zero: true, segments: [run(30, 2)] },
  ...[12, 64].map((column): WriteCase => ({ ...SMALL, column, segments: [run(30, 5), one(7)] })),
];

const tree = [0b1, 0b11, 0b101, 0b1011, 0b10101, 0b100001, 0b1000111];

const ATTENTIONS: AttentionCase[] = [
  // Around a tile of 16 keys, a page, and two.
  ...[1, 2, 14, 15, 16, 17, 30, 31, 32, 33, 63, 64, 65].map((length, i): AttentionCase => ({
    ...SMALL,
    format: i % 2 ? "f16" : "f32",
    heads: 4,
    segments: [one(length)],
  })),
  { ...SMALL, heads: 4, segments: [one(0)] },
  // Around a slice of 64 elements, in the scores and in the sums.
  ...[8, 48, 56, 64, 72, 120, 128, 136].map((rank): AttentionCase => ({
    ...SMALL,
    rank,
    heads: 3,
    segments: [one(37)],
  })),
  ...[16, 40, 64].map((ropeDim): AttentionCase => ({ ...SMALL, ropeDim, heads: 3, segments: [one(37)] })),
  // Heads around a workgroup's 16.
  ...[1, 2, 15, 16, 17, 20, 33, 128].map((heads): AttentionCase => ({ ...SMALL, heads, segments: [one(20)] })),
  // Prefill, several sequences, rows past the batch.
  { ...SMALL, heads: 4, segments: [run(0, 40)] },
  { ...SMALL, heads: 4, format: "f16", segments: [one(33), one(5), run(20, 30)], spare: 7 },
  { ...SMALL, heads: 17, segments: [run(15, 18)] },
  // A tree of drafts; past the 32nd row everything of the segment is seen; a row that sees nothing.
  { ...SMALL, heads: 4, segments: [{ length: 30, count: 7, ancestors: tree }] },
  { ...SMALL, heads: 4, segments: [{ length: 0, count: 36, ancestors: new Array<number>(36).fill(1) }] },
  { ...SMALL, heads: 4, segments: [{ length: 0, count: 3, ancestors: [0, 1, 0] }, one(9)] },
  // Splits: around their boundaries, tiles and pages in them, splits without keys.
  ...[14, 15, 16, 30, 31, 32, 62, 63, 64, 100].map((length): AttentionCase => ({
    ...SMALL,
    heads: 3,
    segments: [one(length)],
    split: 32,
  })),
  { ...SMALL, heads: 17, segments: [one(50)], split: 16 },
  { ...SMALL, heads: 4, format: "f16", segments: [one(3), run(90, 4), one(70)], split: 48, spare: 3 },
  { ...SMALL, heads: 4, segments: [{ length: 30, count: 7, ancestors: tree }], split: 16 },
  { ...SMALL, heads: 4, segments: [{ length: 0, count: 3, ancestors: [0, 1, 0] }], split: 16 },
  { ...SMALL, rank: 136, heads: 3, segments: [one(40)], split: 16 },
  // Many rows, or bits that no company may change: not split.
  { ...SMALL, heads: 2, segments: [run(60, 17)], split: 16 },
  { ...SMALL, heads: 2, segments: [one(60)], split: 16, deterministic: true },
  // Real sizes.
  { ...DEEPSEEK, format: "f16", heads: 16, segments: [one(70), one(3)] },
  { ...DEEPSEEK, format: "f16", heads: 16, segments: [one(130)], split: 64 },
  { ...DEEPSEEK, format: "f32", heads: 16, segments: [run(13, 4)], split: 512 },
  // Large numbers.
  { ...SMALL, heads: 4, magnitude: 1e4, segments: [one(40)] },
  { ...SMALL, heads: 4, magnitude: 1e5, segments: [one(40)], split: 16 },
];

function title(c: WriteCase | AttentionCase): string {
  const { format, pageSize, rank, ropeDim, segments, ...rest } = c;
  const traits = Object.entries(rest).map(([name, value]) => (value === true ? name : `${name} ${value}`));
  const runs = segments.map(
    ({ length, position = length, count, ancestors }) =>
      `${count} at ${position}${position === length ? "" : ` (length ${length})`}${ancestors ? ", a tree" : ""}`,
  );
  return [`${format} pages of ${pageSize}, ${rank} + ${ropeDim}`, ...traits].join(", ") + `: ${runs.join("; ")}`;
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const LAYER = 1;
const EPS = 1e-6;

/** A batch over these segments: its setup, its rows, and a pool that has room for them. */
function batchOf(shape: Shape, segments: readonly Segment[], random: Random, spare = 0) {
  const { format, pageSize, rank, ropeDim } = shape;
  const ends = segments.map((s) => s.length + s.count);
  const pool = new Pool({ format, pageSize, heads: 1, headDim: rank + ropeDim, valueDim: 0 }, ends, random);
  const rows = segments.flatMap(({ length, position = length, count, ancestors }, slot) =>
    Array.from({ length: count }, (_, i) => ({
      slot,
      position: position + i,
      index: length + i,
      start: length,
      ancestors: ancestors?.[i] ?? 0xffffffff,
    })),
  );
  const setup = {
    plan: {
      segments: segments.map(({ count, ancestors }, slot) => ({
        slot,
        tokens: new Array<number>(count).fill(0),
        ...(ancestors && { ancestors }),
      })),
    },
    slots: segments.map(({ length, position = length }, slot) => ({ length, position, pages: pool.pages[slot]! })),
    limits: { rows: 256, pagesPerSequence: pool.pagesPerSequence },
    rows: rows.length + spare,
  };
  const view = (graph: BenchGraph): LatentView => ({
    kind: "latent",
    ...shape,
    layers: [0, LAYER].map((layer) => ({
      pool: graph.upload(layer === LAYER ? pool.words.slice() : new Uint32Array(pool.words.length)),
    })),
  });
  return { pool, rows, setup, view };
}

type Row = ReturnType<typeof batchOf>["rows"][number];

/** Which entries a row sees. */
const visible = ({ index, start, ancestors }: Row): number[] =>
  Array.from({ length: index + 1 }, (_, i) => i).filter(
    (i) => i < start || i - start >= 32 || ((ancestors >>> (i - start)) & 1) === 1,
  );

const tablesOf = (graph: BenchGraph, ropeDim: number, last: number) => {
  const { near, far } = ropeTableValues(ropeFrequencies(10000, ropeDim), last + 1);
  return { dim: ropeDim, near: graph.upload(near), far: graph.upload(far) };
};

describe("latent_write", () => {
  it.each(WRITES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { format, rank, ropeDim, segments, interleaved = false, magnitude = 1, spare = 0 } = c;
    const random = new Random(rank + ropeDim + segments.length);
    const { pool, rows, setup, view } = batchOf(c, segments, random, spare);
    const width = rank + ropeDim;
    const { column = 0 } = c;
    const between = width + column + (column && 4);
    const kv = random.normals((rows.length + spare) * width, c.zero ? 0 : magnitude);
    const gain = random.normals(rank);
    const last = Math.max(...rows.map((r) => r.position));
    const { written, other } = await bench.run(
      { ...setup, ...(c.subgroups === false && { tuning: { subgroups: false } }) },
      (graph) => {
        const cache = view(graph);
        const rope = tablesOf(graph, ropeDim, last);
        const options = { gain: graph.upload(gain), eps: EPS, rope, interleaved, ...(column && { column }) };
        latentWrite(graph, graph.input("rows", between, beside(kv, width, between, column)), cache, LAYER, options);
        return cache.layers;
      },
      async (program, layers) => ({
        written: await program.words(layers[LAYER]!.pool),
        other: await program.words(layers[0]!.pool),
      }),
    );
    const after = pool.with(written);
    const found: [number[], number[]] = [[], []];
    const expected: [number[], number[]] = [[], []];
    const clamp = (v: number): number => (format === "f16" ? Math.max(-65504, Math.min(65504, v)) : v);
    rows.forEach(({ slot, index, position }, m) => {
      const own = kv.subarray(m * width, (m + 1) * width);
      const entry = [...after.take(slot, index, 0).key];
      found[0].push(...entry.slice(0, rank));
      found[1].push(...entry.slice(rank));
      expected[0].push(...normReference(own.subarray(0, rank), { kind: "rms", eps: EPS, gain }));
      const turned = ropeReference(own.subarray(rank), position, ropeFrequencies(10000, ropeDim), interleaved);
      expected[1].push(...[...turned].map(clamp));
    });
    for (const i of [0, 1] as const) expectClose(found[i], expected[i], format === "f32" ? F32_BOUND : F16_BOUND);
    // What was not written is as it was: here, and in the other layer.
    expect(after.words).toEqual(pool.words);
    expect(other.every((word) => word === 0)).toBe(true);
  });
});

describe("latent_attention", () => {
  it.each(ATTENTIONS.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { rank, ropeDim, heads, segments, magnitude = 1, spare = 0 } = c;
    const random = new Random(rank + heads + segments.length);
    const { pool, rows, setup, view } = batchOf(c, segments, random, spare);
    const width = rank + ropeDim;
    const latents = segments.map((s, slot) =>
      Array.from(
        { length: s.length + s.count },
        (_, index) => pool.store(slot, index, 0, random.normals(width, magnitude), []).key,
      ),
    );
    const q = random.normals((rows.length + spare) * heads * width);
    const scale = 2 / Math.sqrt(width) / magnitude;
    const tuning = {
      ...(c.split && { attention: { ...PORTABLE.attention, split: c.split } }),
      ...(c.deterministic && { deterministic: true }),
    };
    const { words, again, dispatches } = await bench.run(
      { ...setup, tuning },
      (graph) => {
        const queries = graph.input("rows", heads * width, q);
        const out = latentAttention(graph, queries, view(graph), LAYER, { heads, scale });
        return { out, dispatches: graph.ops.length };
      },
      async (program, { out, dispatches }) => {
        const words = await program.words(out);
        program.submit();
        return { words, again: await program.words(out), dispatches };
      },
    );
    expect(again).toEqual(words);
    const splits = c.split !== undefined && !c.deterministic && rows.length + spare <= 16 && c.split !== 512;
    expect(dispatches).toBe(splits ? 2 : 1);

    const expected = rows.flatMap((row, m) => {
      const keys = visible(row).map((i) => latents[row.slot]![i]!);
      return Array.from({ length: heads }, (_, h) => {
        const query = q.subarray((m * heads + h) * width, (m * heads + h + 1) * width);
        return mixedValues(query, keys, keys, scale, rank);
      }).flat();
    });
    expectClose(new Float32Array(words.slice(0, expected.length).buffer), expected);
    expect(words.subarray(expected.length).every((word) => word === UNTOUCHED)).toBe(true);
  });

  it("gives a row the same bits alone as in a batch where that is asked for", async () => {
    const random = new Random(11);
    const [heads, width] = [4, 32];
    const { pool, setup, view } = batchOf(SMALL, [run(40, 9)], random);
    for (let i = 0; i < 49; i++) pool.store(0, i, 0, random.normals(width), []);
    const q = random.normals(9 * heads * width);
    const attend = (first: number, rows: number): Promise<Uint32Array> =>
      bench.run(
        {
          ...setup,
          plan: { segments: [{ slot: 0, tokens: new Array<number>(rows).fill(0) }] },
          slots: [{ ...setup.slots[0], length: 40 + first }],
          rows,
          tuning: { deterministic: true, attention: { ...PORTABLE.attention, split: 16 } },
        },
        (graph) => {
          const own = q.slice(first * heads * width, (first + rows) * heads * width);
          const queries = graph.input("rows", heads * width, own);
          return latentAttention(graph, queries, view(graph), LAYER, { heads, scale: 0.2 });
        },
        (program, out) => program.words(out),
      );
    const all = await attend(0, 9);
    for (const row of [0, 4, 8]) {
      expect(await attend(row, 1)).toEqual(all.subarray(row * heads * SMALL.rank, (row + 1) * heads * SMALL.rank));
    }
  });
});

describe("latent_attention in parts", () => {
  it.each([false, true])("gives what it gives whole (deterministic: %s)", async (deterministic) => {
    const random = new Random(12);
    const [heads, width] = [3, 32];
    const { pool, rows, setup, view } = batchOf(SMALL, [one(50), one(9), run(30, 2)], random, 2);
    for (const { slot, index } of rows) {
      for (let i = 0; i <= index; i++) pool.store(slot, i, 0, random.normals(width), []);
    }
    const q = random.normals((rows.length + 2) * heads * width);
    const found = await bench.run(
      { ...setup, tuning: { deterministic, attention: { ...PORTABLE.attention, split: 16 } } },
      (graph) => {
        const [cache, queries] = [view(graph), graph.input("rows", heads * width, q)];
        const part = latentPartial(graph, queries, cache, LAYER, { heads, scale: 0.2 });
        expect(part.parts).toBe(deterministic ? 1 : 6);
        const whole = latentAttention(graph, queries, cache, LAYER, { heads, scale: 0.2 });
        return { whole, merged: mergeAttention(graph, [part]) };
      },
      async (program, { whole, merged }) => [await program.floats(whole), await program.floats(merged)] as const,
    );
    const used = rows.length * heads * SMALL.rank;
    expectClose(found[1].subarray(0, used), found[0].subarray(0, used));
  });
});

/** Rows of `width` elements from `column` on in rows that are wider. */
function beside(values: Float32Array, width: number, wider: number, column: number): Float32Array<ArrayBuffer> {
  const rows = values.length / width;
  const whole = new Float32Array(rows * wider).fill(1e6);
  for (let m = 0; m < rows; m++) whole.set(values.subarray(m * width, (m + 1) * width), m * wider + column);
  return whole;
}

interface LayerCase extends AttentionCase {
  nope: number;
  valueDim: number;
  interleaved?: boolean;
  layout?: WeightLayout;
  /** Entries that may be expanded. */
  room?: number;
}

/** The whole of a layer's attention: what the kernels absorb, the reference expands into keys and values of each head. */
const LAYERS: LayerCase[] = [
  { ...SMALL, heads: 4, nope: 16, valueDim: 16, segments: [one(0)] },
  { ...SMALL, heads: 4, nope: 16, valueDim: 16, segments: [one(20)], interleaved: true },
  { ...SMALL, heads: 3, nope: 12, valueDim: 20, segments: [run(33, 6), one(300)], interleaved: true },
  { ...SMALL, format: "f16", heads: 17, nope: 8, valueDim: 9, segments: [run(0, 20)], spare: 5 },
  { ...SMALL, heads: 5, rank: 72, nope: 32, valueDim: 24, segments: [one(50), one(70)], split: 16, spare: 2 },
  // Split: rows around a tile of 4, results around 8 times 4, parts without keys, rows that see nothing.
  { ...SMALL, heads: 3, nope: 8, valueDim: 33, segments: [run(60, 5)], split: 16 },
  { ...SMALL, heads: 2, nope: 8, valueDim: 31, segments: [one(3), one(61)], split: 16, layout: "q8", spare: 6 },
  { ...SMALL, heads: 2, nope: 4, valueDim: 6, segments: [{ length: 0, count: 3, ancestors: [0, 1, 0] }], split: 16 },
  { ...SMALL, heads: 1, nope: 4, valueDim: 1, segments: [run(3, 9)] },
  { ...DEEPSEEK, format: "f16", heads: 2, nope: 128, valueDim: 128, segments: [run(62, 6)], interleaved: true },
];

/** In these sizes a part of what a prompt sees is worth expanding from 5 rows on, and the whole of a first chunk always. */
const PROMPT = { ...SMALL, nope: 4, valueDim: 4, heads: 3 } as const;

const PROMPTS: LayerCase[] = [
  // First chunks: all is expanded, around tiles of 32 keys and 64 entries.
  ...[1, 31, 33, 64, 65].map((count): LayerCase => ({ ...PROMPT, segments: [run(0, count)] })),
  // Later ones, and what does not pay among them.
  { ...PROMPT, segments: [run(100, 6)], interleaved: true },
  { ...PROMPT, segments: [run(100, 4)] },
  { ...PROMPT, format: "f16", segments: [one(33), run(20, 30), one(5)], spare: 5 },
  { ...PROMPT, segments: [run(0, 9), one(70), run(40, 12)], interleaved: true, spare: 9 },
  // Less room than entries: the last ones are expanded, and some rows see none of them; then none is left for the next.
  { ...PROMPT, segments: [run(60, 20)], room: 64 },
  { ...PROMPT, segments: [run(0, 100)], room: 64 },
  { ...PROMPT, segments: [run(3, 50), run(10, 30), run(0, 8)], room: 64 },
  { ...PROMPT, segments: [run(0, 40), run(9, 30), run(0, 5), run(20, 20)], room: 100, spare: 3 },
  // More heads than one tile has on a key, and sizes on the other side of a tile's: 64 results, 16 columns, 256 of a value.
  {
    ...PROMPT,
    heads: 33,
    nope: 8,
    valueDim: 12,
    rank: 72,
    segments: [run(50, 20), run(0, 40)],
    room: 64,
    interleaved: true,
  },
  { ...PROMPT, nope: 16, valueDim: 64, rank: 264, ropeDim: 64, segments: [run(0, 20), run(30, 3)], room: 64 },
  // A tree of drafts, and rows that see nothing.
  { ...PROMPT, segments: [{ length: 30, count: 7, ancestors: tree }] },
  { ...PROMPT, segments: [{ length: 0, count: 8, ancestors: [0, 1, 0, 1, 1, 0, 1, 1] }, one(9)] },
  // Layouts of the matrix.
  { ...PROMPT, layout: "f16", segments: [run(10, 40), one(4)] },
  { ...PROMPT, layout: "q4", segments: [run(10, 40), one(4)] },
  { ...PROMPT, magnitude: 1e4, segments: [run(20, 30)], room: 64 },
];

describe("latent layer", () => {
  it.each(LAYERS.map((c) => [title(c), c] as const))("%s", (_, c) => expectLayer(c, absorbedLayer));
});

describe("latent prompt", () => {
  // Each shape is five pipelines more, which take long to compile in a browser without a GPU.
  const cases =
    inject("lane") === "chromium"
      ? PROMPTS.filter((c) => c.heads === 3 && c.rank === 24 && c.format === "f32" && !c.layout)
      : PROMPTS;
  it.each(cases.map((c) => [title(c), c] as const))("%s", (_, c) => expectLayer(c, promptLayer));

  it("takes six dispatches a layer and one a step, for many rows of engines that may", async () => {
    await bench.run(
      { rows: 40 },
      (graph) => {
        const cache: LatentView = { ...batchOf(SMALL, [run(0, 40)], new Random(1)).view(graph) };
        const range = graph.upload(new Float32Array(64));
        const kvB: Linear = {
          name: "kv_b",
          inFeatures: 24,
          outFeatures: 24,
          layout: "f32",
          parts: [{ weights: range, rowStart: 0, rowCount: 24 }],
        };
        const rope = { dim: 8, near: range, far: range };
        const before = graph.ops.length;
        const rooms = latentRooms(graph, cache, PROMPT);
        latentPrompt(graph, graph.tensor("rows", 44), kvB, cache, LAYER, { ...PROMPT, rope, scale: 1, rooms });
        expect(graph.ops.length - before).toBe(7);
        expect(takesPrompts(graph)).toBe(true);
        expect(takesPrompts({ ...graph, rows: 31 } as BenchGraph)).toBe(false);
        expect(takesPrompts({ ...graph, tuning: { ...PORTABLE, deterministic: true } } as BenchGraph)).toBe(false);
      },
      () => Promise.resolve(),
    );
  });
});

/** Multiply-adds a head of a segment that has `count` rows behind `length` entries, `expanded` of all at the end. */
function costOf(shape: LatentHeads & Shape, { length, count }: Segment, expanded: number): number {
  const { rank, ropeDim, nope, valueDim } = shape;
  const all = length + count;
  // As if each row saw all entries, as the kernel has it.
  const [absorbedPairs, expandedPairs] = [count * (all - expanded), count * expanded];
  const move = rank * (nope + valueDim);
  return (
    (expanded < all ? count * move : 0) +
    expanded * move +
    absorbedPairs * (2 * rank + ropeDim) +
    expandedPairs * (nope + ropeDim + valueDim)
  );
}

const LITE = { ...DEEPSEEK, format: "f16", heads: 16, nope: 128, valueDim: 128 } as const;
const TINY = { ...PROMPT };

const ROOMS: { shape: LatentHeads & Shape; entries: number; segments: Segment[] }[] = [
  ...[TINY, LITE].flatMap((shape) => [
    { shape, entries: 4096, segments: [1, 4, 5, 100, 171, 256].map((count) => run(0, count)) },
    { shape, entries: 4096, segments: [1, 4, 5, 100, 170, 172].map((count) => run(600, count)) },
    { shape, entries: 8192, segments: [run(3000, 170), run(1, 1), run(3000, 171)] },
    { shape, entries: 300, segments: [run(0, 200), run(0, 120), one(40), run(0, 1)] },
    { shape, entries: 300, segments: [run(0, 301), run(0, 10)] },
    { shape, entries: 300, segments: [run(400, 200), run(0, 200)] },
    { shape, entries: 0, segments: [run(0, 9)] },
  ]),
];

describe("latent_room", () => {
  const roomsOf = async ({ shape, entries, segments }: (typeof ROOMS)[number]): Promise<Uint32Array> =>
    bench.run(
      {
        plan: {
          segments: segments.map(({ count }, i) => ({
            slot: segments.length - 1 - i,
            tokens: new Array<number>(count).fill(0),
          })),
        },
        slots: [...segments].reverse().map(({ length }) => ({ length })),
        limits: { rows: 1024 },
      },
      (graph) => latentRooms(graph, { kind: "latent", ...shape, layers: [] }, shape, entries).list,
      (program, list) => program.words(list),
    );

  it.each(
    ROOMS.map(
      (c) =>
        [
          `${c.shape.rank} + ${c.shape.ropeDim}, room for ${c.entries}: ${title({ ...c.shape, segments: c.segments })}`,
          c,
        ] as const,
    ),
  )("%s", async (_, c) => {
    const words = await roomsOf(c);
    let base = 0;
    c.segments.forEach((segment, s) => {
      const [first, end, at, slot] = words.subarray(4 * s);
      expect([end, at, slot]).toEqual([segment.length + segment.count, base, c.segments.length - 1 - s]);
      const taken = end! - first!;
      const most = Math.min(end!, c.entries - base);
      expect([0, most]).toContain(taken);
      // The cheaper of the two; where they cost the same, either.
      const [own, other] = [taken, most - taken].map((n) => costOf(c.shape, segment, n));
      expect(own).toBeLessThanOrEqual(other!);
      base += taken;
    });
    expect(words[4 * c.segments.length + 2]).toBe(base);
  });

  it("saves a third of a prompt of 512 tokens in two chunks, and a half in one", async () => {
    const costs = async (chunks: readonly Segment[]): Promise<number> => {
      let [chosen, absorbed] = [0, 0];
      for (const chunk of chunks) {
        const [first, end] = await roomsOf({ shape: LITE, entries: 4096, segments: [chunk] });
        chosen += costOf(LITE, chunk, end! - first!);
        absorbed += costOf(LITE, chunk, 0);
      }
      return chosen / absorbed;
    };
    expect(await costs([run(0, 512)])).toBeCloseTo((512 * 256 + 512 * 320) / (512 * 256 + 512 * 1088), 6);
    expect(await costs([run(0, 256), run(256, 256)])).toBeLessThan(0.7);
  });
});

type AttendLayer = (
  graph: BenchGraph,
  q: Tensor,
  kvB: Linear,
  cache: LatentView,
  layer: number,
  options: LatentHeads & LatentRope & { scale: number; room?: number },
) => Tensor;

/** The same over the latents of all entries. */
function absorbedLayer(...[graph, q, kvB, cache, layer, options]: Parameters<AttendLayer>): Tensor {
  const queries = latentQuery(graph, q, kvB, cache, options);
  const before = graph.ops.length;
  const out = latentOutput(graph, queries, kvB, cache, layer, options);
  expect(graph.ops.length - before).toBe(2);
  return out;
}

function promptLayer(...[graph, q, kvB, cache, layer, options]: Parameters<AttendLayer>): Tensor {
  const rooms = latentRooms(graph, cache, options, options.room);
  return latentPrompt(graph, q, kvB, cache, layer, { ...options, rooms });
}

/** Writes a step's latents, attends as `attend` does, and holds it to the reference. */
async function expectLayer(c: LayerCase, attend: AttendLayer): Promise<void> {
  const { format, rank, ropeDim, heads, nope, valueDim, segments, interleaved = false, spare = 0 } = c;
  const { layout = "f32", magnitude = 1 } = c;
  const random = new Random(rank + heads);
  const { pool, rows, setup, view } = batchOf(c, segments, random, spare);
  const frequencies = ropeFrequencies(10000, ropeDim);
  const latents = segments.map((s, slot) =>
    Array.from({ length: s.length }, (_, i) => pool.store(slot, i, 0, random.normals(rank + ropeDim), []).key),
  );
  const total = rows.length + spare;
  const [kv, q] = [random.normals(total * (rank + ropeDim)), random.normals(total * heads * (nope + ropeDim))];
  const gain = random.normals(rank, magnitude);
  const matrix = stored(random.normals(heads * (nope + valueDim) * rank, rank ** -0.5), rank, layout);
  const kvB = matrix.values;
  const scale = (nope + ropeDim) ** -0.5 / magnitude;
  const last = Math.max(...rows.map((r) => r.position));

  const words = await bench.run(
    { ...setup, tuning: { ...(c.split && { attention: { ...PORTABLE.attention, split: c.split } }) } },
    (graph) => {
      const cache = view(graph);
      const rope = tablesOf(graph, ropeDim, last);
      const outFeatures = heads * (nope + valueDim);
      const parts = [{ weights: graph.upload(matrix.words), rowStart: 0, rowCount: outFeatures }];
      const layer: Linear = { name: "kv_b", inFeatures: rank, outFeatures, layout, parts };
      latentWrite(graph, graph.input("rows", rank + ropeDim, kv), cache, LAYER, {
        gain: graph.upload(gain),
        eps: EPS,
        rope,
        interleaved,
      });
      // What follows the queries in a row is another's.
      const width = heads * (nope + ropeDim);
      const input = graph.input("rows", width + 8, beside(q, width, width + 8, 0));
      const options = { heads, nope, valueDim, rope, interleaved, scale, ...(c.room && { room: c.room }) };
      return attend(graph, input, layer, cache, LAYER, options);
    },
    (program, y) => program.words(y),
  );
  const used = rows.length * heads * valueDim;
  expect(words.subarray(used).every((word) => word === UNTOUCHED)).toBe(true);

  // Entries of this step, as they come back from the cache.
  rows.forEach(({ slot, index, position }, m) => {
    const own = kv.subarray(m * (rank + ropeDim), (m + 1) * (rank + ropeDim));
    const latent = [
      ...normReference(own.subarray(0, rank), { kind: "rms", eps: EPS, gain }),
      ...ropeReference(own.subarray(rank), position, frequencies, interleaved),
    ];
    latents[slot]![index] = pool.store(slot, index, 0, latent, []).key;
  });
  const expected = rows.flatMap((row, m) => {
    const query = Array.from({ length: heads }, (_, h) => {
      const own = q.subarray((m * heads + h) * (nope + ropeDim), (m * heads + h + 1) * (nope + ropeDim));
      return [...own.subarray(0, nope), ...ropeReference(own.subarray(nope), row.position, frequencies, interleaved)];
    }).flat();
    const seen = visible(row).map((i) => latents[row.slot]![i]!);
    return latentReference({ heads, nope, ropeDim, valueDim, rank, query, latents: seen, kvB, scale });
  });
  // An entry of this step may be stored as the other neighbour of its value in f16.
  const bound = format === "f32" ? F32_BOUND : { nmse: 1e-6, largest: 2e-3 };
  expectClose(new Float32Array(words.slice(0, used).buffer), expected, bound);
}
