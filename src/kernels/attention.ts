import { callOf, type AttentionCall, type AttentionOptions, type PartialAttention } from "./attention-call.ts";
import type { ScoreOptions } from "./attention-call.ts";
import { mergeAttention } from "./attention-merge.ts";
import { attendSplits, splitsOf } from "./attention-split.ts";
import { attendTiles } from "./attention-tile.ts";
import type { CacheView } from "./batch.ts";
import type { Graph, Tensor } from "./graph.ts";

export { joinAttention, mergeAttention } from "./attention-merge.ts";
export type { AttentionOptions, PartialAttention, ScoreOptions };

/**
 * softmax(scale · q · Kᵀ) · V over the pages of each row's sequence: [rows, heads · valueDim] f32.
 * q: [rows, heads · headDim] f32, rotated. One dispatch; one more where long caches are split.
 */
export function attention(graph: Graph, q: Tensor, cache: CacheView, layer: number, options: AttentionOptions): Tensor {
  const call = callOf(graph, q, cache, layer, options, false);
  const path = pathOf(call);
  // A kernel binds eight buffers: sinks and slopes do not both go in, and sinks join as well at the end.
  if (path === "split" || (options.sinks && options.slopes)) {
    const part = attentionPartial(graph, q, cache, layer, options);
    return mergeAttention(graph, [part], options.sinks && { sinks: options.sinks });
  }
  return path === "tile" ? attendTiles(call) : attendSplits(call, 1, path === "serial");
}

/**
 * The same, unfinished: results over different keys of the same rows can be merged (Flash-Decoding; cascades; token
 * trees). Sinks have no part in it: they join once, in `mergeAttention`.
 */
export function attentionPartial(
  graph: Graph,
  q: Tensor,
  cache: CacheView,
  layer: number,
  { scale, causal, window, softcap, slopes }: ScoreOptions,
): PartialAttention {
  const options: ScoreOptions = { scale, causal, window, softcap, slopes };
  const call = callOf(graph, q, cache, layer, options, true);
  const { heads, valueDim } = call;
  const path = pathOf(call);
  if (path === "tile") return { state: attendTiles(call), parts: 1, heads, valueDim };
  const parts = path === "split" ? splitsOf(call) : 1;
  return { state: attendSplits(call, parts, path === "serial"), parts, heads, valueDim };
}

/** Up to this many rows the splits of all of them are enough work for a GPU, and tiles would be nearly empty. */
const FEW_ROWS = 8;

/**
 * "tile" for many rows, those of decoding sequences among them; for few rows "whole" where a sequence is one split, "split"
 * where it may be several. "serial" is the splits of a row in turn: the bits of "split" without its memory, for prompts of
 * deterministic engines.
 */
function pathOf(call: AttentionCall): "tile" | "whole" | "split" | "serial" {
  const { rows, tuning } = call.graph;
  if (rows > FEW_ROWS && !tuning.deterministic) return "tile";
  if (splitsOf(call) === 1) return "whole";
  return rows > FEW_ROWS ? "serial" : "split";
}
