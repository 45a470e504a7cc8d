// Experts over few tokens, first half: gate and up of every chosen expert of every token, and their activation.
//
// x:       [T, K] f32
// weights: [slots · rows, K] in the layout of the blocks_ fragment; a part has `experts` of them from slot firstSlot on. Of an
//          expert's rows, 2j and 2j + 1 are gate and up of its output j
// gain:    [K] f32, NORM only: x is RMS-normalised (Zhang & Sennrich 2019), the scale applied to the sums
// bias:    [slots · rows] f32 of all parts, where there is one
// routes:  [T, topK] (slot, weight)
// out:     [T · topK, rows / 2] f32. Pairs whose expert is in another part, or nowhere, stay as they are
// grid:    (⌈rows / (4 · WORKGROUP / lanes)⌉, T · topK), WORKGROUP lanes, params.lanes of them for each 4 rows
//
// The slot is read from read-only storage at the workgroup's own index, so leaving early is uniform.
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let pair = group.y;
  if (pair >= batch.rows * params.topK) { return; }
  let slot = routes[pair].x;
  // Below firstSlot the difference wraps round, past any number of experts.
  let local = slot - params.firstSlot;
  if (local >= params.experts) { return; }

  let k = lane & (params.lanes - 1u);
  let n = 4u * (group.x * (WORKGROUP / params.lanes) + lane / params.lanes);
  // Rows past the end repeat the last one and are not stored: the sums below need every lane.
  let rows = local * params.rows + min(n + vec4u(0u, 1u, 2u, 3u), vec4u(params.rows - 1u));
  let share = shareOf(rows, (pair / params.topK) * (params.columns / 4u), k);
  giveDots(lane, share.dots);
  if (NORM) { giveLane(4u, lane, share.squares); }
  addLanes(lane);

  // The first lanes of a group make an output each; a group of one lane makes both.
  for (var i = 2u * k; i < 4u; i += 2u * params.lanes) {
    if (n + i >= params.rows) { break; }
    let first = lane - k;
    var y = vec2f(laneSum(i, first), laneSum(i + 1u, first));
    if (NORM) { y *= inverseSqrt(laneSum(4u, first) * params.invColumns + params.eps); }
    let biasRow = slot * params.rows + n + i;
    y += vec2f(biasAt(biasRow), biasAt(biasRow + 1u));
    out[pair * (params.rows / 2u) + (n + i) / 2u] = gated(y.x, y.y, params.limit);
  }
}
