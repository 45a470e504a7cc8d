// Weights kept as bf16, two a word: bf16 is the upper half of an f32, so reading is a shift (never through f16).
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let at = row * rowWords + 2u * k4;
  let lo = weights[at];
  let hi = weights[at + 1u];
  return bitcast<vec4f>(vec4u(lo << 16u, lo & 0xffff0000u, hi << 16u, hi & 0xffff0000u));
}
