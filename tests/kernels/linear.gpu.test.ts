import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Activation, Gate } from "../../src/kernels/linear.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { GROUPED_FORMATS } from "../../src/weights/quant/grouped.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, PLAIN } from "../support/kernel-bench.ts";
import { check, floats, makeData, runLinear, title, type LinearCase } from "./linear-case.ts";

/** Each is a pipeline or two to compile, which takes a second on a software GPU: every option in some format. */
const VARIANTS: Pick<LinearCase, "format" | "norm" | "bias" | "residual" | "swiglu">[] = [
  { format: "f32" },
  { format: "f16", norm: true, swiglu: true },
  { format: "bf16", norm: true, bias: true, swiglu: true, residual: true },
  { format: "f16" },
  { format: "q8" },
  { format: "q4", norm: true },
  { format: "f32", bias: true, residual: true },
];

/** Every pair of M and K, M and N, K and N; the variants in turn. Up to 8 rows take the mat-vec. */
function shapes(): LinearCase[] {
  const [ms, ks, ns] = [
    [1, 2, 3, 4, 7, 8],
    [4, 12, 60, 64, 172, 256, 1028],
    [1, 2, 15, 16, 17, 100, 33],
  ] as const;
  return ms.flatMap((m, i) =>
    ks.map((k, j): LinearCase => {
      const variant = VARIANTS[(i + j) % VARIANTS.length]!;
      const n = ns[(i + 2 * j) % 7]!;
      return { m, k, ...variant, n: variant.swiglu ? 2 * n : n };
    }),
  );
}

const everyFormat = (c: Omit<LinearCase, "format">): LinearCase[] =>
  (["f32", "f16", "q8"] as const).map((format) => ({ format, ...c }));

const ACTIVATIONS: Activation[] = ["silu", "gelu-tanh", "gelu-erf", "relu", "relu2"];
const GATES: Gate[] = [...ACTIVATIONS, "swiglu-clamped"];
/** Small tiles that leave lanes with several rounds, and a workgroup that cannot hold all columns at a time. */
const NARROW = { ...PORTABLE.matVec, workgroup: 64, lanesPerRow: 4, rowsPerLane: 2 };
const WIDE = { ...PORTABLE.matVec, workgroup: 256, lanesPerRow: 64 };

