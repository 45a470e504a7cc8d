// Quantised weights (weights/quant/grouped.ts), bound as array<vec4u>: a vector is a block of 16 columns of 8 bits or 32 of
// 4 bits. A value is (integer − zero) · scale, zero and scale being the block's group's, so that a dot product needs them
// once a block: scale · (Σ q·x − zero · Σ x).
// constants: WEIGHT_BITS 8 or 4; WEIGHT_GROUP columns a scale; WEIGHT_ZEROS: each group has a zero point
const BLOCK4: u32 = 32u / WEIGHT_BITS;  // fours of columns in a block
const GROUPED: bool = true;
// Whether zero is any other integer than 0.
const OFFSET: bool = WEIGHT_ZEROS || WEIGHT_BITS == 4u;

// The integers of columns 4j … 4j + 3 of a block, as four bytes: 8 bits are signed, 4 bits are not.
fn chunkBytes(block: vec4u, j: u32) -> u32 {
  if (WEIGHT_BITS == 8u) { return block[j]; }
  return (block[j / 2u] >> (4u * (j & 1u))) & 0x0f0f0f0fu;
}

// The same as numbers.
fn chunk(block: vec4u, j: u32) -> vec4f {
  let bytes = chunkBytes(block, j);
  if (WEIGHT_BITS == 8u) { return vec4f(unpack4xI8(bytes)); }
  return vec4f(unpack4xU8(bytes));
}

// The block with its next part in front: kernels/weights.ts says how many chunks a part has.
fn nextPart(block: vec4u) -> vec4u { return block.yzwx; }

// Columns 4·k4 … 4·k4 + 3 of a row.
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  let block = k4 / BLOCK4;
  let q = chunk(weights[row * (rowWords / 4u) + block], k4 % BLOCK4);
  return (q - blockZero(row, block, rowWords)) * blockScale(row, block, rowWords);
}

fn weightWord(i: u32) -> u32 { return weights[i / 4u][i & 3u]; }

// Words of a row's integers: its scales are behind them, its zero points behind those.
fn integerWords() -> u32 { return (params.columns + 31u) / 32u * WEIGHT_BITS; }

fn blockScale(row: u32, block: u32, rowWords: u32) -> f32 {
  let group = block * 4u * BLOCK4 / WEIGHT_GROUP;
  let pair = unpack2x16float(weightWord(row * rowWords + integerWords() + group / 2u));
  return select(pair.x, pair.y, (group & 1u) == 1u);
}

fn blockZero(row: u32, block: u32, rowWords: u32) -> f32 {
  if (!WEIGHT_ZEROS) { return select(0.0, 8.0, WEIGHT_BITS == 4u); }
  let group = block * 4u * BLOCK4 / WEIGHT_GROUP;
  let groups = (params.columns + WEIGHT_GROUP - 1u) / WEIGHT_GROUP;
  let word = weightWord(row * rowWords + integerWords() + (groups + 1u) / 2u + group / 4u);
  let byte = (word >> (8u * (group & 3u))) & 255u;
  if (WEIGHT_BITS == 8u) { return f32(bitcast<i32>(byte << 24u) >> 24u); }
  return f32(byte);
}
