// Values of a staged chunk and their formats, in integers, so that the bits are the CPU's on every device.
// staging: the chunk's bytes as they are in the file, a whole number of rows [params.rows, params.columns] of FROM
const F32: u32 = 0u;
const F16: u32 = 1u;
const BF16: u32 = 2u;

// The f32 bits of a value of the chunk; zero in the padding.
fn valueAt(row: u32, column: u32) -> u32 {
  if (column >= params.columns) { return 0u; }
  let i = row * params.columns + column;
  if (FROM == F32) { return staging[i]; }
  let half = (staging[i / 2u] >> (16u * (i & 1u))) & 0xffffu;
  if (FROM == BF16) { return half << 16u; }
  return widenF16(half);
}

// binary16 bits to binary32 bits, exact, in integers: subnormals, infinities and NaN included
fn widenF16(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 31u;
  let fraction = half & 1023u;
  if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
  if (exponent > 0u) { return sign | ((exponent + 112u) << 23u) | (fraction << 13u); }
  if (fraction == 0u) { return sign; }
  // Subnormal: shift its highest bit up to the implicit place.
  let shift = countLeadingZeros(fraction) - 21u;
  return sign | ((113u - shift) << 23u) | (((fraction << shift) & 1023u) << 13u);
}

fn narrowF16(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return sign | 0x7e00u; }
  if (magnitude >= 0x47800000u) { return sign | 0x7c00u; }
  if (magnitude >= 0x38800000u) {
    return sign | ((magnitude + 0xfffu + ((magnitude >> 13u) & 1u) - 0x38000000u) >> 13u);
  }
  // Below 2⁻¹⁴: shift the significand down to units of 2⁻²⁴, rounding to even.
  let exponent = magnitude >> 23u;
  if (exponent < 102u) { return sign; }
  let significand = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = 126u - exponent;
  let kept = significand >> shift;
  let rest = significand & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  let up = rest > middle || (rest == middle && (kept & 1u) == 1u);
  return sign | (kept + select(0u, 1u, up));
}
