import { isDense, rowWords } from "../weights/quant/layout.ts";
import integerDot from "../../shaders/fragments/integer_dot.wgsl?raw";
import matmulPackedWgsl from "../../shaders/matmul_packed.wgsl?raw";
import matvecPackedWgsl from "../../shaders/matvec_packed.wgsl?raw";
import packRowsWgsl from "../../shaders/pack_rows.wgsl?raw";
import {
  attachEpilogue,
  attachInput,
  epilogueConstants,
  EPILOGUE_PARAMS,
  epilogueParams,
  INPUT_PARAMS,
  inputParams,
  type LinearOptions,
} from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { matMulGrid, matMulShape } from "./matmul.ts";
import { laneSums, matVecConstants, matVecGrid, matVecShape } from "./matvec.ts";
import { unroll } from "./unroll.ts";
import { block4, blockFragment, partChunks } from "./weights.ts";

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

function matVecPacked(
  graph: Graph,
  { ints, scales }: PackedRows,
  out: Tensor,
  layer: Linear,
  options: LinearOptions,
): void {
  const count = graph.count(out.extent);
  const shape = matVecShape(graph.tuning.matVec, Math.ceil(layer.inFeatures / BLOCK), count, false);
  const [epilogue, sums] = [attachEpilogue(layer, options), laneSums(graph)];
  const chunks = shape.columns === 1 ? block4(layer.layout) : partChunks(layer.layout);
  const source = {
    name: `matvec packed ${layer.layout}`,
    wgsl: unroll(matvecPackedWgsl, { ROWS: shape.rows, COLUMNS: shape.columns, CHUNKS: chunks }),
    ...sums.enables,
    fragments: [blockFragment(layer.layout), integerDot, ...epilogue.fragments, sums.fragment],
    params: {
      columns: "u32",
      rowWords: "u32",
      lanes: "u32",
      slots: "u32",
      vectorChunks: "u32",
      ...EPILOGUE_PARAMS,
    } as const,
    bindings: [
      { name: "ints", access: "read", type: "array<u32>" },
      { name: "scales", access: "read", type: "array<vec2f>" },
      { name: "weights", access: "read", type: "array<vec4u>" },
      ...epilogue.declared,
      { name: "out", access: "read_write", type: "array<f32>" },
    ] as const,
    constants: {
      ...matVecConstants(shape),
      CHUNKS: chunks,
      ...epilogueConstants(options),
      GATHER: Boolean(options.gather),
    },
  };
  for (const part of layer.parts) {
    graph.dispatch(
      source,
      {
        columns: layer.inFeatures,
        rowWords: rowWords(layer.layout, layer.inFeatures),
        lanes: shape.lanes,
        slots: shape.pass * shape.slotsAColumn,
        vectorChunks: block4(layer.layout),
        ...epilogueParams(part, out.width, options),
      },
      { ints, scales, weights: part.weights, ...epilogue.given, out },
      matVecGrid(shape, part.rowCount, count),
    );
  }
}

function matMulPacked(
  graph: Graph,
  { ints, scales }: PackedRows,
  out: Tensor,
  layer: Linear,
  options: LinearOptions,
): void {
  const tile = graph.tuning.matMul;
  const { constants } = matMulShape(tile);
  const epilogue = attachEpilogue(layer, options);
  const source = {
    name: `matmul packed ${layer.layout}`,
    wgsl: unroll(matmulPackedWgsl, constants),
    fragments: [blockFragment(layer.layout), integerDot, ...epilogue.fragments],
    params: { columns: "u32", rowWords: "u32", wordsABlock: "u32", ...EPILOGUE_PARAMS } as const,
    bindings: [
      { name: "ints", access: "read", type: "array<u32>" },
      { name: "scales", access: "read", type: "array<vec2f>" },
      { name: "weights", access: "read", type: "array<vec4u>" },
      ...epilogue.declared,
      { name: "out", access: "read_write", type: "array<f32>" },
    ] as const,
    constants: { ...constants, ...epilogueConstants(options), GATHER: Boolean(options.gather) },
  };
  for (const part of layer.parts) {
    graph.dispatch(
      source,
      {
        columns: layer.inFeatures,
        rowWords: rowWords(layer.layout, layer.inFeatures),
        wordsABlock: BLOCK / 4,
        ...epilogueParams(part, out.width, options),
      },
      { ints, scales, weights: part.weights, ...epilogue.given, out },
      matMulGrid(tile, part.rowCount, graph.count(out.extent)),
    );
  }
}
