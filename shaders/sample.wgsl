// Sampling: the distribution, and the best key of each chunk. A key is the logit (greedy), or by the Gumbel-max trick the
// scaled logit and a variate of (seed, draw, token): the token of the largest key is a draw from the softmax.
//
// options:      [slots] Options
// distribution: [samples, vocab] f32, kept: logit / temperature (greedy: the logit), LOWEST where it cannot be drawn,
//               which is so of whatever is not finite
// partials:     [samples, chunks] of the chunk's best key and its token, and max and Σ exp(x − max) of the distribution
// grid:         (chunks, samples), 64 lanes
const LANES: u32 = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.y;
  if (s >= batch.samples) { return; }
  let slot = samples[s].slot;
  if (states[slot].ended == 1u) { return; }
  let greedy = options[slot].temperature <= 0.0;
  let scale = inverseTemperature(options[slot].temperature);

  var mine = NOTHING;
  for (var i = lane; i < CHUNK; i += LANES) {
    let token = group.x * CHUNK + i;
    if (token >= params.vocab) { break; }
    let logit = logitOf(s, slot, token);
    let scaled = logit * scale;
    let drawable = logit > LOWEST && scaled > LOWEST && isFinite(scaled);
    let x = select(LOWEST, scaled, drawable);
    distribution[s * params.vocab + token] = x;
    if (!drawable) { continue; }
    var key = x;
    if (!greedy) { key += gumbel(options[slot].seed, states[slot].counter, token); }
    mine = include(mine, x, key, token);
  }
  let all = reduced(mine, lane);
  if (lane == 0u) { partials[s * params.chunks + group.x] = all; }
}
