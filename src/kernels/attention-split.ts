import { invariant } from "../base/assert.ts";
import splitWgsl from "../../shaders/attention_split.wgsl?raw";
import { bound, declare, paramsOf, WORKGROUP_BYTES, type AttentionCall } from "./attention-call.ts";
import type { Tensor } from "./graph.ts";

const LANES = 128;
/** Tokens of a split whose scores workgroup memory can hold beside the rest. */
const LARGEST_SPLIT = 512;
/** Lanes that share one element of the values add up one after another, and so should not be many. */
const MOST_STREAMS = 8;
/** More heads than this to a workgroup would be more sums than a lane's registers hold. */
const MOST_HEADS = 8;

/** Splits that the program's longest sequence has keys in; with a window only those that a window can touch. */
export function splitsOf({ graph, cache, options }: AttentionCall): number {
  const split = splitTokens(graph.tuning.attention.split);
  const tokens = Math.min(graph.maxLength, graph.batch.limits.pagesPerSequence * cache.pageSize);
  const all = Math.max(1, Math.ceil(tokens / split));
  if (options.window === undefined || options.causal === false) return all;
  return Math.min(all, Math.ceil((options.window - 1) / split) + 1);
}

function splitTokens(split: number): number {
  invariant(split >= 32 && Number.isInteger(Math.log2(split)), `splits of ${split} tokens`);
  return Math.min(split, LARGEST_SPLIT);
}

/**
 * Each row's splits side by side, or with `serial` one after another: [rows, parts, heads · (valueDim + 4)] where the call
 * emits, else [rows, heads · valueDim]; more parts than one only where it emits.
 */
export function attendSplits(call: AttentionCall, parts: number, serial: boolean): Tensor {
  const { graph, cache, heads, valueDim, emit } = call;
  invariant(parts === 1 || (emit && !serial), `${parts} parts of one result`);
  const split = splitTokens(graph.tuning.attention.split);
  const perGroup = heads / cache.heads;
  const group = headsOf(perGroup, cache.headDim, valueDim, split);
  const out = graph.tensor("rows", parts * heads * (valueDim + (emit ? 4 : 0)));
  const declared = declare(call);
  graph.dispatch(
    {
      name: `attention_split ${cache.format}`,
      wgsl: splitWgsl,
      ...declared,
      params: { ...declared.params, streams: "u32" },
      constants: { ...declared.constants, GROUP: group, SPLIT: split, LANES, SERIAL: serial },
    },
    { ...paramsOf(call), streams: Math.min(MOST_STREAMS, Math.floor(LANES / (valueDim / 4))) },
    bound(call, out),
    [cache.heads * Math.ceil(perGroup / group), graph.rows, parts],
  );
  return out;
}

/** Query heads that a workgroup takes: as many as fit, in chunks of nearly the same size. */
function headsOf(perGroup: number, headDim: number, valueDim: number, split: number): number {
  let most = MOST_HEADS;
  while (most > 1 && bytesOf(most, headDim, valueDim, split) > WORKGROUP_BYTES) most--;
  return Math.ceil(perGroup / Math.ceil(perGroup / most));
}

/** Workgroup memory of attention_split.wgsl, in bytes. */
function bytesOf(group: number, headDim: number, valueDim: number, split: number): number {
  const quads = Math.ceil(group / 4);
  const vectors = group * Math.max(headDim, valueDim) * 4;
  const weights = split * quads * 16;
  const valueScales = split * 4;
  const pages = Math.max(1, split / 32) * 8;
  const reduction = 16 * quads * 16;
  const stats = 2 * quads * 4 * 8;
  return vectors + weights + valueScales + pages + reduction + stats;
}
