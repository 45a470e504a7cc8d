// Log-probabilities, first part: the n best of each chunk, in order. A round finds the best that comes after the last.
//
// processed: [samples, vocab] f32, from process.wgsl
// ranked:    [samples, chunks, MOST] the first topN of each: token and logit, NO_TOKEN and LOWEST where there are no more
// grid:      (chunks, samples), 64 lanes
const LANES: u32 = 64u;

var<workgroup> values: array<f32, CHUNK>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.y;
  if (s >= batch.samples) { return; }
  let first = group.x * CHUNK;
  let count = min(CHUNK, params.vocab - first);
  let wanted = min(options[samples[s].slot].topN, MOST);
  for (var i = lane; i < count; i += LANES) { values[i] = processed[s * params.vocab + first + i]; }
  var last = BEFORE_ALL;
  for (var n = 0u; n < wanted; n++) {
    var mine = NOTHING;
    for (var i = lane; i < count; i += LANES) {
      let x = values[i];
      if (x > LOWEST && isNext(x, first + i, last, mine)) { mine = Partial(x, first + i, x, 1.0); }
    }
    let all = reduced(mine, lane);
    if (lane == 0u) { ranked[(s * params.chunks + group.x) * MOST + n] = Ranked(all.token, all.key); }
    last = workgroupUniformLoad(&best[0]);
  }
}
