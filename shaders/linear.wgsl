// Linear layer over a few rows at a time: y[m, n] = Σ_k x[m, k] · w[n, k], with what comes before and after fused in.
//
// x:        [M, K] f32;  GATHER: row m of the result is row samples[m].row of x
// weights:  [N, K] in the layout whose fragment gives weight4; a part of a larger matrix starts at output rowStart
// gain:     [K] f32, NORM only: x is RMS-normalised: (x ⊙ gain) · rsqrt(mean(x²) + eps), the scale applied at the end
// bias:     [N] f32, BIAS only (indexed by the whole matrix's rows)
// residual: [M, width] f32, RESIDUAL only, added to the result
// out:      [M, width] f32; width = N, or N / 2 with SWIGLU: rows 2j and 2j+1 are gate and up, out = silu(gate) · up
//
// grid: (⌈rows of this part / 16⌉ folded into x and z, ⌈M / TILE⌉), 64 lanes: 8 along K for each of 8 groups of 2 rows.
// A weight is read once for TILE rows of x. Every result is summed in the same order whatever TILE and M are, so a
// row's bits do not depend on its company.
// eps and the reciprocal of K come from params: RMSNorm is Zhang & Sennrich 2019, SwiGLU is Shazeer 2020.

const LANES: u32 = 8u;
const GROUPS: u32 = 8u;
const ROWS: u32 = 2u;

// [TILE][lane group][3]: the two dot products and the sum of squares of each lane
var<workgroup> partial: array<vec3f, TILE * 64u>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let first = group.y * TILE;
  if (first >= total) { return; }
  let count = min(TILE, total - first);

  let k = lane % LANES;
  let pair = (group.z * groups.x + group.x) * GROUPS + lane / LANES;
  // Rows past the end repeat the last one and are not stored: the barriers below need every lane.
  let last = params.rowCount - 1u;
  let n0 = min(ROWS * pair, last);
  let n1 = min(ROWS * pair + 1u, last);
  let columns4 = params.columns / 4u;

  var acc = array<vec3f, TILE>();
  for (var k4 = k; k4 < columns4; k4 += LANES) {
    let w0 = weight4(n0, k4, params.rowWords);
    let w1 = weight4(n1, k4, params.rowWords);
    for (var m = 0u; m < count; m++) {
      let v = x[xRow(first + m) * columns4 + k4];
      if (NORM) {
        let scaled = v * gainAt(k4);
        acc[m] += vec3f(dot(scaled, w0), dot(scaled, w1), dot(v, v));
      } else {
        acc[m] += vec3f(dot(v, w0), dot(v, w1), 0.0);
      }
    }
  }
  for (var m = 0u; m < TILE; m++) { partial[m * 64u + lane] = acc[m]; }
  workgroupBarrier();

  // Lane k of a group finishes rows k, k + 8, … of the tile.
  for (var m = k; m < count; m += LANES) {
    var sum = vec3f(0.0);
    let base = m * 64u + (lane / LANES) * LANES;
    for (var i = 0u; i < LANES; i++) { sum += partial[base + i]; }
    var y = sum.xy;
    if (NORM) { y *= inverseSqrt(sum.z * params.invColumns + params.eps); }
    store(first + m, ROWS * pair, y);
  }
}

fn xRow(m: u32) -> u32 {
  if (GATHER) { return sampleRow(m); }
  return m;
}

// y: the results of local rows n and n + 1 of row m
fn store(m: u32, n: u32, y: vec2f) {
  if (n >= params.rowCount) { return; }
  let global = params.rowStart + n;
  let v = y + vec2f(biasAt(global), biasAt(global + 1u));
  if (SWIGLU) {
    write(m, global / 2u, v.x / (1.0 + exp(min(-v.x, 80.0))) * v.y);
  } else {
    write(m, global, v.x);
    if (n + 1u < params.rowCount) { write(m, global + 1u, v.y); }
  }
}

fn write(m: u32, n: u32, v: f32) {
  let at = m * params.width + n;
  out[at] = v + residualAt(at);
}
