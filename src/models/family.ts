import { invariant } from "../base/assert.ts";
import type { CacheView, LatentView } from "../kernels/batch.ts";
import type { Graph, Tensor } from "../kernels/graph.ts";
import type { Linear } from "../kernels/linear.ts";
import type { RopeTable } from "../kernels/rope.ts";
import type { Range } from "../kernels/batch.ts";

/** A parsed config.json: what every family has. All numbers are checked; nothing else of the file is used. */
export interface ModelConfig {
  readonly modelType: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly vocabSize: number;
  /** Tokens the checkpoint was made for. */
  readonly contextTokens: number;
  readonly bosId: number | null;
  readonly eosIds: readonly number[];
}

/**
 * The place of a tensor's rows in a resident matrix: row fromRow + i of the tensor becomes row firstRow + i · rowStep. Fused
 * tensors (queries, keys and values in one; all of them head by head) have several placements.
 */
export interface TensorPlacement {
  readonly tensor: string;
  readonly rows: number;
  readonly firstRow: number;
  readonly rowStep: number;
  /** First row of the tensor that is placed; default 0. */
  readonly fromRow?: number;
  /** Rows that the whole tensor has; default `rows`. */
  readonly tensorRows?: number;
  /** First column that is placed, and the columns the tensor has, where those of the matrix are not all: default 0 and all. */
  readonly fromColumn?: number;
  readonly tensorColumns?: number;
  /** The tensor is a stack of so many matrices, the experts of a layer: [stack, tensorRows / stack, columns]. */
  readonly stack?: number;
}

/** One resident linear layer, [outFeatures, inFeatures], made of one or more published tensors. */
export interface LinearSpec {
  readonly kind: "linear";
  readonly outFeatures: number;
  readonly inFeatures: number;
  readonly tensors: readonly TensorPlacement[];
  /** Published as [inFeatures, outFeatures] (GPT-2's Conv1D), each of a stack by itself: one tensor, placed whole. */
  readonly transposed?: boolean;
  /** Published biases, f32 when resident; rows without one have bias 0. */
  readonly bias?: readonly TensorPlacement[];
  /** Keeps more bits than the other matrices when weights are quantised: embeddings, heads, routers. */
  readonly sensitive?: boolean;
  /** Only rows are gathered, nothing is multiplied: not counted in FLOPs. */
  readonly gatherOnly?: boolean;
  /** f32 on the device whatever is asked for: routers, where rounding would send a token elsewhere. */
  readonly exact?: boolean;
  /** Rows that stay in one buffer where a matrix takes several: those of an expert. Default 2, a gate and its up. */
  readonly unit?: number;
  /** The share of the rows that one token is multiplied with, where that is not all: a few of many experts. */
  readonly active?: number;
  /** May be left out of a checkpoint, together with all else that is optional: modules that the forward does not need. */
  readonly optional?: boolean;
}

/** The shape in which the tensor of a placement is published. */
export function publishedShape(spec: LinearSpec, placement: TensorPlacement): number[] {
  const { rows, tensorRows = rows, tensorColumns = spec.inFeatures, stack } = placement;
  const matrix = [tensorRows / (stack ?? 1), tensorColumns];
  if (spec.transposed) matrix.reverse();
  return stack === undefined ? matrix : [stack, ...matrix];
}

/** The same for the tensor of a bias. */
export function publishedBiasShape({ rows, tensorRows = rows, stack }: TensorPlacement): number[] {
  return stack === undefined ? [tensorRows] : [stack, tensorRows / stack];
}

/** A vector that stays f32 on the device: a norm's gain or bias, or numbers that the config alone gives (ALiBi's slopes). */
export interface VectorSpec {
  readonly kind: "vector";
  readonly width: number;
  /** The published tensor; none where `values` are given. */
  readonly tensor?: string;
  readonly values?: readonly number[];
  /** The tensor's shape where it is not [width]. */
  readonly shape?: readonly [number, number];
  /** As of a matrix. */
  readonly optional?: boolean;
}

/** Which published tensors play which role, by role. The loader reads these and no others. */
export type WeightTable = ReadonlyMap<string, LinearSpec | VectorSpec>;

/** A family's needs of cache, a pool for each kind. */
export type CacheSpec = KvSpec | LatentSpec;

/** Keys and values of each head. */
export interface KvSpec {
  readonly kind: "kv";
  readonly layers: number;
  readonly heads: number;
  /** Elements of a key. */
  readonly headDim: number;
  /** Elements of a value; headDim where absent. */
  readonly valueDim?: number;
  /** By layer, how many entries a row sees, its own among them; all of them where undefined. */
  readonly windows?: readonly (number | undefined)[];
}

