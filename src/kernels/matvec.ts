import { powerOfTwoAtLeast } from "../base/assert.ts";
import laneSumsMemory from "../../shaders/fragments/lane_sums_memory.wgsl?raw";
import laneSumsSubgroups from "../../shaders/fragments/lane_sums_subgroups.wgsl?raw";
import matvecWgsl from "../../shaders/matvec.wgsl?raw";
import { attachInput, INPUT_PARAMS, inputParams, type LinearOptions } from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { dispatchParts } from "./parts.ts";
import type { MatVecTile } from "./tuning.ts";
import { unroll } from "./unroll.ts";
import { block4, partChunks } from "./weights.ts";

/** The most rows of x that one reading of the weights serves: what accumulators there are registers for. */
export const MAX_COLUMNS = 8;
/** Workgroup memory that every device has. */
const WORKGROUP_BYTES = 16384;

/** How a mat-vec's lanes share the work. */
export interface MatVecShape {
  readonly workgroup: number;
  readonly rows: number;
  readonly columns: number;
  /** Columns whose sums over lanes go through workgroup memory at a time. */
  readonly pass: number;
  readonly slotsAColumn: number;
  /** Lanes that share weight rows; depends on the matrix alone, so that the order of sums does. */
  readonly lanes: number;
}

/** `blocks` along K, each a lane's unit of work, for `count` rows of x. */
export function matVecShape(tile: MatVecTile, blocks: number, count: number, norm: boolean): MatVecShape {
  // Even, since a gate and its up belong to one lane.
  const rows = Math.min(4, Math.max(2, tile.rowsPerLane));
  const columns = Math.min(MAX_COLUMNS, powerOfTwoAtLeast(count));
  const slotsAColumn = rows + (norm ? 1 : 0);
  let pass = columns;
  while (pass * slotsAColumn * tile.workgroup * 4 > WORKGROUP_BYTES) pass /= 2;
  const lanes = Math.min(tile.lanesPerRow, tile.workgroup, powerOfTwoAtLeast(blocks));
  return { workgroup: tile.workgroup, rows, columns, pass, slotsAColumn, lanes };
}

export function matVecConstants({ workgroup, rows, columns, pass, slotsAColumn }: MatVecShape): Record<string, number> {
  return {
    WORKGROUP: workgroup,
    ROWS: rows,
    COLUMNS: columns,
    PASS: pass,
    SLOTS_A_COLUMN: slotsAColumn,
    SLOTS: pass * slotsAColumn,
  };
}

/** The grid for a part's rows and `count` rows of x; workgroups past 32768 are folded into z. */
export function matVecGrid(shape: MatVecShape, rowCount: number, count: number): [number, number, number] {
  const groups = Math.ceil(rowCount / ((shape.rows * shape.workgroup) / shape.lanes));
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(count / shape.columns), Math.ceil(groups / x)];
}

/** Sums over lanes, by the device's means. */
export function laneSums(graph: Graph): { fragment: string; enables: { enables?: ["subgroups"] } } {
  return graph.tuning.subgroups
    ? { fragment: laneSumsSubgroups, enables: { enables: ["subgroups"] } }
    : { fragment: laneSumsMemory, enables: {} };
}

/** y = x · Wᵀ for few rows of x, or any number where the order of sums is to be the same (shaders/matvec.wgsl). */
export function matVec(graph: Graph, x: Tensor, out: Tensor, layer: Linear, options: LinearOptions): void {
  const count = graph.count(out.extent);
  const blocks = Math.ceil(layer.inFeatures / (4 * block4(layer.layout)));
  const shape = matVecShape(graph.tuning.matVec, blocks, count, options.norm !== undefined);
  const [input, sums] = [attachInput(graph, options), laneSums(graph)];
  // Unrolled over a whole block for one column; for more, whose code is as many times as long, over a part of it.
  const chunks = shape.columns === 1 ? block4(layer.layout) : partChunks(layer.layout);
  dispatchParts(graph, out, layer, options, {
    name: "matvec",
    wgsl: unroll(matvecWgsl, { ROWS: shape.rows, COLUMNS: shape.columns, CHUNKS: chunks }),
    ...sums.enables,
    before: input.fragments,
    after: [sums.fragment],
    params: {
      ...inputParams(layer.inFeatures, x, options.norm),
      lanes: shape.lanes,
      slots: shape.pass * shape.slotsAColumn,
    },
    types: INPUT_PARAMS,
    inputs: { x: { type: "array<vec4f>", tensor: x } },
    attached: input,
    constants: { ...matVecConstants(shape), CHUNKS: chunks, NORM: options.norm !== undefined },
    grid: (rowCount) => matVecGrid(shape, rowCount, count),
  });
}
