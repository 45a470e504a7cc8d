import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Linear } from "../../src/kernels/linear.ts";
import { learnedPositions } from "../../src/kernels/positions.ts";
import { RESIDENT_LAYOUTS, rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case {
  format: ResidentLayout;
  columns: number;
  /** Table rows of each part: 30 together. */
  parts: readonly number[];
  /** Each slot's position, and how many rows of it there are. */
  segments: readonly (readonly [position: number, rows: number])[];
  recorded: number;
}

const SEGMENTS: Case["segments"][] = [
  [[0, 1]],
  [[29, 1]],
  [
    [14, 1],
    [0, 6],
    [15, 15],
  ],
  [
    [28, 2],
    [7, 8],
  ],
];

const CASES: Case[] = RESIDENT_LAYOUTS.flatMap((format, f) =>
  [4, 60, 64, 260, 516].map((columns, i): Case => {
    const segments = SEGMENTS[(f + i) % 4]!;
    const rows = segments.reduce((n, [, count]) => n + count, 0);
    return {
      format,
      columns,
      parts: [[30], [15, 15], [1, 28, 1]][(f + i) % 3]!,
      segments,
      recorded: rows + 3 * (i % 2),
    };
  }),
);

const title = ({ format, columns, parts, segments, recorded }: Case): string =>
  `${format} ${parts.join("+")}×${columns}, ${segments.map(([p, n]) => `${n} from ${p}`).join(" | ")}, of ${recorded} rows`;

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("learned positions", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { format, columns, parts, segments, recorded } = c;
    const { words: table, values } = stored(new Random(columns).normals(30 * columns), columns, format);
    const plan = { segments: segments.map(([, count], slot) => ({ slot, tokens: Array<number>(count).fill(1) })) };
    const slots = segments.map(([position]) => ({ length: 40 - position, position }));
    const x = Float32Array.from(new Random(7).normals(recorded * columns), (v) => v * 1e4);
    const found = await bench.run(
      { plan, slots, rows: recorded },
      (graph) => {
        let rowStart = 0;
        const words = rowWords(format, columns);
        const uploaded = parts.map((rowCount) => {
          const weights = graph.upload(table.slice(rowStart * words, (rowStart + rowCount) * words));
          rowStart += rowCount;
          return { weights, rowStart: rowStart - rowCount, rowCount };
        });
        const layer: Linear = { name: "table", inFeatures: columns, outFeatures: 30, layout: format, parts: uploaded };
        return learnedPositions(graph, graph.input("rows", columns, x), layer);
      },
      (program, out) => program.words(out),
    );
    const got = new Float32Array(found.buffer);
    let row = 0;
    for (const [position, count] of segments) {
      for (let r = 0; r < count; r++, row++) {
        for (let k = 0; k < columns; k++) {
          const expected = Math.fround(x[row * columns + k]! + values[(position + r) * columns + k]!);
          const at = row * columns + k;
          expect(Math.abs(got[at]! - expected)).toBeLessThanOrEqual(Math.abs(expected) * 2e-7 + 1e-7);
        }
      }
    }
    expect(found.subarray(row * columns).every((word) => word === UNTOUCHED)).toBe(true);
  });
});
