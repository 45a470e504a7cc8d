import { invariant } from "../base/assert.ts";
import cacheF16 from "../../shaders/fragments/cache_f16.wgsl?raw";
import cacheF32 from "../../shaders/fragments/cache_f32.wgsl?raw";
import cacheInt8 from "../../shaders/fragments/cache_int8.wgsl?raw";
import joinWgsl from "../../shaders/fragments/attention_join.wgsl?raw";
import lanesWgsl from "../../shaders/fragments/attention_lanes.wgsl?raw";
import lanesSubgroupsWgsl from "../../shaders/fragments/attention_lanes_subgroups.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import scoresWgsl from "../../shaders/fragments/attention_scores.wgsl?raw";
import type { CacheFormat, CacheView, Range } from "./batch.ts";
import type { Binding, KernelSource } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { PAGED, paged } from "./pages.ts";

/** What attention makes of the scores s = scale · q · k, beyond the token tree that the batch's rows carry. */
export interface ScoreOptions {
  /** Factor of the scores before the softmax; usually headDim^-½. */
  readonly scale: number;
  /** False: a row sees the whole of its own segment, later rows too (encoders). */
  readonly causal?: boolean;
  /** Only keys whose index is greater than the row's own less this: with 1 a row sees itself. Pages outside are not read. */
  readonly window?: number;
  /** cap · tanh(s / cap) in place of s (Gemma 2). */
  readonly softcap?: number;
  /** [heads] f32: s − slope · |query position − key position| (ALiBi, Press et al. 2022). */
  readonly slopes?: Range;
}

export interface AttentionOptions extends ScoreOptions {
  /** [heads] f32: a score for each head that takes part in the softmax and has no value (gpt-oss). */
  readonly sinks?: Range;
}

/**
 * Attention over some of the keys, unfinished: for every row, part and head O = Σ exp(s − m) · V, then the greatest
 * score m, l = Σ exp(s − m), and two zeros. A part over no keys has m ≤ −1e30, l = 0 and any O.
 */
export interface PartialAttention {
  /** [rows, parts, heads, valueDim + 4] f32. */
  readonly state: Tensor;
  readonly parts: number;
  readonly heads: number;
  readonly valueDim: number;
}

/** One use of an attention kernel: what both paths need to know of it. */
export interface AttentionCall {
  readonly graph: Graph;
  /** [rows, heads · headDim] f32, rotated. */
  readonly q: Tensor;
  readonly cache: CacheView;
  readonly layer: number;
  readonly options: AttentionOptions;
  /** Partial results, not finished ones. */
  readonly emit: boolean;
  readonly heads: number;
  readonly valueDim: number;
}

/** Workgroup memory that every device has, in bytes. */
export const WORKGROUP_BYTES = 16384;
/** Keys of a tile of attention_tile.wgsl; a page holds at least as many. */
const KEYS = 32;

export const read = (name: string, type: string): Binding => ({ name, access: "read", type });

const FORMATS: Record<CacheFormat, { load: string; type: string }> = {
  f32: { load: cacheF32, type: "array<vec4f>" },
  f16: { load: cacheF16, type: "array<vec2u>" },
  int8: { load: cacheInt8, type: "array<u32>" },
};

export function callOf(
  graph: Graph,
  q: Tensor,
  cache: CacheView,
  layer: number,
  options: AttentionOptions,
  emit: boolean,
): AttentionCall {
  const { headDim, valueDim = headDim, heads: kvHeads, pageSize, format } = cache;
  const heads = q.width / headDim;
  invariant(Number.isInteger(heads / kvHeads), `${heads} query heads over ${kvHeads}`);
  invariant(pageSize >= KEYS && Number.isInteger(Math.log2(pageSize)), `pages of ${pageSize} for tiles of ${KEYS}`);
  const step = format === "int8" ? 8 : 4;
  invariant(headDim % step === 0 && valueDim % step === 0, `${format} heads of ${headDim} and ${valueDim} elements`);
  invariant(headDim <= 512 && valueDim <= 512, `heads of ${headDim} and ${valueDim} elements: at most 512`);
  invariant((options.window ?? 1) >= 1, `a window of ${options.window}`);
  return { graph, q, cache, layer, options, emit, heads, valueDim };
}

