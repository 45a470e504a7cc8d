import { roundUp } from "../../base/assert.ts";
import { f16ToNumber, numberToF16 } from "../../base/half.ts";

/**
 * The resident layouts of quantised weights: signed integers of 8 or 4 bits with one f16 scale for each group of 32
 * neighbours in a row, symmetric around zero: w ≈ q · scale, |q| ≤ 127 or 7. A row of a matrix is
 *
 *   its integers, padded to whole groups (q8: four to a word; q4: eight to a word, the even fours in the low nibbles),
 *   then its scales, two f16 to a word, padded so that the next row starts at a multiple of 16 bytes.
 *
 * Integers and scales of one row lie together, so that a matrix is split by rows like any other.
 */
export type GroupedFormat = "q8" | "q4";

export const GROUP = 32;

const BITS: Readonly<Record<GroupedFormat, number>> = { q8: 8, q4: 4 };
/** Largest magnitude of a quantised value. */
export const LARGEST: Readonly<Record<GroupedFormat, number>> = { q8: 127, q4: 7 };

/** Words of a row's integers, before its scales. */
export function integerWords(format: GroupedFormat, columns: number): number {
  return (roundUp(columns, GROUP) * BITS[format]) / 32;
}

export function groupedRowWords(format: GroupedFormat, columns: number): number {
  const groups = Math.ceil(columns / GROUP);
  return roundUp(integerWords(format, columns) + Math.ceil(groups / 2), 4);
}

/**
 * One row, quantised on the CPU: the words that `shaders/quantise.wgsl` makes on every device, bit for bit. Both use only
 * operations that are exact or correctly rounded: the scale is one product rounded to f16, and a value's integer is
 * found by comparing with (i ± ½) · scale, which f32 holds exactly.
 */
export function quantiseRow(format: GroupedFormat, row: Float32Array): Uint32Array {
  const words = new Uint32Array(groupedRowWords(format, row.length));
  const scalesAt = integerWords(format, row.length);
  const largest = LARGEST[format];
  for (let group = 0; group * GROUP < row.length; group++) {
    const values = row.subarray(group * GROUP, (group + 1) * GROUP);
    const top = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const bits = Math.min(numberToF16(Math.fround(top * Math.fround(1 / largest))), LARGEST_F16);
    const scale = f16ToNumber(bits);
    words[scalesAt + (group >> 1)]! |= bits << (16 * (group & 1));
    values.forEach((x, i) => {
      const q = quantise(x, scale, largest);
      const k = group * GROUP + i;
      if (format === "q8") words[k >> 2]! |= (q & 255) << (8 * (k & 3));
      else words[k >> 3]! |= (q + 8) << (8 * (k & 3) + 4 * ((k >> 2) & 1));
    });
  }
  if (format === "q4") padNibbles(words, row.length);
  return words;
}

/** The values that a quantised row stands for. */
export function dequantiseRow(format: GroupedFormat, words: Uint32Array, columns: number): Float32Array {
  const scalesAt = integerWords(format, columns);
  return Float32Array.from({ length: columns }, (_, k) => {
    const group = Math.floor(k / GROUP);
    const scale = f16ToNumber((words[scalesAt + (group >> 1)]! >>> (16 * (group & 1))) & 0xffff);
    if (format === "q8") return (((words[k >> 2]! >>> (8 * (k & 3))) << 24) >> 24) * scale;
    return (((words[k >> 3]! >>> (8 * (k & 3) + 4 * ((k >> 2) & 1))) & 15) - 8) * scale;
  });
}

const LARGEST_F16 = 0x7bff;

/** The nearest multiple of scale, ties away from zero. */
function quantise(x: number, scale: number, largest: number): number {
  if (scale === 0) return 0;
  const magnitude = Math.abs(x);
  let i = Math.min(largest, Math.floor(magnitude / scale + 0.5));
  if (i > 0 && magnitude < (i - 0.5) * scale) i--;
  else if (i < largest && magnitude >= (i + 0.5) * scale) i++;
  return x < 0 ? -i : i;
}

/** Zero in the padding too: a nibble of 8. */
function padNibbles(words: Uint32Array, columns: number): void {
  for (let k = columns; k < roundUp(columns, GROUP); k++) words[k >> 3]! |= 8 << (8 * (k & 3) + 4 * ((k >> 2) & 1));
}
