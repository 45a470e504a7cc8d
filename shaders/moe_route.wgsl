// Router of a mixture of experts: which topK of the E experts a token goes to, and with what weights.
//
// logits: [T, stride] f32, stride ≥ E; of the columns from E on at most one is looked at, the gate of the shared experts
// bias:   [E] f32, BIAS only: added to the scores to choose by, never to weight by (DeepSeek-V3, loss-free balancing)
// slots:  [E + shared] u32, TABLE only: where an expert's weights reside; expert e in slot e without it
// ids:    [T, topK + shared] u32, the chosen experts, best first, then the shared ones, to which every token goes
// routes: [T, topK + shared] (slot u32, weight as the bits of an f32), what the kernels of the experts read
// counts: [E] u32, COUNTED only: how often each was chosen, added to from step to step
// grid:   (T), LANES lanes
//
// Scores are softmax(logits) or sigmoid(logits). Experts in groups: only those of the topGroups best groups, a group being
// as good as its best expert (DeepSeek-V2) or its two best together (DeepSeek-V3). Of equals the lower id is better.
// An expert's place among the chosen is the number of experts that beat it, which every lane counts for its own experts:
// two barriers, where topK rounds of argmax would have log₂ E each. NaN and −∞ count as −1e30, +∞ as 1e30: a row of nothing
// else goes to the first experts with equal weights.

const MOST_EXPERTS: u32 = 512u;
const MOST_CHOSEN: u32 = 64u;
const MOST_GROUPS: u32 = 64u;
const LOWEST: f32 = -1e30;
// Below every key: experts of groups that are out.
const EXCLUDED: f32 = -3e38;

var<workgroup> scores: array<f32, MOST_EXPERTS>; // logits first
var<workgroup> keys: array<f32, MOST_EXPERTS>; // what experts are chosen by
var<workgroup> groupKeys: array<f32, MOST_GROUPS>;
var<workgroup> chosen: array<u32, MOST_CHOSEN>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let t = group.x;
  if (t >= batch.rows) { return; }

  for (var e = lane; e < params.experts; e += LANES) { scores[e] = tame(logits[t * params.stride + e]); }
  workgroupBarrier();
  var top = LOWEST;
  var total = 0.0;
  if (SOFTMAX) {
    for (var e = 0u; e < params.experts; e++) { top = max(top, scores[e]); }
    for (var e = 0u; e < params.experts; e++) { total += exp(scores[e] - top); }
  }
  workgroupBarrier();

  for (var e = lane; e < params.experts; e += LANES) {
    let logit = scores[e];
    var score = 1.0 / (1.0 + exp(min(-logit, 80.0)));
    if (SOFTMAX) { score = exp(logit - top) / total; }
    scores[e] = score;
    keys[e] = select(score + biasAt(e), logit, KEY_IS_LOGIT);
  }
  workgroupBarrier();
  if (GROUPED) {
    for (var g = lane; g < params.groups; g += LANES) { groupKeys[g] = groupKey(g); }
    workgroupBarrier();
    for (var e = lane; e < params.experts; e += LANES) {
      if (groupPlace(e / params.groupSize) >= params.topGroups) { keys[e] = EXCLUDED; }
    }
    workgroupBarrier();
  }

  for (var e = lane; e < params.experts; e += LANES) {
    let own = keys[e];
    var place = 0u;
    for (var o = 0u; o < params.experts; o++) {
      let other = keys[o];
      if (other > own || (other == own && o < e)) { place++; }
    }
    if (place < params.topK) { chosen[place] = e; }
  }
  workgroupBarrier();

  if (lane >= params.topK + params.sharedCount) { return; }
  var e = params.experts + lane - params.topK;
  var weight = sharedWeight(t);
  if (lane < params.topK) {
    e = chosen[lane];
    weight = scores[e];
    if (RENORMALISE) {
      var sum = 0.0;
      for (var j = 0u; j < params.topK; j++) { sum += scores[chosen[j]]; }
      weight /= sum + 1e-20;
    }
    weight = weight * params.scale;
    countExpert(e);
  }
  let at = t * (params.topK + params.sharedCount) + lane;
  ids[at] = e;
  routes[at] = vec2u(slotOf(e), bitcast<u32>(weight));
}

// Not by comparisons with NaN or infinities: WGSL may assume that there are none.
fn tame(logit: f32) -> f32 {
  let bits = bitcast<u32>(logit);
  if ((bits & 0x7f800000u) == 0x7f800000u) { return select(LOWEST, -LOWEST, bits == 0x7f800000u); }
  return clamp(logit, LOWEST, -LOWEST);
}

fn groupKey(g: u32) -> f32 {
  var best = EXCLUDED;
  var second = EXCLUDED;
  for (var i = 0u; i < params.groupSize; i++) {
    let key = keys[g * params.groupSize + i];
    second = max(second, min(best, key));
    best = max(best, key);
  }
  if (GROUP_BY_TWO) { return best + second; }
  return best;
}

fn groupPlace(g: u32) -> u32 {
  let own = groupKeys[g];
  var place = 0u;
  for (var o = 0u; o < params.groups; o++) {
    let other = groupKeys[o];
    if (other > own || (other == own && o < g)) { place++; }
  }
  return place;
}
