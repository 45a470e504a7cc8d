/** Cases of attention: their data, what the kernels see of them, and what should come out. */
import type { AttentionOptions } from "../../src/kernels/attention.ts";
import type { CacheView } from "../../src/kernels/batch.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import { PORTABLE, type Tuning } from "../../src/kernels/tuning.ts";
import { attentionReference, scoresReference, type AttentionReference } from "../reference/attention.ts";
import { Pool, type Entry, type PoolShape } from "../reference/pool.ts";
import { Random } from "../reference/random.ts";
import { UNTOUCHED, type BenchGraph, type KernelBench, type Setup } from "../support/kernel-bench.ts";

export interface Segment {
  /** Entries that were there before the batch. */
  length: number;
  /** Rows; one is a decode row. */
  count: number;
  ancestors?: readonly number[];
}

export interface Case extends PoolShape {
  /** Query heads. */
  queries: number;
  segments: readonly Segment[];
  causal?: boolean;
  window?: number;
  softcap?: number;
  /** With ALiBi, with sinks. */
  slopes?: boolean;
  sinks?: boolean;
  /** Rows the program is recorded for beyond the batch's. */
  spare?: number;
  /** Pages of a page table beyond those that a sequence has: splits that nobody needs. */
  room?: number;
  tuning?: Partial<Tuning>;
}

/** A decode row that sees this many entries, its own among them. */
export const decode = (visible: number): Segment => ({ length: visible - 1, count: 1 });
export const prefill = (length: number, count: number): Segment => ({ length, count });

/** Row i sees itself, its parent and so on up: a token tree. */
export function tree(parents: readonly (number | null)[]): number[] {
  const masks: number[] = [];
  parents.forEach((parent, i) => masks.push(((parent === null ? 0 : masks[parent]!) | (i < 32 ? 1 << i : 0)) >>> 0));
  return masks;
}

/** Splits of this many tokens, so that short sequences have several. */
export const splits = (split: number, more: Partial<Tuning> = {}): Partial<Tuning> => ({
  attention: { ...PORTABLE.attention, split },
  ...more,
});

export const rowsOf = (c: Case): number => c.segments.reduce((n, s) => n + s.count, 0);

export const title = (c: Case): string =>
  [
    `${c.format} pages of ${c.pageSize}, ${c.queries}/${c.heads} heads of ${c.headDim}${c.valueDim ? ` and ${c.valueDim}` : ""}`,
    c.segments.map((s) => `${s.count} after ${s.length}${s.ancestors ? " (tree)" : ""}`).join(" + "),
    ...(c.causal === false ? ["not causal"] : []),
    ...(c.window ? [`window ${c.window}`] : []),
    ...(c.softcap ? [`cap ${c.softcap}`] : []),
    ...(c.slopes ? ["ALiBi"] : []),
    ...(c.sinks ? ["sinks"] : []),
    ...(c.spare ? [`${c.spare} spare`] : []),
    ...(c.room ? [`${c.room} pages of room`] : []),
    ...(c.tuning?.attention ? [`splits of ${c.tuning.attention.split}, tiles of ${c.tuning.attention.rows}`] : []),
    ...(c.tuning?.deterministic ? ["deterministic"] : []),
  ].join(", ");

export type Make = (random: Random, count: number, what: "q" | "k" | "v") => Float32Array;
export const normal: Make = (random, count, what) => random.normals(count, what === "q" ? 3 : 1);

export interface Data {
  pool: Pool;
  /** [rows, queries · headDim] */
  q: Float32Array<ArrayBuffer>;
  scale: number;
  slopes: Float32Array<ArrayBuffer>;
  sinks: Float32Array<ArrayBuffer>;
  entry(slot: number, index: number, head: number): Entry;
}

/**
 * Every entry that a row may see has values. Everything else in the pool is NaN: pages of others, entries behind the end,
 * and pages that lie before every row's window.
 */
export function makeData(c: Case, make: Make = normal): Data {
  const random = new Random(c.headDim * 31 + c.queries + c.segments.length);
  const pool = new Pool(
    c,
    c.segments.map((s) => s.length + s.count),
    random,
  );
  const { heads, headDim, valueDim = headDim, pageSize } = c;
  const entries = c.segments.map((s, slot) =>
    Array.from({ length: s.length + s.count }, (_, index) =>
      Array.from({ length: heads }, (_, head): Entry => {
        const [key, value] = [make(random, headDim, "k"), make(random, valueDim, "v")];
        const page = Math.floor(index / pageSize);
        if ((page + 1) * pageSize <= s.length + 1 - (c.window ?? Infinity)) return { key: NONE, value: NONE };
        return pool.store(slot, index, head, key, value);
      }),
    ),
  );
  const q = new Float32Array((rowsOf(c) + (c.spare ?? 0)) * c.queries * headDim);
  for (let at = 0; at < q.length; at += headDim) q.set(make(random, headDim, "q"), at);
  return {
    pool,
    q,
    scale: headDim ** -0.5,
    slopes: Float32Array.from({ length: c.queries }, (_, h) => 2 ** (-8 * ((h + 1) / c.queries))),
    sinks: random.normals(c.queries, 2),
    entry: (slot, index, head) => entries[slot]![index]![head]!,
  };
}

const NONE = new Float64Array(0);

