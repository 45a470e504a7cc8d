// Quantises published values while they stream: groups of 32 columns to integers of 8 or 4 bits and a f16 scale, in the
// layout of weights/quant/grouped.ts, whose quantiseRow is this kernel on the CPU. Only exact or correctly rounded
// operations decide a result, so the bits are the same on every device: a division is a first guess and no more.
//
// staging: see fragments/staged.wgsl
// weights: the resident matrix; row i of the chunk goes to row firstRow + i · rowStep
// grid: (⌈⌈columns / 64⌉ / 64⌉, rows folded into y and z), 64 lanes, a pair of groups each: they share a word of scales
const PER_GROUP: u32 = 32u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.z * groups.y + id.y;
  let count = (params.columns + PER_GROUP - 1u) / PER_GROUP;
  if (row >= params.rows || 2u * id.x >= count) { return; }
  let start = (params.firstRow + row * params.rowStep) * params.rowWords;
  var scales = quantiseGroup(row, 2u * id.x, start);
  if (2u * id.x + 1u < count) { scales |= quantiseGroup(row, 2u * id.x + 1u, start) << 16u; }
  weights[start + count * PER_GROUP * BITS / 32u + id.x] = scales;
}

// Writes the integers of one group and returns the f16 bits of its scale.
fn quantiseGroup(row: u32, group: u32, start: u32) -> u32 {
  let first = group * PER_GROUP;
  var top = 0u;  // magnitudes as bits compare as the numbers do
  for (var i = 0u; i < PER_GROUP; i++) { top = max(top, valueAt(row, first + i) & 0x7fffffffu); }
  let scaleBits = min(narrowF16(bitcast<u32>(bitcast<f32>(top) * (1.0 / LARGEST))), 0x7bffu);
  let scale = bitcast<f32>(widenF16(scaleBits));
  let wordsPerGroup = PER_GROUP * BITS / 32u;
  for (var w = 0u; w < wordsPerGroup; w++) {
    var word = 0u;
    for (var i = 0u; i < 32u / BITS; i++) {
      let q = quantise(valueAt(row, first + w * (32u / BITS) + i), scale);
      if (BITS == 8u) {
        word |= (bitcast<u32>(q) & 255u) << (8u * i);
      } else {
        word |= bitcast<u32>(q + 8) << (8u * (i & 3u) + 4u * (i / 4u));
      }
    }
    weights[start + group * wordsPerGroup + w] = word;
  }
  return scaleBits;
}

// The nearest multiple of scale, ties away from zero. (i ± ½) · scale is exact: 8 bits times 11.
fn quantise(bits: u32, scale: f32) -> i32 {
  if (scale == 0.0) { return 0; }
  let magnitude = bitcast<f32>(bits & 0x7fffffffu);
  var i = min(LARGEST, floor(magnitude / scale + 0.5));
  if (i > 0.0 && magnitude < (i - 0.5) * scale) {
    i -= 1.0;
  } else if (i < LARGEST && magnitude >= (i + 0.5) * scale) {
    i += 1.0;
  }
  return select(i32(i), -i32(i), (bits & 0x80000000u) != 0u);
}