/** What both kernels declare alike; a kernel adds its own fragments and constants, and the buffer that it writes. */
export function declare(call: AttentionCall): Required<Omit<KernelSource, "name" | "wgsl">> {
  const { cache, options } = call;
  const { load, type } = FORMATS[cache.format];
  const { fragments, ...rest } = declareScores(call);
  return {
    ...rest,
    fragments: [load, pagesWgsl, ...fragments],
    bindings: [
      ...PAGED,
      read("segments", "array<Segment>"),
      read("q", "array<vec4f>"),
      read("pool", type),
      ...(options.sinks ? [read("sinks", "array<f32>")] : []),
      ...(options.slopes ? [read("slopes", "array<f32>")] : []),
      OUT,
    ],
  };
}

/** The same without what reads queries and a cache. */
export function declareScores(call: AttentionCall): Required<Omit<KernelSource, "name" | "wgsl" | "bindings">> {
  const { graph, cache, options, emit, heads, valueDim } = call;
  const { subgroups } = graph.tuning;
  return {
    enables: subgroups ? ["subgroups"] : [],
    fragments: [
      scoresWgsl,
      ...joinFragments(options.sinks),
      subgroups ? lanesSubgroupsWgsl : lanesWgsl,
      options.slopes ? SLOPES : NO_SLOPES,
    ],
    params: PARAMS,
    constants: {
      HEADS: heads,
      KV_HEADS: cache.heads,
      HEAD_DIM: cache.headDim,
      VALUE_DIM: valueDim,
      PAGE: cache.pageSize,
      SCALED: cache.format === "int8",
      SINKS: options.sinks !== undefined,
      EMIT: emit,
    },
  };
}

export const OUT: Binding = { name: "out", access: "read_write", type: "array<vec4f>" };

const PARAMS = {
  pagesPerSequence: "u32",
  valueOffset: "u32",
  scaleOffset: "u32",
  dim4: "u32",
  slice4: "u32",
  sixteen: "u32",
  window: "u32",
  causal: "u32",
  scale: "f32",
  softcap: "f32",
} as const;

export function paramsOf({ graph, cache, layer, options }: AttentionCall): Record<keyof typeof PARAMS, number> {
  const { valueOffset, scaleOffset = 0 } = cache.layers[layer]!;
  return {
    pagesPerSequence: graph.batch.limits.pagesPerSequence,
    valueOffset,
    scaleOffset,
    // Bounds of loops that compilers do not know: some unroll all they can count, and take seconds for it.
    dim4: cache.headDim / 4,
    slice4: 8,
    sixteen: 16,
    window: options.window ?? 0xffffffff,
    causal: options.causal === false ? 0 : 1,
    scale: options.scale,
    softcap: options.softcap ?? 0,
  };
}

export function bound({ graph, q, cache, layer, options }: AttentionCall, out: Tensor): Record<string, Tensor | Range> {
  const { sinks, slopes } = options;
  const { segments } = graph.batch;
  return {
    ...paged(graph, cache.layers[layer]),
    segments,
    q,
    pool: cache.layers[layer]!.pool,
    ...(sinks && { sinks }),
    ...(slopes && { slopes }),
    out,
  };
}

/** How partial results join and end, with the sinks if there are any. */
export const joinFragments = (sinks: Range | undefined): string[] => [joinWgsl, sinks ? SINKS : NO_SINKS];

const SINKS = "fn sinkOf(head: u32) -> f32 { return sinks[head]; }";
const NO_SINKS = "fn sinkOf(head: u32) -> f32 { return 0.0; }";

const slopesOf =
  "fn slopesOf(h: u32) -> vec4f { return vec4f(slopeOf(h), slopeOf(h + 1u), slopeOf(h + 2u), slopeOf(h + 3u)); }";
const SLOPES = `const SLOPES: bool = true;\nfn slopeOf(head: u32) -> f32 { return slopes[min(head, HEADS - 1u)]; }\n${slopesOf}`;
const NO_SLOPES = `const SLOPES: bool = false;\nfn slopeOf(head: u32) -> f32 { return 0.0; }\n${slopesOf}`;
