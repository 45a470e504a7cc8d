import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linear, type Linear } from "../../src/kernels/linear.ts";
import type { Tensor } from "../../src/kernels/graph.ts";
import { rowWords, type WeightLayout } from "../../src/weights/quant/layout.ts";
import { expectClose } from "../reference/compare.ts";
import { linearReference } from "../reference/linear.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, UNTOUCHED, type BenchGraph } from "../support/kernel-bench.ts";

interface Case {
  format: WeightLayout;
  /** Rows of the result. */
  m: number;
  k: number;
  /** Rows of the weight. */
  n: number;
  norm?: boolean;
  bias?: boolean;
  residual?: boolean;
  swiglu?: boolean;
  /** Rows of x that the samples name. */
  gather?: readonly number[];
  /** Weight rows of each part. */
  parts?: readonly number[];
  /** Scale of x. */
  magnitude?: number;
  /** Rows the program is recorded for, when more than m. */
  recorded?: number;
}

/** Each is a pipeline or two to compile, which takes a second on a software GPU: every option in some format. */
const VARIANTS: Pick<Case, "format" | "norm" | "bias" | "residual" | "swiglu">[] = [
  { format: "f32" },
  { format: "f16", norm: true, swiglu: true },
  { format: "bf16", norm: true, bias: true, swiglu: true, residual: true },
  { format: "f32", norm: true },
  { format: "f16" },
  { format: "bf16", norm: true, bias: true },
  { format: "f32", bias: true },
  { format: "f16", bias: true, residual: true },
  { format: "bf16" },
  { format: "f32", residual: true },
  { format: "q8" },
  { format: "q4", norm: true },
];

/** Every pair of M and K, M and N, K and N; the variants in turn. */
function shapes(): Case[] {
  const [ms, ks, ns] = [
    [1, 2, 7, 8, 9, 17],
    [4, 12, 60, 64, 172, 256],
    [1, 2, 15, 16, 17, 100],
  ] as const;
  return ms.flatMap((m, i) =>
    ks.map((k, j): Case => {
      const variant = VARIANTS[(i * 7 + j) % VARIANTS.length]!;
      const n = ns[(i + j) % 6]!;
      return { m, k, ...variant, n: variant.swiglu ? 2 * n : n };
    }),
  );
}

const everyFormat = (c: Omit<Case, "format">): Case[] =>
  (["f32", "f16", "bf16", "q8"] as const).map((format) => ({ format, ...c }));

const CASES: Case[] = [
  ...shapes(),
  ...VARIANTS.map((variant) => ({ m: 3, k: 20, n: 34, ...variant })),
  // Sampled rows: out of order, twice, one.
  { format: "bf16", m: 5, k: 12, n: 33, gather: [8, 0, 3, 3, 7] },
  { format: "bf16", m: 1, k: 64, n: 100, norm: true, gather: [6] },
  { format: "f32", m: 9, k: 8, n: 17, norm: true, bias: true, gather: [0, 2, 4, 6, 8, 10, 12, 14, 16] },
  // Parts, their boundaries inside a workgroup's rows.
  ...everyFormat({ m: 3, k: 12, n: 40, parts: [17, 22, 1] }),
  { format: "f16", m: 9, k: 60, n: 100, bias: true, residual: true, parts: [50, 50] },
  { format: "bf16", m: 2, k: 64, n: 68, swiglu: true, bias: true, norm: true, residual: true, parts: [6, 62] },
  // Large numbers.
  ...everyFormat({ m: 8, k: 172, n: 32, magnitude: 1e5 }),
  { format: "f16", m: 2, k: 64, n: 32, magnitude: 1e4, norm: true, swiglu: true },
  { format: "f32", m: 1, k: 64, n: 32, magnitude: 3e4, swiglu: true },
  // Small ones, where eps decides.
  { format: "f32", m: 2, k: 64, n: 32, magnitude: 1e-3, norm: true },
  // A batch with fewer rows than the program.
  ...everyFormat({ m: 1, k: 12, n: 17, recorded: 8 }),
  { format: "f32", m: 9, k: 12, n: 17, recorded: 24, residual: true },
  { format: "bf16", m: 2, k: 12, n: 17, recorded: 12, gather: [1, 0] },
];

function title(c: Case): string {
  const { format, m, k, n, magnitude, recorded, gather, parts } = c;
  const flags = (["norm", "bias", "swiglu", "residual"] as const).filter((name) => c[name]);
  const more = [
    ...flags,
    ...(gather ? [`rows ${gather.join()}`] : []),
    ...(parts ? [`parts ${parts.join("+")}`] : []),
    ...(magnitude ? [`x ~ ${magnitude}`] : []),
    ...(recorded ? [`of ${recorded}`] : []),
  ];
  return `${format} ${m}×${k}·${n} ${more.join(" ")}`.trim();
}

