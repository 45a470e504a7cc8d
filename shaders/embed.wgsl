// Embedding gather: out[m, :] = scale · table[token(m), :].
// table: [rows, K] in a weight layout, perhaps one part of several: only tokens in [rowStart, rowStart + rowCount) are
//   written by this dispatch, the other parts write the rest.
// out:   [batch.rows, K] f32
// grid:  (⌈K / 4 / 64⌉, rows), 64 lanes, each four columns
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = id.y;
  if (m >= batch.rows || 4u * id.x >= params.columns) { return; }
  var token = rows[m].token;
  if (token == FROM_STATE) { token = states[rows[m].slot].token; }
  let local = token - params.rowStart;  // wraps to a large number below the part
  if (local >= params.rowCount) { return; }
  out[(m * params.columns) / 4u + id.x] = params.scale * weight4(local, id.x, params.rowWords);
}
