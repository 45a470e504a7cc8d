import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { f16ToNumber } from "../../src/base/half.ts";
import { ropeWrite, type RopeTable } from "../../src/kernels/rope.ts";
import { expectClose, F16_BOUND, F32_BOUND } from "../reference/compare.ts";
import { normReference } from "../reference/norm.ts";
import { Pool, quantised, type PoolShape } from "../reference/pool.ts";
import { Random } from "../reference/random.ts";
import { ropeFrequencies, ropeReference, ropeTableValues } from "../reference/rope.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case extends PoolShape {
  /** Query heads. */
  queries: number;
  /** Rotary elements; the whole head where absent, 0: no table. */
  rotary?: number;
  interleaved?: boolean;
  theta?: number;
  /** A base for each regime of the model. */
  regimes?: readonly number[];
  norm?: { kind: "rms" | "layer"; over?: "head" | "row"; ownGains?: boolean; offset?: number };
  clip?: number;
  queryScale?: number;
  /** A run of rows each, starting at this cache length and this position, in this regime. */
  segments: readonly { length: number; position: number; count: number; regime?: number }[];
  magnitude?: number;
  /** Rows the program is recorded for beyond the batch's. */
  spare?: number;
}

const at = (position: number, count = 1, length = position): { length: number; position: number; count: number } => ({
  length,
  position,
  count,
});

/** A run in a regime. */
const inRegime = (regime: number, position: number, count = 1): Case["segments"][number] => ({
  ...at(position, count),
  regime,
});

const BASE = { format: "f32", pageSize: 32, heads: 2, headDim: 8, queries: 4, segments: [at(0)] } as const;
const EPS = 1e-6;

