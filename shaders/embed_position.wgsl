// Learned positions: out[m, :] = x[m, :] + table[position(m), :].
// x, out: [batch.rows, K] f32
// table:  [positions, K] in a weight layout, perhaps one part of several: only rows whose position lies in
//   [rowStart, rowStart + rowCount) are written by this dispatch, the other parts write the rest.
// grid:   (⌈K / 4 / 64⌉, rows), 64 lanes, each four columns
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = id.y;
  if (m >= batch.rows || 4u * id.x >= params.columns) { return; }
  let position = states[rows[m].slot].position + rows[m].offset;
  let local = position - params.rowStart;  // wraps to a large number below the part
  if (local >= params.rowCount) { return; }
  let at = (m * params.columns) / 4u + id.x;
  out[at] = x[at] + weight4(local, id.x, params.rowWords);
}
