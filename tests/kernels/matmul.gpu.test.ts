import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { KernelBench } from "../support/kernel-bench.ts";
import { check, makeData, runLinear, title, type LinearCase } from "./linear-case.ts";

/** Each is a pipeline to compile; every option that touches the tiles in some format. */
const VARIANTS: Pick<LinearCase, "format" | "norm" | "bias" | "residual" | "swiglu">[] = [
  { format: "f32" },
  { format: "q4", norm: true },
  { format: "f16", bias: true, residual: true },
  { format: "q8", norm: true, swiglu: true },
  { format: "bf16" },
];

/** Both sides of every edge of a tile of 64 × 64, 16 columns deep. */
function shapes(): LinearCase[] {
  const [ms, ks, ns] = [
    [9, 63, 64, 65, 129],
    [4, 12, 16, 20, 64, 100, 132],
    [1, 2, 63, 64, 65, 128, 131],
  ] as const;
  return ms.flatMap((m, i) =>
    ks.map((k, j): LinearCase => {
      const variant = VARIANTS[(i + j) % VARIANTS.length]!;
      const n = ns[(2 * i + j) % 7]!;
      return { m, k, ...variant, n: variant.swiglu ? 2 * n : n };
    }),
  );
}

const TILES = [
  { m: 32, n: 32, k: 16, laneM: 4, laneN: 4 },
  { m: 16, n: 64, k: 32, laneM: 2, laneN: 4 },
  { m: 64, n: 32, k: 8, laneM: 8, laneN: 2 },
];

const CASES: LinearCase[] = [
  ...shapes(),
  // Sampled rows.
  { format: "f32", m: 9, k: 8, n: 17, norm: true, gather: [0, 2, 4, 6, 8, 10, 12, 14, 16] },
  { format: "f32", m: 66, k: 20, n: 17, norm: true, gather: Array.from({ length: 66 }, (_, i) => (i * 7) % 70) },
  // A matrix narrower than x.
  { format: "f16", m: 9, k: 60, n: 17, norm: true, behind: 12 },
  // Parts.
  { format: "f16", m: 9, k: 60, n: 100, bias: true, residual: true, parts: [50, 49, 1] },
  { format: "q8", m: 12, k: 64, n: 140, norm: true, swiglu: true, parts: [6, 132, 2] },
  // Large numbers: past what f16 holds, times weights that f16 holds.
  { format: "f32", m: 65, k: 172, n: 32, magnitude: 1e5 },
  { format: "f16", m: 65, k: 172, n: 32, magnitude: 1e5, bias: true, residual: true },
  { format: "q4", m: 10, k: 172, n: 32, magnitude: 1e5, norm: true },
  { format: "q4", m: 10, k: 64, n: 32, magnitude: 1e-3, norm: true },
  // A batch with fewer rows than the program.
  { format: "f32", m: 1, k: 12, n: 17, recorded: 9 },
  { format: "f32", m: 70, k: 12, n: 17, recorded: 130 },
  { format: "f32", m: 2, k: 12, n: 17, recorded: 12, gather: [1, 0] },
  // Zero points, groups that tiles do not divide.
  { format: "q4z-g64", m: 9, k: 132, n: 65 },
  { format: "q8z-g128", m: 9, k: 260, n: 65 },
  // What comes after the sums.
  { format: "f32", m: 9, k: 64, n: 66, gate: "gelu-erf", norm: true, offset: 1, scale: 0.5 },
  { format: "f32", m: 9, k: 64, n: 65, softCap: 30, magnitude: 40 },
  // Other tiles.
  ...TILES.map((matMul): LinearCase => ({ format: "q4", m: 35, k: 52, n: 70, norm: true, tuning: { matMul } })),
];

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const TILED = { matMul: PORTABLE.matMul };
const WIDE = { matMul: { ...PORTABLE.matMul, wide: true } };

