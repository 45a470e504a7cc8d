import { describe, expect, it } from "vitest";
import {
  dequantiseRow,
  GROUPED,
  GROUPED_FORMATS,
  groupedRowWords,
  integerWords,
  largestOf,
  quantiseRow,
} from "../../src/weights/quant/grouped.ts";

/** Values like a trained row's: most small, a few large. */
function values(length: number, seed = 1): Float32Array {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32 - 0.5;
  return Float32Array.from({ length }, (_, i) => next() * next() * (i % 17 === 0 ? 8 : 1));
}

/** Without the sign that a zero has under a negative scale. */
const unsigned = (values: Float32Array): Float32Array => values.map((x) => x + 0);

describe.each(GROUPED_FORMATS)("%s", (format) => {
  const spec = GROUPED[format];
  const largest = largestOf(spec);

  const searched = spec.bits === 4 && !spec.zeros;

  it.each([4, 31, 32, 33, 64, 96, 172, 256])("brings %i columns back within half a step of each group", (columns) => {
    const row = values(columns);
    const back = dequantiseRow(format, quantiseRow(format, row), columns);
    for (let at = 0; at < columns; at += spec.group) {
      const group = row.subarray(at, at + spec.group);
      const span = spec.zeros
        ? Math.max(0, ...group) - Math.min(0, ...group)
        : Math.max(...group.map((x) => Math.abs(x)));
      const step = span / largest;
      // Half a step (of zero too), a whole one where a searched scale cuts the largest, and what rounding the scale to f16 moves
      // the largest multiple by.
      const bound = step * ((spec.zeros || searched ? 1 : 0.5) + largest * 2 ** -11) + 2 ** -24;
      group.forEach((x, i) => expect(Math.abs(x - back[at + i]!)).toBeLessThanOrEqual(bound));
    }
  });

  it("keeps multiples of the scale exactly", () => {
    const low = spec.zeros ? -3 : -largest;
    const high = low + (spec.zeros ? largest : 2 * largest);
    const row = Float32Array.from({ length: spec.group }, (_, i) => (low + (i % (high - low + 1))) / 64);
    [row[0], row[1]] = [high / 64, low / 64]; // the group's range, so that the scale is 1/64
    expect(unsigned(dequantiseRow(format, quantiseRow(format, row), spec.group))).toEqual(row);
  });

  it("turns zeros into zeros, in the padding too", () => {
    for (const x of [0, 1, -1]) {
      const words = quantiseRow(format, new Float32Array(40).fill(x));
      const back = dequantiseRow(format, words, 40);
      expect(back.every((value) => Math.abs(value - x) < 1e-3)).toBe(true);
      // Read as a row of 64 columns of the same groups, where that has its scales in the same place.
      if (spec.group >= 64)
        expect(
          dequantiseRow(format, words, 64)
            .subarray(40)
            .every((value) => value === 0),
        ).toBe(true);
    }
  });

  it("lays rows out at multiples of 16 bytes, integers first", () => {
    expect(integerWords(format, 172)).toBe(spec.bits === 8 ? 48 : 24);
    const groups = Math.ceil(172 / spec.group);
    const bytes = (192 * spec.bits) / 8 + 4 * Math.ceil(groups / 2) + (spec.zeros ? 4 * Math.ceil(groups / 4) : 0);
    expect(groupedRowWords(format, 172)).toBe(4 * Math.ceil(bytes / 16));
    for (const columns of [4, 60, 172, 576]) expect(groupedRowWords(format, columns) % 4).toBe(0);
  });

  it("clamps a scale that f16 cannot hold instead of making it infinite", () => {
    const row = new Float32Array(32).fill(1e30);
    expect(dequantiseRow(format, quantiseRow(format, row), 32)[0]).toBe(65504 * (searched ? 8 : largest));
    const back = dequantiseRow(
      format,
      quantiseRow(
        format,
        row.map((x, i) => (i & 1 ? -x : x)),
      ),
      32,
    );
    expect(back.every((x) => Number.isFinite(x))).toBe(true);
  });
});

