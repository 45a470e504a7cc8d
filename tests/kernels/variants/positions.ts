import { learnedPositions } from "../../../src/kernels/positions.ts";
import { transposeGrid, transposeSource } from "../../../src/kernels/transpose.ts";
import { DENSE_FORMATS } from "../../../src/weights/quant/dense.ts";
import { RESIDENT_LAYOUTS } from "../../../src/weights/quant/layout.ts";
import type { Drawing } from "./drawing.ts";

export const drawings: Drawing[] = [
  ...RESIDENT_LAYOUTS.map((layout): Drawing => ({
    name: `learned positions ${layout}`,
    draw: (graph, weights) => {
      const parts = [{ weights, rowStart: 0, rowCount: 8 }];
      learnedPositions(graph, graph.tensor("rows", 64), {
        name: "table",
        inFeatures: 64,
        outFeatures: 8,
        layout,
        parts,
      });
    },
  })),
  ...DENSE_FORMATS.map((format): Drawing => ({
    name: `transpose ${format}`,
    draw: (graph, weights) => {
      const strip = { inFeatures: 64, outFeatures: 64, firstRow: 0, rows: 64, rowStart: 0, rowCount: 64 };
      graph.dispatch(transposeSource(format), strip, { staging: weights, turned: weights }, transposeGrid(strip));
    },
  })),
];
