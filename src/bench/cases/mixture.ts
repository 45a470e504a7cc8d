import { experts } from "../../kernels/experts.ts";
import { route } from "../../kernels/router.ts";
import { rowWords } from "../../weights/quant/layout.ts";
import type { MixtureShape } from "../shapes.ts";
import { decoding, slice, type KernelCase } from "./case.ts";
import { matrix, patternOf, type CaseLayout } from "./linear.ts";

/**
 * Router and experts of one layer, SwiGLU, M rows. Traffic: the experts that M rows reach at most, each read once; logits, x
 * and the result. Work: three matrices of 2 · hidden · width for each of a row's topK experts.
 */
export function expertsCase(model: MixtureShape, layout: CaseLayout, rows: number): KernelCase {
  const { hidden, width, experts: count, topK } = model;
  const [upRow, downRow] = [4 * rowWords(layout, hidden), 4 * rowWords(layout, width)];
  const expertBytes = 2 * width * upRow + hidden * downRow;
  const upBytes = count * 2 * width * upRow;
  return {
    name: `experts/${model.name}/${layout}/m${rows}`,
    scene: rows <= 8 ? decoding(rows, 0) : { segments: [{ rows, length: 0 }] },
    setBytes: count * expertBytes,
    pattern: patternOf(layout),
    bytes: Math.min(count, rows * topK) * expertBytes + 4 * rows * (count + 2 * hidden),
    flops: rows * topK * 3 * 2 * hidden * width,
    draw(graph, set) {
      const logits = graph.tensor("rows", count);
      const routing = route(graph, logits, { experts: count, topK, score: "softmax", renormalise: true });
      const up = { inFeatures: hidden, outFeatures: count * 2 * width };
      const down = { inFeatures: width, outFeatures: count * hidden };
      const stacked = {
        slots: count,
        gateUp: matrix("gate_up", layout, up, slice(set, 0, upBytes), 2 * width),
        down: matrix("down", layout, down, slice(set, upBytes, count * hidden * downRow), hidden),
      };
      return experts(graph, graph.tensor("rows", hidden), routing, stacked, { gate: "silu" });
    },
  };
}
