import { invariant } from "../base/assert.ts";
import cacheLoadF16 from "../../shaders/fragments/cache_f16.wgsl?raw";
import cacheLoadF32 from "../../shaders/fragments/cache_f32.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import attentionWgsl from "../../shaders/attention.wgsl?raw";
import type { CacheView } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { PAGED, paged } from "./pages.ts";

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

export interface AttentionOptions {
  /** Factor of the scores before the softmax; usually headDim^-½. */
  scale: number;
  /** False: a row sees the whole of its own segment, later rows too (encoders). */
  causal?: boolean;
}

/** Workgroup memory that every device has, in bytes. */
const WORKGROUP_BYTES = 16384;
/** Keys that one tile takes. */
const KEYS = 32;

/** Query heads that one workgroup takes: each holds its query, its sum, a tile of weights and three numbers. */
function headsPerWorkgroup(headDim: number): number {
  const perHead = 4 * (2 * headDim + KEYS + 3);
  const padding = 3 * 12; // each array of numbers ends at a multiple of 16 bytes
  return Math.min(32, Math.floor((WORKGROUP_BYTES - padding) / perHead));
}

/** softmax(scale · q · Kᵀ) · V over the pages of each row's sequence: [rows, heads · headDim] f32. */
export function attention(graph: Graph, q: Tensor, cache: CacheView, layer: number, options: AttentionOptions): Tensor {
  return dispatchAttention(graph, q, cache, layer, options, false).out;
}

/**
 * The same, unfinished: `out` is the sum of exp(s − m) · V, and `lse`, [rows, heads · 2] f32, holds m and l = Σ exp(s − m)
 * of each head. Partial results over different keys can be merged (Flash-Decoding; cascades; token trees).
 */
export function attentionPartial(
  graph: Graph,
  q: Tensor,
  cache: CacheView,
  layer: number,
  options: AttentionOptions,
): { out: Tensor; lse: Tensor } {
  const { out, lse } = dispatchAttention(graph, q, cache, layer, options, true);
  invariant(lse, "partial attention emits m and l");
  return { out, lse };
}

function dispatchAttention(
  graph: Graph,
  q: Tensor,
  cache: CacheView,
  layer: number,
  { scale, causal = true }: AttentionOptions,
  emit: boolean,
): { out: Tensor; lse?: Tensor } {
  const { headDim, heads: kvHeads, pageSize } = cache;
  const heads = q.width / headDim;
  invariant(Number.isInteger(heads / kvHeads), `${heads} query heads over ${kvHeads}`);
  invariant(pageSize >= KEYS && Number.isInteger(Math.log2(pageSize)), `pages of ${pageSize} for tiles of ${KEYS}`);
  const perGroup = heads / kvHeads;
  const group = Math.min(perGroup, headsPerWorkgroup(headDim));
  const { pool, valueOffset } = cache.layers[layer]!;
  const out = graph.tensor("rows", q.width);
  const lse = emit ? graph.tensor("rows", heads * 2) : undefined;
  graph.dispatch(
    {
      name: `attention ${cache.format}`,
      wgsl: attentionWgsl,
      fragments: [cache.format === "f32" ? cacheLoadF32 : cacheLoadF16, pagesWgsl, emit ? EMIT : NO_EMIT],
      params: { pagesPerSequence: "u32", valueOffset: "u32", scale: "f32" },
      constants: {
        HEADS: heads,
        KV_HEADS: kvHeads,
        HEAD_DIM: headDim,
        PAGE: pageSize,
        KEYS,
        GROUP: group,
        CAUSAL: causal,
        EMIT: emit,
      },
      bindings: [
        ...PAGED,
        read("segments", "array<Segment>"),
        read("q", "array<vec4f>"),
        read("pool", "array<u32>"),
        { name: "out", access: "read_write", type: "array<vec4f>" },
        ...(emit ? [{ name: "lse", access: "read_write", type: "array<vec2f>" } as const] : []),
      ],
    },
    { pagesPerSequence: graph.batch.limits.pagesPerSequence, valueOffset, scale },
    { ...paged(graph), segments: graph.batch.segments, q, pool, out, ...(lse && { lse }) },
    [kvHeads * Math.ceil(perGroup / group), graph.rows],
  );
  return { out, ...(lse && { lse }) };
}

const EMIT = "fn emit(i: u32, v: vec2f) { lse[i] = v; }";
const NO_EMIT = "fn emit(i: u32, v: vec2f) {}";
