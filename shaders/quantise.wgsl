// Quantises published values while they stream: groups of 32, 64 or 128 columns to integers of 8 or 4 bits, a f16 scale and
// perhaps a zero point, in the layout of weights/quant/grouped.ts, whose quantiseRow is this kernel on the CPU. Only exact
// or correctly rounded operations decide a result, so the bits are the same on every device: a division is a first guess
// and no more.
//
// staging: see fragments/staged.wgsl; fragments/searched_scale.wgsl finds the scale of 4 bits without zero points
// weights: the resident matrix; row i of the chunk goes to row firstRow + i · rowStep
// constants: BITS 8 or 4; GROUP columns a scale; ZEROS: asymmetric, with zero points
// grid: (⌈groups / PER_LANE / 64⌉, rows folded into y and z), 64 lanes, each PER_LANE groups, which share words of scales
// and zero points
const PER_LANE: u32 = select(2u, 4u, ZEROS);
const SEARCHED: bool = BITS == 4u && !ZEROS;
// Of a symmetric integer's magnitude, or of an asymmetric one's distance from the lowest.
const LARGEST: f32 = f32((1u << (BITS - select(1u, 0u, ZEROS))) - 1u);
// What the lowest integer is stored as.
const LOWEST: i32 = select(0, -128, ZEROS && BITS == 8u);
const BLOCK: u32 = 32u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.z * groups.y + id.y;
  let count = (params.columns + GROUP - 1u) / GROUP;
  let first = PER_LANE * id.x;
  if (row >= params.rows || first >= count) { return; }
  let start = (params.firstRow + row * params.rowStep) * params.rowWords;
  let scalesAt = start + (params.columns + BLOCK - 1u) / BLOCK * BITS;
  var scales = vec2u(0u);
  var zeros = 0u;
  for (var i = 0u; i < min(PER_LANE, count - first); i++) {
    let made = quantiseGroup(row, first + i, start);
    let shifted = made.x << (16u * (i & 1u));
    if (i < 2u) { scales.x |= shifted; } else { scales.y |= shifted; }
    zeros |= made.y << (8u * i);
  }
  weights[scalesAt + first / 2u] = scales.x;
  if (ZEROS) {
    if (first + 2u < count) { weights[scalesAt + first / 2u + 1u] = scales.y; }
    weights[scalesAt + (count + 1u) / 2u + first / 4u] = zeros;
  }
}

// Writes the integers of one group and returns the f16 bits of its scale, and the byte of its zero point.
fn quantiseGroup(row: u32, group: u32, start: u32) -> vec2u {
  let first = group * GROUP;
  let count = min(GROUP, params.columns - first);
  var low = 0.0;
  var step = 0u;
  var top = 0u;
  if (SEARCHED) {
    top = largestOf(row, first, count);
    step = searchedStep(row, first, count, top);
  } else {
    let range = rangeOf(row, first, count);
    low = range.x;
    step = bitcast<u32>((range.y - range.x) * (1.0 / LARGEST));
  }
  let scaleBits = min(narrowF16(step), 0x7bffu);
  let scale = bitcast<f32>(widenF16(scaleBits));
  var zero = select(0, 8, BITS == 4u);
  if (ZEROS) { zero = LOWEST + quantise(bitcast<u32>(-low), scale, LARGEST); }
  // Of the padding only what completes a block.
  let end = min(first + GROUP, (params.columns + BLOCK - 1u) / BLOCK * BLOCK);
  for (var k = first; k < end; k += 32u / BITS) {
    var word = 0u;
    for (var i = 0u; i < 32u / BITS; i++) {
      let bits = valueAt(row, k + i);
      var q = zero;
      if (SEARCHED) { q += towardsLargest(bits, scale, top); } else { q += quantise(bits, scale, LARGEST); }
      if (ZEROS) { q = clamp(q, LOWEST, LOWEST + i32(LARGEST)); }
      if (BITS == 8u) {
        word |= (bitcast<u32>(q) & 255u) << (8u * i);
      } else {
        word |= bitcast<u32>(q) << (8u * (i & 3u) + 4u * (i / 4u));
      }
    }
    weights[start + k * BITS / 32u] = word;
  }
  // A searched scale has the sign that makes the largest value's integer negative.
  let negated = SEARCHED && (top & 0x80000000u) == 0u;
  return vec2u(scaleBits | select(0u, 0x8000u, negated), bitcast<u32>(zero) & 255u);
}

// What a group's integers have to span: (0, largest magnitude), or its lowest and highest value with zero between them.
fn rangeOf(row: u32, first: u32, count: u32) -> vec2f {
  var low = 0u;  // magnitudes as bits compare as the numbers do
  var high = 0u;
  for (var i = 0u; i < count; i++) {
    let bits = valueAt(row, first + i);
    if (ZEROS && (bits & 0x80000000u) != 0u) { low = max(low, bits & 0x7fffffffu); }
    else { high = max(high, bits & 0x7fffffffu); }
  }
  // Past every range that a f16 scale spans: cutting there changes nothing, and keeps the difference finite.
  if (ZEROS) {
    let far = bitcast<u32>(33554432.0);
    low = min(low, far);
    high = min(high, far);
  }
  return vec2f(-bitcast<f32>(low), bitcast<f32>(high));
}

// Under a searched scale, the integer without its zero: negative on the side of the largest value, as long as −8.
fn towardsLargest(bits: u32, scale: f32, top: u32) -> i32 {
  let side = sideOf(bits, top);
  let steps = quantise(bits & 0x7fffffffu, scale, f32(side));
  return select(steps, -steps, side == 8u);
}

// The nearest multiple of scale, `most` of them at most, ties away from zero. (i ± ½) · scale is exact: 9 bits times 11.
fn quantise(bits: u32, scale: f32, most: f32) -> i32 {
  if (scale == 0.0) { return 0; }
  let magnitude = bitcast<f32>(bits & 0x7fffffffu);
  var i = min(most, floor(magnitude / scale + 0.5));
  if (i > 0.0 && magnitude < (i - 0.5) * scale) {
    i -= 1.0;
  } else if (i < most && magnitude >= (i + 0.5) * scale) {
    i += 1.0;
  }
  return select(i32(i), -i32(i), (bits & 0x80000000u) != 0u);
}
