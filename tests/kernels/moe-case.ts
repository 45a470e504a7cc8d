/** A layer of experts for tests: what a case asks for, its data, its upload, a run and the reference. */
import { expect } from "vitest";
import type { Gate } from "../../src/kernels/epilogue.ts";
import { experts, type Experts } from "../../src/kernels/experts.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import { PORTABLE, type Tuning } from "../../src/kernels/tuning.ts";
import { rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";
import { expertsReference, type Choice } from "../reference/moe.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import type { BenchGraph, KernelBench, Setup } from "../support/kernel-bench.ts";

export interface MoeCase {
  tokens: number;
  hidden: number;
  /** Of an expert. */
  width: number;
  experts: number;
  topK: number;
  layout?: ResidentLayout;
  gate?: Gate;
  limit?: number;
  norm?: boolean;
  /** Gemma's 1 + w. */
  offset?: number;
  bias?: boolean;
  residual?: boolean;
  shared?: "plain" | "gated";
  /** Where tokens go: anywhere; all to the last experts; only to every third expert; each to experts of its own. */
  towards?: "anywhere" | "last" | "thirds" | "own";
  /** The last expert has no slot, and adds nothing. */
  missing?: boolean;
  /** Experts of each part of gate and up, and of down. */
  parts?: readonly [gateUp: readonly number[], down: readonly number[]];
  /** Scale of x. */
  magnitude?: number;
  /** Rows the program is recorded for, when more than tokens. */
  recorded?: number;
}

type Words = Float32Array<ArrayBuffer>;

export interface MoeData {
  x: Words;
  gateUp: ReturnType<typeof stored>;
  down: ReturnType<typeof stored>;
  gateUpBias: Words;
  downBias: Words;
  gain: Words;
  residual: Words;
  shared: Words;
  /** [tokens, 3]: the middle column is the shared part's gate. */
  logits: Words;
  choices: Choice[][];
}

export const EPS = 1e-5;
const LOGITS = 3;

export function makeData(c: MoeCase): MoeData {
  const { tokens, hidden, width, experts: count, layout = "f32", magnitude = 1 } = c;
  const random = new Random(tokens * 7919 + hidden * 131 + width * 17 + count);
  const matrix = (rows: number, columns: number): ReturnType<typeof stored> =>
    stored(random.normals(rows * columns, columns ** -0.5), columns, layout);
  return {
    x: random.normals(tokens * hidden, magnitude),
    gateUp: matrix(count * 2 * width, hidden),
    down: matrix(count * hidden, width),
    gateUpBias: random.normals(count * 2 * width, magnitude),
    downBias: random.normals(count * hidden, magnitude),
    gain: random.normals(hidden),
    residual: random.normals(tokens * hidden, magnitude),
    shared: random.normals(tokens * hidden, magnitude),
    logits: random.normals(tokens * LOGITS),
    choices: Array.from({ length: tokens }, (_, t) => choose(c, t, random)),
  };
}

function choose({ experts: count, topK, towards = "anywhere" }: MoeCase, t: number, random: Random): Choice[] {
  const ids = {
    anywhere: () => random.permutation(count),
    last: () => Array.from({ length: count }, (_, i) => count - 1 - i),
    thirds: () => random.permutation(Math.ceil(count / 3)).map((i) => 3 * i),
    own: () => Array.from({ length: count }, (_, i) => (t * topK + i) % count),
  }[towards]();
  const weights = random.normals(topK).map((w) => Math.abs(w) + 0.1);
  return ids.slice(0, topK).map((id, j) => ({ id, weight: weights[j]! }));
}

/** [rows, topK] (slot, weight bits), as the router writes them; what is behind the tokens leads nowhere good. */
export function routesOf({ tokens, topK, experts: count, missing, recorded = tokens }: MoeCase, data: MoeData): Words {
  const words = new Uint32Array(recorded * topK * 2).fill(0x7fc00000);
  const weights = new Float32Array(words.buffer);
  data.choices.flat().forEach(({ id, weight }, i) => {
    words[2 * i] = missing && id === count - 1 ? 0xffffffff : id;
    weights[2 * i + 1] = weight;
  });
  return weights;
}

function uploadMatrix(
  graph: BenchGraph,
  name: string,
  matrix: MoeData["gateUp"],
  { columns, rows, layout }: { columns: number; rows: number; layout: ResidentLayout },
  parts: readonly number[],
  bias?: Words,
): Linear {
  const words = rowWords(layout, columns);
  let rowStart = 0;
  const uploaded = parts.map((slots) => {
    const rowCount = slots * rows;
    const weights = graph.upload(matrix.words.slice(rowStart * words, (rowStart + rowCount) * words));
    const part = { weights, rowStart, rowCount };
    rowStart += rowCount;
    return part;
  });
  expect(rowStart * words).toBe(matrix.words.length);
  return {
    name,
    inFeatures: columns,
    outFeatures: rowStart,
    layout,
    parts: uploaded,
    ...(bias && { bias: graph.upload(bias) }),
  };
}

export function uploadLayer(graph: BenchGraph, c: MoeCase, data: MoeData): Experts {
  const { hidden, width, experts: slots, layout = "f32", parts = [[slots], [slots]], bias } = c;
  const gateUp = { columns: hidden, rows: 2 * width, layout };
  const down = { columns: width, rows: hidden, layout };
  return {
    slots,
    gateUp: uploadMatrix(graph, "gate and up", data.gateUp, gateUp, parts[0], bias ? data.gateUpBias : undefined),
    down: uploadMatrix(graph, "down", data.down, down, parts[1], bias ? data.downBias : undefined),
  };
}

/** The path for few rows and the one for many, whatever the number of rows. */
export const PATHS = {
  "by pair": { matVec: { ...PORTABLE.matVec, maxColumns: 65535 } },
  "by expert": { matVec: { ...PORTABLE.matVec, maxColumns: 0 } },
} as const satisfies Record<string, Partial<Tuning>>;

export function setupOf({ tokens, recorded = tokens }: MoeCase, tuning: Partial<Tuning>): Setup {
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: tokens }, () => 0) }] };
  return { plan, rows: recorded, limits: { rows: 2048 }, tuning };
}

