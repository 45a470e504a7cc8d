// Sampling with processors, first part: penalties, then bias, then mask. Each workgroup has one chunk of one sample.
//   repetition (Keskar et al. 2019, CTRL): tokens of prompt or output; a positive logit is divided, a negative multiplied
//   frequency, presence (OpenAI): taken off by how often, and whether, the token was drawn
//
// logits:    [samples, vocab] f32
// counts:    [slots, vocab] u32, see IN_PROMPT; read where the slot has penalties
// mask:      [slots, ⌈vocab / 32⌉] allowed tokens, read where the sample is masked
// processed: [samples, vocab] f32, LOWEST where the token is not allowed or its logit not finite
// partials:  [samples, chunks] of the chunk's largest, its token, and Σ exp(x − largest)
// grid:      (chunks, samples), 64 lanes
const LANES: u32 = 64u;

var<workgroup> added: array<f32, CHUNK>;  // zeros at first, as WGSL has it

fn penalised(logit: f32, slot: u32, count: u32) -> f32 {
  var x = logit;
  if (count > 0u) { x = select(x * options[slot].repetition, x / options[slot].repetition, x > 0.0); }
  let drawn = count & ~IN_PROMPT;
  if (drawn > 0u) { x -= options[slot].frequency * f32(drawn) + options[slot].presence; }
  return x;
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.y;
  if (s >= batch.samples) { return; }
  let slot = samples[s].slot;
  let first = group.x * CHUNK;
  let biases = options[slot].biases;
  if (biases > 0u) {
    for (var i = lane; i < biases; i += LANES) {
      let entry = options[slot].bias[i];
      if (entry.token / CHUNK == group.x) { added[entry.token % CHUNK] = entry.bias; }
    }
    workgroupBarrier();
  }

  var mine = NOTHING;
  for (var i = lane; i < CHUNK; i += LANES) {
    let token = first + i;
    if (token >= params.vocab) { break; }
    var x = logits[s * params.vocab + token];
    if (options[slot].penalties != 0u) { x = penalised(x, slot, countOf(slot, token)); }
    if (biases > 0u) { x += added[i]; }
    var allowed = x > LOWEST && isFinite(x);
    if (samples[s].masked == 1u) {
      allowed = allowed && isAllowed(mask[slot * ((params.vocab + 31u) / 32u) + token / 32u], token);
    }
    x = select(LOWEST, x, allowed);
    processed[s * params.vocab + token] = x;
    if (allowed) { mine = include(mine, x, x, token); }
  }
  let all = reduced(mine, lane);
  if (lane == 0u) { partials[s * params.chunks + group.x] = all; }
}
