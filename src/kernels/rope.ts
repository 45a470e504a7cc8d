import { invariant } from "../base/assert.ts";
import cacheStoreF16 from "../../shaders/fragments/cache_store_f16.wgsl?raw";
import cacheStoreF32 from "../../shaders/fragments/cache_store_f32.wgsl?raw";
import cacheStoreInt8 from "../../shaders/fragments/cache_store_int8.wgsl?raw";
import entryWrite from "../../shaders/fragments/entry_write.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import rotaryWgsl from "../../shaders/fragments/rotary.wgsl?raw";
import ropeWriteWgsl from "../../shaders/rope_write.wgsl?raw";
import type { CacheFormat, CacheView, Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { PAGED, paged } from "./pages.ts";

/** cos and sin of every angle a model needs, in each of its regimes, as `fragments/rotary.wgsl` reads them. */
export interface RopeTable {
  /** Elements of a head that rotate; the first `dim` of them. A multiple of 4. */
  readonly dim: number;
  /** [256, regimes, dim / 2] (cos, sin) f32 of the angles of positions 0 … 255. */
  readonly near: Range;
  /** [⌈context / 256⌉, regimes, dim / 2] (cos, sin) f32 of the angles of positions 0, 256, 512, … */
  readonly far: Range;
  /** Regimes that the tables hold; a row turns by that of its slot's state. Default 1. */
  readonly regimes?: number;
}

/** A norm of queries and keys before they rotate (query-key normalisation, Henry et al. 2020). */
export interface QueryKeyNorm {
  /** RMSNorm, or LayerNorm without a bias. */
  readonly kind: "rms" | "layer";
  /** Each head apart (Qwen3, Gemma 3; Cohere), or all heads of the row together (OLMo 2; RMSNorm only). */
  readonly over?: "head" | "row";
  /** Gains f32: [headDim] for all heads, or with `ownGains` or over "row" [heads, headDim] and [kvHeads, headDim]. */
  readonly query: Range;
  readonly key: Range;
  readonly ownGains?: boolean;
  readonly eps: number;
  /** Added to every gain: 1 for weights that are stored as w of 1 + w (Gemma). */
  readonly offset?: number;
}

export interface RopeWriteOptions {
  norm?: QueryKeyNorm;
  /** Cuts queries, keys and values to ± this, behind the norm (OLMoE). */
  clip?: number;
  /** Multiplies the queries after they were rotated. */
  queryScale?: number;
  /** Neighbours 2j and 2j + 1 rotate together (GPT-J, Cohere), not elements j and j + dim / 2. */
  interleaved?: boolean;
}

const STORES: Record<CacheFormat, string> = { f32: cacheStoreF32, f16: cacheStoreF16, int8: cacheStoreInt8 };

/** The stores of a cache format: `cacheStore4`, and with int8 the scale of a vector. */
export const cacheStore = (format: CacheFormat): string => STORES[format];

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

/** What a kernel binds and bakes in to rotate; without a table nothing does. */
export function rotary(
  rope: RopeTable | null,
  interleaved: boolean,
): {
  fragment: string;
  constants: { ROTARY: number; REGIMES: number; INTERLEAVED: boolean };
  bindings: readonly Binding[];
  ranges: Record<string, Range>;
} {
  return {
    fragment: rope ? rotaryWgsl : NO_ROTARY,
    constants: { ROTARY: rope?.dim ?? 0, REGIMES: rope?.regimes ?? 1, INTERLEAVED: interleaved },
    bindings: rope ? [read("near", "array<vec2f>"), read("far", "array<vec2f>")] : [],
    ranges: rope ? { near: rope.near, far: rope.far } : {},
  };
}

const NO_ROTARY = `
fn partnerOf(j: u32) -> u32 { return j; }
fn regimeOf(slot: u32) -> u32 { return 0u; }
fn rotated(own: vec4f, partner: vec4f, e: u32, position: u32, regime: u32) -> vec4f { return own; }`;

/**
 * Normalises and rotates queries and keys, and writes keys and values to the cache of one layer. Without a table (null)
 * nothing rotates (NoPE). One dispatch; two with a norm.
 * qkv: [rows, (heads + kvHeads) · headDim + kvHeads · valueDim] f32. Returns the queries, [rows, heads · headDim] f32.
 */
export function ropeWrite(
  graph: Graph,
  qkv: Tensor,
  cache: CacheView,
  layer: number,
  heads: number,
  rope: RopeTable | null,
  options: RopeWriteOptions = {},
): Tensor {
  const { headDim, valueDim = headDim, heads: kvHeads } = cache;
  const { norm } = options;
  invariant(qkv.width === (heads + kvHeads) * headDim + kvHeads * valueDim, `qkv is ${qkv.width} wide`);
  invariant(headDim % 4 === 0 && valueDim % 4 === 0, `heads of ${headDim} and ${valueDim} elements`);
  invariant(!rope || (rope.dim % 4 === 0 && rope.dim <= headDim), `rotary part ${rope?.dim} of ${headDim}`);
  invariant(!norm || norm.kind === "rms" || norm.over !== "row", "a LayerNorm of queries and keys is over each head");
  const q = graph.tensor("rows", heads * headDim);
  const draw = (part: Part): void => dispatchPart(graph, { qkv, q, cache, layer, heads, rope, options, part });
  if (norm) {
    draw("queries");
    draw("entries");
  } else {
    draw("both");
  }
  return q;
}

type Part = "both" | "queries" | "entries";

interface Drawn {
  readonly qkv: Tensor;
  readonly q: Tensor;
  readonly cache: CacheView;
  readonly layer: number;
  readonly heads: number;
  readonly rope: RopeTable | null;
  readonly options: RopeWriteOptions;
  readonly part: Part;
}

function dispatchPart(graph: Graph, { qkv, q, cache, layer, heads, rope, options, part }: Drawn): void {
  const { headDim, valueDim = headDim, heads: kvHeads, format, pageSize } = cache;
  const { norm, clip, queryScale = 1, interleaved = false } = options;
  const { pool, valueOffset, scaleOffset = 0 } = cache.layers[layer]!;
  const [queries, entries] = [part !== "entries", part !== "queries"];
  const units = Math.max(headDim, valueDim) / 4;
  const lanes = Math.max(64, Math.ceil(units / 64) * 64);
  const items = (queries ? heads : 0) + (entries ? kvHeads : 0);
  const wholeRow = norm?.over === "row";
  const turn = rotary(rope, interleaved);
  graph.dispatch(
    {
      name: `rope_write ${format}`,
      wgsl: ropeWriteWgsl,
      fragments: [
        turn.fragment,
        norm ? GAIN : NO_GAIN,
        queries ? "fn writeQuery(at: u32, v: vec4f) { q[at] = v; }" : "fn writeQuery(at: u32, v: vec4f) {}",
        ...(entries ? [cacheStore(format), pagesWgsl, entryWrite] : [NO_ENTRY]),
      ],
      params: {
        pagesPerSequence: "u32",
        valueOffset: "u32",
        scaleOffset: "u32",
        units: "u32",
        sumLanes: "u32",
        gainStep: "u32",
        gainOffset: "f32",
        invWidth: "f32",
        eps: "f32",
        queryScale: "f32",
        clip: "f32",
      },
      constants: {
        LANES: lanes,
        HEADS: heads,
        KV_HEADS: kvHeads,
        HEAD_DIM: headDim,
        VALUE_DIM: valueDim,
        PAGE: pageSize,
        QUERIES: queries,
        ENTRIES: entries,
        NORM: norm !== undefined,
        CENTRED: norm?.kind === "layer",
        WHOLE_ROW: wholeRow,
        CLIPPED: clip !== undefined,
        ...turn.constants,
      },
      bindings: [
        ...PAGED.filter(({ name }) => entries || name !== "pageTable"),
        read("qkv", "array<f32>"),
        ...turn.bindings,
        ...(norm ? [read("gain", "array<f32>")] : []),
        ...(queries ? [{ name: "q", access: "read_write", type: "array<vec4f>" } as const] : []),
        ...(entries ? [{ name: "pool", access: "read_write", type: "array<u32>" } as const] : []),
      ],
    },
    {
      pagesPerSequence: graph.batch.limits.pagesPerSequence,
      valueOffset,
      scaleOffset,
      units,
      sumLanes: wholeRow ? lanes : units,
      gainStep: wholeRow || norm?.ownGains ? headDim : 0,
      gainOffset: norm?.offset ?? 0,
      invWidth: 1 / (wholeRow ? items * headDim : headDim),
      eps: norm?.eps ?? 0,
      queryScale,
      clip: clip ?? 0,
    },
    {
      rows: graph.batch.rows,
      states: graph.batch.state,
      qkv,
      ...turn.ranges,
      ...(norm && { gain: queries ? norm.query : norm.key }),
      ...(queries && { q }),
      ...(entries && { pageTable: paged(graph, cache.layers[layer]).pageTable, pool }),
    },
    [Math.ceil(items / Math.floor(lanes / units)), graph.rows],
  );
}

const GAIN = `
fn gain4(i: vec4u) -> vec4f { return vec4f(gain[i.x], gain[i.y], gain[i.z], gain[i.w]) + params.gainOffset; }`;
const NO_GAIN = "fn gain4(i: vec4u) -> vec4f { return vec4f(1.0); }";
const NO_ENTRY = "fn writeEntry(lane: u32, holds: bool, row: Row, kvHead: u32, key: vec4f, value: vec4f) {}";