/** One vector a token for all heads (multi-head latent attention). */
export interface LatentSpec {
  readonly kind: "latent";
  readonly layers: number;
  /** Elements of the compressed keys and values, and of the rotated key. */
  readonly rank: number;
  readonly ropeDim: number;
  /** What the same heads would take without compression, for comparison: elements of all keys and values of a token. */
  readonly expanded: number;
}

/** Where a family has experts. */
export interface ExpertsSpec {
  /** The layers that have them. */
  readonly layers: readonly number[];
  /** Routed experts of each, and those that every token goes to, which reside behind them. */
  readonly experts: number;
  readonly shared: number;
}

/** What belongs to the experts of one layer beside their weights. */
export interface ExpertTables {
  /** [experts + shared] u32: the slot in which each resides. */
  readonly slots: Range;
  /** [experts] u32: how often each was chosen since the model was loaded. */
  readonly counts: Range;
}

/** Rotary frequencies of one regime: the angle of element e at position p is p · inverseFrequencies[e]. */
export interface RopeSpec {
  /** Elements of a head that rotate; twice as many as frequencies. */
  readonly dim: number;
  readonly inverseFrequencies: Float64Array;
  /** Factor on cos and sin (YaRN's attention scaling); 1 for most. */
  readonly scale: number;
}

/** The resident weights of a loaded model, by role. Asking for a role that is not in the table is a bug. */
export interface ResidentWeights {
  linear(role: string): Linear;
  vector(role: string): Range;
}

/** What a forward needs besides its batch. */
export interface Resident<C extends ModelConfig> {
  readonly config: C;
  readonly weights: ResidentWeights;
  /** The tables of the family's rotary embeddings over all regimes, in the order of `Family.ropes`. */
  readonly ropes: readonly RopeTable[];
  readonly cache: CacheView | LatentView;
  /** By layer; absent, experts reside in the order of their numbers and nobody counts. */
  readonly experts?: ReadonlyMap<number, ExpertTables>;
}

/** The cache of a family that keeps keys and values. */
export function kvCache({ cache }: Pick<Resident<ModelConfig>, "cache">): CacheView {
  invariant(cache.kind === "kv", `a ${cache.kind} cache for a family of keys and values`);
  return cache;
}

/** The cache of a family with latent attention. */
export function latentCache({ cache }: Pick<Resident<ModelConfig>, "cache">): LatentView {
  invariant(cache.kind === "latent", `a ${cache.kind} cache for a family with latent attention`);
  return cache;
}

/** An architecture: one file in this folder, one entry in index.ts. */
export interface Family<C extends ModelConfig = ModelConfig> {
  /** `model_type`s of config.json that this file runs. */
  readonly modelTypes: readonly string[];
  /** Throws ConfigError by the field's name for whatever it would run wrongly. */
  parseConfig(json: Readonly<Record<string, unknown>>): C;
  weightTable(config: C): WeightTable;
  cacheSpec(config: C): CacheSpec;
  /** Null, or no such function, where every token goes through all weights. */
  experts?(config: C): ExpertsSpec | null;
  /**
   * Rotary embeddings of requests of up to `length` tokens, prompt and answer together: one for most families, more where
   * layers differ, none where nothing rotates.
   */
  ropes(config: C, length: number): readonly RopeSpec[];
  /**
   * The regimes of an engine for requests of up to `contextTokens`, each by the longest request that it is for, ascending; the
   * last one holds them all. One, where frequencies do not depend on a request's length. See `ropeRegimes`.
   */
  regimes(config: C, contextTokens: number): readonly number[];
  /** A prefix of tensor names that some published checkpoints leave out ("transformer." of GPT-2 and Bloom). */
  readonly optionalPrefix?: string;
  /**
   * Dispatches of a decode step over a short cache: those of each layer, all others up to the hidden state, those of the
   * head. A long cache is split, which takes one more a layer. A test holds it.
   */
  readonly dispatches: { readonly layer: number; readonly other: number; readonly head: number };
  /**
   * What a config has beyond the plain form: norms of queries and keys, tables of positions; `sparse`: what a layer with
   * experts has more than one without.
   */
  moreDispatches?(config: C): { readonly layer: number; readonly other: number; readonly sparse?: number };
  /** Draws one step up to the last layer's output, [rows, hiddenSize]. */
  forward(graph: Graph, model: Resident<C>): Tensor;
  /** Final norm and head on the sampled rows: logits [samples, vocabSize]. */
  head(graph: Graph, model: Resident<C>, hidden: Tensor): Tensor;
}
