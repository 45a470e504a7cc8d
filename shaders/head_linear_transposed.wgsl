// A linear layer for each head by columns: y[m, h·step + n] = Σ_k x[m, h·step' + k] · w[row(h) + k, n], N results from K
// elements. Latent attention absorbs its key projection so (DeepSeek-V2, 2024, §2.1.2), from the matrix as it is published.
//
// x:       [rows, params.xWidth] f32; head h's elements start at h · params.xStep
// weights: rows of params.columns = N elements in the layout whose fragment gives weight4; head h's K rows start at
//          params.rowStart + h · params.rowStep
// out:     [rows, params.outWidth] f32; head h's results start at h · params.outStep
// grid:    (⌈N / 64⌉, ⌈rows / TILE⌉, heads), 64 lanes: 16 along N with four columns each, 4 along K. A weight is read once
//          for TILE rows; every result is summed in the same order whatever TILE is. One more along x where what follows a
//          head's elements is turned and put behind its results (fragments/latent_turn.wgsl). Tiles that `skips` names are left
//          out otherwise.
const ACROSS: u32 = 16u;
const ALONG: u32 = 4u;

var<workgroup> partial: array<vec4f, 64u * TILE>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let first = group.y * TILE;
  if (first >= batch.rows) { return; }
  let last = batch.rows - 1u;
  let head = group.z;
  if (group.x * 64u >= params.columns) {
    turnRest(lane, first, head);
    return;
  }
  if (skips(first)) { return; }
  let part = lane / ACROSS;
  let n4 = group.x * ACROSS + lane % ACROSS;
  // Columns past the last repeat it and are not stored: the barrier needs every lane.
  let column4 = min(n4, params.columns / 4u - 1u);
  let row = params.rowStart + head * params.rowStep;
  let start = head * params.xStep;

  // repeat m TILE
  var sum$m = vec4f(0.0);
  let x$m = min(first + $mu, last) * params.xWidth + start;
  // end
  for (var k = part; k < params.count; k += ALONG) {
    let w = weight4(row + k, column4, params.rowWords);
    // repeat m TILE
    sum$m += w * x[x$m + k];
    // end
  }
  // repeat m TILE
  partial[$mu * 64u + lane] = sum$m;
  // end
  workgroupBarrier();

  // Part p of a column finishes rows p, p + 4, … of the tile.
  for (var m = part; m < min(TILE, batch.rows - first); m += ALONG) {
    var sum = vec4f(0.0);
    let base = m * 64u + lane % ACROSS;
    for (var i = 0u; i < ALONG; i++) { sum += partial[base + i * ACROSS]; }
    if (n4 < params.columns / 4u) { out[((first + m) * params.outWidth + head * params.outStep) / 4u + n4] = sum; }
  }
}
