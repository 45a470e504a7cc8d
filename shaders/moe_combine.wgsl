// The weighted sum over a token's experts, after moe_matmul, with what joins it.
//
// x:      [T · topK, rows] f32, what each expert made of its token
// routes: [T, topK] (slot, weight); a slot past params.experts adds nothing, and its row of x is not read
// residual, sharedOut, gate: see fragments/moe_join.wgsl
// out:    [T, rows] f32
// grid:   (⌈rows / 64⌉, T), 64 lanes
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.y;
  if (id.x >= params.rows || t >= batch.rows) { return; }
  let at = t * params.rows + id.x;
  var sum = 0.0;
  for (var j = 0u; j < params.topK; j++) {
    let pair = t * params.topK + j;
    let route = routes[pair];
    if (route.x < params.experts) { sum += bitcast<f32>(route.y) * x[pair * params.rows + id.x]; }
  }
  out[at] = sum + joined(t, at);
}
