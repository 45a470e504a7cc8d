import { invariant } from "../base/assert.ts";
import { rowWords } from "../weights/quant/layout.ts";
import matmulWgsl from "../../shaders/matmul.wgsl?raw";
import matmulWideWgsl from "../../shaders/matmul_wide.wgsl?raw";
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
import type { MatMulTile } from "./tuning.ts";
import { unroll } from "./unroll.ts";
import { blockFragment, partChunks } from "./weights.ts";

/** How a workgroup's lanes share a tile. */
export interface MatMulShape {
  readonly lanesM: number;
  readonly lanesN: number;
  /** Constants of the kernel, and counts of its unrolled parts. */
  readonly constants: Readonly<Record<string, number>>;
}

export function matMulShape({ m, n, k, laneM, laneN }: MatMulTile): MatMulShape {
  const [lanesM, lanesN, lanes] = [m / laneM, n / laneN, (m / laneM) * (n / laneN)];
  invariant(laneN % 2 === 0 && Number.isInteger(lanesM) && Number.isInteger(lanesN), "a tile that lanes do not fill");
  invariant(lanes <= 256 && (m + n) * (k / 4 + 1) * 16 <= 16384, "a tile past WebGPU's default limits");
  return {
    lanesM,
    lanesN,
    constants: {
      TILE_M: m,
      TILE_N: n,
      TILE_K4: k / 4,
      LANES_M: lanesM,
      LANES_N: lanesN,
      LANE_M: laneM,
      LANE_PAIRS: laneN / 2,
      LOADS_X: Math.ceil((m * k) / 4 / lanes),
    },
  };
}

/** The wide tile: rows of x, lanes with a pair of weight rows each, fours of columns that go through workgroup memory. */
const WIDE = { rows: 16, lanes: 64, step4: 8 } as const;

function wideConstants(layout: Linear["layout"]): Record<string, number> {
  const { rows, lanes, step4 } = WIDE;
  return { ROWS: rows, LANES: lanes, STEP4: step4, LOADS: (rows * step4) / lanes, CHUNKS: partChunks(layout) };
}

/** The grid for a part's rows and `count` rows of x; workgroups past 32768 are folded into z. */
export function matMulGrid(tile: MatMulTile, rowCount: number, count: number): [number, number, number] {
  const { m, n } = tile.wide ? { m: WIDE.rows, n: 2 * WIDE.lanes } : tile;
  const tiles = Math.ceil(rowCount / n);
  const x = Math.min(tiles, 32768);
  return [x, Math.ceil(count / m), Math.ceil(tiles / x)];
}

/** y = x · Wᵀ for many rows of x (shaders/matmul.wgsl, or matmul_wide.wgsl). */
export function matMul(graph: Graph, x: Tensor, out: Tensor, layer: Linear, options: LinearOptions): void {
  const tile = graph.tuning.matMul;
  const constants = tile.wide ? wideConstants(layer.layout) : matMulShape(tile).constants;
  const [input, epilogue] = [attachInput(graph, options), attachEpilogue(layer, options)];
  const half = !tile.wide && graph.tuning.f16 && layer.layout === "f16";
  const source = {
    name: `matmul ${layer.layout}${tile.wide ? " wide" : ""}`,
    wgsl: unroll(tile.wide ? matmulWideWgsl : matmulWgsl, constants),
    ...(half && { enables: ["f16"] as const }),
    fragments: [
      ...(tile.wide ? [] : [`alias WeightTile = ${half ? "vec4h" : "vec4f"};`]),
      blockFragment(layer.layout),
      ...input.fragments,
      ...epilogue.fragments,
    ],
    params: { ...INPUT_PARAMS, rowWords: "u32", depth4: "u32", ...EPILOGUE_PARAMS } as const,
    bindings: [
      { name: "x", access: "read", type: "array<vec4f>" },
      { name: "weights", access: "read", type: "array<vec4u>" },
      ...input.declared,
      ...epilogue.declared,
      { name: "out", access: "read_write", type: "array<f32>" },
    ] as const,
    constants: {
      ...constants,
      ...epilogueConstants(options),
      NORM: options.norm !== undefined,
      GATHER: Boolean(options.gather),
    },
  };
  for (const part of layer.parts) {
    graph.dispatch(
      source,
      {
        ...inputParams(layer.inFeatures, options.norm),
        rowWords: rowWords(layer.layout, layer.inFeatures),
        depth4: tile.wide ? WIDE.step4 : tile.k / 4,
        ...epilogueParams(part, out.width, options),
      },
      { x, weights: part.weights, ...input.given, ...epilogue.given, out },
      matMulGrid(tile, part.rowCount, graph.count(out.extent)),
    );
  }
}
