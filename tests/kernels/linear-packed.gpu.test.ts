/** Integer dot products: tight against the same rounding of x, and within the project's bound against no rounding at all. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linear } from "../../src/kernels/linear.ts";
import { packRows } from "../../src/kernels/packed.ts";
import { PORTABLE } from "../../src/kernels/tuning.ts";
import { GROUPED_FORMATS } from "../../src/weights/quant/grouped.ts";
import { difference, expectClose, F32_BOUND } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { KernelBench } from "../support/kernel-bench.ts";
import { check, expectedOf, floats, makeData, runLinear, title, type LinearCase } from "./linear-case.ts";

const tuning = { packedDot: true };
const LOOSE = { nmse: 5e-4, largest: 0.1 };

const VARIANTS = [
  { format: "q4" },
  { format: "q8", norm: true, swiglu: true },
  { format: "q4z-g64", norm: true },
  { format: "q8z-g128", bias: true, residual: true },
] as const;

/** Both kernels, both sides of a block and of a tile. */
const CASES: LinearCase[] = [
  ...[1, 3, 8, 9, 64, 65].flatMap((m, i) =>
    [4, 32, 36, 100, 260].map((k, j): LinearCase => {
      const variant = VARIANTS[(i + j) % 4]!;
      return { m, k, n: [2, 64, 66, 130, 34][(i + j) % 5]!, ...variant, tuning };
    }),
  ),
  ...GROUPED_FORMATS.map((format): LinearCase => ({ format, m: 1, k: 260, n: 21, magnitude: 1e4, tuning })),
  { format: "q4", m: 3, k: 64, n: 40, parts: [18, 22], tuning },
  { format: "q4", m: 3, k: 64, n: 40, norm: true, behind: 100, tuning },
  { format: "q4", m: 20, k: 64, n: 140, parts: [18, 122], tuning },
  { format: "q4", m: 2, k: 64, n: 33, recorded: 8, tuning },
  { format: "q4", m: 2, k: 64, n: 33, recorded: 20, tuning },
  { format: "q4z-g64", m: 5, k: 64, n: 33, norm: true, gather: [8, 0, 3, 3, 7], tuning },
  { format: "q4z-g64", m: 5, k: 64, n: 33, norm: true, gather: [8, 0, 3, 3, 7], recorded: 9, tuning },
];

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("linear, integer dots", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    await check(bench, c, LOOSE);
    // Without norm and choice of rows, so that what is rounded is x itself.
    const plain = { ...c };
    delete plain.norm;
    delete plain.gather;
    const data = makeData(plain);
    const rounded = { ...data, x: await throughPacking(plain, data.x) };
    const words = await runLinear(bench, plain, data);
    const expected = expectedOf(plain, rounded);
    expectClose(floats(words.subarray(0, expected.length)), expected, F32_BOUND);
  });

  it("takes the exact path where results must not depend on company", async () => {
    const c: LinearCase = { format: "q4", m: 9, k: 100, n: 34, tuning: { packedDot: true, deterministic: true } };
    const data = makeData(c);
    const exact = await runLinear(bench, { ...c, tuning: { packedDot: false, deterministic: true } }, data);
    expect(await runLinear(bench, c, data)).toEqual(exact);
  });

  it("gives the same bits in every run", async () => {
    const c: LinearCase = { format: "q4", m: 9, k: 100, n: 34, tuning };
    const data = makeData(c);
    expect(await runLinear(bench, c, data, linear)).toEqual(await runLinear(bench, c, data));
  });

  it("keeps to other tiles", async () => {
    const matMul = { m: 32, n: 32, k: 16, laneM: 4, laneN: 4 };
    const matVec = { ...PORTABLE.matVec, workgroup: 256, lanesPerRow: 4, rowsPerLane: 2 };
    for (const m of [5, 35]) {
      await check(bench, { format: "q8", m, k: 132, n: 70, tuning: { ...tuning, matMul, matVec } }, LOOSE);
    }
  });
});

/** Rows of x as they come back from 8 bits. */
async function throughPacking({ m, k }: LinearCase, x: Float32Array<ArrayBuffer>): Promise<Float32Array<ArrayBuffer>> {
  const { ints, scales } = await pack(m, k, x);
  const blocks = Math.ceil(k / 32);
  return Float32Array.from({ length: m * k }, (_, i) => {
    const [row, column] = [Math.floor(i / k), i % k];
    return ints[row * 32 * blocks + column]! * scales[2 * (row * blocks + (column >> 5))]!;
  });
}

function pack(
  m: number,
  k: number,
  x: Float32Array<ArrayBuffer>,
): Promise<{ ints: Int8Array; scales: Float32Array<ArrayBuffer> }> {
  const plan = { segments: [{ slot: 0, tokens: Array.from({ length: m }, () => 0) }] };
  const limits = { rows: Math.max(64, m) };
  return bench.run(
    { plan, limits },
    (graph) => packRows(graph, graph.input("rows", k, x)),
    async (program, rows) => ({
      ints: new Int8Array((await program.words(rows.ints)).buffer),
      scales: await program.floats(rows.scales),
    }),
  );
}

describe("rows in 8 bits", () => {
  const shapes = [1, 3].flatMap((m) =>
    [4, 28, 32, 36, 64, 100, 2052].flatMap((k) => [1e-6, 1, 1e5].map((scale) => [m, k, scale] as const)),
  );
  it.each(shapes)(
    "%i × %i, x ~ %f: within half a step, the sum of each block beside its scale",
    async (m, k, scale) => {
      const x = new Random(k).normals(m * k, scale);
      const { ints, scales } = await pack(m, k, x);
      const blocks = Math.ceil(k / 32);
      for (let row = 0; row < m; row++) {
        for (let block = 0; block < blocks; block++) {
          const values = x.subarray(row * k + 32 * block, row * k + Math.min(k, 32 * block + 32));
          const own = ints.subarray((row * blocks + block) * 32, (row * blocks + block + 1) * 32);
          const [d, sum] = [scales[2 * (row * blocks + block)]!, scales[2 * (row * blocks + block) + 1]!];
          const top = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
          expect(Math.abs(d / (top / 127) - 1)).toBeLessThan(1e-6);
          values.forEach((v, i) => expect(Math.abs(v / d - own[i]!)).toBeLessThan(0.5001));
          expect(own.subarray(values.length).every((q) => q === 0)).toBe(true);
          expect(Math.abs(sum - d * own.reduce((a, q) => a + q, 0))).toBeLessThanOrEqual(1e-3 * d);
        }
      }
    },
  );

  it("makes zeros of zeros", async () => {
    const { ints, scales } = await pack(1, 64, new Float32Array(64));
    expect([...ints, ...scales].every((v) => v === 0)).toBe(true);
  });

  it("rounds by so much that a bound on it means something", async () => {
    const x = new Random(1).normals(256);
    const rounded = await throughPacking({ format: "q4", m: 1, k: 256, n: 1 }, x);
    expect(difference(rounded, x).nmse).toBeGreaterThan(1e-6);
  });
});
