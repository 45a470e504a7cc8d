import { invariant, powerOfTwoAtLeast } from "../base/assert.ts";
import { rowWords } from "../weights/quant/layout.ts";
import activationWgsl from "../../shaders/fragments/activation.wgsl?raw";
import dotsWgsl from "../../shaders/fragments/moe_dots.wgsl?raw";
import joinWgsl from "../../shaders/fragments/moe_join.wgsl?raw";
import combineWgsl from "../../shaders/moe_combine.wgsl?raw";
import downWgsl from "../../shaders/moe_down.wgsl?raw";
import matmulWgsl from "../../shaders/moe_matmul.wgsl?raw";
import sortWgsl from "../../shaders/moe_sort.wgsl?raw";
import upWgsl from "../../shaders/moe_up.wgsl?raw";
import { epilogueConstants, type Gate } from "./epilogue.ts";
import type { Graph, Tensor } from "./graph.ts";
import type { Linear, LinearPart, RmsNorm } from "./linear.ts";
import { laneSums } from "./matvec.ts";
import { drawPieces, optionalRead, together, type Piece } from "./pieces.ts";
import type { Routing } from "./router.ts";
import { unroll } from "./unroll.ts";
import { block4, blockFragment, partChunks } from "./weights.ts";

/**
 * The experts of a layer, stacked: slot s has rows [s · n, (s + 1) · n) of both matrices, n being the rows of one expert.
 * Where a matrix has several parts, each holds whole experts; a bias is stacked in the same way.
 */
export interface Experts {
  /** Experts that are resident; at most 512. */
  readonly slots: number;
  /** [slots · 2 · width, hidden], gate and up of an output in turn. */
  readonly gateUp: Linear;
  /** [slots · hidden, width]. */
  readonly down: Linear;
}

export interface ExpertOptions {
  /** The activation of the gate: "silu" is SwiGLU, "gelu-tanh" GeGLU, "swiglu-clamped" gpt-oss's. */
  gate: Gate;
  /** Where "swiglu-clamped" cuts. */
  limit?: number;
  /** RMS-normalise x first. */
  norm?: RmsNorm;
  /** [rows, hidden], added to the result. */
  residual?: Tensor;
  /** What the shared experts made, [rows, hidden], added too; times sigmoid(logits[row, column]) where there is a gate. */
  shared?: { value: Tensor; gate?: { logits: Tensor; column: number } };
}

/** Workgroups of one dimension of a grid. */
const MOST_PAIRS = 65535;

/** Slots that the work list's kernel has room for. */
const MOST_SLOTS = 512;

/**
 * Σ weight · expert(norm(x)) over the experts that each row was routed to (+ shared) (+ residual): [rows, hidden] f32.
 *
 * Few rows (tuning.matVec.maxColumns): each (row, expert) pair by itself, in 2 dispatches where the matrices have one part.
 * Many rows: the pairs are sorted by expert on the GPU and multiplied in blocks, in 4. The grids are the worst case's and
 * what is not needed leaves at once, so nothing is read back. With `deterministic` always the first. At most 65535 pairs.
 */
export function experts(graph: Graph, x: Tensor, routing: Routing, layer: Experts, options: ExpertOptions): Tensor {
  const { slots, gateUp, down } = layer;
  const [hidden, width] = [gateUp.inFeatures, down.inFeatures];
  invariant(x.width === hidden && x.extent === "rows", `${gateUp.name}: input of ${x.width} for ${hidden} columns`);
  invariant(hidden % 4 === 0 && width % 4 === 0, `${gateUp.name}: ${hidden} and ${width} are not multiples of 4`);
  invariant(slots >= 1 && slots <= MOST_SLOTS, `${gateUp.name}: ${slots} experts`);
  invariant(gateUp.outFeatures === slots * 2 * width, `${gateUp.name}: ${gateUp.outFeatures} rows of ${slots} experts`);
  invariant(down.outFeatures === slots * hidden, `${down.name}: ${down.outFeatures} rows of ${slots} experts`);
  const pairs = graph.rows * routing.topK;
  invariant(pairs <= MOST_PAIRS, `${gateUp.name}: ${pairs} pairs of a row and an expert, at most ${MOST_PAIRS}`);
  const { deterministic, matVec } = graph.tuning;
  const few = deterministic || graph.rows <= matVec.maxColumns;
  return few ? byPair(graph, x, routing, layer, options) : byExpert(graph, x, routing, layer, options);
}

