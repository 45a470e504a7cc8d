import { embed, linear } from "../../../src/kernels/linear.ts";
import { flags, layer, LAYOUTS, type Drawing } from "./drawing.ts";

const linears: Drawing[] = LAYOUTS.flatMap((layout) =>
  flags(5).map(([norm, bias, residual, swiglu, gather]): Drawing => ({
    name: `linear ${layout} ${[norm, bias, residual, swiglu, gather].map(Number).join("")}`,
    draw: (graph, range) =>
      linear(graph, graph.tensor("rows", 64), layer(layout, range, bias), {
        ...(norm && { norm: { gain: range, eps: 1e-5 } }),
        ...(residual && { residual: graph.tensor(gather ? "samples" : "rows", swiglu ? 32 : 64) }),
        ...(swiglu && { swiglu }),
        ...(gather && { gather }),
      }),
  })),
);

export const drawings: Drawing[] = [
  ...linears,
  ...LAYOUTS.map((layout): Drawing => ({
    name: `embed ${layout}`,
    draw: (graph, range) => embed(graph, layer(layout, range)),
  })),
];
