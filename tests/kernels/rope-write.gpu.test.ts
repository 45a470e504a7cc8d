import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { f16ToNumber } from "../../src/base/half.ts";
import { ropeWrite } from "../../src/kernels/rope.ts";
import { ropeSpec, ropeTables } from "../../src/models/rope.ts";
import { expectClose, F16_BOUND, F32_BOUND } from "../reference/compare.ts";
import { Pool, type PoolShape } from "../reference/pool.ts";
import { Random } from "../reference/random.ts";
import { ropeReference } from "../reference/rope.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case extends PoolShape {
  /** Query heads. */
  queries: number;
  /** Rotary elements; the whole head where absent. */
  rotary?: number;
  theta?: number;
  /** A run of rows each, starting at this cache length and this position. */
  segments: readonly { length: number; position: number; count: number }[];
  magnitude?: number;
  /** Rows the program is recorded for beyond the batch's. */
  spare?: number;
}

const at = (position: number, count = 1, length = position): { length: number; position: number; count: number } => ({
  length,
  position,
  count,
});

const BASE = { format: "f32", pageSize: 32, heads: 2, headDim: 8, queries: 4, segments: [at(0)] } as const;

const CASES: Case[] = [
  // Around each boundary of the two tables and of the pages.
  ...[0, 1, 31, 32, 33, 255, 256, 257].flatMap((position): Case[] => [
    { ...BASE, segments: [at(position)] },
    { ...BASE, format: "f16", segments: [at(position)] },
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
  { ...BASE, segments: [at(64), at(7, 1, 63), at(100, 30, 31)], spare: 64 },
  { ...BASE, pageSize: 64, segments: [at(63), at(64), at(65, 70)] },
  // Head shapes, whole and partial rotation.
  { ...BASE, headDim: 12, segments: [at(3, 3)] },
  { ...BASE, headDim: 12, rotary: 4, segments: [at(3, 3)] },
  { ...BASE, format: "f16", headDim: 80, rotary: 32, segments: [at(30, 5)] },
  { ...BASE, headDim: 64, heads: 1, queries: 1, segments: [at(255, 3)] },
  { ...BASE, headDim: 128, heads: 1, queries: 8, segments: [at(2), at(300, 2)] },
  { ...BASE, format: "f16", headDim: 256, heads: 2, queries: 2, rotary: 64, segments: [at(9)] },
  { ...BASE, headDim: 20, heads: 3, queries: 9, segments: [at(20, 14)] },
  // Large numbers; past the largest f16 they are clamped.
  { ...BASE, magnitude: 1e5, segments: [at(40, 3)] },
  { ...BASE, format: "f16", magnitude: 1e4, segments: [at(40, 3)] },
  { ...BASE, format: "f16", magnitude: 1e5, segments: [at(40, 3)] },
];

const title = ({ format, pageSize, heads, headDim, queries, rotary, theta, segments, magnitude }: Case): string =>
  `${format} pages of ${pageSize}, ${queries}/${heads} heads of ${headDim}` +
  `${rotary === undefined ? "" : `, ${rotary} rotate`}${theta === undefined ? "" : `, theta ${theta}`}: ` +
  segments
    .map((s) => `${s.count} at ${s.position}${s.length === s.position ? "" : ` (length ${s.length})`}`)
    .join(", ") +
  (magnitude === undefined ? "" : `, x ~ ${magnitude}`);

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const LAYER = 1;

describe("rope_write", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { headDim, heads, queries, segments, spare = 0, rotary = headDim, theta = 10000, magnitude = 1 } = c;
    const random = new Random(headDim + segments.length);
    const pool = new Pool(
      c,
      segments.map((s) => s.length + s.count),
      random,
    );
    const rows = segments.flatMap((s, slot) =>
      Array.from({ length: s.count }, (_, i) => ({ slot, position: s.position + i, index: s.length + i })),
    );
    const width = (queries + 2 * heads) * headDim;
    const qkv = random.normals((rows.length + spare) * width, magnitude);
    const spec = ropeSpec({ theta }, rotary);
    const tables = ropeTables(spec, Math.max(...rows.map((r) => r.position)) + 1);

    const { q, written, other } = await bench.run(
      {
        plan: { segments: segments.map(({ count }, slot) => ({ slot, tokens: new Array<number>(count).fill(0) })) },
        slots: segments.map(({ length, position }, slot) => ({ length, position, pages: pool.pages[slot]! })),
        limits: { rows: 256, pagesPerSequence: pool.pagesPerSequence },
        rows: rows.length + spare,
      },
      (graph) => {
        const layers = [0, 1].map(() => ({ pool: graph.upload(pool.words.slice()), ...pool.offsets }));
        const cache = { kind: "kv", ...c, layers } as const;
        const rope = { dim: rotary, near: graph.upload(tables.near), far: graph.upload(tables.far) };
        const input = graph.input("rows", width, qkv);
        return { q: ropeWrite(graph, input, cache, LAYER, queries, rope), layers };
      },
      async (program, drawn) => ({
        q: await program.words(drawn.q),
        written: await program.words(drawn.layers[LAYER]!.pool),
        other: await program.words(drawn.layers[0]!.pool),
      }),
    );

    const head = (row: number, h: number): Float32Array => qkv.subarray(row * width + h * headDim).subarray(0, headDim);
    const turned = (row: number, h: number): Float64Array =>
      ropeReference(head(row, h), rows[row]!.position, spec.inverseFrequencies);
    const expectedQ = rows.flatMap((_, row) => Array.from({ length: queries }, (_, h) => [...turned(row, h)]).flat());
    expectClose(new Float32Array(q.slice(0, expectedQ.length).buffer), expectedQ);
    expect(q.subarray(expectedQ.length).every((word) => word === UNTOUCHED)).toBe(true);

    const after = pool.with(written);
    const bound = c.format === "f32" ? F32_BOUND : F16_BOUND;
    const clamp = (v: number): number => (c.format === "f32" ? v : Math.max(-65504, Math.min(65504, v)));
    const found: number[][] = [[], []];
    const expected: number[][] = [[], []];
    rows.forEach(({ slot, index }, row) => {
      for (let h = 0; h < heads; h++) {
        const entry = after.take(slot, index, h);
        found[0]!.push(...entry.key);
        found[1]!.push(...entry.value);
        expected[0]!.push(...turned(row, queries + h).map(clamp));
        expected[1]!.push(...head(row, queries + heads + h).map(clamp));
      }
    });
    for (const i of [0, 1]) expectClose(found[i]!, expected[i]!, bound);
    // What was not written is as it was: here, and in the other layer.
    expect(after.words).toEqual(pool.words);
    expect(other).toEqual(pool.words);
  });

  it("gives a row the same bits alone as in a batch", async () => {
    const [headDim, width] = [16, 64];
    const spec = ropeSpec({ theta: 10000 }, headDim);
    const tables = ropeTables(spec, 400);
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
});