/** Both sides of every edge of a wide tile: 16 rows, 128 weight rows, 32 columns. */
const WIDE_CASES: LinearCase[] = [
  ...[9, 15, 16, 17, 33].flatMap((m, i) =>
    [4, 28, 32, 36, 100].map((k, j): LinearCase => {
      const variant = VARIANTS[(i + j) % VARIANTS.length]!;
      const n = [1, 2, 127, 128, 129][(2 * i + j) % 5]!;
      return { m, k, ...variant, n: variant.swiglu ? 2 * n : n };
    }),
  ),
  ...CASES.filter((c) => !c.tuning && c.m !== 129),
];

describe("linear, many rows, wide tiles", () => {
  it.each(WIDE_CASES.map((c) => [title(c), c] as const))("%s", (_, c) => check(bench, { ...c, tuning: WIDE }));
});

/** Both sides of every edge of a shuffled tile: 8 rows, 128 weight rows, 16 or 32 columns; and every layout. */
const SHUFFLED_CASES: LinearCase[] = [
  ...[9, 15, 16, 17].flatMap((m, i) =>
    [4, 28, 32, 36].map((k, j): LinearCase => {
      const variant = VARIANTS[(i + j) % VARIANTS.length]!;
      const n = [1, 127, 128, 129, 2][(2 * i + j) % 5]!;
      return { m, k, ...variant, n: variant.swiglu ? 2 * n : n };
    }),
  ),
  // Up to eight rows have tiles of their own.
  { format: "q4", m: 1, k: 100, n: 255, norm: true },
  { format: "q8", m: 1, k: 64, n: 512, norm: true, swiglu: true },
  { format: "f16", m: 2, k: 36, n: 257, bias: true, residual: true },
  { format: "q4", m: 3, k: 32, n: 6, norm: true, gather: [5, 0, 3] },
  { format: "f32", m: 4, k: 12, n: 3 },
  { format: "bf16", m: 5, k: 28, n: 9 },
  ...CASES.filter((c) => !c.tuning && (c.gather || c.parts || c.recorded || c.gate || c.format.includes("-"))),
];

describe("linear, many rows, shuffled tiles", () => {
  const cases = SHUFFLED_CASES.flatMap((c, i) =>
    // A subgroup of four lanes holds half a block of 4-bit weights at a time; the other layouts differ in nothing else.
    ([8, 4] as const).filter((h) => h === 8 || i % 3 === 0).map((h) => [`${title(c)} from ${h} lanes`, c, h] as const),
  );
  it.for(cases)("%s", async ([, c, holders], { skip }) => {
    const { subgroups, subgroupMinSize } = bench.gpu.info;
    skip(!subgroups || subgroupMinSize < holders, `no subgroups of ${holders} lanes`);
    await check(bench, { ...c, tuning: { matMul: { ...PORTABLE.matMul, holders } } });
  });
});

describe("linear, many rows", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", (_, c) => check(bench, { tuning: TILED, ...c }));

  it("gives the same bits in every run", async () => {
    const c: LinearCase = { format: "q4", m: 65, k: 132, n: 65, norm: true, tuning: TILED };
    const data = makeData(c);
    expect(await runLinear(bench, c, data)).toEqual(await runLinear(bench, c, data));
  });

  it("gives the same bits from tiles of f16 weights", async ({ skip }) => {
    skip(!bench.gpu.info.shaderF16, "this device has no shader-f16");
    const c: LinearCase = { format: "f16", m: 65, k: 132, n: 65, bias: true, residual: true, magnitude: 1e5 };
    const data = makeData(c);
    const exact = await runLinear(bench, { ...c, tuning: { ...TILED, f16: false } }, data);
    expect(await runLinear(bench, { ...c, tuning: { ...TILED, f16: true } }, data)).toEqual(exact);
  });

  it("refuses tiles past the default limits", async () => {
    const matMul = { ...PORTABLE.matMul, k: 32 };
    await expect(check(bench, { format: "f32", m: 9, k: 4, n: 1, tuning: { matMul } })).rejects.toThrow(
      "default limits",
    );
  });
});
