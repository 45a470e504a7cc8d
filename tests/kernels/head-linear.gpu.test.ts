import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { headLinear } from "../../src/kernels/head-linear.ts";
import type { Linear } from "../../src/kernels/linear.ts";
import type { WeightLayout } from "../../src/weights/quant/layout.ts";
import { expectClose } from "../reference/compare.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case {
  layout?: WeightLayout;
  heads?: number;
  /** Columns of the matrix. */
  columns: number;
  /** Rows of the matrix a head has, those used, and the first of these. */
  step?: number;
  count: number;
  start?: number;
  transposed?: boolean;
  /** Elements past those that are read of a head, and past those that are written. */
  gapIn?: number;
  gapOut?: number;
  rows?: number;
  spare?: number;
  magnitude?: number;
}

const T = { transposed: true } as const;

const CASES: Case[] = [
  // Results around a workgroup's 8, columns around its 8 lanes of four.
  ...[1, 7, 8, 9, 16, 17].map((count): Case => ({ columns: 32, count })),
  ...[4, 28, 36, 64, 132, 512].map((columns): Case => ({ columns, count: 12 })),
  // By columns: around a workgroup's 64, rows around its 4 parts.
  ...[4, 60, 64, 68, 128, 132, 512].map((columns): Case => ({ ...T, columns, count: 16 })),
  ...[1, 3, 4, 5, 64, 130].map((count): Case => ({ ...T, columns: 20, count })),
  // Rows of x around a tile of 8.
  ...[2, 7, 8, 9, 17].flatMap((rows): Case[] => [
    { columns: 36, count: 10, rows },
    { ...T, columns: 36, count: 10, rows, spare: 3 },
  ]),
  { columns: 36, count: 10, rows: 3, spare: 9 },
  // Heads.
  { heads: 1, columns: 16, count: 8 },
  { heads: 16, columns: 16, count: 9, rows: 2 },
  { ...T, heads: 16, columns: 16, count: 9, rows: 2 },
  { ...T, heads: 5, columns: 64, count: 24 },
  // Keys' and values' rows of one matrix; queries with a part that does not take part; results with room between.
  { ...T, columns: 64, count: 16, step: 40, gapIn: 8, gapOut: 8, rows: 3 },
  { columns: 64, count: 24, start: 16, step: 40, rows: 3 },
  { columns: 16, count: 7, start: 2, step: 10, gapIn: 4, gapOut: 5 },
  // Layouts.
  ...(["f16", "bf16", "q8", "q4"] as const).flatMap((layout): Case[] => [
    { layout, columns: 64, count: 12, rows: 3 },
    { ...T, layout, columns: 96, count: 12, rows: 9 },
    { ...T, layout, columns: 36, count: 12 },
  ]),
  // Large numbers.
  { columns: 512, count: 8, magnitude: 1e5 },
  { ...T, columns: 64, count: 128, magnitude: 1e5 },
];

const title = (c: Case): string =>
  Object.entries(c)
    .map(([name, value]) => (value === true ? name : `${name} ${value}`))
    .join(", ");

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

/** One run of a case's shape over some rows of x: the words of the result, and of a second run. */
async function run(c: Case, x: Float32Array<ArrayBuffer>, rows: number, words: Uint32Array<ArrayBuffer>): Promise<Run> {
  const { layout = "f32", heads = 3, columns, count, start = 0, step = start + count, transposed = false } = c;
  const { gapIn = 0, gapOut = 0, spare = 0 } = c;
  const [inputs, outputs] = transposed ? [count, columns] : [columns, count];
  const pad = (width: number): number => Math.ceil(width / 4) * 4;
  const [inputStep, outputStep] = [pad(inputs + gapIn), outputs + gapOut];
  return bench.run(
    { plan: { segments: [{ slot: 0, tokens: new Array<number>(rows).fill(0) }] }, slots: [{}], rows: rows + spare },
    (graph) => {
      const weights = graph.upload(words);
      const outFeatures = heads * step;
      const parts = [{ weights, rowStart: 0, rowCount: outFeatures }];
      const layer: Linear = { name: "test", inFeatures: columns, outFeatures, layout, parts };
      return headLinear(graph, graph.input("rows", heads * inputStep, x), layer, {
        heads,
        rows: { start, count, step },
        transposed,
        inputStep,
        ...(gapOut > 0 && { into: { out: graph.tensor("rows", heads * outputStep), step: outputStep } }),
      });
    },
    async (program, out) => {
      const first = await program.words(out);
      program.submit();
      return { first, again: await program.words(out), inputStep, outputStep, inputs, outputs };
    },
  );
}

interface Run {
  first: Uint32Array<ArrayBuffer>;
  again: Uint32Array<ArrayBuffer>;
  inputStep: number;
  outputStep: number;
  inputs: number;
  outputs: number;
}

describe("head_linear", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { layout = "f32", heads = 3, columns, count, start = 0, step = start + count, rows = 1, spare = 0 } = c;
    const random = new Random(columns + count);
    const matrix = stored(random.normals(heads * step * columns), columns, layout);
    const inputs = c.transposed ? count : columns;
    const xWidth = heads * Math.ceil((inputs + (c.gapIn ?? 0)) / 4) * 4;
    const x = random.normals((rows + spare) * xWidth, c.magnitude);
    const { first, again, inputStep, outputStep, outputs } = await run(c, x, rows, matrix.words);
    expect(again).toEqual(first);

    const expected: number[] = [];
    const found: number[] = [];
    const values = new Float32Array(first.buffer);
    const untouched = Array.from({ length: first.length }, () => true);
    for (let m = 0; m < rows; m++) {
      for (let h = 0; h < heads; h++) {
        for (let n = 0; n < outputs; n++) {
          let sum = 0;
          for (let k = 0; k < inputs; k++) {
            const [row, column] = c.transposed ? [k, n] : [n, k];
            sum += x[m * xWidth + h * inputStep + k]! * matrix.values[(start + h * step + row) * columns + column]!;
          }
          const at = (m * heads + h) * outputStep + n;
          expected.push(sum);
          found.push(values[at]!);
          untouched[at] = false;
        }
      }
    }
    expectClose(found, expected);
    expect(first.every((word, i) => !untouched[i] || word === UNTOUCHED)).toBe(true);
  });

  it.each([false, true])("gives a row the same bits alone as in a batch (transposed: %s)", async (transposed) => {
    const c: Case = { columns: 132, count: 20, transposed };
    const random = new Random(7);
    const matrix = stored(random.normals(3 * 20 * 132), 132, "f32");
    const width = transposed ? 60 : 396;
    const x = random.normals(9 * width);
    const all = await run(c, x, 9, matrix.words);
    for (const row of [0, 5, 8]) {
      const alone = await run(c, x.slice(row * width, (row + 1) * width), 1, matrix.words);
      expect(alone.first).toEqual(all.first.subarray((row * all.first.length) / 9, ((row + 1) * all.first.length) / 9));
    }
  });

  it("refuses a matrix in several parts", async () => {
    await bench.run(
      {},
      (graph) => {
        const weights = graph.upload(new Uint32Array(64));
        const parts = [0, 4].map((rowStart) => ({ weights, rowStart, rowCount: 4 }));
        const layer: Linear = { name: "kv_b", inFeatures: 8, outFeatures: 8, layout: "f32", parts };
        expect(() => headLinear(graph, graph.tensor("rows", 16), layer, { heads: 2 })).toThrow(
          "kv_b is in 2 parts; heads need one",
        );
      },
      () => Promise.resolve(),
    );
  });
});
