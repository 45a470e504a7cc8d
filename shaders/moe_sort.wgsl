// Counting sort of a batch's (token, expert) pairs by the expert's slot, in blocks: the work list of moe_matmul.
//
// routes: [T, topK] (slot, weight); pair p = token · topK + place
// list:   [1 + BLOCKS + BLOCKS · BLOCK] u32:
//           the number of blocks in use;
//           the slot of each block, in rising order;
//           the pairs of each block in rising order, NO_PAIR where a slot has no more
// grid:   (1), 256 lanes
//
// Counts, then an exclusive scan of them rounded up to blocks (moe_align of vLLM), then the pairs. A pair's place is the
// number of earlier pairs of its slot, counted over 256 pairs at a time, so that the order is always the tokens'. Atomics
// only count. Pairs with a slot past params.experts are in no block.
const LANES: u32 = 256u;
const MOST_SLOTS: u32 = 512u;
const NO_PAIR: u32 = 0xffffffffu;

var<workgroup> counts: array<atomic<u32>, MOST_SLOTS>;
// Where a slot's next pair goes, counted from the list's first pair.
var<workgroup> next: array<u32, MOST_SLOTS>;
var<workgroup> chunk: array<u32, LANES>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  let pairs = batch.rows * params.topK;
  for (var s = lane; s < params.experts; s += LANES) { atomicStore(&counts[s], 0u); }
  workgroupBarrier();
  for (var p = lane; p < pairs; p += LANES) {
    let slot = routes[p].x;
    if (slot < params.experts) { atomicAdd(&counts[slot], 1u); }
  }
  workgroupBarrier();

  let pairsAt = 1u + params.blocks;
  for (var s = lane; s < params.experts; s += LANES) {
    var first = 0u;
    for (var o = 0u; o < s; o++) { first += blocksOf(o); }
    let end = first + blocksOf(s);
    next[s] = first * BLOCK;
    for (var b = first; b < end; b++) { list[1u + b] = s; }
    for (var i = first * BLOCK + atomicLoad(&counts[s]); i < end * BLOCK; i++) { list[pairsAt + i] = NO_PAIR; }
    if (s == params.experts - 1u) { list[0] = end; }
  }

  for (var first = 0u; first < pairs; first += LANES) {
    var slot = NO_PAIR;
    if (first + lane < pairs) { slot = routes[first + lane].x; }
    chunk[lane] = slot;
    // Also between next[] as it was left, above or by the chunk before, and its reading.
    workgroupBarrier();
    var before = 0u;
    var after = 0u;
    for (var i = 0u; i < LANES; i += 4u) {
      let same = vec4u(chunk[i], chunk[i + 1u], chunk[i + 2u], chunk[i + 3u]) == vec4u(slot);
      let at = i + vec4u(0u, 1u, 2u, 3u);
      before += countOf(same & (at < vec4u(lane)));
      after += countOf(same & (at > vec4u(lane)));
    }
    var place = 0u;
    if (slot < params.experts) {
      place = next[slot] + before;
      list[pairsAt + place] = first + lane;
    }
    workgroupBarrier();
    // The last pair of its slot moves the place on for the next chunk.
    if (slot < params.experts && after == 0u) { next[slot] = place + 1u; }
  }
}

fn blocksOf(slot: u32) -> u32 {
  return (atomicLoad(&counts[slot]) + BLOCK - 1u) / BLOCK;
}

fn countOf(those: vec4<bool>) -> u32 {
  return dot(select(vec4u(0u), vec4u(1u), those), vec4u(1u));
}
