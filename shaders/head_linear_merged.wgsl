// A linear layer for each head over attention in parts: y[m, h·N + n] = Σ_k merged[m, h, k] · w[row(h) + n, k], K elements
// merged as in attention_merge.wgsl, once a workgroup.
//
// x:       [rows, params.parts, heads, K + 4] f32: O, m, l, 0, 0 of each head; K is COLUMNS
// weights: rows of K elements in the layout whose fragment gives weight4; head h's N rows start at params.rowStart + h ·
//          params.rowStep
// out:     [rows, heads, N] f32
// grid:    (⌈N / 32⌉, ⌈rows / TILE⌉, heads), 64 lanes: 8 along K for each of 8 times four results
const ALONG: u32 = 8u;
const RESULTS: u32 = 32u;
const COLUMNS4: u32 = COLUMNS / 4u;
const RECORD4: u32 = COLUMNS4 + 1u;
const LOWEST: f32 = -1e30;

var<workgroup> merged: array<vec4f, TILE * COLUMNS4>;
var<workgroup> partial: array<vec4f, 64u * TILE>;  // of a lane's four results

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let first = group.y * TILE;
  if (first >= batch.rows) { return; }
  let head = group.z;
  for (var i = lane; i < TILE * COLUMNS4; i += 64u) {
    let m = min(first + i / COLUMNS4, batch.rows - 1u);
    merged[i] = mergedAt(m, head, groups.z, i % COLUMNS4);
  }
  workgroupBarrier();

  let k = lane % ALONG;
  let n = group.x * RESULTS + lane / ALONG * 4u;
  // Results past the last repeat it and are not stored: the barrier needs every lane.
  let start = params.rowStart + head * params.rowStep;
  let row = vec4u(start) + min(vec4u(n) + vec4u(0u, 1u, 2u, 3u), vec4u(params.count - 1u));
  // repeat m TILE
  var sum$m = vec4f(0.0);
  // end
  for (var k4 = k; k4 < params.columns / 4u; k4 += ALONG) {
    let a = weight4(row.x, k4, params.rowWords);
    let b = weight4(row.y, k4, params.rowWords);
    let c = weight4(row.z, k4, params.rowWords);
    let d = weight4(row.w, k4, params.rowWords);
    // repeat m TILE
    let x$m = merged[$mu * COLUMNS4 + k4];
    sum$m += vec4f(dot(a, x$m), dot(b, x$m), dot(c, x$m), dot(d, x$m));
    // end
  }
  // repeat m TILE
  partial[$mu * 64u + lane] = sum$m;
  // end
  workgroupBarrier();

  // Lane k of four results finishes rows k, k + 8, … of the tile.
  for (var m = k; m < min(TILE, batch.rows - first); m += ALONG) {
    var sum = vec4f(0.0);
    let base = m * 64u + lane - k;
    for (var i = 0u; i < ALONG; i++) { sum += partial[base + i]; }
    let to = ((first + m) * groups.z + head) * params.count + n;
    for (var j = 0u; j < 4u; j++) {
      if (n + j < params.count) { out[to + j] = sum[j]; }
    }
  }
}

// A part over no keys has no sums: nobody has written them.
fn mergedAt(m: u32, head: u32, heads: u32, k4: u32) -> vec4f {
  var stats = vec2f(LOWEST, 0.0);
  var sum = vec4f(0.0);
  for (var part = 0u; part < params.parts; part++) {
    let record = ((m * params.parts + part) * heads + head) * RECORD4;
    let own = x[record + COLUMNS4].xy;
    if (own.y > 0.0) {
      let top = max(stats.x, own.x);
      sum = joined(sum, rescale(stats.x, top), x[record + k4], rescale(own.x, top));
      stats = joinedStats(stats, own);
    }
  }
  return finished(sum, stats, head);
}
