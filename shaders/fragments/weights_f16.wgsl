// Weights kept as f16, two a word; read without the shader-f16 feature, so every device reads the same bits.
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let at = row * rowWords + 2u * k4;
  return vec4f(unpack2x16float(weights[at]), unpack2x16float(weights[at + 1u]));
}
