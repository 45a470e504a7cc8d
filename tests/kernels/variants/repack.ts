import { repackGrid, repackParams, repackSource } from "../../../src/kernels/repack.ts";
import { DENSE_FORMATS } from "../../../src/weights/quant/dense.ts";
import { RESIDENT_LAYOUTS } from "../../../src/weights/quant/layout.ts";
import type { Drawing } from "./drawing.ts";

export const drawings: Drawing[] = DENSE_FORMATS.flatMap((from) =>
  RESIDENT_LAYOUTS.map((to): Drawing => ({
    name: `repack ${from} to ${to}`,
    draw: (graph, weights) => {
      const target = { weights, layout: to, columns: 64, firstRow: 0, rowStep: 1 };
      const bindings = { staging: weights, weights };
      graph.dispatch(repackSource(from, to), repackParams(target, 1), bindings, repackGrid(target, 1));
    },
  })),
);