/** Values of the batch's rows, NaN behind them. */
export function padded(graph: BenchGraph, width: number, values: Words): Tensor {
  const whole = new Float32Array(graph.rows * width).fill(NaN);
  whole.set(values);
  return graph.input("rows", width, whole);
}

/** The whole output as words, rows past the batch's included. */
export function runExperts(
  bench: KernelBench,
  c: MoeCase,
  data: MoeData,
  tuning: Partial<Tuning>,
): Promise<Uint32Array<ArrayBuffer>> {
  const draw = (graph: BenchGraph): { y: Tensor; inner: Tensor[] } => {
    const y = drawExperts(graph, c, data);
    return { y, inner: graph.ops.map(({ bindings }) => (bindings["out"] ?? bindings["list"]) as Tensor) };
  };
  return bench.run(setupOf(c, tuning), draw, async (program, { y, inner }) => {
    // What lies between the kernels has guards too.
    for (const tensor of inner) await program.words(tensor);
    return program.words(y);
  });
}

export function drawExperts(graph: BenchGraph, c: MoeCase, data: MoeData): Tensor {
  const { hidden, experts: count, topK, gate = "silu", limit, norm, offset, residual, shared } = c;
  const routes = graph.input("rows", 2 * topK, routesOf(c, data));
  const value = shared && padded(graph, hidden, data.shared);
  return experts(
    graph,
    padded(graph, hidden, data.x),
    { experts: count, topK, ids: routes, routes },
    uploadLayer(graph, c, data),
    {
      gate,
      ...(limit !== undefined && { limit }),
      ...(norm && { norm: { gain: graph.upload(data.gain), eps: EPS, ...(offset !== undefined && { offset }) } }),
      ...(residual && { residual: padded(graph, hidden, data.residual) }),
      ...(value && {
        shared: {
          value,
          ...(shared === "gated" && { gate: { logits: padded(graph, LOGITS, data.logits), column: 1 } }),
        },
      }),
    },
  );
}

export function referenceOf(c: MoeCase, data: MoeData): Float64Array {
  const { hidden, width, experts: count, gate = "silu", limit, norm, offset = 0, bias, residual, shared, missing } = c;
  const chosen = missing ? data.choices.map((row) => row.filter(({ id }) => id !== count - 1)) : data.choices;
  return expertsReference({
    x: data.x,
    hidden,
    width,
    gateUp: data.gateUp.values,
    down: data.down.values,
    gate,
    choices: chosen,
    ...(limit !== undefined && { limit }),
    ...(norm && { norm: { gain: data.gain.map((g) => g + offset), eps: EPS } }),
    ...(bias && { gateUpBias: data.gateUpBias, downBias: data.downBias }),
    ...(residual && { residual: data.residual }),
    ...(shared && { shared: data.shared }),
    ...(shared === "gated" && { sharedGate: data.logits.filter((_, i) => i % LOGITS === 1) }),
  });
}

/** The data of one token. */
export function sliceOf({ hidden }: MoeCase, data: MoeData, row: number): MoeData {
  const own = (values: Words, width: number): Words => values.slice(row * width, (row + 1) * width);
  return {
    ...data,
    x: own(data.x, hidden),
    residual: own(data.residual, hidden),
    shared: own(data.shared, hidden),
    logits: own(data.logits, LOGITS),
    choices: [data.choices[row]!],
  };
}
