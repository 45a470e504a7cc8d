import { PATTERNS } from "../../kernels/fill.ts";
import { addNorm } from "../../kernels/norm.ts";
import type { ModelShape } from "../shapes.ts";
import { slice, type KernelCase } from "./case.ts";

/** A residual sum and its RMS norm. Traffic: both terms in, sum and norm out, the gain. Work: five operations a number. */
export function normCase(model: ModelShape, rows: number): KernelCase {
  const { hidden } = model;
  return {
    name: `add_norm/${model.name}/m${rows}`,
    scene: { segments: [{ rows, length: 0 }] },
    setBytes: 0,
    pattern: PATTERNS.f32,
    tableBytes: 4 * hidden,
    bytes: 4 * hidden * (4 * rows + 1),
    flops: 5 * rows * hidden,
    draw(graph, _, table) {
      const [x, delta] = [graph.tensor("rows", hidden), graph.tensor("rows", hidden)];
      return addNorm(graph, x, delta, { kind: "rms", eps: 1e-6, gain: slice(table, 0, 4 * hidden) }).out;
    },
  };
}
