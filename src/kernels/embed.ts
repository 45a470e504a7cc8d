import embedWgsl from "../../shaders/embed.wgsl?raw";
import { rowWords } from "../weights/quant/layout.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { weightFragment } from "./weights.ts";

/** Rows of the table for the batch's tokens, times `scale`: [rows, inFeatures] f32. One dispatch a part. */
export function embed(graph: Graph, table: Linear, scale = 1): Tensor {
  const out = graph.tensor("rows", table.inFeatures);
  for (const part of table.parts) {
    graph.dispatch(
      {
        name: `embed ${table.layout}`,
        wgsl: embedWgsl,
        fragments: [weightFragment(table.layout)],
        params: { columns: "u32", rowWords: "u32", rowStart: "u32", rowCount: "u32", scale: "f32" },
        bindings: [
          { name: "rows", access: "read", type: "array<Row>" },
          { name: "states", access: "read", type: "array<State>" },
          { name: "weights", access: "read", type: "array<u32>" },
          { name: "out", access: "read_write", type: "array<vec4f>" },
        ],
      },
      {
        columns: table.inFeatures,
        rowWords: rowWords(table.layout, table.inFeatures),
        rowStart: part.rowStart,
        rowCount: part.rowCount,
        scale,
      },
      { rows: graph.batch.rows, states: graph.batch.state, weights: part.weights, out },
      [Math.ceil(table.inFeatures / 256), graph.rows],
    );
  }
  return out;
}
