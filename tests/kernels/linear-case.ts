/** Cases of a linear layer: what they are, their data, and how they are run and checked. */
import { expect } from "vitest";
import type { Tensor } from "../../src/kernels/graph.ts";
import { linear, type Activation, type Gate, type Linear, type LinearOptions } from "../../src/kernels/linear.ts";
import type { Tuning } from "../../src/kernels/tuning.ts";
import { rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";
import { expectClose, F32_BOUND, type Difference } from "../reference/compare.ts";
import { linearReference } from "../reference/linear.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import { UNTOUCHED, type BenchGraph, type KernelBench } from "../support/kernel-bench.ts";

export interface LinearCase {
  format: ResidentLayout;
  /** Rows of the result. */
  m: number;
  k: number;
  /** Rows of the weight. */
  n: number;
  norm?: boolean;
  /** Of the norm's gain. */
  offset?: number;
  bias?: boolean;
  residual?: boolean;
  swiglu?: boolean;
  gate?: Gate;
  activation?: Activation;
  limit?: number;
  softCap?: number;
  scale?: number;
  /** Columns of x behind those that the matrix has. */
  behind?: number;
  /** Rows of x that the samples name. */
  gather?: readonly number[];
  /** Weight rows of each part. */
  parts?: readonly number[];
  /** Scale of x. */
  magnitude?: number;
  /** Rows the program is recorded for, when more than m. */
  recorded?: number;
  tuning?: Partial<Tuning>;
}

export function title(c: LinearCase): string {
  const { format, m, k, n, magnitude, recorded, gather, parts, tuning, gate, activation } = c;
  const flags = (["norm", "bias", "swiglu", "residual"] as const).filter((name) => c[name]);
  const numbers = (["offset", "limit", "softCap", "scale"] as const).filter((name) => c[name] !== undefined);
  const more = [
    ...flags,
    ...(gate ? [`gate ${gate}`] : []),
    ...(activation ? [activation] : []),
    ...numbers.map((name) => `${name} ${c[name]}`),
    ...(gather ? [`rows ${gather.join()}`] : []),
    ...(parts ? [`parts ${parts.join("+")}`] : []),
    ...(c.behind ? [`${c.behind} columns behind`] : []),
    ...(magnitude ? [`x ~ ${magnitude}`] : []),
    ...(recorded ? [`of ${recorded}`] : []),
    ...(tuning ? [JSON.stringify(tuning).replaceAll('"', "")] : []),
  ];
  return `${format} ${m}×${k}·${n} ${more.join(" ")}`.trim();
}

const EPS = 1e-5;
const gateOf = ({ gate, swiglu }: LinearCase): Gate | undefined => gate ?? (swiglu ? "silu" : undefined);

export interface LinearData {
  /** Rows of x. */
  rows: number;
  width: number;
  x: Float32Array<ArrayBuffer>;
  matrix: ReturnType<typeof stored>;
  gain: Float32Array<ArrayBuffer>;
  bias: Float32Array<ArrayBuffer>;
  residual: Float32Array<ArrayBuffer>;
}

export function makeData(c: LinearCase): LinearData {
  const { format, m, k, n, gather, magnitude = 1 } = c;
  const random = new Random(m * 7919 + k * 31 + n);
  const rows = gather ? Math.max(...gather) + 1 : m;
  const width = gateOf(c) ? n / 2 : n;
  return {
    rows,
    width,
    x: random.normals(rows * k, magnitude),
    matrix: stored(random.normals(n * k, k ** -0.5), k, format),
    gain: random.normals(k),
    bias: random.normals(n, magnitude),
    residual: random.normals(m * width, magnitude),
  };
}

function upload(graph: BenchGraph, { format, k, n, bias, parts = [n] }: LinearCase, data: LinearData): Linear {
  let rowStart = 0;
  const uploaded = parts.map((rowCount) => {
    const words = rowWords(format, k);
    const own = data.matrix.words.slice(rowStart * words, (rowStart + rowCount) * words);
    const part = { weights: graph.upload(own), rowStart, rowCount };
    rowStart += rowCount;
    return part;
  });
  expect(rowStart).toBe(n);
  return {
    name: "test",
    inFeatures: k,
    outFeatures: n,
    layout: format,
    parts: uploaded,
    ...(bias && { bias: graph.upload(data.bias) }),
  };
}

/** What runs a layer; `linear` itself, or a part of it under test. */
export type Run = (graph: BenchGraph, x: Tensor, layer: Linear, options: LinearOptions) => Tensor;

/** The whole output as words, rows past the batch's included. */
export function runLinear(
  bench: KernelBench,
  c: LinearCase,
  data: LinearData,
  run: Run = linear,
): Promise<Uint32Array> {
  const { m, norm, offset, residual, gather, recorded = m, tuning, behind = 0 } = c;
  const samples = (gather ?? []).map((row) => ({ row, slot: 0 }));
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: data.rows }, () => 0) }], samples };
  const draw = (graph: BenchGraph): Tensor => {
    const padded = (extent: Tensor["extent"], width: number, values: Float32Array<ArrayBuffer>): Tensor => {
      const whole = new Float32Array(graph.count(extent) * width).fill(NaN);
      whole.set(values);
      return graph.input(extent, width, whole);
    };
    const x = padded("rows", c.k + behind, widened(data.x, c.k, behind));
    return run(graph, x, upload(graph, c, data), {
      ...(norm && { norm: { gain: graph.upload(data.gain), eps: EPS, ...(offset && { offset }) } }),
      ...(residual && { residual: padded(gather ? "samples" : "rows", data.width, data.residual) }),
      ...pick(c, ["swiglu", "gate", "activation", "limit", "softCap", "scale"]),
      ...(gather && { gather: true }),
      ...(behind && { leading: true }),
    });
  };
  const rows = gather ? data.rows : recorded;
  const limits = { rows: Math.max(64, rows), samples: Math.max(64, recorded) };
  const setup = { plan, rows, samples: gather ? recorded : 1, limits, ...(tuning && { tuning }) };
  return bench.run(setup, draw, (program, y) => program.words(y));
}

