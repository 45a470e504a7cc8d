// Sampling, last part: the draw. Merges the chunks of each sample, writes the chosen token where the next step's
// embedding finds it, and counts the draw. Behind an end token nothing is drawn: the host hears of it steps later, and what
// those compute is overshoot.
//
// partials: [samples, chunks] from sample.wgsl
// states:   [slots] State, token, counter and end written
// tokens:   [samples] u32, for the host; NO_TOKEN where no logit was finite
// grid:     (samples), 64 lanes
const LANES: u32 = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.x;
  if (s >= batch.samples) { return; }
  var mine = NOTHING;
  for (var i = lane; i < params.chunks; i += LANES) { mine = merge(mine, partials[s * params.chunks + i]); }
  let all = reduced(mine, lane);
  if (lane == 0u) {
    let slot = samples[s].slot;
    if (states[slot].ended == 1u) {
      tokens[s] = states[slot].token;
      return;
    }
    let forced = samples[s].token;
    let token = select(forced, all.token, forced == NO_TOKEN);
    tokens[s] = token;
    states[slot].ended = select(0u, 1u, isEnd(slot, token));
    states[slot].token = select(token, 0u, token == NO_TOKEN);
    states[slot].counter += 1u;
    if (token != NO_TOKEN) { countDrawn(slot, token); }
  }
}