/** What a row sees, from the contract of Row and Segment. */
export function seen({ length, count, ancestors }: Segment, offset: number, c: Partial<Case> = {}): number[] {
  const indices: number[] = [];
  for (let index = 0; index < length + count; index++) {
    const row = index - length;
    const allowed = row < 0 || row >= 32 || ((ancestors?.[offset] ?? 0xffffffff) >>> row) & 1;
    const near = index > length + offset - (c.window ?? Infinity);
    if (allowed && near && (row <= offset || c.causal === false)) indices.push(index);
  }
  return indices;
}

/** Rotary position of a slot's next token, and of an entry: the first page stands apart from the rest, as if some were dropped. */
const positionOf = (length: number): number => length + 1000;
const baseOf = (page: number, pageSize: number): number => page * pageSize + (page === 0 ? 990 : 1000);

/** One head of one row, as the reference wants it. */
export function problem(c: Case, data: Data, slot: number, offset: number, row: number, h: number): AttentionReference {
  const segment = c.segments[slot]!;
  const indices = seen(segment, offset, c);
  const at = (row * c.queries + h) * c.headDim;
  const entries = indices.map((index) => data.entry(slot, index, Math.floor((h * c.heads) / c.queries)));
  const position = positionOf(segment.length) + offset;
  const place = (index: number): number => baseOf(Math.floor(index / c.pageSize), c.pageSize) + (index % c.pageSize);
  return {
    query: data.q.subarray(at, at + c.headDim),
    keys: entries.map((e) => e.key),
    values: entries.map((e) => e.value),
    scale: data.scale,
    softcap: c.softcap,
    bias: c.slopes ? indices.map((index) => -data.slopes[h]! * Math.abs(position - place(index))) : undefined,
    sink: c.sinks ? data.sinks[h] : undefined,
  };
}

function everyHead<T>(c: Case, each: (slot: number, offset: number, row: number, h: number) => T): T[] {
  const results: T[] = [];
  let row = 0;
  c.segments.forEach((segment, slot) => {
    for (let offset = 0; offset < segment.count; offset++, row++) {
      for (let h = 0; h < c.queries; h++) results.push(each(slot, offset, row, h));
    }
  });
  return results;
}

/** [rows, queries, valueDim] */
export function reference(c: Case, data: Data): Float64Array {
  const { valueDim = c.headDim } = c;
  return Float64Array.from(
    everyHead(c, (...where) => [...attentionReference(problem(c, data, ...where), valueDim)]).flat(),
  );
}

/** (m, l) of every head of every row. */
export function statsReference(c: Case, data: Data): { m: number; l: number }[] {
  return everyHead(c, (...where) => {
    const scores = scoresReference(problem(c, data, ...where));
    const m = Math.max(...scores);
    return { m, l: scores.reduce((sum, s) => sum + Math.exp(s - m), 0) };
  });
}

export function cacheOf(
  graph: BenchGraph,
  { format, pageSize, heads, headDim, valueDim }: Case,
  pool: Pool,
): CacheView {
  const decoy = graph.upload(new Uint32Array(64).fill(UNTOUCHED));
  const layers = [
    { pool: decoy, valueOffset: 0, scaleOffset: 0 },
    { pool: graph.upload(pool.words), ...pool.offsets },
  ];
  return { kind: "kv", format, pageSize, heads, headDim, layers, ...(valueDim && { valueDim }) };
}

export function setup(c: Case, pool: Pool): Setup {
  return {
    plan: {
      segments: c.segments.map(({ count, ancestors }, slot) => ({
        slot,
        tokens: new Array<number>(count).fill(0),
        ...(ancestors && { ancestors }),
      })),
    },
    slots: c.segments.map(({ length }, slot) => ({ length, position: positionOf(length), pages: pool.pages[slot]! })),
    limits: { rows: 256, slots: 16, pagesPerSequence: pool.pagesPerSequence + (c.room ?? 0) },
    rows: rowsOf(c) + (c.spare ?? 0),
    ...(c.tuning && { tuning: c.tuning }),
  };
}

export function optionsOf(graph: BenchGraph, c: Case, data: Data): AttentionOptions {
  const { causal, window, softcap } = c;
  return {
    scale: data.scale,
    causal,
    window,
    softcap,
    slopes: c.slopes ? graph.upload(data.slopes) : undefined,
    sinks: c.sinks ? graph.upload(data.sinks) : undefined,
  };
}

/** Draws what `draw` makes of the case's queries and cache, and runs it. */
export function runCase<T, R>(
  bench: KernelBench,
  c: Case,
  data: Data,
  draw: (graph: BenchGraph, q: Tensor, cache: CacheView, options: AttentionOptions) => T,
  read: Parameters<typeof bench.run<T, R>>[2],
): Promise<R> {
  return bench.run(
    setup(c, data.pool),
    (graph) => {
      // The bench gives pages no positions of their own.
      const table = graph.batch.pageTable.buffer;
      data.pool.pages.forEach((pages, slot) => {
        const words = pages.flatMap((page, at) => [page, baseOf(at, c.pageSize)]);
        bench.gpu.queue.writeBuffer(table, slot * graph.batch.limits.pagesPerSequence * 8, new Uint32Array(words));
      });
      const q = graph.input("rows", c.queries * c.headDim, data.q);
      return draw(graph, q, cacheOf(graph, c, data.pool), optionsOf(graph, c, data));
    },
    read,
  );
}