/** Rows of x with columns behind them that are none of the matrix's concern. */
function widened(x: Float32Array<ArrayBuffer>, columns: number, behind: number): Float32Array<ArrayBuffer> {
  const wider = columns + behind;
  return Float32Array.from({ length: (x.length / columns) * wider }, (_, i) =>
    i % wider < columns ? x[Math.floor(i / wider) * columns + (i % wider)]! : 1e6,
  );
}

function pick<K extends keyof LinearCase>(c: LinearCase, names: readonly K[]): Pick<LinearCase, K> {
  return Object.fromEntries(names.filter((name) => c[name] !== undefined).map((name) => [name, c[name]])) as never;
}

export function expectedOf(c: LinearCase, data: LinearData): Float64Array {
  return linearReference({
    x: data.x,
    weights: data.matrix.values,
    columns: c.k,
    ...pick(c, ["swiglu", "gate", "activation", "limit", "softCap", "scale"]),
    ...(c.gather && { rows: c.gather }),
    ...(c.norm && { norm: { gain: data.gain, eps: EPS, ...(c.offset && { offset: c.offset }) } }),
    ...(c.bias && { bias: data.bias }),
    ...(c.residual && { residual: data.residual }),
  });
}

export const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

/** Runs a case and holds its result against the reference, and what is past the batch's rows against being touched. */
export async function check(bench: KernelBench, c: LinearCase, bound: Difference = F32_BOUND): Promise<void> {
  const data = makeData(c);
  const words = await runLinear(bench, c, data);
  const expected = expectedOf(c, data);
  expectClose(floats(words.subarray(0, expected.length)), expected, bound);
  const beyond = words.subarray(expected.length);
  expect(beyond.length).toBe(((c.recorded ?? c.m) - c.m) * data.width);
  expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
}