it("packs 4-bit values as kernels read them: even fours in the low nibbles", () => {
  const row = Float32Array.from([1, 2, 3, 4, 5, 6, 7, -8, ...new Array<number>(24).fill(0)]);
  const words = quantiseRow("q4", row);
  const low = [0, 1, 2, 3].map((i) => ((words[0]! >>> (8 * i)) & 15) - 8);
  const high = [0, 1, 2, 3].map((i) => ((words[0]! >>> (8 * i + 4)) & 15) - 8);
  expect([low, high]).toEqual([
    [1, 2, 3, 4],
    [5, 6, 7, -8],
  ]);
  expect(words[integerWords("q4", 32)]).toBe(0x3c00);
});

describe("a searched scale", () => {
  /** Σ of squared errors of a row. */
  const errorOf = (row: Float32Array, back: ArrayLike<number>): number =>
    row.reduce((sum, x, i) => sum + (x - back[i]!) ** 2, 0);
  /** Plain rounding: the largest magnitude becomes 7 steps. */
  const plain = (row: Float32Array): Float32Array => {
    const step = row.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / 7;
    return row.map((x) => Math.round(x / step) * step);
  };
  const group = (seed: number, length = 32): Float32Array => values(length, seed);
  const searchedBack = (row: Float32Array): Float32Array =>
    unsigned(dequantiseRow("q4", quantiseRow("q4", row), row.length));

  it("costs a quarter less than plain rounding over many groups, and never much more in one", () => {
    let [ours, theirs] = [0, 0];
    for (let seed = 1; seed <= 500; seed++) {
      const row = group(seed);
      const [a, b] = [errorOf(row, searchedBack(row)), errorOf(row, plain(row))];
      expect(a).toBeLessThan(1.02 * b);
      ours += a;
      theirs += b;
    }
    expect(ours / theirs).toBeLessThan(0.75);
  });

  it("is near the best of a fine sweep", () => {
    let [ours, best] = [0, 0];
    for (let seed = 1; seed <= 100; seed++) {
      const row = group(seed);
      const top = row.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
      let least = Infinity;
      for (let length = 6; length < 11; length += 0.02) {
        const scale = -top / length;
        const back = row.map((x) => Math.max(-8, Math.min(7, Math.round(x / scale))) * scale);
        least = Math.min(least, errorOf(row, back));
      }
      ours += errorOf(row, searchedBack(row));
      best += least;
    }
    expect(ours / best).toBeLessThan(1.04);
  });

  it("gives back what lies on a grid of sixteen, whichever end of it is there, and zeros", () => {
    const ends = [
      [-8, 7],
      [-7, 8],
      [-7, 7],
    ] as const;
    // The second has as many bits as f16 holds, more than the units of the search.
    for (const step of [0.1875, 1639 / 16384]) {
      for (const [low, high] of ends) {
        const integers = Float32Array.from({ length: 128 }, (_, i) => ((i * 5) % (high - low + 1)) + low);
        const row = integers.map((q) => q * step);
        expect(searchedBack(row)).toEqual(row);
      }
    }
    expect(searchedBack(new Float32Array(64))).toEqual(new Float32Array(64));
  });

  it("turns with the signs", () => {
    const row = group(7);
    expect(searchedBack(row.map((x) => -x))).toEqual(unsigned(searchedBack(row).map((x) => -x)));
  });

  it("is the same for a multiple by a power of two", () => {
    const row = group(9).map((x) => Math.fround(x));
    expect(searchedBack(row.map((x) => x * 2 ** -6))).toEqual(searchedBack(row).map((x) => x * 2 ** -6));
  });

  it("of what f16 cannot hold is zero or cut", () => {
    expect(searchedBack(new Float32Array(32).fill(2 ** -70))).toEqual(new Float32Array(32));
    expect(searchedBack(new Float32Array(32).fill(1e-42))).toEqual(new Float32Array(32));
    expect(searchedBack(group(3).map((x) => x * 1e30)).every(Number.isFinite)).toBe(true);
  });
});
