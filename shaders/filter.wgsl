// Sampling with processors, second part: where top-k and top-p cut a row, exact and without sorting. A radix select: the
// digits of the cut (four of the logit's rank, then those of the token, for ties) are found one at a time, from the highest, by a
// histogram of the tokens that share the digits found so far (Alabi et al. 2012, "Fast k-Selection Algorithms for GPUs").
//
// Both filters keep a token if what comes before it in the order (cut.wgsl) is below a goal: for top-k as many as k; for
// top-p the probability p of what top-k left. Probabilities are summed in 64-bit integers of 2⁻⁴⁴ of the
// largest one: no sum depends on its order, and all that is rounded is exp. The first token is always kept.
//
// processed: [samples, vocab] f32, and partials: [samples, chunks], from process.wgsl
// cuts:      [samples] Cut; greedy rows, which no filter changes, are not cut
// params:    filters 2, and digits of 8 bits that a token has: loops that drivers must not unroll
// grid:      (samples), 256 lanes; a lane of each bin
const LANES: u32 = 256u;
const COPIES: u32 = 4u;                            // of the histogram: fewer lanes wait for each other
const EVERYTHING: u32 = 0xffffffffu;

struct Choice {
  done: u32,
  digit: u32,
  goal: vec2u,
}

var<workgroup> topRank: atomic<u32>;
var<workgroup> many: array<atomic<u32>, 1024>;
var<workgroup> low: array<atomic<u32>, 1024>;      // masses: low and high words
var<workgroup> high: array<atomic<u32>, 1024>;
var<workgroup> upTo: array<vec2u, LANES>;          // of the bins up to this one
var<workgroup> choice: Choice;

fn add64(a: vec2u, b: vec2u) -> vec2u {
  let sum = a.x + b.x;
  return vec2u(sum, a.y + b.y + select(0u, 1u, sum < a.x));
}

