/**
 * The scale of a group of symmetric 4-bit weights, chosen for the least sum of squared errors, after the search that llama.cpp
 * makes for its 4-bit formats (make_qx_quants). Rounding to a seventh of the largest magnitude wastes one integer of sixteen
 * and bows to one outlier; here the largest value is the one that may become 8 of the steps, and four lengths of a step are
 * tried, each with the factor that fits its integers best.
 *
 * All in integers, so that every device chooses alike: magnitudes are taken in units of 2⁻¹² of the largest one's power of
 * two. `shaders/fragments/searched_scale.wgsl` is this on the GPU, in arithmetic modulo 2³²; no error is as large as that.
 */
import { f16ToNumber, numberToF16 } from "../../base/half.ts";

/** Steps that the largest magnitude is long, in sixteenths: 7, 7½, 8 and 8¾. */
const LENGTHS = [112, 120, 128, 140];
/** How far a value goes on the side of the largest one, and on the other. */
export const SIDES = [8, 7] as const;

const MAGNITUDE = 0x7fffffff;
/** What is larger is cut to it. */
export const LARGEST_F16 = 0x7bff;

export interface SearchedScale {
  /** f16; the sign is other than the largest value's, so that this becomes the integer −8 or −7. */
  readonly bits: number;
  readonly scale: number;
  /** Whether the values on this side of zero are the ones that may be 8 steps long. */
  readonly negative: boolean;
}

export function searchScale(values: Float32Array): SearchedScale {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  let top = 0;
  for (const b of bits) if ((b & MAGNITUDE) > (top & MAGNITUDE)) top = b;
  const negative = top >>> 31 === 1;
  const found = Math.min(numberToF16(stepOf(bits, top)), LARGEST_F16);
  return { bits: negative ? found : found | 0x8000, scale: f16ToNumber(found), negative };
}

/** The length of a step. */
function stepOf(bits: Uint32Array, top: number): number {
  const exponent = (top >>> 23) & 255;
  if (exponent < 64) return 0; // f16 has nothing as small
  const largest = unitsOf(top, exponent);
  let [chosen, least] = [0, Infinity];
  for (const length of LENGTHS) {
    const step = Math.floor((16 * largest) / length);
    const inverse = Math.floor(2 ** 22 / (2 * step));
    let [squares, along, lengths] = [0, 0, 0];
    for (const b of bits) {
      const units = unitsOf(b, exponent);
      const most = b >>> 31 === top >>> 31 ? SIDES[0] : SIDES[1];
      const q = Math.min(most, Math.floor(((2 * units + step) * inverse) / 2 ** 22));
      squares += units * units;
      along += units * q;
      lengths += q * q;
    }
    // Σ (units − q · fit)² is least at along / lengths.
    const fit = Math.floor((2 * along + lengths) / (2 * lengths));
    const error = squares - fit * (2 * along - fit * lengths);
    if (error < least) [chosen, least] = [fit, error];
  }
  // Values that lie on a grid of 4 bits already come back exactly.
  for (const side of SIDES) {
    if (Math.abs(chosen * side - largest) < side) return Math.fround(magnitude(top) * Math.fround(1 / side));
  }
  return chosen * 2 ** (exponent - 127 - 12);
}

/** A magnitude in units of 2⁻¹² of 2^(exponent − 127), rounded. */
function unitsOf(bits: number, exponent: number): number {
  const own = (bits >>> 23) & 255;
  const significand = own > 0 ? (bits & 0x7fffff) | 0x800000 : bits & 0x7fffff;
  const shift = Math.min(31, 11 + exponent - Math.max(1, own));
  return ((significand >>> (shift - 1)) + 1) >>> 1;
}

function magnitude(bits: number): number {
  return new Float32Array(Uint32Array.of(bits & MAGNITUDE).buffer)[0]!;
}