const CASES: Case[] = [
  // Around each boundary of the two tables and of the pages.
  ...[0, 1, 31, 32, 33, 255, 256, 257].flatMap((position): Case[] => [
    { ...BASE, segments: [at(position)] },
    { ...BASE, format: "f16", segments: [at(position)] },
    { ...BASE, format: "int8", segments: [at(position)] },
  ]),
  // Positions far beyond the cache's length: dropped pages.
  ...[4095, 4096, 65535, 100_000].flatMap((position): Case[] => [
    { ...BASE, segments: [at(position, 1, 40)] },
    { ...BASE, format: "f16", segments: [at(position, 1, 3)] },
  ]),
  { ...BASE, segments: [at(100_000, 1, 40)], theta: 500_000 },
  // Segments across page boundaries, decode rows before prefill.
  { ...BASE, segments: [at(5, 70)] },
  { ...BASE, format: "f16", segments: [at(31), at(250, 12), at(0, 40)], spare: 6 },
  { ...BASE, format: "int8", segments: [at(31), at(250, 12), at(0, 40)], spare: 6 },
  { ...BASE, segments: [at(64), at(7, 1, 63), at(100, 30, 31)], spare: 64 },
  { ...BASE, pageSize: 64, segments: [at(63), at(64), at(65, 70)] },
  // Head shapes, whole and partial rotation; more lanes than a workgroup's 64 hold whole heads of.
  { ...BASE, headDim: 12, segments: [at(3, 3)] },
  { ...BASE, headDim: 12, rotary: 4, segments: [at(3, 3)] },
  { ...BASE, format: "f16", headDim: 80, rotary: 32, segments: [at(30, 5)] },
  { ...BASE, headDim: 64, heads: 1, queries: 1, segments: [at(255, 3)] },
  { ...BASE, headDim: 128, heads: 1, queries: 8, segments: [at(2), at(300, 2)] },
  { ...BASE, format: "f16", headDim: 256, heads: 2, queries: 2, rotary: 64, segments: [at(9)] },
  { ...BASE, format: "int8", headDim: 256, heads: 2, queries: 2, segments: [at(9)] },
  { ...BASE, format: "int8", headDim: 260, heads: 2, queries: 3, segments: [at(9, 2)] },
  { ...BASE, headDim: 20, heads: 3, queries: 9, segments: [at(20, 14)] },
  { ...BASE, format: "int8", headDim: 20, heads: 3, queries: 9, segments: [at(20, 14)] },
  { ...BASE, format: "int8", headDim: 80, heads: 5, queries: 5, rotary: 32, segments: [at(30, 5)] },
  // Values of another size than keys.
  { ...BASE, headDim: 24, valueDim: 16, segments: [at(30, 5)] },
  { ...BASE, format: "f16", headDim: 8, valueDim: 24, segments: [at(30, 5)] },
  { ...BASE, format: "int8", headDim: 24, valueDim: 16, segments: [at(30, 5)] },
  { ...BASE, format: "int8", headDim: 8, valueDim: 20, segments: [at(30, 5)] },
  { ...BASE, headDim: 192, valueDim: 128, heads: 3, queries: 3, segments: [at(33, 2)] },
  // Neighbours in pairs; nothing rotates; queries scaled.
  { ...BASE, interleaved: true, segments: [at(3, 3), at(300)] },
  { ...BASE, interleaved: true, headDim: 20, rotary: 12, segments: [at(257, 3)] },
  { ...BASE, interleaved: true, format: "int8", headDim: 64, segments: [at(1000, 3, 30)] },
  { ...BASE, rotary: 0, segments: [at(31, 3)] },
  { ...BASE, rotary: 0, format: "int8", headDim: 12, segments: [at(31, 3)] },
  { ...BASE, queryScale: 0.125, segments: [at(31, 3)] },
  // Regimes side by side in one batch, on both sides of the tables' boundary.
  { ...BASE, regimes: [100, 20_000], segments: [inRegime(1, 255, 3), inRegime(0, 254, 4)] },
  { ...BASE, regimes: [100, 1000, 50_000], segments: [0, 2, 1].map((regime) => inRegime(regime, 513)), headDim: 12 },
  { ...BASE, regimes: [100, 7], interleaved: true, headDim: 20, rotary: 12, segments: [inRegime(1, 1000, 2), at(9)] },
  // Norms of queries and keys.
  { ...BASE, norm: { kind: "rms" }, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "rms", offset: 1 }, headDim: 12, segments: [at(31, 3)], spare: 2 },
  { ...BASE, norm: { kind: "rms" }, format: "f16", headDim: 128, queries: 6, segments: [at(200), at(31, 3)] },
  { ...BASE, norm: { kind: "rms" }, format: "int8", headDim: 80, heads: 3, queries: 6, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "rms" }, interleaved: true, headDim: 20, rotary: 8, queryScale: 2, segments: [at(7, 9)] },
  { ...BASE, norm: { kind: "rms" }, rotary: 0, valueDim: 32, segments: [at(7, 9)] },
  { ...BASE, norm: { kind: "rms", ownGains: true }, headDim: 20, heads: 3, queries: 9, segments: [at(7, 9)] },
  { ...BASE, norm: { kind: "rms" }, headDim: 256, queries: 3, segments: [at(7)] },
  { ...BASE, norm: { kind: "layer" }, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "layer", ownGains: true }, headDim: 80, rotary: 20, heads: 3, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "layer", offset: 1 }, headDim: 44, valueDim: 64, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "rms", over: "row" }, segments: [at(31, 3)] },
  { ...BASE, norm: { kind: "rms", over: "row" }, headDim: 128, heads: 3, queries: 5, segments: [at(300), at(31, 2)] },
  { ...BASE, norm: { kind: "rms", over: "row" }, format: "int8", headDim: 20, queries: 5, segments: [at(31, 3)] },
  // Cut behind the norm, before the turn.
  { ...BASE, norm: { kind: "rms", over: "row" }, clip: 0.25, segments: [at(31, 3)] },
  { ...BASE, clip: 0.5, queryScale: 2, format: "f16", headDim: 20, rotary: 12, segments: [at(257, 3)] },
  { ...BASE, norm: { kind: "rms" }, magnitude: 1e5, segments: [at(40, 3)] },
  { ...BASE, norm: { kind: "layer" }, magnitude: 1e5, headDim: 64, segments: [at(40, 3)] },
  { ...BASE, norm: { kind: "rms" }, magnitude: 1e-4, segments: [at(40, 3)] },
  // Large numbers; past the largest f16 they are clamped. Small ones.
  { ...BASE, magnitude: 1e5, segments: [at(40, 3)] },
  { ...BASE, format: "f16", magnitude: 1e4, segments: [at(40, 3)] },
  { ...BASE, format: "f16", magnitude: 1e5, segments: [at(40, 3)] },
  { ...BASE, format: "int8", magnitude: 1e5, segments: [at(40, 3)] },
  { ...BASE, format: "int8", magnitude: 1e-4, segments: [at(40, 3)] },
];