/** Each chosen expert of each row by itself. */
function byPair(graph: Graph, x: Tensor, routing: Routing, layer: Experts, options: ExpertOptions): Tensor {
  const { slots, gateUp, down } = layer;
  const [hidden, width] = [gateUp.inFeatures, down.inFeatures];
  const pairs = graph.rows * routing.topK;
  const act = graph.tensor("rows", routing.topK * width);
  const up = dotsOf(graph, gateUp, options.norm);
  for (const part of gateUp.parts) {
    const grid = [Math.ceil((2 * width) / up.rowsAGroup), pairs] as const;
    drawPieces(graph, { name: `moe up ${gateUp.layout}`, wgsl: upWgsl, out: act, grid }, [
      { reads: { x: ["array<vec4f>", x] } },
      weightsOf(gateUp, slots, part),
      up.piece,
      gateOf(options),
      routesOf(routing),
    ]);
  }
  const out = graph.tensor("rows", hidden);
  const sum = dotsOf(graph, down);
  for (const [i, part] of down.parts.entries()) {
    const grid = [Math.ceil(hidden / sum.rowsAGroup), graph.rows] as const;
    drawPieces(graph, { name: `moe down ${down.layout}`, wgsl: downWgsl, out, grid }, [
      { reads: { x: ["array<vec4f>", act] }, u32: { first: i === 0 ? 1 : 0 } },
      weightsOf(down, slots, part),
      sum.piece,
      routesOf(routing),
      joinOf(options),
    ]);
  }
  return out;
}

/** Pairs of row and expert sorted by expert, and multiplied in blocks. */
function byExpert(graph: Graph, x: Tensor, routing: Routing, layer: Experts, options: ExpertOptions): Tensor {
  const { slots, gateUp, down } = layer;
  const { topK } = routing;
  const hidden = gateUp.inFeatures;
  const work = sortByExpert(graph, routing, slots);
  const act = graph.tensor("rows", topK * down.inFeatures);
  const [gate, norm] = [gateOf(options), normOf(options.norm, hidden)];
  multiply(graph, { from: x, matrix: gateUp, to: act, share: topK }, layer, work, [gate, norm]);
  const made = graph.tensor("rows", topK * hidden);
  const [plain, raw] = [gateOf({}), normOf(undefined, down.inFeatures)];
  multiply(graph, { from: act, matrix: down, to: made, share: 1 }, layer, work, [plain, raw]);
  const out = graph.tensor("rows", hidden);
  const grid = [Math.ceil(hidden / 64), graph.rows] as const;
  drawPieces(graph, { name: "moe combine", wgsl: combineWgsl, out, grid }, [
    { reads: { x: ["array<f32>", made] }, u32: { rows: hidden, experts: slots } },
    routesOf(routing),
    joinOf(options),
  ]);
  return out;
}

/** Which blocks of pairs there are to multiply. */
export interface WorkList {
  /** u32, as shaders/moe_sort.wgsl says. */
  readonly list: Tensor;
  /** Blocks there is room for, and pairs of a block. */
  readonly blocks: number;
  readonly block: 16 | 32;
}

/** Sorts the batch's (row, expert) pairs by the expert's slot, in the order of rows, in one dispatch. */
export function sortByExpert(graph: Graph, routing: Routing, slots: number): WorkList {
  const pairs = graph.rows * routing.topK;
  // A block is never fuller than its expert has rows: small ones where experts have few.
  const block = pairs < 16 * slots ? 16 : 32;
  // Any routing fits: each slot's last block may hold a single pair.
  const blocks = Math.floor((pairs + Math.min(pairs, slots) * (block - 1)) / block);
  const list = graph.tensor("one", 1 + blocks * (1 + block));
  const drawn = { name: "moe sort", wgsl: sortWgsl, out: list, as: ["list", "array<u32>"], grid: [1] } as const;
  drawPieces(graph, drawn, [workOf({ blocks, block }), { u32: { experts: slots } }, routesOf(routing)]);
  return { list, blocks, block };
}

function workOf({ blocks, block }: Pick<WorkList, "blocks" | "block">): Piece {
  return { u32: { blocks }, constants: { BLOCK: block } };
}

interface Product {
  readonly from: Tensor;
  readonly matrix: Linear;
  readonly to: Tensor;
  /** Pairs that share a row of `from`. */
  readonly share: number;
}

