import { isDense } from "../weights/quant/layout.ts";
import integerDot from "../../shaders/fragments/integer_dot.wgsl?raw";
import matmulPackedWgsl from "../../shaders/matmul_packed.wgsl?raw";
import matvecPackedWgsl from "../../shaders/matvec_packed.wgsl?raw";
import packRowsWgsl from "../../shaders/pack_rows.wgsl?raw";
import { attachInput, INPUT_PARAMS, inputParams, type LinearOptions } from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { matMulGrid, matMulShape } from "./matmul.ts";
import { laneSums, matVecConstants, matVecGrid, matVecShape } from "./matvec.ts";
import { dispatchParts, type PartKernel } from "./parts.ts";
import { unroll } from "./unroll.ts";
import { block4, partChunks } from "./weights.ts";

/** Columns of x that share a scale. */
const BLOCK = 32;

/** Rows of x in 8 bits, normalised and gathered: shaders/pack_rows.wgsl. */
export interface PackedRows {
  /** [rows, 8 · blocks] words of four signed bytes */
  readonly ints: Tensor;
  /** [rows, 2 · blocks] f32: each block's scale, and scale · Σ integers */
  readonly scales: Tensor;
}

/** Quantises rows of x, blocks of 32 of its first columns to 8 bits. One dispatch; several layers may share it. */
export function packRows(
  graph: Graph,
  x: Tensor,
  options: Pick<LinearOptions, "norm" | "gather"> = {},
  columns = x.width,
): PackedRows {
  const blocks = Math.ceil(columns / BLOCK);
  const extent = options.gather ? "samples" : x.extent;
  const [ints, scales] = [graph.tensor(extent, 8 * blocks), graph.tensor(extent, 2 * blocks)];
  const input = attachInput(graph, options);
  graph.dispatch(
    {
      name: "pack rows",
      wgsl: packRowsWgsl,
      fragments: input.fragments,
      params: { ...INPUT_PARAMS, lanes: "u32" },
      bindings: [
        { name: "x", access: "read", type: "array<vec4f>" },
        ...input.declared,
        { name: "ints", access: "read_write", type: "array<u32>" },
        { name: "scales", access: "read_write", type: "array<vec2f>" },
      ],
      constants: { NORM: options.norm !== undefined, GATHER: Boolean(options.gather) },
    },
    { ...inputParams(columns, x, options.norm), lanes: 64 },
    { x, ...input.given, ints, scales },
    [graph.count(extent)],
  );
  return { ints, scales };
}

/** Whether integer dot products are for this device, these options and this layer. */
export function isPacked(graph: Graph, layer: Linear): boolean {
  return graph.tuning.packedDot && !graph.tuning.deterministic && !isDense(layer.layout);
}

/** y = x · Wᵀ by integer dot products: one dispatch for x, and one a part. Any number of rows. */
export function linearPacked(graph: Graph, x: Tensor, out: Tensor, layer: Linear, options: LinearOptions): void {
  const rows = packRows(graph, x, options, layer.inFeatures);
  const few = graph.count(out.extent) <= graph.tuning.matVec.maxColumns;
  (few ? matVecPacked : matMulPacked)(graph, rows, out, layer, options);
}

function matVecPacked(graph: Graph, rows: PackedRows, out: Tensor, layer: Linear, options: LinearOptions): void {
  const count = graph.count(out.extent);
  const shape = matVecShape(graph.tuning.matVec, Math.ceil(layer.inFeatures / BLOCK), count, false);
  const sums = laneSums(graph);
  const chunks = shape.columns === 1 ? block4(layer.layout) : partChunks(layer.layout);
  dispatchParts(graph, out, layer, options, {
    name: "matvec packed",
    wgsl: unroll(matvecPackedWgsl, { ROWS: shape.rows, COLUMNS: shape.columns, CHUNKS: chunks }),
    ...sums.enables,
    before: [integerDot],
    after: [sums.fragment],
    params: {
      columns: layer.inFeatures,
      lanes: shape.lanes,
      slots: shape.pass * shape.slotsAColumn,
      vectorChunks: block4(layer.layout),
    },
    inputs: packedInputs(rows),
    constants: { ...matVecConstants(shape), CHUNKS: chunks },
    grid: (rowCount) => matVecGrid(shape, rowCount, count),
  });
}

function matMulPacked(graph: Graph, rows: PackedRows, out: Tensor, layer: Linear, options: LinearOptions): void {
  const tile = graph.tuning.matMul;
  const { constants } = matMulShape(tile);
  dispatchParts(graph, out, layer, options, {
    name: "matmul packed",
    wgsl: unroll(matmulPackedWgsl, constants),
    before: [integerDot],
    params: { columns: layer.inFeatures, wordsABlock: BLOCK / 4 },
    inputs: packedInputs(rows),
    constants,
    grid: (rowCount) => matMulGrid(tile, rowCount, graph.count(out.extent)),
  });
}

const packedInputs = ({ ints, scales }: PackedRows): PartKernel["inputs"] => ({
  ints: { type: "array<u32>", tensor: ints },
  scales: { type: "array<vec2f>", tensor: scales },
});
