// Sampling, first part: processors and the distribution. Each workgroup looks at one chunk of one sample's logits.
//
// logits:       [samples, VOCAB] f32
// options:      [slots] (temperature f32, seed u32)
// mask:         [slots, ⌈VOCAB / 32⌉] allowed tokens, read where the sample is masked
// distribution: [samples, VOCAB] f32, kept: logits / temperature, LOWEST where not allowed (greedy: temperature 1)
// partial:      [samples, CHUNKS] of the chunk's best key and its token, and max and Σ exp(x − max) of the distribution
// grid:         (CHUNKS, samples), 64 lanes
const LANES: u32 = 64u;

struct Options {
  temperature: f32,
  seed: u32,
}

var<workgroup> best: array<Partial, LANES>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.y;
  if (s >= batch.samples) { return; }
  let sample = samples[s];
  let slot = sample.slot;
  let temperature = options[slot].temperature;
  let greedy = temperature <= 0.0;
  // Below 1e-6 a draw is greedy but for ties, and logits / temperature would overflow: the best first.
  let scale = select(1.0 / max(temperature, 1e-6), 1.0, greedy);

  var mine = Partial(LOWEST, NO_TOKEN, LOWEST, 0.0);
  for (var i = lane; i < CHUNK; i += LANES) {
    let token = group.x * CHUNK + i;
    if (token >= VOCAB) { break; }
    var x = logits[s * VOCAB + token] * scale;
    if (sample.masked == 1u) {
      let word = mask[slot * ((VOCAB + 31u) / 32u) + token / 32u];
      x = select(LOWEST, x, ((word >> (token % 32u)) & 1u) == 1u);
    }
    distribution[s * VOCAB + token] = x;
    // Not a comparison with x != x: WGSL may assume that there is no NaN.
    let finite = (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
    if (!finite || x <= LOWEST) { continue; }
    let top = max(mine.top, x);
    mine.sum = mine.sum * exp(mine.top - top) + exp(x - top);
    mine.top = top;
    var key = x;
    if (!greedy) { key += gumbel(options[slot].seed, states[slot].counter, token); }
    if (key > mine.key) {
      mine.key = key;
      mine.token = token;
    }
  }
  best[lane] = mine;
  workgroupBarrier();
  for (var step = LANES / 2u; step > 0u; step /= 2u) {
    if (lane < step) { best[lane] = merge(best[lane], best[lane + step]); }
    workgroupBarrier();
  }
  if (lane == 0u) { partials[s * CHUNKS + group.x] = best[0]; }
}
