// Activations in 8 bits, for integer dot products: blocks of 32 columns to signed bytes with a scale d, x ≈ d · q, |q| ≤ 127.
// With NORM it is the normalised row, (x ⊙ (gain + gainOffset)) · rsqrt(mean(x²) + eps), that is quantised.
//
// x:      [rows of x, K / 4] vec4f;  GATHER: row m of the result is row samples[m].row of x
// ints:   [M, 8 · blocks] u32, four bytes to a word; zero in the padding of the last block
// scales: [M, blocks] vec2f: d, and d · Σ q, by which zero points of weights are subtracted
// grid: (M), 64 lanes, each taking every 64th block
const LANES: u32 = 64u;
var<workgroup> squares: array<f32, LANES>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let m = group.x;
  if (m >= select(batch.rows, batch.samples, GATHER)) { return; }
  let columns4 = params.columns / 4u;
  let blocks = (params.columns + 31u) / 32u;
  let start = xStart(m);
  var r = 1.0;
  if (NORM) {
    var sum = 0.0;
    for (var k4 = lane; k4 < columns4; k4 += LANES) { sum += dot(x[start + k4], x[start + k4]); }
    squares[lane] = sum;
    for (var distance = params.lanes / 2u; distance > 0u; distance /= 2u) {
      workgroupBarrier();
      if (lane < distance) { squares[lane] += squares[lane + distance]; }
    }
    workgroupBarrier();
    r = inverseSqrt(squares[0] * params.invColumns + params.eps);
  }
  for (var block = lane; block < blocks; block += LANES) {
    let first = 8u * block;
    let end = min(first + 8u, columns4);
    var top = 0.0;
    for (var k4 = first; k4 < end; k4++) {
      let v = abs(x[start + k4] * gainAt(k4));
      top = max(top, max(max(v.x, v.y), max(v.z, v.w)));
    }
    // What is too small for its reciprocal is zero.
    let steps = select(0.0, 127.0 / top, top > 1e-30);
    var sum = 0;
    for (var k4 = first; k4 < first + 8u; k4++) {
      var q = vec4i(0);
      if (k4 < end) { q = vec4i(clamp(round(x[start + k4] * gainAt(k4) * steps), vec4f(-127.0), vec4f(127.0))); }
      sum += q.x + q.y + q.z + q.w;
      ints[m * 8u * blocks + k4] = pack4xI8(q);
    }
    let d = select(0.0, top / 127.0, top > 1e-30) * r;
    scales[m * blocks + block] = vec2f(d, d * f32(sum));
  }
}
