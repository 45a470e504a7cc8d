import { entryBytes } from "../engine/cache.ts";
import type { ReadCheckpoint } from "../engine/inspect.ts";
import type { CacheSpec, LinearSpec } from "../models/family.ts";
import { rowWords } from "../weights/quant/layout.ts";
import type { Work } from "./roofline.ts";

/** What a model's steps have to move and to compute at least, counted from its table of weights. */
export interface ModelWork {
  /** All that is multiplied with, norms and biases among it: bytes, and the share that one row meets (experts: not all). */
  readonly weights: readonly { readonly bytes: number; readonly active: number }[];
  /** Bytes of the rows that one token gathers: its embedding. */
  readonly gatheredBytes: number;
  /** Operations of the linear layers for one row without its head, and of the head for one row; an fma is two. */
  readonly flopsPerRow: number;
  readonly headFlops: number;
  /**
   * For each layer: bytes that a cached token takes, operations of a row on one, those of a prompt's row where they are fewer,
   * and how many a row sees at most.
   */
  readonly layers: readonly {
    readonly entryBytes: number;
    readonly entryFlops: number;
    readonly promptFlops?: number;
    readonly window: number;
  }[];
}

/** Counts a model whose files have been read. */
export function workOf({ family, config, plan, kv }: ReadCheckpoint): ModelWork {
  const weights: { bytes: number; active: number }[] = [];
  let [gatheredBytes, flopsPerRow, headFlops] = [0, 0, 0];
  for (const [role, spec] of plan.table) {
    if (spec.optional) continue;
    if (spec.kind === "vector") {
      weights.push({ bytes: spec.width * 4, active: 1 });
      continue;
    }
    const rowBytes = rowWords(plan.layouts.get(role)!, spec.inFeatures) * 4;
    if (role === "embed" || spec.gatherOnly) gatheredBytes += rowBytes;
    if (spec.gatherOnly) continue;
    const { active = 1, inFeatures, outFeatures } = spec;
    weights.push({ bytes: outFeatures * (rowBytes + (spec.bias ? 4 : 0)), active });
    const flops = 2 * active * inFeatures * outFeatures;
    if (isHead(spec, config.vocabSize)) headFlops += flops;
    else flopsPerRow += flops;
  }
  const spec = family.cacheSpec(config);
  const heads = "heads" in config && typeof config.heads === "number" ? config.heads : null;
  const layers = Array.from({ length: spec.layers }, (_, i) => ({
    entryBytes: entryBytes(spec, kv),
    entryFlops: entryFlops(spec, heads),
    // Latents are expanded into keys and values of heads, by the matrix that decode steps absorb: once a token as well.
    ...(spec.kind === "latent" && { promptFlops: 2 * spec.expanded }),
    window: (spec.kind === "kv" ? spec.windows?.[i] : undefined) ?? Infinity,
  }));
  return { weights, gatheredBytes, flopsPerRow, headFlops, layers };
}

function isHead(spec: LinearSpec, vocabSize: number): boolean {
  return spec.sensitive === true && spec.outFeatures === vocabSize;
}

/** A score and a weighted sum, for every query head. */
function entryFlops(spec: CacheSpec, heads: number | null): number {
  if (spec.kind === "latent") return 2 * (heads ?? 1) * (2 * spec.rank + spec.ropeDim);
  return 2 * (heads ?? spec.heads) * (spec.headDim + (spec.valueDim ?? spec.headDim));
}

/** Bytes of the weights that `rows` rows meet between them, where each is sent to its experts by chance. */
export function weightBytes({ weights }: Pick<ModelWork, "weights">, rows: number): number {
  return weights.reduce((sum, { bytes, active }) => sum + bytes * (1 - (1 - active) ** rows), 0);
}

/**
 * One decode step of `sequences` with `context` cached tokens each: a weight is read once for all of them, every cached
 * entry once for its own sequence, the new one's among them.
 */
export function decodeWork(work: ModelWork, context: number, sequences: number): Work & { kvBytes: number } {
  let [kvBytes, attention] = [0, 0];
  for (const { entryBytes: bytes, entryFlops: flops, window } of work.layers) {
    const seen = Math.min(context + 1, window);
    kvBytes += sequences * bytes * seen;
    attention += sequences * flops * seen;
  }
  return {
    kvBytes,
    bytes: weightBytes(work, sequences) + sequences * work.gatheredBytes + kvBytes,
    flops: sequences * (work.flopsPerRow + work.headFlops) + attention,
  };
}

/** A prompt of so many tokens from an empty cache, and the head for its last row alone. Weights are read once. */
export function prefillWork(work: ModelWork, tokens: number): Work {
  let bytes = weightBytes(work, tokens) + tokens * work.gatheredBytes;
  let flops = tokens * work.flopsPerRow + work.headFlops;
  for (const layer of work.layers) {
    bytes += tokens * layer.entryBytes;
    flops += (layer.promptFlops ?? layer.entryFlops) * visible(tokens, layer.window);
  }
  return { bytes, flops };
}

/** Pairs of a row and a key that it sees: one more for each row, until the window is full. */
function visible(tokens: number, window: number): number {
  const growing = Math.min(tokens, window);
  return (growing * (growing + 1)) / 2 + (tokens > window ? (tokens - window) * window : 0);
}
