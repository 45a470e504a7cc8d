import { describe, expect, it } from "vitest";
import {
  dequantiseRow,
  groupedRowWords,
  integerWords,
  LARGEST,
  quantiseRow,
  type GroupedFormat,
} from "../../src/weights/quant/grouped.ts";

const FORMATS: GroupedFormat[] = ["q8", "q4"];

/** Values like a trained row's: most small, a few large. */
function values(length: number, seed = 1): Float32Array {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, (_, i) => next() * next() * (i % 17 === 0 ? 8 : 1));
}

describe.each(FORMATS)("%s", (format) => {
  it.each([4, 31, 32, 33, 64, 96, 172, 256])("brings %i columns back within half a step of each group", (columns) => {
    const row = values(columns);
    const back = dequantiseRow(format, quantiseRow(format, row), columns);
    for (let at = 0; at < columns; at += 32) {
      const group = row.subarray(at, at + 32);
      const step = Math.max(...group.map(Math.abs)) / LARGEST[format];
      // Half a step, and what rounding the scale to f16 moves the largest multiple by.
      const bound = step * (0.5 + LARGEST[format] * 2 ** -11) + 2 ** -24;
      group.forEach((x, i) => expect(Math.abs(x - back[at + i]!)).toBeLessThanOrEqual(bound));
    }
  });

  it("keeps multiples of the scale exactly", () => {
    const row = Float32Array.from({ length: 32 }, (_, i) => ((i % (2 * LARGEST[format] + 1)) - LARGEST[format]) / 64);
    row[0] = LARGEST[format] / 64; // the group's largest, so that the scale is 1/64
    expect(dequantiseRow(format, quantiseRow(format, row), 32)).toEqual(row);
  });

  it("turns zeros into zeros, in the padding too", () => {
    const words = quantiseRow(format, new Float32Array(40));
    expect(dequantiseRow(format, words, 64).every((x) => x === 0)).toBe(true);
  });

  it("lays rows out at multiples of 16 bytes, integers first", () => {
    expect(integerWords(format, 172)).toBe(format === "q8" ? 48 : 24);
    expect(groupedRowWords(format, 172)).toBe(format === "q8" ? 52 : 28);
    for (const columns of [4, 60, 172, 576]) expect(groupedRowWords(format, columns) % 4).toBe(0);
  });

  it("clamps a scale that f16 cannot hold instead of making it infinite", () => {
    const row = new Float32Array(32).fill(1e30);
    expect(dequantiseRow(format, quantiseRow(format, row), 32)[0]).toBe(65504 * LARGEST[format]);
  });
});

it("packs 4-bit values as kernels read them: even fours in the low nibbles", () => {
  const row = Float32Array.from([1, 2, 3, 4, 5, 6, 7, -7, ...new Array<number>(24).fill(0)]);
  const [first] = quantiseRow("q4", row);
  const low = [0, 1, 2, 3].map((i) => ((first! >>> (8 * i)) & 15) - 8);
  const high = [0, 1, 2, 3].map((i) => ((first! >>> (8 * i + 4)) & 15) - 8);
  expect([low, high]).toEqual([
    [1, 2, 3, 4],
    [5, 6, 7, -7],
  ]);
});
