// RMSNorm (Zhang & Sennrich 2019) or, CENTRED, LayerNorm (Ba et al. 2016) of rows, or of equal groups of each row, with the
// sums around it.
//
// x:        [M, width] f32; GATHER: row m of the result is row samples[m].row of x
// delta:    [M, width] f32, ADD only: what is normalised is x + params.deltaScale · delta
// gain:     [group] f32, GAIN only, params.gainOffset added; with params.gainStep one for each element of the row
// bias:     likewise, BIAS only
// residual: [M, width] f32, RESIDUAL only, added to the result
// sum:      [M, width] f32, ADD only: x + params.deltaScale · delta
// out:      [M, width] f32
// grid:     (groups of a row, M), LANES lanes. A row is summed in the same order whatever the batch holds.
//
// The variance is that of the distances from a first mean, less the square of their own mean, which repairs its rounding
// (Chan, Golub & LeVeque 1983): a row far from zero loses nothing.
@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let m = group.y;
  if (m >= select(batch.rows, batch.samples, SAMPLES)) { return; }
  let offset = group.x * params.group4;
  let source = xRow(m) * params.width4 + offset;
  let result = m * params.width4 + offset;

  var mean = 0.0;
  if (CENTRED) {
    var all = 0.0;
    for (var i = lane; i < params.group4; i += LANES) { all += dot(input(source + i), vec4f(1.0)); }
    mean = rowSum(lane, vec2f(all, 0.0)).x * params.invCount;
  }
  var apart = vec2f(0.0);  // Σ (v − mean) and Σ (v − mean)²
  for (var i = lane; i < params.group4; i += LANES) {
    let v = input(source + i) - mean;
    apart += vec2f(dot(v, vec4f(1.0)), dot(v, v));
  }
  let moments = rowSum(lane, apart) * params.invCount;
  let rest = select(0.0, moments.x, CENTRED);
  let factor = inverseSqrt(max(moments.y - rest * rest, 0.0) + params.eps);

  for (var i = lane; i < params.group4; i += LANES) {
    let v = input(source + i);
    let at = group.x * params.gainStep + i;
    if (ADD) { emitSum(result + i, v); }
    out[result + i] = residualAt(result + i) + ((v - mean) - rest) * factor * gainAt(at) + biasAt(at);
  }
}
