import { invariant } from "../base/assert.ts";
import mergeWgsl from "../../shaders/attention_merge.wgsl?raw";
import { joinFragments, OUT, read, type PartialAttention } from "./attention-call.ts";
import type { Range } from "./batch.ts";
import type { Graph, Tensor } from "./graph.ts";

/**
 * The attention over all keys of the parts together, [rows, heads · valueDim] f32: for splits, for a prefix that requests
 * share (cascades), for token trees. No key may be in two parts. One dispatch for one or two parts and one for each more.
 * sinks: [heads] f32, as in `AttentionOptions`.
 */
export function mergeAttention(
  graph: Graph,
  parts: readonly PartialAttention[],
  options: { sinks?: Range } = {},
): Tensor {
  const [a, b, ...more] = parts;
  invariant(a, "no partial attention to merge");
  if (b && more.length > 0) return mergeAttention(graph, [joinAttention(graph, a, b), ...more], options);
  return dispatchMerge(graph, a, b, options.sinks, false);
}

/** Two partial results as one, not finished. */
export function joinAttention(graph: Graph, a: PartialAttention, b: PartialAttention): PartialAttention {
  return { ...a, state: dispatchMerge(graph, a, b, undefined, true), parts: 1 };
}

function dispatchMerge(
  graph: Graph,
  a: PartialAttention,
  b: PartialAttention | undefined,
  sinks: Range | undefined,
  emit: boolean,
): Tensor {
  const { heads, valueDim } = a;
  invariant(!b || (b.heads === heads && b.valueDim === valueDim), "partial attention of other heads");
  const out = graph.tensor("rows", heads * (valueDim + (emit ? 4 : 0)));
  graph.dispatch(
    {
      name: "attention_merge",
      wgsl: mergeWgsl,
      fragments: joinFragments(sinks),
      params: { partsA: "u32", partsB: "u32" },
      constants: { HEADS: heads, VALUE_DIM: valueDim, SINKS: sinks !== undefined, EMIT: emit },
      bindings: [
        read("a", "array<vec4f>"),
        read("b", "array<vec4f>"),
        ...(sinks ? [read("sinks", "array<f32>")] : []),
        OUT,
      ],
    },
    { partsA: a.parts, partsB: b?.parts ?? 0 },
    // Without a second input the first stands in for it, unread.
    { a: a.state, b: (b ?? a).state, ...(sinks && { sinks }), out },
    [Math.ceil((heads * valueDim) / 4 / 64), graph.rows],
  );
  return out;
}
