// A linear layer for each head: y[m, h·step + n] = Σ_k x[m, h·step' + k] · w[row(h) + n, k], N results from K elements.
//
// x:       [rows, params.xWidth] f32; head h's elements start at h · params.xStep
// weights: rows of params.columns = K elements in the layout whose fragment gives weight4; head h's N rows start at
//          params.rowStart + h · params.rowStep
// out:     [rows, params.outWidth] f32; head h's results start at h · params.outStep
// grid:    (⌈N / 8⌉, ⌈rows / TILE⌉, heads), 64 lanes: 8 along K for each of 8 results. A weight is read once for TILE rows;
//          every result is summed in the same order whatever TILE is. Tiles that `skips` names are left out; one more along x
//          where four elements behind each head's go along as they are.
const ALONG: u32 = 8u;

var<workgroup> partial: array<f32, 64u * TILE>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let first = group.y * TILE;
  if (first >= batch.rows) { return; }
  let last = batch.rows - 1u;
  let head = group.z;
  if (group.x * ALONG >= params.count) {
    copyRest(lane, first, head);
    return;
  }
  if (skips(first)) { return; }
  let k = lane % ALONG;
  let n = group.x * ALONG + lane / ALONG;
  // Results past the last repeat it and are not stored: the barrier needs every lane.
  let row = params.rowStart + head * params.rowStep + min(n, params.count - 1u);
  let start = head * params.xStep / 4u;

  // repeat m TILE
  var sum$m = 0.0;
  let x$m = min(first + $mu, last) * (params.xWidth / 4u) + start;
  // end
  for (var k4 = k; k4 < params.columns / 4u; k4 += ALONG) {
    let w = weight4(row, k4, params.rowWords);
    // repeat m TILE
    sum$m += dot(w, x[x$m + k4]);
    // end
  }
  // repeat m TILE
  partial[$mu * 64u + lane] = sum$m;
  // end
  workgroupBarrier();

  // Lane k of a result finishes rows k, k + 8, … of the tile.
  for (var m = k; m < min(TILE, batch.rows - first); m += ALONG) {
    var sum = 0.0;
    let base = m * 64u + lane - k;
    for (var i = 0u; i < ALONG; i++) { sum += partial[base + i]; }
    if (n < params.count) { out[(first + m) * params.outWidth + head * params.outStep + n] = sum; }
  }
}

// What follows a head's elements of x, put behind its results.
fn copyRest(lane: u32, first: u32, head: u32) {
  let m = first + lane / 4u;
  if (lane >= 4u * TILE || m >= batch.rows) { return; }
  let at = (m * params.xWidth + head * params.xStep + params.columns) / 4u;
  out[m * params.outWidth + head * params.outStep + params.count + lane % 4u] = x[at][lane % 4u];
}
