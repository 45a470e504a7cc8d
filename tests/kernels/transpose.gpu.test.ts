import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { transposeGrid, transposeSource } from "../../src/kernels/transpose.ts";
import { DENSE_FORMATS, type DenseFormat } from "../../src/weights/quant/dense.ts";
import { KernelBench } from "../support/kernel-bench.ts";

interface Case {
  format: DenseFormat;
  inFeatures: number;
  outFeatures: number;
  /** Published rows of each strip; together inFeatures. */
  strips: readonly number[];
  /** Rows of the result that are written: a part of a split matrix. */
  rowStart: number;
  rowCount: number;
}

/** On both sides of 64 and 128 lanes' worth, odd widths, one strip and many, parts from anywhere. */
const SHAPES: Omit<Case, "format">[] = [
  { inFeatures: 4, outFeatures: 1, strips: [4], rowStart: 0, rowCount: 1 },
  { inFeatures: 4, outFeatures: 3, strips: [2, 2], rowStart: 0, rowCount: 3 },
  { inFeatures: 60, outFeatures: 7, strips: [60], rowStart: 2, rowCount: 4 },
  { inFeatures: 64, outFeatures: 33, strips: [62, 2], rowStart: 0, rowCount: 33 },
  { inFeatures: 68, outFeatures: 5, strips: [64, 4], rowStart: 4, rowCount: 1 },
  { inFeatures: 124, outFeatures: 9, strips: [2, 120, 2], rowStart: 1, rowCount: 8 },
  { inFeatures: 128, outFeatures: 2, strips: [128], rowStart: 0, rowCount: 2 },
  { inFeatures: 132, outFeatures: 65, strips: [130, 2], rowStart: 32, rowCount: 33 },
  { inFeatures: 260, outFeatures: 12, strips: [100, 100, 60], rowStart: 0, rowCount: 12 },
  { inFeatures: 8, outFeatures: 66_000, strips: [6, 2], rowStart: 3, rowCount: 65_990 },
];

const CASES = DENSE_FORMATS.flatMap((format) => SHAPES.map((shape): Case => ({ format, ...shape })));

const title = ({ format, inFeatures, outFeatures, strips, rowStart, rowCount }: Case): string =>
  `${format} [${inFeatures}, ${outFeatures}] in strips of ${strips.join("+")}, rows ${rowStart} … ${rowStart + rowCount}`;

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

const pack = (codes: readonly number[], halves: boolean): Uint32Array<ArrayBuffer> => {
  if (!halves) return Uint32Array.from(codes);
  const even = Uint16Array.from(codes.length % 2 ? [...codes, 0xbeef] : codes);
  return new Uint32Array(even.buffer);
};

describe("transpose", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { format, inFeatures, outFeatures, strips, rowStart, rowCount } = c;
    const halves = format !== "f32";
    const code = (r: number, n: number): number => (r * 40503 + n * 2654 + 17) & (halves ? 0xffff : 0x7fffffff);
    const found = await bench.run(
      {},
      (graph) => {
        const turned = graph.upload(new Uint32Array((rowCount * inFeatures) / (halves ? 2 : 1)));
        let firstRow = 0;
        for (const rows of strips) {
          const codes = Array.from({ length: rows * outFeatures }, (__, i) =>
            code(firstRow + Math.floor(i / outFeatures), i % outFeatures),
          );
          const strip = { inFeatures, outFeatures, firstRow, rows, rowStart, rowCount };
          const bindings = { staging: graph.upload(pack(codes, halves)), turned };
          graph.dispatch(transposeSource(format), strip, bindings, transposeGrid(strip));
          firstRow += rows;
        }
        return turned;
      },
      (program, turned) => program.words(turned),
    );
    const expected = Array.from({ length: rowCount * inFeatures }, (__, i) =>
      code(i % inFeatures, rowStart + Math.floor(i / inFeatures)),
    );
    expect(found).toEqual(pack(expected, halves));
  });
});