function title(c: Case): string {
  const { format, pageSize, heads, headDim, valueDim, queries, rotary, theta, norm, queryScale, magnitude } = c;
  const traits = [
    `${format} pages of ${pageSize}`,
    `${queries}/${heads} heads of ${headDim}${valueDim === undefined ? "" : ` and ${valueDim}`}`,
    rotary === undefined ? "" : `${rotary} rotate`,
    c.interleaved ? "interleaved" : "",
    theta === undefined ? "" : `theta ${theta}`,
    c.regimes ? `bases ${c.regimes.join(", ")}` : "",
    norm === undefined ? "" : `norm ${Object.values(norm).join(" ")}`,
    c.clip === undefined ? "" : `cut at ${c.clip}`,
    queryScale === undefined ? "" : `queries times ${queryScale}`,
    magnitude === undefined ? "" : `x ~ ${magnitude}`,
  ];
  const runs = c.segments.map(({ count, position, length, regime }) => {
    const place = `${count} at ${position}${length === position ? "" : ` (length ${length})`}`;
    return regime === undefined ? place : `${place} of regime ${regime}`;
  });
  return `${traits.filter(Boolean).join(", ")}: ${runs.join(", ")}`;
}

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const LAYER = 1;

/** A row of qkv in parts, in float64: its queries and keys normalised and turned. */
interface Expected {
  queries: number[];
  keys: Float64Array[];
  values: Float64Array[];
}

function expectedRow(c: Case, x: Float32Array, position: number, theta: number, gains: Gains): Expected {
  const { headDim, valueDim = headDim, heads, queries, rotary = headDim, norm, clip = Infinity, queryScale = 1 } = c;
  const cut = (v: number): number => Math.max(-clip, Math.min(clip, v));
  const frequencies = rotary === 0 ? [] : ropeFrequencies(theta, rotary);
  const part = (firstHead: number, count: number, gain: Float32Array): Float64Array[] => {
    const all = x.subarray(firstHead * headDim, (firstHead + count) * headDim);
    const spread = Float32Array.from({ length: all.length }, (_, i) => gain[i % gain.length]!);
    const normed = (from: number, to: number): Float64Array =>
      norm
        ? normReference(all.subarray(from, to), { ...norm, eps: EPS, gain: spread.subarray(from, to) })
        : Float64Array.from(all.subarray(from, to));
    const row = norm?.over === "row" ? normed(0, all.length) : undefined;
    return Array.from({ length: count }, (_, h) => {
      const own = row?.slice(h * headDim, (h + 1) * headDim) ?? normed(h * headDim, (h + 1) * headDim);
      return ropeReference(own.map(cut), position, frequencies, c.interleaved);
    });
  };
  const valuesFrom = (queries + heads) * headDim;
  return {
    queries: part(0, queries, gains.query).flatMap((head) => [...head].map((v) => v * queryScale)),
    keys: part(queries, heads, gains.key),
    values: Array.from({ length: heads }, (_, h) =>
      Float64Array.from(x.subarray(valuesFrom + h * valueDim, valuesFrom + (h + 1) * valueDim), cut),
    ),
  };
}

interface Gains {
  query: Float32Array<ArrayBuffer>;
  key: Float32Array<ArrayBuffer>;
}

/** An entry of int8 pages against what was to be stored: the scale within f16's rounding, each element within half a step. */
function expectQuantised(read: Float64Array, scale: number, expected: Float64Array): void {
  const top = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  expect(Math.abs(scale - Math.min(top / 127, 65504))).toBeLessThanOrEqual(Math.max((top / 127) * 2 ** -10, 2 ** -24));
  read.forEach((v, i) => {
    const clamped = Math.max(-127 * scale, Math.min(127 * scale, expected[i]!));
    expect(Math.abs(v - clamped)).toBeLessThanOrEqual(scale * 0.501);
  });
}

