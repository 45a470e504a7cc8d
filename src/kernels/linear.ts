import { invariant } from "../base/assert.ts";
import { gateOf, type LinearOptions } from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { isShuffled, matMul } from "./matmul.ts";
import { matVec } from "./matvec.ts";
import { isPacked, linearPacked } from "./packed.ts";

export { embed } from "./embed.ts";
export type { Linear, LinearPart, RmsNorm } from "./layer.ts";
export type { Activation, Gate, LinearOptions } from "./epilogue.ts";

/**
 * y = x · Wᵀ (+ bias), then what `options` say: [rows, outFeatures] f32, or half as wide with a gate. One dispatch a part.
 * Few rows of x take the mat-vec, which reads each weight once for up to 8 of them; more take the tiled matmul. With
 * `tuning.packedDot` quantised layers take integer dot products, and one dispatch more, which brings x to 8 bits. With
 * `tuning.deterministic` there is one path, the mat-vec, whatever the number of rows.
 */
export function linear(graph: Graph, x: Tensor, layer: Linear, options: LinearOptions = {}): Tensor {
  const gated = gateOf(options) !== undefined;
  const fits = options.leading ? x.width > layer.inFeatures && x.width % 4 === 0 : x.width === layer.inFeatures;
  invariant(fits, `${layer.name}: input of ${x.width} for ${layer.inFeatures} columns`);
  invariant(layer.inFeatures % 4 === 0, `${layer.name}: ${layer.inFeatures} columns are not a multiple of 4`);
  invariant(!gated || options.activation === undefined, `${layer.name}: an activation beside a gate`);
  invariant(
    !gated || layer.parts.every((p) => p.rowStart % 2 === 0 && p.rowCount % 2 === 0),
    `${layer.name}: a gate and its up in different parts`,
  );
  const out = graph.tensor(options.gather ? "samples" : x.extent, gated ? layer.outFeatures / 2 : layer.outFeatures);
  const { deterministic, matVec: few } = graph.tuning;
  const rowByRow = deterministic || (graph.count(out.extent) <= few.maxColumns && !isShuffled(graph));
  const path = isPacked(graph, layer) ? linearPacked : rowByRow ? matVec : matMul;
  path(graph, x, out, layer, options);
  return out;
}
