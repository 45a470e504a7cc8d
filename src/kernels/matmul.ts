import { invariant } from "../base/assert.ts";
import matmulWgsl from "../../shaders/matmul.wgsl?raw";
import matmulShuffleWgsl from "../../shaders/matmul_shuffle.wgsl?raw";
import matmulWideWgsl from "../../shaders/matmul_wide.wgsl?raw";
import { attachInput, INPUT_PARAMS, inputParams, type LinearOptions } from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear } from "./layer.ts";
import { dispatchParts } from "./parts.ts";
import type { MatMulTile } from "./tuning.ts";
import { unroll } from "./unroll.ts";
import { block4, partChunks } from "./weights.ts";

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
/**
 * The same with subgroups: x takes registers there, so there are fewer rows of it, at most as many as a program has, and more
 * of the weights.
 */
const SHUFFLE = { rows: 8, lanes: 32, pairs: 2 } as const;

/** What differs between the kernels. */
interface Variant {
  readonly name: string;
  readonly wgsl: string;
  readonly enables?: readonly ("f16" | "subgroups")[];
  readonly fragments?: readonly string[];
  readonly constants: Readonly<Record<string, number | boolean>>;
  /** Bounds of loops, which compilers would unroll if they were constants. */
  readonly bounds: { readonly depth4: number; readonly holders: number };
  /** For a part's rows and `count` rows of x. */
  readonly grid: (rowCount: number, count: number) => [number, number, number];
}

function tiledVariant({ tuning }: Graph, layout: Linear["layout"]): Variant {
  const tile = tuning.matMul;
  const half = tuning.f16 && layout === "f16";
  return {
    name: "matmul",
    wgsl: matmulWgsl,
    ...(half && { enables: ["f16"] }),
    fragments: [`alias WeightTile = ${half ? "vec4h" : "vec4f"};`],
    constants: matMulShape(tile).constants,
    bounds: { depth4: tile.k / 4, holders: 0 },
    grid: (rowCount, count) => matMulGrid(tile, rowCount, count),
  };
}

function wideVariant(layout: Linear["layout"]): Variant {
  const { rows, lanes, step4 } = WIDE;
  return {
    name: "matmul wide",
    wgsl: matmulWideWgsl,
    constants: {
      ROWS: rows,
      LANES: lanes,
      STEP4: step4,
      LOADS: (rows * step4) / lanes,
      CHUNKS: partChunks(layout),
    },
    bounds: { depth4: step4, holders: 0 },
    grid: (rowCount, count) => matMulGrid({ m: rows, n: 2 * lanes }, rowCount, count),
  };
}

function shuffleVariant({ layout, inFeatures }: Linear, holders: number, count: number): Variant {
  const { lanes, pairs } = SHUFFLE;
  const rows = Math.min(SHUFFLE.rows, count);
  const step4 = Math.max(holders, block4(layout));
  return {
    name: "matmul shuffle",
    wgsl: matmulShuffleWgsl,
    enables: ["subgroups"],
    constants: {
      ROWS: rows,
      LANES: lanes,
      PAIRS: pairs,
      HOLDERS: holders,
      HELD: step4 / holders,
      STEP4: step4,
      CHUNKS: partChunks(layout),
      WHOLE: inFeatures % (4 * step4) === 0,
    },
    bounds: { depth4: Math.min(holders, block4(layout)), holders },
    grid: (rowCount, n) => [Math.ceil(n / rows), Math.ceil(rowCount / (2 * pairs * lanes)), 1],
  };
}

/** Whether x comes by shuffles: a tile that is for few rows too. */
export function isShuffled({ tuning }: Graph): boolean {
  return tuning.matMul.holders !== undefined && tuning.subgroups;
}

function variantFor(graph: Graph, layer: Linear, count: number): Variant {
  const { matMul: tile } = graph.tuning;
  if (isShuffled(graph)) return shuffleVariant(layer, tile.holders!, count);
  return tile.wide ? wideVariant(layer.layout) : tiledVariant(graph, layer.layout);
}

/** The grid for a part's rows and `count` rows of x in tiles of m × n; workgroups past 32768 are folded into z. */
export function matMulGrid(
  { m, n }: { readonly m: number; readonly n: number },
  rowCount: number,
  count: number,
): [number, number, number] {
  const tiles = Math.ceil(rowCount / n);
  const x = Math.min(tiles, 32768);
  return [x, Math.ceil(count / m), Math.ceil(tiles / x)];
}

/** y = x · Wᵀ for many rows of x (shaders/matmul.wgsl, matmul_wide.wgsl or matmul_shuffle.wgsl). */
export function matMul(graph: Graph, x: Tensor, out: Tensor, layer: Linear, options: LinearOptions): void {
  const count = graph.count(out.extent);
  const { name, wgsl, enables, fragments = [], constants, bounds, grid } = variantFor(graph, layer, count);
  const input = attachInput(graph, options);
  dispatchParts(graph, out, layer, options, {
    name,
    wgsl: unroll(wgsl, constants),
    ...(enables && { enables }),
    before: [...fragments, ...input.fragments],
    params: { ...inputParams(layer.inFeatures, x, options.norm), ...bounds },
    types: INPUT_PARAMS,
    inputs: { x: { type: "array<vec4f>", tensor: x } },
    attached: input,
    constants: { ...constants, NORM: options.norm !== undefined },
    grid: (rowCount) => grid(rowCount, count),
  });
}