fn sub64(a: vec2u, b: vec2u) -> vec2u {
  return vec2u(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn less64(a: vec2u, b: vec2u) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// x ≥ 0, in units of 2⁻⁴⁴
fn fixed64(x: f32) -> vec2u {
  let units = x * 4096.0;
  let whole = floor(units);
  return vec2u(u32((units - whole) * 4294967296.0), u32(whole));
}

fn float64(a: vec2u) -> f32 {
  return f32(a.y) * 0x1p-12 + f32(a.x) * 0x1p-44;
}

// The tokens that share the digits found so far, by their next digit.
fn histogram(s: u32, lane: u32, digit: u32, found: vec2u, cut: Cut, scale: f32, byMass: bool) {
  for (var i = lane; i < LANES * COPIES; i += LANES) {
    atomicStore(&many[i], 0u);
    atomicStore(&low[i], 0u);
    atomicStore(&high[i], 0u);
  }
  workgroupBarrier();
  let inRank = digit < 4u;
  let shift = select(8u * (3u + params.tokenDigits - digit), 24u - 8u * digit, inRank);
  // Of the word whose digit is counted, the bits above it have been found.
  let above = select(EVERYTHING << ((shift + 8u) % 32u), 0u, shift == 24u);
  for (var token = lane; token < params.vocab; token += LANES) {
    let x = processed[s * params.vocab + token];
    let rank = rankOf(x);
    if (x <= LOWEST || !isKept(cut, rank, token)) { continue; }
    let word = select(token, rank, inRank);
    if (((word ^ select(found.y, found.x, inRank)) & above) != 0u || (!inRank && rank != found.x)) { continue; }
    let bin = (lane % COPIES) * LANES + ((word >> shift) & 255u);
    atomicAdd(&many[bin], 1u);
    if (byMass) {
      let mass = fixed64(exp((x - cut.top) * scale));
      let before = atomicAdd(&low[bin], mass.x);
      atomicAdd(&high[bin], mass.y + select(0u, 1u, before > EVERYTHING - mass.x));
    }
  }
  workgroupBarrier();
}

// Sums the histogram's bins from the first on, and finds the one where the goal is reached.
fn choose(lane: u32, goal: vec2u, portion: f32, byMass: bool) -> Choice {
  var here = vec2u(0u);
  var count = 0u;
  for (var copy = 0u; copy < COPIES; copy++) {
    let i = copy * LANES + lane;
    count += atomicLoad(&many[i]);
    here = add64(here, vec2u(atomicLoad(&low[i]), atomicLoad(&high[i])));
  }
  if (!byMass) { here = vec2u(count, 0u); }
  var sum = here;
  for (var step = 1u; step < LANES; step *= 2u) {
    upTo[lane] = sum;
    workgroupBarrier();
    if (lane >= step) { sum = add64(sum, upTo[lane - step]); }
    workgroupBarrier();
  }
  upTo[lane] = sum;
  if (lane == 0u) { choice = Choice(1u, EVERYTHING, vec2u(0u)); }
  workgroupBarrier();
  var wanted = goal;
  if (portion >= 0.0) {
    wanted = fixed64(portion * float64(upTo[LANES - 1u]));
    if (wanted.x == 0u && wanted.y == 0u) { wanted.x = 1u; }
  }
  let before = sub64(sum, here);
  if (less64(before, wanted) && !less64(sum, wanted)) {
    // Nothing further to find out where the bin has one token, or is wanted whole.
    let rest = sub64(wanted, before);
    let done = count == 1u || (rest.x == here.x && rest.y == here.y);
    choice = Choice(select(0u, 1u, done), lane, rest);
  }
  return workgroupUniformLoad(&choice);
}

// The cut, moved up to where the count or mass of what is kept reaches its goal.
fn narrowed(cut: Cut, s: u32, lane: u32, k: u32, p: f32, scale: f32, byMass: bool) -> Cut {
  var found = vec2u(0u);
  var goal = vec2u(k, 0u);
  for (var digit = 0u; digit < 4u + params.tokenDigits; digit++) {
    histogram(s, lane, digit, found, cut, scale, byMass);
    let next = choose(lane, goal, select(-1.0, p, byMass && digit == 0u), byMass);
    if (next.digit == EVERYTHING) { return cut; }  // the goal is past what there is
    goal = next.goal;
    let inRank = digit < 4u;
    let shift = select(8u * (3u + params.tokenDigits - digit), 24u - 8u * digit, inRank);
    let bits = next.digit << shift;
    found |= select(vec2u(0u, bits), vec2u(bits, 0u), inRank);
    if (next.done == 1u) {
      // Whatever the digits below are.
      let below = (1u << shift) - 1u;
      found = select(vec2u(found.x, found.y | below), vec2u(found.x | below, EVERYTHING), inRank);
      break;
    }
  }
  // Digits that were left open must not let tokens in that the filter before has dropped.
  if (!isKept(cut, found.x, found.y)) { return cut; }
  return Cut(found.x, found.y, cut.top);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let s = group.x;
  if (s >= batch.samples) { return; }
  let slot = samples[s].slot;
  if (lane == 0u) { atomicStore(&topRank, EVERYTHING); }
  workgroupBarrier();
  for (var i = lane; i < params.chunks; i += LANES) { atomicMin(&topRank, rankOf(partials[s * params.chunks + i].top)); }
  workgroupBarrier();
  var cut = Cut(EVERYTHING, EVERYTHING, logitOfRank(atomicLoad(&topRank)));
  let scale = inverseTemperature(options[slot].temperature);
  let greedy = options[slot].temperature <= 0.0;
  for (var which = 0u; which < params.filters; which++) {
    let byMass = which == 1u;
    if (greedy || select(options[slot].topK == 0u, options[slot].topP >= 1.0, byMass)) { continue; }
    cut = narrowed(cut, s, lane, options[slot].topK, options[slot].topP, scale, byMass);
  }
  if (lane == 0u) { cuts[s] = cut; }
}
