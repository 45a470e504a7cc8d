import { invariant } from "../base/assert.ts";
import cacheLoadF16 from "../../shaders/fragments/cache_f16.wgsl?raw";
import cacheLoadF32 from "../../shaders/fragments/cache_f32.wgsl?raw";
import latentPageWgsl from "../../shaders/fragments/latent_page.wgsl?raw";
import pagesWgsl from "../../shaders/fragments/pages.wgsl?raw";
import latentAttentionWgsl from "../../shaders/latent_attention.wgsl?raw";
import latentWriteWgsl from "../../shaders/latent_write.wgsl?raw";
import type { PartialAttention } from "./attention-call.ts";
import { mergeAttention } from "./attention-merge.ts";
import type { LatentView, Range } from "./batch.ts";
import type { Binding } from "./define.ts";
import type { Graph, Tensor } from "./graph.ts";
import { headLinearMerged } from "./head-linear-merged.ts";
import { headLinear, type HeadSkip } from "./head-linear.ts";
import type { Linear } from "./linear.ts";
import { rowSum } from "./norm.ts";
import { PAGED, paged } from "./pages.ts";
import { cacheStore, rotary, type RopeTable } from "./rope.ts";
import { unroll } from "./unroll.ts";

/**
 * Multi-head latent attention (DeepSeek-V2, 2024, §2.1) in its absorbed form. The cache has one vector a token: the
 * compressed keys and values, and a rotated key. With kv_b a matrix [heads · (nope + value), rank] whose rows are, head
 * after head, those that make keys and those that make values:
 *
 *   latentWrite(kv)                     compressed part normalised, key rotated, both to the cache
 *   q = latentQuery(q, kv_b)            each head's query through its key rows into the space of the latents
 *   y = latentOutput(q, kv_b)           attention over the latents themselves, each head's result through its value rows
 *
 * Prompts take another way between the two linear layers, latent-expand.ts.
 */
export interface LatentHeads {
  readonly heads: number;
  /** Elements of a head's query and key that do not rotate. */
  readonly nope: number;
  /** Elements of a head's value. */
  readonly valueDim: number;
}

export interface LatentRope {
  readonly rope: RopeTable;
  /** Neighbours rotate together, as in DeepSeek's checkpoints. */
  readonly interleaved?: boolean;
}

const read = (name: string, type: string): Binding => ({ name, access: "read", type });

function checkView({ rank, ropeDim, pageSize }: LatentView): void {
  invariant(rank % 8 === 0 && ropeDim % 4 === 0, `latents of ${rank} + ${ropeDim} elements`);
  invariant(pageSize >= KEYS && Number.isInteger(Math.log2(pageSize)), `pages of ${pageSize} for tiles of ${KEYS}`);
}

/** The constants that name the parts of a latent. */
const sizes = ({ rank, ropeDim }: LatentView): { RANK: number; ROPE: number } => ({ RANK: rank, ROPE: ropeDim });

/**
 * Writes the rows' latents to the cache of one layer. kv: [rows, ≥ column + rank + ropeDim] f32, from `column` on the
 * compressed keys and values, to be RMS-normalised with gain [rank] f32, and the key that all heads share, to be rotated.
 */
export function latentWrite(
  graph: Graph,
  kv: Tensor,
  cache: LatentView,
  layer: number,
  { gain, eps, rope, interleaved = false, column = 0 }: LatentRope & { gain: Range; eps: number; column?: number },
): void {
  const { rank, ropeDim, format, pageSize, layers } = cache;
  checkView(cache);
  const fits = kv.width >= column + rank + ropeDim && rope.dim === ropeDim;
  invariant(fits, `latents of ${rank} + ${ropeDim} from column ${column} of ${kv.width}`);
  const turn = rotary(rope, interleaved);
  const sum = rowSum(graph);
  graph.dispatch(
    {
      name: `latent_write ${format}`,
      wgsl: latentWriteWgsl,
      enables: sum.enables,
      fragments: [sum.fragment, turn.fragment, cacheStore(format), pagesWgsl, latentPageWgsl],
      params: { pagesPerSequence: "u32", width: "u32", column: "u32", rank4: "u32", invRank: "f32", eps: "f32" },
      constants: { LANES: 64, PAGE: pageSize, ...sizes(cache), ...turn.constants },
      bindings: [
        ...PAGED,
        read("kv", "array<f32>"),
        read("gain", "array<vec4f>"),
        ...turn.bindings,
        { name: "pool", access: "read_write", type: "array<u32>" },
      ],
    },
    {
      pagesPerSequence: graph.batch.limits.pagesPerSequence,
      width: kv.width,
      column,
      rank4: rank / 4,
      invRank: 1 / rank,
      eps,
    },
    { ...paged(graph), kv, gain, ...turn.ranges, pool: layers[layer]!.pool },
    [graph.rows],
  );
}

/**
 * Queries for `latentAttention`, [rows, heads · (rank + ropeDim)] f32, from the first columns of q, heads · (nope + ropeDim):
 * the first nope elements of each head go through its key rows of kv_b, the last ropeDim are rotated. One dispatch.
 */
export function latentQuery(
  graph: Graph,
  q: Tensor,
  kvB: Linear,
  cache: LatentView,
  { heads, nope, valueDim, rope, interleaved = false, skip }: LatentHeads & LatentRope & { skip?: HeadSkip },
): Tensor {
  const { rank, ropeDim } = cache;
  checkView(cache);
  invariant(kvB.inFeatures === rank && rope.dim === ropeDim, `${kvB.name}: ${kvB.inFeatures} columns`);
  invariant(nope % 4 === 0, `${nope} elements of a query that do not rotate`);
  return headLinear(graph, q, kvB, {
    heads,
    rows: { start: 0, count: nope, step: nope + valueDim },
    transposed: true,
    inputStep: nope + ropeDim,
    into: { out: graph.tensor("rows", heads * (rank + ropeDim)), step: rank + ropeDim },
    behind: { rope, interleaved },
    ...(skip && { skip }),
  });
}

