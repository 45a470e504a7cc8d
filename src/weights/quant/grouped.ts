import { roundUp } from "../../base/assert.ts";
import { f16ToNumber, numberToF16 } from "../../base/half.ts";
import { LARGEST_F16, searchScale, SIDES } from "./search.ts";

/**
 * The resident layouts of quantised weights: integers of 8 or 4 bits, with a f16 scale for each group of 32, 64 or 128
 * neighbours in a row. Symmetric ones are centred on zero: w ≈ q · scale, |q| ≤ 127, or −8 ≤ q ≤ 7 with a scale of either sign
 * (`search.ts`). Those with zero points (asymmetric, as GPTQ and AWQ publish) have an integer for zero in each group:
 * w ≈ (q − zero) · scale. A row is
 *
 *   its integers, padded to whole blocks of 32 (8 bits: four to a word, signed; 4 bits: eight to a word, the even fours in
 *     the low nibbles, the odd fours in the high ones; symmetric ones are stored as q + 8),
 *   then its scales, two f16 to a word,
 *   then its zero points, four bytes to a word (8 bits: signed as the integers are; 4 bits: unsigned, 0 … 16),
 *   padded so that the next row starts at a multiple of 16 bytes.
 *
 * All that belongs to a row lies together, so that a matrix is split by rows like any other.
 */
export type GroupedFormat =
  | "q8"
  | "q8-g64"
  | "q8-g128"
  | "q4"
  | "q4-g64"
  | "q4-g128"
  | "q8z"
  | "q8z-g64"
  | "q8z-g128"
  | "q4z"
  | "q4z-g64"
  | "q4z-g128";

export interface GroupedSpec {
  readonly bits: 8 | 4;
  /** Columns that share a scale. */
  readonly group: 32 | 64 | 128;
  /** Whether each group has a zero point. */
  readonly zeros: boolean;
}

export const GROUPED: Readonly<Record<GroupedFormat, GroupedSpec>> = {
  q8: { bits: 8, group: 32, zeros: false },
  "q8-g64": { bits: 8, group: 64, zeros: false },
  "q8-g128": { bits: 8, group: 128, zeros: false },
  q4: { bits: 4, group: 32, zeros: false },
  "q4-g64": { bits: 4, group: 64, zeros: false },
  "q4-g128": { bits: 4, group: 128, zeros: false },
  q8z: { bits: 8, group: 32, zeros: true },
  "q8z-g64": { bits: 8, group: 64, zeros: true },
  "q8z-g128": { bits: 8, group: 128, zeros: true },
  q4z: { bits: 4, group: 32, zeros: true },
  "q4z-g64": { bits: 4, group: 64, zeros: true },
  "q4z-g128": { bits: 4, group: 128, zeros: true },
};

export const GROUPED_FORMATS = Object.keys(GROUPED) as GroupedFormat[];

/** Columns that a row's integers are padded to a multiple of. */
const BLOCK = 32;

/** Largest magnitude of a symmetric integer on both sides, or largest distance from the lowest of an asymmetric one. */
export function largestOf({ bits, zeros }: GroupedSpec): number {
  return zeros ? 2 ** bits - 1 : 2 ** (bits - 1) - 1;
}

/** Words of a row's integers, before its scales. */
export function integerWords(format: GroupedFormat, columns: number): number {
  return (roundUp(columns, BLOCK) * GROUPED[format].bits) / 32;
}

/** Where a row's zero points start; also the words up to there where it has none. */
function zerosAt(format: GroupedFormat, columns: number): number {
  return integerWords(format, columns) + Math.ceil(groupsOf(format, columns) / 2);
}

function groupsOf(format: GroupedFormat, columns: number): number {
  return Math.ceil(columns / GROUPED[format].group);
}

/** Words of a row that mean something; the rest, up to groupedRowWords, is padding. */
export function usedWords(format: GroupedFormat, columns: number): number {
  const zeros = GROUPED[format].zeros ? Math.ceil(groupsOf(format, columns) / 4) : 0;
  return zerosAt(format, columns) + zeros;
}

export function groupedRowWords(format: GroupedFormat, columns: number): number {
  return roundUp(usedWords(format, columns), 4);
}

/**
 * One row, quantised on the CPU: the words that `shaders/quantise.wgsl` makes on every device, bit for bit. Both use only
 * operations that are exact or correctly rounded: the scale is one product rounded to f16, or found in integers, and a value's
 * integer is found by comparing with (i ± ½) · scale, which f32 holds exactly.
 */
