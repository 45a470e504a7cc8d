// Brings published tensor values into a resident layout: any of f32, f16, bf16 to any of them, rows padded and perhaps
// spread (gate and up in turn). Conversions round to nearest even in integers, so that the result is the CPU's, bit for
// bit, on every device.
//
// staging: the chunk's bytes as they are in the file, a whole number of rows [params.rows, params.columns]
// weights: the resident matrix, rowWords words a row
// row i of the chunk goes to row firstRow + i · rowStep
// grid: (⌈rowWords / 64⌉, rows folded into y and z), 64 lanes, a word of the result each
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.z * groups.y + id.y;
  if (row >= params.rows || id.x >= params.rowWords) { return; }
  var word = 0u;
  if (TO == F32) {
    word = valueAt(row, id.x);
  } else {
    word = narrow(valueAt(row, 2u * id.x)) | (narrow(valueAt(row, 2u * id.x + 1u)) << 16u);
  }
  weights[(params.firstRow + row * params.rowStep) * params.rowWords + id.x] = word;
}

fn narrow(bits: u32) -> u32 {
  if (TO == BF16) { return narrowBf16(bits); }
  return narrowF16(bits);
}

fn narrowBf16(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
