// Quantised weights (weights/quant/grouped.ts), bound as array<u32>, for kernels that read a few columns of a row.
// constants: WEIGHT_BITS 8 or 4; WEIGHT_GROUP columns a scale; WEIGHT_ZEROS: each group has a zero point
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let start = row * rowWords;
  let scalesAt = start + (params.columns + 31u) / 32u * WEIGHT_BITS;
  let group = 4u * k4 / WEIGHT_GROUP;
  let pair = unpack2x16float(weights[scalesAt + group / 2u]);
  let scale = select(pair.x, pair.y, (group & 1u) == 1u);
  var zero = select(0u, 8u, WEIGHT_BITS == 4u);
  if (WEIGHT_ZEROS) {
    let groups = (params.columns + WEIGHT_GROUP - 1u) / WEIGHT_GROUP;
    zero = (weights[scalesAt + (groups + 1u) / 2u + group / 4u] >> (8u * (group & 3u))) & 255u;
  }
  if (WEIGHT_BITS == 8u) {
    return vec4f(unpack4xI8(weights[start + k4]) - vec4i(bitcast<i32>(zero << 24u) >> 24u)) * scale;
  }
  let nibbles = (weights[start + k4 / 2u] >> (4u * (k4 & 1u))) & 0x0f0f0f0fu;
  return (vec4f(unpack4xU8(nibbles)) - f32(zero)) * scale;
}
