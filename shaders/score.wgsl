// Log-probability of one token in each sample's logits: logits[token] − logsumexp(logits).
// logits: [samples, vocab] f32; samples[s].token is the token asked for
// scores: [samples] f32
// grid:   (samples), 64 lanes
const LANES: u32 = 64u;
const LOWEST: f32 = -1e30;

var<workgroup> tops: array<f32, LANES>;
var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.x;
  if (s >= batch.samples) { return; }
  // The largest first, then the sum: with a fixed maximum the sum is one exp a token, and exact to the last bits.
  var top = LOWEST;
  for (var i = lane; i < params.vocab; i += LANES) { top = max(top, logits[s * params.vocab + i]); }
  tops[lane] = top;
  workgroupBarrier();
  for (var step = LANES / 2u; step > 0u; step /= 2u) {
    if (lane < step) { tops[lane] = max(tops[lane], tops[lane + step]); }
    workgroupBarrier();
  }
  top = tops[0];
  var sum = 0.0;
  for (var i = lane; i < params.vocab; i += LANES) { sum += exp(logits[s * params.vocab + i] - top); }
  sums[lane] = sum;
  workgroupBarrier();
  for (var step = LANES / 2u; step > 0u; step /= 2u) {
    if (lane < step) { sums[lane] += sums[lane + step]; }
    workgroupBarrier();
  }
  if (lane == 0u) { scores[s] = logits[s * params.vocab + samples[s].token] - top - log(sums[0]); }
}
