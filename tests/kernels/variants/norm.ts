import { addNorm, norm, type Norm } from "../../../src/kernels/norm.ts";
import { flags, type Drawing } from "./drawing.ts";

/** Widths on both sides of where more lanes take part. */
const WIDTHS = [64, 2048];

export const drawings: Drawing[] = WIDTHS.flatMap((width) =>
  (["rms", "layer"] as const).flatMap((kind) =>
    flags(4).map(([gain, bias, residual, gather]): Drawing => ({
      name: `norm ${kind} of ${width} ${[gain, bias, residual, gather].map(Number).join("")}`,
      draw: (graph, range) => {
        const spec: Norm = { kind, eps: 1e-5, groups: 2, ...(gain && { gain: range }), ...(bias && { bias: range }) };
        const x = graph.tensor("rows", width);
        if (residual && gather) addNorm(graph, x, graph.tensor("rows", width), spec);
        const extent = gather ? "samples" : "rows";
        norm(graph, x, spec, { gather: gather!, ...(residual && { residual: graph.tensor(extent, width) }) });
      },
    })),
  ),
);
