// Log-probabilities, last part: those of the chosen token and of the n best, by the distribution after penalties, bias and
// mask, at temperature 1 and before filters.
//
// processed: [samples, vocab] f32, and partials: [samples, chunks], from process.wgsl
// ranked:    [samples, chunks, MOST] from rank.wgsl
// tokens:    [samples] u32, what was chosen
// logprobs:  [samples, 1 + MOST] token and log-probability: the chosen one, then the n best in order;
//            NO_TOKEN and LOWEST where there is none, LOWEST for a forced token that is not allowed
// grid:      (samples), 64 lanes
const LANES: u32 = 64u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.x;
  if (s >= batch.samples) { return; }
  let wanted = min(options[samples[s].slot].topN, MOST);
  var mine = NOTHING;
  for (var i = lane; i < params.chunks; i += LANES) { mine = merge(mine, partials[s * params.chunks + i]); }
  _ = reduced(mine, lane);
  let whole = workgroupUniformLoad(&best[0]);
  let logSum = log(whole.sum);
  let at = s * (1u + MOST);
  if (lane == 0u) {
    let token = tokens[s];
    var x = LOWEST;
    if (token < params.vocab) { x = processed[s * params.vocab + token]; }
    logprobs[at] = Ranked(token, select(LOWEST, x - whole.top - logSum, x > LOWEST));
  }
  if (lane >= wanted && lane < MOST) { logprobs[at + 1u + lane] = Ranked(NO_TOKEN, LOWEST); }
  var last = BEFORE_ALL;
  for (var n = 0u; n < wanted; n++) {
    mine = NOTHING;
    for (var i = lane; i < params.chunks * wanted; i += LANES) {
      let entry = ranked[(s * params.chunks + i / wanted) * MOST + i % wanted];
      if (entry.token != NO_TOKEN && isNext(entry.value, entry.token, last, mine)) {
        mine = Partial(entry.value, entry.token, entry.value, 1.0);
      }
    }
    let all = reduced(mine, lane);
    if (lane == 0u) {
      let value = select(LOWEST, all.key - whole.top - logSum, all.token != NO_TOKEN);
      logprobs[at + 1u + n] = Ranked(all.token, value);
    }
    last = workgroupUniformLoad(&best[0]);
  }
}
