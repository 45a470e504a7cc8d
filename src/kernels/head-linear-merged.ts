import { invariant } from "../base/assert.ts";
import { rowWords } from "../weights/quant/layout.ts";
import mergedWgsl from "../../shaders/head_linear_merged.wgsl?raw";
import { joinFragments, type PartialAttention } from "./attention-call.ts";
import { mergeAttention } from "./attention-merge.ts";
import type { Graph, Tensor } from "./graph.ts";
import { headLinear } from "./head-linear.ts";
import type { Linear } from "./linear.ts";
import { unroll } from "./unroll.ts";
import { weightFragment } from "./weights.ts";

/** Rows of x that one pass over the weights serves at most. */
const TILE = 4;
/** Workgroup memory for what was merged. */
const MERGED_BYTES = 8192;

/**
 * `headLinear` over attention that is not finished: each head's parts are merged as its x is loaded, which saves the dispatch
 * that a split cache takes otherwise. rows: a head's rows of the matrix, `count` from start + head · step on. [rows, heads ·
 * count] f32. One dispatch; two for heads of more than 2048 elements, which workgroup memory has no room for.
 */
export function headLinearMerged(
  graph: Graph,
  attention: PartialAttention,
  layer: Linear,
  rows: { readonly start: number; readonly count: number; readonly step: number },
): Tensor {
  const { state, parts, heads, valueDim: columns } = attention;
  const { start, count, step } = rows;
  const tile = Math.min(graph.rows, TILE, Math.floor(MERGED_BYTES / (columns * 4)));
  if (tile === 0) return headLinear(graph, mergeAttention(graph, [attention]), layer, { heads, rows });
  const [part] = layer.parts;
  invariant(part && layer.parts.length === 1, `${layer.name} is in ${layer.parts.length} parts; heads need one`);
  invariant(columns === layer.inFeatures, `${layer.name}: heads of ${columns} for ${layer.inFeatures} columns`);
  invariant((heads - 1) * step + start + count <= layer.outFeatures, `${layer.name}: rows of ${heads} heads`);
  const out = graph.tensor("rows", heads * count);
  graph.dispatch(
    {
      name: `head_linear_merged ${layer.layout}`,
      wgsl: unroll(mergedWgsl, { TILE: tile }),
      fragments: [weightFragment(layer.layout), ...joinFragments(undefined)],
      params: { parts: "u32", columns: "u32", rowWords: "u32", rowStart: "u32", rowStep: "u32", count: "u32" },
      constants: { TILE: tile, COLUMNS: columns, SINKS: false },
      bindings: [
        { name: "x", access: "read", type: "array<vec4f>" },
        { name: "weights", access: "read", type: "array<u32>" },
        { name: "out", access: "read_write", type: "array<f32>" },
      ],
    },
    { parts, columns, rowWords: rowWords(layer.layout, columns), rowStart: start, rowStep: step, count },
    { x: state, weights: part.weights, out },
    [Math.ceil(count / 32), Math.ceil(graph.rows / tile), heads],
  );
  return out;
}
