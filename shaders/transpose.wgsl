// Turns a strip of a published matrix [inFeatures, outFeatures] (GPT-2's Conv1D): its rows [firstRow, firstRow + rows)
// become those columns of [outFeatures, inFeatures], in the same format. Of the result only the rows
// [rowStart, rowStart + rowCount) are written, from the beginning of `turned`: a part of a matrix that is split.
//
// staging: the strip's bytes as they are in the file
// turned:  [rowCount, inFeatures], a word or two halves a word; inFeatures, firstRow and rows are even for halves
// grid:    (⌈words of the strip / 64⌉, rowCount folded into y and z), 64 lanes, a word of the result each
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = id.z * groups.y + id.y;
  let perWord = select(1u, 2u, HALVES);
  if (row >= params.rowCount || id.x * perWord >= params.rows) { return; }
  let at = (row * params.inFeatures + params.firstRow) / perWord + id.x;
  let column = params.rowStart + row;
  if (HALVES) {
    turned[at] = halfAt(2u * id.x, column) | (halfAt(2u * id.x + 1u, column) << 16u);
  } else {
    turned[at] = staging[id.x * params.outFeatures + column];
  }
}

fn halfAt(r: u32, column: u32) -> u32 {
  let i = r * params.outFeatures + column;
  return (staging[i / 2u] >> (16u * (i & 1u))) & 0xffffu;
}