function multiply(graph: Graph, product: Product, { slots }: Experts, work: WorkList, pieces: readonly Piece[]): void {
  const { from, matrix, to, share } = product;
  for (const part of matrix.parts) {
    const grid = [Math.ceil(matrix.outFeatures / slots / 64), work.blocks] as const;
    drawPieces(graph, { name: `moe matmul ${matrix.layout}`, wgsl: matmulWgsl, out: to, grid }, [
      { reads: { x: ["array<vec4f>", from], list: ["array<u32>", work.list] }, u32: { share } },
      workOf(work),
      weightsOf(matrix, slots, part),
      ...pieces,
    ]);
  }
}

function weightsOf(matrix: Linear, slots: number, part: LinearPart): Piece {
  const rows = matrix.outFeatures / slots;
  const whole = part.rowStart % rows === 0 && part.rowCount % rows === 0;
  invariant(whole, `${matrix.name}: a part cuts an expert of ${rows} rows`);
  const weights: Piece = {
    reads: { weights: ["array<vec4u>", part.weights] },
    u32: {
      columns: matrix.inFeatures,
      rowWords: rowWords(matrix.layout, matrix.inFeatures),
      rows,
      firstSlot: part.rowStart / rows,
      experts: part.rowCount / rows,
    },
    fragments: [blockFragment(matrix.layout)],
  };
  const biasAt = ["biasAt(row: u32) -> f32", "bias[row]", "0.0"] as const;
  return together(weights, optionalRead("bias", "array<f32>", matrix.bias, biasAt));
}

function normOf(norm: RmsNorm | undefined, columns: number): Piece {
  const gainAt = ["gainAt(k4: u32) -> vec4f", "gain[k4] + params.gainOffset", "vec4f(1.0)"] as const;
  return together(optionalRead("gain", "array<vec4f>", norm?.gain, gainAt), {
    f32: { invColumns: 1 / columns, eps: norm?.eps ?? 0, gainOffset: norm?.offset ?? 0 },
    constants: { NORM: norm !== undefined },
  });
}

/** Without a gate the result is the dots and the bias. */
function gateOf({ gate, limit = 0 }: Partial<ExpertOptions>): Piece {
  return { f32: { limit }, constants: epilogueConstants({ ...(gate && { gate }) }), fragments: [activationWgsl] };
}

/** Four weight rows to a group of lanes, which share them by blocks along K, with or without a norm. */
function dotsOf(graph: Graph, matrix: Linear, norm?: RmsNorm): { piece: Piece; rowsAGroup: number } {
  const { workgroup, lanesPerRow } = graph.tuning.matVec;
  const blocks = Math.ceil(matrix.inFeatures / (4 * block4(matrix.layout)));
  const lanes = Math.min(lanesPerRow, workgroup, powerOfTwoAtLeast(blocks));
  const { fragment, enables } = laneSums(graph);
  const [sums, chunks] = [norm ? 5 : 4, partChunks(matrix.layout)];
  const dots: Piece = {
    u32: { lanes, slots: sums },
    constants: { WORKGROUP: workgroup, SLOTS: sums, CHUNKS: chunks },
    fragments: [fragment, unroll(dotsWgsl, { CHUNKS: chunks })],
  };
  const piece = { ...together(normOf(norm, matrix.inFeatures), dots), ...enables };
  return { piece, rowsAGroup: (4 * workgroup) / lanes };
}

function routesOf({ topK, routes }: Routing): Piece {
  return { reads: { routes: ["array<vec2u>", routes] }, u32: { topK } };
}

function joinOf({ residual, shared }: ExpertOptions): Piece {
  const gate = shared?.gate;
  const sigmoid = "1.0 / (1.0 + exp(min(-gate[t * params.gateStride + params.gateColumn], 80.0)))";
  return together(
    optionalRead("residual", "array<f32>", residual, ["residualAt(i: u32) -> f32", "residual[i]", "0.0"]),
    optionalRead("sharedOut", "array<f32>", shared?.value, ["sharedAt(i: u32) -> f32", "sharedOut[i]", "0.0"]),
    optionalRead("gate", "array<f32>", gate?.logits, ["gateAt(t: u32) -> f32", sigmoid, "1.0"]),
    {
      u32: { gateStride: gate?.logits.width ?? 0, gateColumn: gate?.column ?? 0 },
      fragments: [joinWgsl],
    },
  );
}
