// Experts over few tokens, second half: down, and the weighted sum over a token's experts with what joins it.
//
// x:        [T · topK, K] f32, the activations of moe_up
// weights:  [slots · rows, K] in the layout of the blocks_ fragment; a part has `experts` of them from slot firstSlot on
// bias:     [slots · rows] f32 of all parts, where there is one
// routes:   [T, topK] (slot, weight)
// residual, sharedOut, gate: see fragments/moe_join.wgsl
// out:      [T, rows] f32: what joins, and Σ weight · (W · x + bias) over the experts of this part. The first part writes
//           (params.first = 1), those after it add, in the order of dispatch
// grid:     (⌈rows / (4 · WORKGROUP / lanes)⌉, T), WORKGROUP lanes, params.lanes of them for each 4 rows
//
// Sums are linear: a lane adds weight · its share of the dots over all experts, and the lanes are added once, at the end.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let t = group.y;
  if (t >= batch.rows) { return; }

  let k = lane & (params.lanes - 1u);
  let n = 4u * (group.x * (WORKGROUP / params.lanes) + lane / params.lanes);
  // Rows past the end repeat the last one and are not stored: the sums below need every lane.
  let own = min(n + vec4u(0u, 1u, 2u, 3u), vec4u(params.rows - 1u));
  var dots = vec4f(0.0);
  for (var j = 0u; j < params.topK; j++) {
    let pair = t * params.topK + j;
    let route = routes[pair];
    // Below firstSlot the difference wraps round, past any number of experts.
    let local = route.x - params.firstSlot;
    if (local >= params.experts) { continue; }
    var share = shareOf(local * params.rows + own, pair * (params.columns / 4u), k).dots;
    if (k == 0u) {
      let biasRow = route.x * params.rows + own;
      share += vec4f(biasAt(biasRow.x), biasAt(biasRow.y), biasAt(biasRow.z), biasAt(biasRow.w));
    }
    dots += bitcast<f32>(route.y) * share;
  }
  giveDots(lane, dots);
  addLanes(lane);

  for (var i = k; i < 4u; i += params.lanes) {
    if (n + i >= params.rows) { break; }
    let at = t * params.rows + n + i;
    let y = laneSum(i, lane - k);
    if (params.first == 1u) {
      out[at] = y + joined(t, at);
    } else {
      out[at] = out[at] + y;
    }
  }
}
