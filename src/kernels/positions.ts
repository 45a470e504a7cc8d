import { invariant } from "../base/assert.ts";
import embedPositionWgsl from "../../shaders/embed_position.wgsl?raw";
import { rowWords } from "../weights/quant/layout.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./linear.ts";
import { weightFragment } from "./weights.ts";

/**
 * x plus the row of a table of learned positions (GPT-2) at each row's position: [rows, inFeatures] f32. One dispatch a part.
 * A position past the table leaves its row unwritten, so a model's context is never longer than its table.
 */
export function learnedPositions(graph: Graph, x: Tensor, table: Linear): Tensor {
  invariant(x.width === table.inFeatures && x.extent === "rows", `${table.name}: rows of ${x.width} for positions`);
  const out = graph.tensor("rows", x.width);
  for (const part of table.parts) {
    graph.dispatch(
      {
        name: `embed_position ${table.layout}`,
        wgsl: embedPositionWgsl,
        fragments: [weightFragment(table.layout)],
        params: { columns: "u32", rowWords: "u32", rowStart: "u32", rowCount: "u32" },
        bindings: [
          { name: "rows", access: "read", type: "array<Row>" },
          { name: "states", access: "read", type: "array<State>" },
          { name: "x", access: "read", type: "array<vec4f>" },
          { name: "weights", access: "read", type: "array<u32>" },
          { name: "out", access: "read_write", type: "array<vec4f>" },
        ],
      },
      {
        columns: x.width,
        rowWords: rowWords(table.layout, x.width),
        rowStart: part.rowStart,
        rowCount: part.rowCount,
      },
      { rows: graph.batch.rows, states: graph.batch.state, x, weights: part.weights, out },
      [Math.ceil(x.width / 256), graph.rows],
    );
  }
  return out;
}