describe("rope_write", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { headDim, valueDim = headDim, heads, queries, segments, spare = 0 } = c;
    const { rotary = headDim, theta = 10000, magnitude = 1, norm, clip, queryScale, interleaved } = c;
    const { regimes: bases = [theta] } = c;
    const random = new Random(headDim + segments.length);
    const pool = new Pool(
      c,
      segments.map((s) => s.length + s.count),
      random,
    );
    const rows = segments.flatMap((s, slot) =>
      Array.from({ length: s.count }, (_, i) => ({
        slot,
        position: s.position + i,
        index: s.length + i,
        base: bases[s.regime ?? 0]!,
      })),
    );
    const width = (queries + heads) * headDim + heads * valueDim;
    const qkv = random.normals((rows.length + spare) * width, magnitude);
    const ownGains = norm?.ownGains || norm?.over === "row";
    const gainsOf = (count: number): Float32Array<ArrayBuffer> =>
      random.normals(ownGains ? count * headDim : headDim, 0.5);
    const gains: Gains = { query: gainsOf(queries), key: gainsOf(heads) };
    const lastPosition = Math.max(...rows.map((r) => r.position));

    const { q, written, other } = await bench.run(
      {
        plan: { segments: segments.map(({ count }, slot) => ({ slot, tokens: new Array<number>(count).fill(0) })) },
        slots: segments.map(({ length, position, regime = 0 }, slot) => ({
          length,
          position,
          regime,
          pages: pool.pages[slot]!,
        })),
        limits: { rows: 256, pagesPerSequence: pool.pagesPerSequence },
        rows: rows.length + spare,
      },
      (graph) => {
        const layers = [0, 1].map(() => ({ pool: graph.upload(pool.words.slice()), ...pool.offsets }));
        const cache = { kind: "kv", ...c, layers } as const;
        const frequencies = bases.flatMap((base) => [...ropeFrequencies(base, rotary)]);
        const tables = ropeTableValues(frequencies, lastPosition + 1);
        const ranges = { near: graph.upload(tables.near), far: graph.upload(tables.far) };
        const rope = { dim: rotary, ...ranges, ...(c.regimes && { regimes: bases.length }) };
        const input = graph.input("rows", width, qkv);
        const query = ropeWrite(graph, input, cache, LAYER, queries, rotary === 0 ? null : rope, {
          ...(norm && { norm: { ...norm, query: graph.upload(gains.query), key: graph.upload(gains.key), eps: EPS } }),
          ...(queryScale !== undefined && { queryScale }),
          ...(clip !== undefined && { clip }),
          ...(interleaved !== undefined && { interleaved }),
        });
        return { q: query, layers };
      },
      async (program, drawn) => ({
        q: await program.words(drawn.q),
        written: await program.words(drawn.layers[LAYER]!.pool),
        other: await program.words(drawn.layers[0]!.pool),
      }),
    );

    const expected = rows.map(({ position, base }, row) =>
      expectedRow(c, qkv.subarray(row * width, (row + 1) * width), position, base, gains),
    );
    const expectedQ = expected.flatMap((row) => row.queries);
    expectClose(new Float32Array(q.slice(0, expectedQ.length).buffer), expectedQ);
    expect(q.subarray(expectedQ.length).every((word) => word === UNTOUCHED)).toBe(true);

    const after = pool.with(written);
    const clamp = (v: number): number => (c.format === "f16" ? Math.max(-65504, Math.min(65504, v)) : v);
    const pairs: [found: number[], wanted: number[]][] = [
      [[], []],
      [[], []],
    ];
    rows.forEach(({ slot, index }, row) => {
      for (let h = 0; h < heads; h++) {
        const entry = after.take(slot, index, h);
        const { keys, values } = expected[row]!;
        if (c.format === "int8") {
          expectQuantised(entry.key, entry.keyScale, keys[h]!);
          expectQuantised(entry.value, entry.valueScale, values[h]!);
        }
        pairs[0]![0].push(...entry.key);
        pairs[0]![1].push(...[...keys[h]!].map(clamp));
        pairs[1]![0].push(...entry.value);
        pairs[1]![1].push(...[...values[h]!].map(clamp));
      }
    });
    const bound = { f32: F32_BOUND, f16: F16_BOUND, int8: null }[c.format];
    if (bound) for (const [found, wanted] of pairs) expectClose(found, wanted, bound);
    // What was not written is as it was: here, and in the other layer.
    expect(after.words).toEqual(pool.words);
    expect(other).toEqual(pool.words);
  });

  it("gives a row the same bits alone as in a batch", async () => {
    const [headDim, width] = [16, 64];
    const tables = ropeTableValues(ropeFrequencies(10000, headDim), 400);
    const qkv = new Random(1).normals(9 * width);
    const rotate = (rows: number, x: Float32Array<ArrayBuffer>, length: number): Promise<Uint32Array> =>
      bench.run(
        {
          plan: { segments: [{ slot: 0, tokens: new Array<number>(rows).fill(0) }] },
          slots: [{ length, position: length + 300, pages: [1, 0] }],
        },
        (graph) => {
          const layers = [{ pool: graph.upload(new Uint32Array(2 * 64 * headDim)), valueOffset: 64 * headDim }];
          const cache = { kind: "kv", format: "f32", pageSize: 32, heads: 1, headDim, layers } as const;
          const rope = { dim: headDim, near: graph.upload(tables.near), far: graph.upload(tables.far) };
          return ropeWrite(graph, graph.input("rows", width, x), cache, 0, 2, rope);
        },
        (program, q) => program.words(q),
      );
    const all = await rotate(9, qkv, 10);
    for (const row of [0, 5, 8]) {
      const alone = await rotate(1, qkv.slice(row * width, (row + 1) * width), 10 + row);
      expect(alone).toEqual(all.subarray(row * 2 * headDim, (row + 1) * 2 * headDim));
    }
  });

  it("rounds to f16 as the CPU does", async () => {
    // A value's bits, through a head that does not turn: position 0.
    const values = [1 + 2 ** -11, 1 + 3 * 2 ** -11, -(2 ** -25), 2 ** -25 + 2 ** -40, 65504, 65519.99, -70000, 1e-3];
    const words = await bench.run(
      { plan: { segments: [{ slot: 0, tokens: [0] }] }, slots: [{ pages: [0] }] },
      (graph) => {
        const pool = graph.upload(new Uint32Array(32 * 8));
        const cache = {
          kind: "kv",
          format: "f16",
          pageSize: 32,
          heads: 1,
          headDim: 8,
          layers: [{ pool, valueOffset: 256 }],
        } as const;
        const one = graph.upload(new Float32Array(Array.from({ length: 8 }, (_, i) => 1 - (i % 2))));
        const input = graph.input("rows", 24, new Float32Array([...values, ...values, ...values]));
        ropeWrite(graph, input, cache, 0, 1, { dim: 8, near: one, far: one });
        return pool;
      },
      (program, pool) => program.words(pool),
    );
    const halves = new Uint16Array(words.buffer);
    for (const offset of [0, 256]) {
      values.forEach((v, i) => {
        const clamped = Math.max(-65504, Math.min(65504, v));
        const error = Math.abs(f16ToNumber(halves[offset + i]!) - clamped);
        // WGSL leaves the direction open between the two neighbours.
        expect(error).toBeLessThanOrEqual(Math.max(2 ** -24, Math.abs(clamped) * 2 ** -10));
      });
    }
  });

  /** The pool after one row, at position 0 where nothing turns, of three equal vectors: query, key and value. */
  const storedOf = (values: readonly number[]): Promise<Uint32Array<ArrayBuffer>> => {
    const headDim = values.length;
    const elements = 32 * headDim;
    return bench.run(
      { plan: { segments: [{ slot: 0, tokens: [0] }] }, slots: [{ pages: [0] }] },
      (graph) => {
        const pool = graph.upload(new Uint32Array(elements / 2 + 32));
        const layers = [{ pool, valueOffset: elements, scaleOffset: elements / 2 }];
        const cache = { kind: "kv", format: "int8", pageSize: 32, heads: 1, headDim, layers } as const;
        const one = graph.upload(new Float32Array(Array.from({ length: headDim }, (_, i) => 1 - (i % 2))));
        const input = graph.input("rows", 3 * headDim, new Float32Array([...values, ...values, ...values]));
        const table: RopeTable = { dim: headDim, near: one, far: one };
        ropeWrite(graph, input, cache, 0, 1, table);
        return pool;
      },
      (program, pool) => program.words(pool),
    );
  };

  const normals = (count: number, magnitude: number): number[] => [...new Random(count).normals(count, magnitude)];
  it.each([
    ["ordinary numbers", normals(64, 1)],
    ["an odd number of words", normals(20, 3)],
    ["zero", new Array<number>(8).fill(0)],
    ["one that stands out", [...new Array<number>(7).fill(1e-3), -1e4]],
    ["a scale that f16 keeps as a subnormal", normals(16, 1e-3)],
    ["a scale of one or two units of f16", normals(16, 1e-5)],
    ["a scale that rounds to zero", normals(16, 1e-7)],
    ["a scale at f16's end", [...normals(15, 1e6), 127 * 65504]],
    ["a scale past f16's end", normals(16, 1e8)],
    ["a scale just below 2^-14", [127 * (2 ** -14 - 2 ** -26), ...normals(15, 1e-3)]],
  ])("int8: %s, bit for bit", async (_, values) => {
    const headDim = values.length;
    const words = await storedOf(values);
    const { integers, scaleBits } = quantised(Float32Array.from(values));
    expect(words[16 * headDim]! >>> 0).toBe((scaleBits | (scaleBits << 16)) >>> 0);
    const bytes = new Int8Array(words.buffer);
    for (const offset of [0, 32 * headDim]) expect(bytes.slice(offset, offset + headDim)).toEqual(integers);
  });
});
