// Weights kept as f32. A row holds rowWords words, a multiple of 4; weight4 gives columns 4·k4 … 4·k4+3 of a row.
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let at = row * rowWords + 4u * k4;
  return bitcast<vec4f>(vec4u(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]));
}
