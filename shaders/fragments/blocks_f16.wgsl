// Weights kept as f16, bound as array<vec4u>: a vector is a block of 8 columns. Read without shader-f16, so that every
// device reads the same bits.
const BLOCK4: u32 = 2u;  // fours of columns in a block
const GROUPED: bool = false;
const OFFSET: bool = false;

// Columns 4j … 4j + 3 of a block.
fn chunk(block: vec4u, j: u32) -> vec4f {
  return vec4f(unpack2x16float(block[2u * j]), unpack2x16float(block[2u * j + 1u]));
}

// The block with its next part in front: kernels/weights.ts says how many chunks a part has.
fn nextPart(block: vec4u) -> vec4u { return block.zwxy; }

// Columns 4·k4 … 4·k4 + 3 of a row.
fn weight4(row: u32, k4: u32, rowWords: u32) -> vec4f {
  return chunk(weights[row * (rowWords / 4u) + k4 / 2u], k4 & 1u);
}

fn blockScale(row: u32, block: u32, rowWords: u32) -> f32 { return 1.0; }
fn blockZero(row: u32, block: u32, rowWords: u32) -> f32 { return 0.0; }
