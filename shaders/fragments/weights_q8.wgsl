// Weights of 8 bits, four to a word, a f16 scale for 32 columns behind the row's integers (weights/quant/grouped.ts).
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let start = row * rowWords;
  return vec4f(unpack4xI8(weights[start + k4])) * groupScale(start + 8u * ((params.columns + 31u) / 32u), k4 / 8u);
}