export function quantiseRow(format: GroupedFormat, row: Float32Array): Uint32Array {
  const spec = GROUPED[format];
  const words = new Uint32Array(groupedRowWords(format, row.length));
  const scalesAt = integerWords(format, row.length);
  for (let group = 0; group * spec.group < row.length; group++) {
    const first = group * spec.group;
    const { bits, zero, integerOf } = quantiserOf(spec, row.subarray(first, first + spec.group));
    words[scalesAt + (group >> 1)]! |= bits << (16 * (group & 1));
    if (spec.zeros) words[zerosAt(format, row.length) + (group >> 2)]! |= (zero & 255) << (8 * (group & 3));
    const end = Math.min(first + spec.group, roundUp(row.length, BLOCK));
    for (let k = first; k < end; k++) {
      const q = integerOf(row[k] ?? 0);
      if (spec.bits === 8) words[k >> 2]! |= (q & 255) << (8 * (k & 3));
      else words[k >> 3]! |= q << (8 * (k & 3) + 4 * ((k >> 2) & 1));
    }
  }
  return words;
}

interface Quantiser {
  /** f16 of the scale. */
  readonly bits: number;
  /** The integer that stands for zero, as stored. */
  readonly zero: number;
  /** A value's integer, as stored. */
  readonly integerOf: (x: number) => number;
}

function quantiserOf(spec: GroupedSpec, values: Float32Array): Quantiser {
  const largest = largestOf(spec);
  if (!spec.zeros && spec.bits === 4) {
    const { bits, scale, negative } = searchScale(values);
    const integerOf = (x: number): number => {
      const same = x < 0 === negative;
      const steps = quantise(Math.abs(x), scale, same ? SIDES[0] : SIDES[1]);
      return same ? 8 - steps : 8 + steps;
    };
    return { bits, zero: 8, integerOf };
  }
  const [low, high] = spec.zeros ? rangeOf(values) : [0, magnitudeOf(values)];
  const span = Math.fround(high - low);
  const bits = Math.min(numberToF16(Math.fround(span * Math.fround(1 / largest))), LARGEST_F16);
  const scale = f16ToNumber(bits);
  if (!spec.zeros) return { bits, zero: 0, integerOf: (x) => quantise(x, scale, largest) };
  const lowest = spec.bits === 8 ? -128 : 0;
  const zero = lowest + quantise(-low, scale, largest);
  const integerOf = (x: number): number =>
    Math.max(lowest, Math.min(lowest + largest, zero + quantise(x, scale, largest)));
  return { bits, zero, integerOf };
}

/** The values that a quantised row stands for. */
export function dequantiseRow(format: GroupedFormat, words: Uint32Array, columns: number): Float32Array {
  const { bits, group: width, zeros } = GROUPED[format];
  const scalesAt = integerWords(format, columns);
  const byte = (at: number, i: number): number => (words[at + (i >> 2)]! >>> (8 * (i & 3))) & 255;
  const signed = (b: number): number => (b << 24) >> 24;
  return Float32Array.from({ length: columns }, (_, k) => {
    const group = Math.floor(k / width);
    const scale = f16ToNumber((words[scalesAt + (group >> 1)]! >>> (16 * (group & 1))) & 0xffff);
    const stored = zeros ? byte(zerosAt(format, columns), group) : bits === 4 ? 8 : 0;
    if (bits === 8) return (signed(byte(0, k)) - signed(stored)) * scale;
    return (((words[k >> 3]! >>> (8 * (k & 3) + 4 * ((k >> 2) & 1))) & 15) - stored) * scale;
  });
}

/** Past every range that a f16 scale spans: cutting there changes nothing, and keeps high − low finite. */
const FAR = 2 ** 25;

function magnitudeOf(values: Float32Array): number {
  return values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
}

/** The range of a group, widened to hold zero. */
function rangeOf(values: Float32Array): [low: number, high: number] {
  let [low, high] = [0, 0];
  for (const x of values) [low, high] = [Math.min(low, x), Math.max(high, x)];
  return [Math.max(low, -FAR), Math.min(high, FAR)];
}

/** The nearest multiple of scale, at most `largest` of them either way, ties away from zero. */
function quantise(x: number, scale: number, largest: number): number {
  if (scale === 0) return 0;
  const magnitude = Math.abs(x);
  let i = Math.min(largest, Math.floor(magnitude / scale + 0.5));
  if (i > 0 && magnitude < (i - 0.5) * scale) i--;
  else if (i < largest && magnitude >= (i + 0.5) * scale) i++;
  return x < 0 ? -i : i;
}
