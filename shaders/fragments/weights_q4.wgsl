// Weights of 4 bits, eight to a word: columns 8j … 8j+3 in the low nibbles of its bytes, 8j+4 … 8j+7 in the high ones;
// a f16 scale for 32 columns behind the row's integers (weights/quant/grouped.ts).
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let start = row * rowWords;
  let nibbles = (weights[start + k4 / 2u] >> (4u * (k4 & 1u))) & 0x0f0f0f0fu;
  let q = vec4f(unpack4xU8(nibbles)) - 8.0;
  return q * groupScale(start + 4u * ((params.columns + 31u) / 32u), k4 / 8u);
}
