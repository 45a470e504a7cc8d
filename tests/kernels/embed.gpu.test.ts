import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { embed } from "../../src/kernels/linear.ts";
import { RESIDENT_LAYOUTS, rowWords, type ResidentLayout } from "../../src/weights/quant/layout.ts";
import { Random } from "../reference/random.ts";
import { stored } from "../reference/storage.ts";
import { KernelBench, UNTOUCHED } from "../support/kernel-bench.ts";

interface Case {
  format: ResidentLayout;
  columns: number;
  /** Table rows of each part. */
  parts: readonly number[];
  /** Tokens of the segments' rows, null: the slot's last token. */
  segments: readonly (readonly number[] | null)[];
  scale: number;
  recorded: number;
}

const SEGMENTS: Case["segments"][] = [
  [[0]],
  [null],
  [null, null, [29, 1, 29, 0, 16, 17]],
  [null, [5, 5, 28, 14, 15, 13, 3]],
];

const CASES: Case[] = RESIDENT_LAYOUTS.flatMap((format, f) =>
  [4, 12, 60, 64, 100, 260, 516].flatMap((columns, i) =>
    [0, 1].map((j): Case => {
      const at = f + i + 2 * j;
      const segments = SEGMENTS[at % 4]!;
      const rows = segments.reduce((n, s) => n + (s?.length ?? 1), 0);
      return {
        format,
        columns,
        parts: [[30], [15, 15], [1, 28, 1]][(f + j + i) % 3]!,
        segments,
        scale: [1, 0.125, Math.fround(Math.sqrt(60))][i % 3]!,
        recorded: rows + [0, 3, 8][(i + j) % 3]!,
      };
    }),
  ),
);

/** The sampler's last choice of each slot. */
const LAST = [23, 15, 0, 29];
const ROWS = 30;

const title = ({ format, columns, parts, segments, scale, recorded }: Case): string =>
  `${format} ${parts.join("+")}×${columns}, ${segments.map((s) => s?.join() ?? "last").join(" | ")}, ` +
  `scale ${scale.toPrecision(3)}, of ${recorded} rows`;

let bench: KernelBench;
beforeAll(async () => {
  bench = await KernelBench.open();
});
afterAll(() => bench.close());

describe("embed", () => {
  it.each(CASES.map((c) => [title(c), c] as const))("%s", async (_, c) => {
    const { format, columns, parts, segments, scale, recorded } = c;
    const { words: table, values } = stored(new Random(columns).normals(ROWS * columns), columns, format);
    const plan = { segments: segments.map((tokens, slot) => ({ slot, tokens })) };
    const slots = LAST.map((token) => ({ token }));
    const found = await bench.run(
      { plan, slots, rows: recorded },
      (graph) => {
        let rowStart = 0;
        const uploaded = parts.map((rowCount) => {
          const words = rowWords(format, columns);
          const weights = graph.upload(table.slice(rowStart * words, (rowStart + rowCount) * words));
          rowStart += rowCount;
          return { weights, rowStart: rowStart - rowCount, rowCount };
        });
        const layer = { name: "test", inFeatures: columns, outFeatures: ROWS, layout: format, parts: uploaded };
        return embed(graph, layer, scale);
      },
      (program, out) => program.words(out),
    );
    const tokens = segments.flatMap((s, slot) => s ?? [LAST[slot]!]);
    // One product of two f32 each: the same bits everywhere.
    const expected = new Float32Array(tokens.length * columns);
    tokens.forEach((token, m) => {
      for (let k = 0; k < columns; k++) expected[m * columns + k] = values[token * columns + k]! * scale;
    });
    expect(new Float32Array(found.slice(0, expected.length).buffer)).toEqual(expected);
    const beyond = found.subarray(expected.length);
    expect(beyond.length).toBe((recorded - tokens.length) * columns);
    expect(beyond.every((word) => word === UNTOUCHED)).toBe(true);
  });
});
