// The scale of a group of symmetric 4-bit weights for the least sum of squared errors: weights/quant/search.ts says how, and is
// this on the CPU. In integers, so that every device chooses alike; sums and products wrap, the errors themselves never do.
// after: staged.wgsl
//
// Steps that the largest magnitude is long, in sixteenths.
const LENGTHS = vec4u(112u, 120u, 128u, 140u);

// The value of the largest magnitude, the first where there are several: its f32 bits.
fn largestOf(row: u32, first: u32, count: u32) -> u32 {
  var top = 0u;
  for (var i = 0u; i < count; i++) {
    let bits = valueAt(row, first + i);
    if ((bits & 0x7fffffffu) > (top & 0x7fffffffu)) { top = bits; }
  }
  return top;
}

// A magnitude in units of 2⁻¹² of 2^(exponent − 127), rounded.
fn unitsOf(bits: u32, exponent: u32) -> u32 {
  let own = (bits >> 23u) & 255u;
  let significand = (bits & 0x7fffffu) | select(0u, 0x800000u, own > 0u);
  let shift = min(31u, 11u + exponent - max(1u, own));
  return ((significand >> (shift - 1u)) + 1u) >> 1u;
}

// How many steps a value may be long: 8 on the side of the largest, 7 on the other.
fn sideOf(bits: u32, top: u32) -> u32 { return select(7u, 8u, bits >> 31u == top >> 31u); }

// The f32 bits of the length of a step, positive.
fn searchedStep(row: u32, first: u32, count: u32, top: u32) -> u32 {
  let exponent = (top >> 23u) & 255u;
  if (exponent < 64u) { return 0u; }
  let largest = unitsOf(top, exponent);
  let step = 16u * largest / LENGTHS;
  let inverse = 4194304u / (2u * step);
  var squares = 0u;
  var along = vec4u(0u);
  var lengths = vec4u(0u);
  for (var i = 0u; i < count; i++) {
    let bits = valueAt(row, first + i);
    let units = unitsOf(bits, exponent);
    let q = min(vec4u(sideOf(bits, top)), ((2u * units + step) * inverse) >> vec4u(22u));
    squares += units * units;
    along += units * q;
    lengths += q * q;
  }
  // Σ (units − q · fit)² is least at along / lengths.
  let fit = (2u * along + lengths) / (2u * lengths);
  let error = squares - fit * (2u * along - fit * lengths);
  var chosen = fit.x;
  var least = error.x;
  for (var i = 1u; i < 4u; i++) {
    if (error[i] < least) { chosen = fit[i]; least = error[i]; }
  }
  // Values that lie on a grid of 4 bits already come back exactly.
  let magnitude = bitcast<f32>(top & 0x7fffffffu);
  if (max(8u * chosen, largest) - min(8u * chosen, largest) < 8u) { return bitcast<u32>(magnitude * (1.0 / 8.0)); }
  if (max(7u * chosen, largest) - min(7u * chosen, largest) < 7u) { return bitcast<u32>(magnitude * (1.0 / 7.0)); }
  return bitcast<u32>(f32(chosen)) + (exponent << 23u) - (139u << 23u);
}