const CASES: LinearCase[] = [
  ...shapes(),
  // Sampled rows: out of order, twice, one.
  { format: "f16", m: 5, k: 12, n: 33, gather: [8, 0, 3, 3, 7] },
  { format: "q4", m: 1, k: 64, n: 100, norm: true, gather: [6] },
  // A matrix narrower than x.
  ...everyFormat({ m: 3, k: 60, n: 17, behind: 12 }),
  { format: "q4", m: 2, k: 64, n: 18, norm: true, behind: 576, gather: [4, 1] },
  // Parts, their boundaries inside a workgroup's rows.
  ...everyFormat({ m: 3, k: 12, n: 40, parts: [17, 22, 1] }),
  { format: "f32", m: 3, k: 60, n: 100, bias: true, residual: true, parts: [50, 50] },
  { format: "bf16", m: 2, k: 64, n: 68, swiglu: true, bias: true, norm: true, residual: true, parts: [6, 62] },
  // Large numbers.
  ...everyFormat({ m: 8, k: 172, n: 32, magnitude: 1e5 }),
  { format: "f16", m: 2, k: 64, n: 32, magnitude: 1e4, norm: true, swiglu: true },
  // Small ones, where eps decides.
  { format: "q4", m: 1, k: 64, n: 32, magnitude: 1e-3, norm: true },
  // A batch with fewer rows than the program.
  ...everyFormat({ m: 1, k: 12, n: 17, recorded: 8 }),
  { format: "f32", m: 1, k: 12, n: 17, recorded: 4, bias: true, residual: true },
  { format: "f16", m: 2, k: 12, n: 17, recorded: 8, gather: [1, 0] },
  // Every layout, groups whole and not.
  ...GROUPED_FORMATS.flatMap((format) =>
    [36, 128, 260].map((k): LinearCase => ({ format, m: 1, k, n: 21, magnitude: k === 36 ? 1e4 : 1 })),
  ),
  ...(["q4z-g64", "q8z"] as const).map((format): LinearCase => ({ format, m: 6, k: 132, n: 21 })),
  // What comes after the sums.
  ...ACTIVATIONS.flatMap((activation) =>
    [1, 1e4].map((magnitude): LinearCase => ({ format: "f32", m: 1, k: 64, n: 33, activation, bias: true, magnitude })),
  ),
  ...GATES.map((gate): LinearCase => ({ format: "f32", m: 1, k: 64, n: 66, gate, limit: 1.25, magnitude: 2 })),
  { format: "f32", m: 1, k: 64, n: 34, gate: "swiglu-clamped", limit: 7, magnitude: 1e5 },
  ...[1e-3, 0.3, 10, 1e5].map((magnitude): LinearCase => ({
    format: "f32",
    m: 1,
    k: 64,
    n: 99,
    softCap: 30,
    scale: 0.5,
    magnitude,
  })),
  { format: "f32", m: 1, k: 64, n: 33, scale: 0.22, bias: true, residual: true },
  { format: "q4", m: 1, k: 64, n: 33, norm: true, offset: 1 },
  // Other tiles.
  ...[1, 5].flatMap((m) =>
    [NARROW, WIDE].map((matVec): LinearCase => ({ format: "q4", m, k: 516, n: 70, norm: true, tuning: { matVec } })),
  ),
  ...(PLAIN
    ? []
    : [1, 3].map((m): LinearCase => ({ format: "q4", m, k: 516, n: 70, norm: true, tuning: { subgroups: false } }))),
];

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("linear, few rows", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", (_, c) => check(bench, c));

  it.each([
    { format: "bf16", m: 17, k: 172, n: 34, norm: true, bias: true, swiglu: true, residual: true },
    { format: "q4", m: 17, k: 260, n: 34, norm: true, swiglu: true },
  ] as const)("gives a row of $format the same bits in any company, and in every run", async (wanted) => {
    const base: LinearCase = { ...wanted, tuning: { deterministic: true } };
    const data = makeData(base);
    const all = await runLinear(bench, base, data);
    expect(await runLinear(bench, base, data)).toEqual(all);
    const some = (first: number, m: number): Promise<Uint32Array> => {
      const x = data.x.slice(first * base.k, (first + m) * base.k);
      const residual = data.residual.slice(first * 17, (first + m) * 17);
      return runLinear(bench, { ...base, m }, { ...data, rows: m, x, residual });
    };
    for (const [first, m] of [
      [0, 1],
      [3, 1],
      [8, 2],
      [13, 4],
    ] as const) {
      expect(await some(first, m)).toEqual(all.subarray(first * 17, (first + m) * 17));
    }
  });

  it("keeps what is past the largest gate from overflowing", async () => {
    // silu(−1e5) · 1e5 is −0 and silu(1e5) · 1e5 is 1e10: exp(1e5) would be infinite.
    const c: LinearCase = { format: "f32", m: 1, k: 4, n: 4, gate: "silu" };
    const matrix = stored([-1e5, 0, 0, 0, 1e5, 0, 0, 0, 1e5, 0, 0, 0, 1e5, 0, 0, 0], 4, "f32");
    const data = { ...makeData(c), x: new Float32Array([1, 0, 0, 0]), matrix };
    const [low, high] = floats(await runLinear(bench, c, data));
    expect(Math.abs(low!)).toBeLessThan(1e-20);
    expect(high).toBeCloseTo(1e10, -4);
  });

  it("folds a grid that is wider than WebGPU allows", () =>
    // One lane a row of one block: 256 weight rows a workgroup, and more than 32768 workgroups of them.
    check(bench, {
      format: "f32",
      m: 1,
      k: 4,
      n: 524_325,
      tuning: { matVec: { ...NARROW, workgroup: 8, lanesPerRow: 1 } },
    }));
});