/** Keys of a tile. */
const KEYS = 16;
/** Query heads that one workgroup takes at most: with 16 lanes each, the 256 that every device has. */
const MOST_HEADS = 16;
/** More rows than this keep a device busy without splits: those of a decode or a verification step are split. */
const SPLIT_ROWS = 16;
/** Splits become longer where their results would take more than this. */
const SPLIT_BYTES = 64 << 20;

/**
 * `latentAttention`, and each head's result through its value rows of kv_b: [rows, heads · valueDim] f32. Two dispatches,
 * also where the cache is split.
 */
export function latentOutput(
  graph: Graph,
  q: Tensor,
  kvB: Linear,
  cache: LatentView,
  layer: number,
  options: LatentHeads & LatentAttentionOptions,
): Tensor {
  const { heads, nope, valueDim, scale } = options;
  const rows = { start: nope, count: valueDim, step: nope + valueDim };
  if (splitsOf(graph, cache, heads).parts > 1) {
    return headLinearMerged(graph, latentPartial(graph, q, cache, layer, { heads, scale }), kvB, rows);
  }
  return headLinear(graph, latentAttention(graph, q, cache, layer, { heads, scale }), kvB, { heads, rows });
}

export interface LatentAttentionOptions {
  readonly heads: number;
  /** Factor of the scores before the softmax; usually (nope + ropeDim)^-½. */
  readonly scale: number;
}

/**
 * softmax(scale · q · latentᵀ) · latent over the pages of each row's sequence, causal: [rows, heads · rank] f32 from
 * queries [rows, heads · (rank + ropeDim)]. One dispatch; two where the cache is split.
 */
export function latentAttention(
  graph: Graph,
  q: Tensor,
  cache: LatentView,
  layer: number,
  options: LatentAttentionOptions,
): Tensor {
  const splits = splitsOf(graph, cache, options.heads);
  if (splits.parts > 1) return mergeAttention(graph, [latentPartial(graph, q, cache, layer, options)]);
  return dispatchAttention(graph, q, cache, layer, options, splits, false);
}

/** The same, not finished, to be merged with other keys' results: a part for each split of the cache. One dispatch. */
export function latentPartial(
  graph: Graph,
  q: Tensor,
  cache: LatentView,
  layer: number,
  options: LatentAttentionOptions,
): PartialAttention {
  const splits = splitsOf(graph, cache, options.heads);
  const state = dispatchAttention(graph, q, cache, layer, options, splits, true);
  return { state, parts: splits.parts, heads: options.heads, valueDim: cache.rank };
}

function dispatchAttention(
  graph: Graph,
  q: Tensor,
  cache: LatentView,
  layer: number,
  { heads, scale }: LatentAttentionOptions,
  { parts, split }: Splits,
  partial: boolean,
): Tensor {
  const { rank, ropeDim, format, pageSize, layers } = cache;
  checkView(cache);
  invariant(q.width === heads * (rank + ropeDim), `queries ${q.width} wide for ${heads} heads`);
  const chunks = Math.ceil(heads / MOST_HEADS);
  const group = Math.ceil(heads / chunks);
  const out = graph.tensor("rows", partial ? parts * heads * (rank + 4) : heads * rank);
  graph.dispatch(
    {
      name: `latent_attention ${format}`,
      wgsl: unroll(latentAttentionWgsl, { SLICES: Math.ceil(rank / 64) }),
      fragments: [format === "f32" ? cacheLoadF32 : cacheLoadF16, pagesWgsl, latentPageWgsl],
      params: { pagesPerSequence: "u32", split: "u32", keys: "u32", slice4: "u32", scale: "f32" },
      constants: { HEADS: heads, GROUP: group, PAGE: pageSize, SPLIT: partial, ...sizes(cache) },
      bindings: [
        ...PAGED,
        read("q", "array<vec4f>"),
        read("pool", format === "f32" ? "array<vec4f>" : "array<vec2u>"),
        { name: "out", access: "read_write", type: "array<vec4f>" },
      ],
    },
    { pagesPerSequence: graph.batch.limits.pagesPerSequence, split, keys: KEYS, slice4: 16, scale },
    { ...paged(graph), q, pool: layers[layer]!.pool, out },
    [chunks, graph.rows, parts],
  );
  return out;
}

interface Splits {
  readonly parts: number;
  /** Tokens of each. */
  readonly split: number;
}

/** How the cache of a sequence is split. */
function splitsOf(graph: Graph, { pageSize, rank }: LatentView, heads: number): Splits {
  const longest = Math.min(graph.maxLength, graph.batch.limits.pagesPerSequence * pageSize);
  // One path for any number of rows, so that company does not change a row's bits.
  if (graph.tuning.deterministic || graph.rows > SPLIT_ROWS) return { parts: 1, split: 2 ** 31 };
  let { split } = graph.tuning.attention;
  invariant(split % KEYS === 0, `splits of ${split} tokens for tiles of ${KEYS}`);
  const parts = (): number => Math.ceil(longest / split);
  while (parts() > 1 && graph.rows * parts() * heads * (rank + 4) * 4 > SPLIT_BYTES) split *= 2;
  return { parts: parts(), split };
}