const EPS = 1e-5;

interface Data {
  /** Rows of x. */
  rows: number;
  width: number;
  x: Float32Array<ArrayBuffer>;
  matrix: ReturnType<typeof stored>;
  gain: Float32Array<ArrayBuffer>;
  bias: Float32Array<ArrayBuffer>;
  residual: Float32Array<ArrayBuffer>;
}

function makeData({ format, m, k, n, swiglu, gather, magnitude = 1 }: Case): Data {
  const random = new Random(m * 7919 + k * 31 + n);
  const rows = gather ? Math.max(...gather) + 1 : m;
  const width = swiglu ? n / 2 : n;
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

function upload(graph: BenchGraph, { format, k, n, bias, parts = [n] }: Case, data: Data): Linear {
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

/** The whole output as words, rows past the batch's included. */
function run(bench: KernelBench, c: Case, data: Data): Promise<Uint32Array> {
  const { m, k, norm, residual, swiglu, gather, recorded = m } = c;
  const samples = (gather ?? []).map((row) => ({ row, slot: 0 }));
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: data.rows }, () => 0) }], samples };
  const draw = (graph: BenchGraph): Tensor => {
    const padded = (values: Float32Array<ArrayBuffer>, width: number): Float32Array<ArrayBuffer> => {
      const whole = new Float32Array(graph.count(gather && width !== k ? "samples" : "rows") * width).fill(NaN);
      whole.set(values);
      return whole;
    };
    const x = graph.input("rows", k, padded(data.x, k));
    return linear(graph, x, upload(graph, c, data), {
      ...(norm && { norm: { gain: graph.upload(data.gain), eps: EPS } }),
      ...(residual && { residual: graph.input("rows", data.width, padded(data.residual, data.width)) }),
      ...(swiglu && { swiglu }),
      ...(gather && { gather: true }),
    });
  };
  const rows = gather ? data.rows : recorded;
  return bench.run({ plan, rows, samples: gather ? recorded : 1 }, draw, (program, y) => program.words(y));
}

const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer);

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("linear", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const data = makeData(c);
    const words = await run(bench, c, data);
    const expected = linearReference({
      x: data.x,
      weights: data.matrix.values,
      columns: c.k,
      ...(c.gather && { rows: c.gather }),
      ...(c.norm && { norm: { gain: data.gain, eps: EPS } }),
      ...(c.bias && { bias: data.bias }),
      ...(c.swiglu && { swiglu: true }),
      ...(c.residual && { residual: data.residual }),
    });
    expectClose(floats(words.subarray(0, expected.length)), expected);
    const beyond = words.subarray(expected.length);
    expect(beyond.length).toBe(((c.recorded ?? c.m) - c.m) * data.width);
    expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
  });

  it("gives a row the same bits in any company, and in every run", async () => {
    const base: Case = { format: "bf16", m: 17, k: 172, n: 34, norm: true, bias: true, swiglu: true, residual: true };
    const data = makeData(base);
    const all = await run(bench, base, data);
    expect(await run(bench, base, data)).toEqual(all);
    for (const row of [0, 3, 8, 16]) {
      const alone = {
        ...data,
        rows: 1,
        x: data.x.slice(row * 172, (row + 1) * 172),
        residual: data.residual.slice(row * 17, (row + 1) * 17),
      };
      expect(await run(bench, { ...base, m: 1 }, alone)).toEqual(all.subarray(row * 17, (row + 1) * 17));
    }
  });

  it("keeps what is past the largest gate from overflowing", async () => {
    // silu(−1e5) · 1e5 is −0 and silu(1e5) · 1e5 is 1e10: exp(1e5) would be infinite.
    const c: Case = { format: "f32", m: 1, k: 4, n: 4, swiglu: true };
    const matrix = stored([-1e5, 0, 0, 0, 1e5, 0, 0, 0, 1e5, 0, 0, 0, 1e5, 0, 0, 0], 4, "f32");
    const data = { ...makeData(c), x: new Float32Array([1, 0, 0, 0]), matrix };
    const [low, high] = floats(await run(bench, c, data));
    expect(Math.abs(low!)).toBeLessThan(1e-20);
    expect(high).toBeCloseTo(1e10, -4);
  });

  it("folds a grid that is wider than WebGPU allows", async () => {
    const c: Case = { format: "f16", m: 1, k: 4, n: 524_325 };
    const data = makeData(c);
    expectClose(
      floats(await run(bench, c, data)),
      linearReference({ x: data.x, weights: data.matrix.values, columns: 4 }),
    );
  });
});
