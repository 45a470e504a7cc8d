import type { Graph } from "../../../src/kernels/graph.ts";
import type { Range } from "../../../src/kernels/batch.ts";
import type { Linear } from "../../../src/kernels/linear.ts";
import { DENSE_FORMATS } from "../../../src/weights/quant/dense.ts";
import type { ResidentLayout, WeightLayout } from "../../../src/weights/quant/layout.ts";

/** One way to draw a kernel; every file beside this one exports a list of them, and variants.test.ts compiles them all. */
export interface Drawing {
  name: string;
  /** `range` is a storage buffer that may stand for any weights, pool or table. */
  draw(graph: Graph, range: Range): void;
}

/** Every combination of n switches. */
export const flags = (n: number): boolean[][] =>
  Array.from({ length: 2 ** n }, (_, bits) => Array.from({ length: n }, (_, i) => ((bits >> i) & 1) === 1));

export const LAYOUTS: WeightLayout[] = [...DENSE_FORMATS, "q8", "q4"];

export const layer = (layout: ResidentLayout, weights: Range, bias = false): Linear => ({
  name: "test",
  inFeatures: 64,
  outFeatures: 64,
  layout,
  parts: [{ weights, rowStart: 0, rowCount: 64 }],
  ...(bias && { bias: weights }),
});
