// Attention over pages with an online softmax (Milakov & Gimelshein 2018; FlashAttention, Dao et al. 2022), one
// workgroup for one row and up to GROUP query heads that share a key head, so that K and V are read once for them.
//
// q:    [rows, HEADS · HEAD_DIM] f32, rotated
// pool: this layer's pages, read through the page table
// out:  [rows, HEADS · HEAD_DIM] f32
// lse:  [rows, HEADS] vec2f (m, l): running maximum and sum of exp(s − m); EMIT only, and then out is not divided by l
// grid: (KV_HEADS · ⌈heads of a group / GROUP⌉, rows), 64 lanes
//
// Keys are taken KEYS at a time (≤ PAGE, both powers of two: one page table look-up a tile). Their order and the order of
// every sum are the same whatever the batch holds.
const LANES: u32 = 64u;
const DIM4: u32 = HEAD_DIM / 4u;
const LOWEST: f32 = -1e30;  // finite: (−inf) − (−inf) is NaN

var<workgroup> query: array<vec4f, GROUP * DIM4>;
var<workgroup> acc: array<vec4f, GROUP * DIM4>;
var<workgroup> weight: array<f32, GROUP * KEYS>;
var<workgroup> top: array<f32, GROUP>;    // running maximum of each head
var<workgroup> total: array<f32, GROUP>;  // running sum
var<workgroup> shrink: array<f32, GROUP>; // factor by which this tile scales what was there

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let m = group.y;
  if (m >= batch.rows) { return; }
  let row = rows[m];
  let heads = HEADS / KV_HEADS;
  let chunks = (heads + GROUP - 1u) / GROUP;
  let kvHead = group.x / chunks;
  let firstHead = kvHead * heads + (group.x % chunks) * GROUP;
  let count = min(GROUP, kvHead * heads + heads - firstHead);

  for (var i = lane; i < count * DIM4; i += LANES) {
    query[i] = q[(m * HEADS + firstHead) * DIM4 + i] * params.scale;
    acc[i] = vec4f(0.0);
  }
  if (lane < GROUP) {
    top[lane] = LOWEST;
    total[lane] = 0.0;
  }
  workgroupBarrier();

  // Entries [0, start) were there before this batch; the row's own segment follows.
  let start = states[row.slot].length;
  let own = start + row.offset;
  let end = select(start + segments[row.segment].count, own + 1u, CAUSAL);
  for (var first = 0u; first < end; first += KEYS) {
    let page = pageOf(row.slot, first).page;
    for (var i = lane; i < count * KEYS; i += LANES) {
      let index = first + i % KEYS;
      var s = LOWEST;
      if (index < end && visible(index, start, row.ancestors)) {
        let at = entryOffset(page, index, kvHead);
        let mine = (i / KEYS) * DIM4;
        s = 0.0;
        for (var d = 0u; d < DIM4; d++) { s += dot(query[mine + d], cacheLoad4(at + 4u * d)); }
      }
      weight[i] = s;
    }
    workgroupBarrier();
    if (lane < count) {
      var highest = top[lane];
      for (var t = 0u; t < KEYS; t++) { highest = max(highest, weight[lane * KEYS + t]); }
      let factor = exp(top[lane] - highest);
      var sum = total[lane] * factor;
      for (var t = 0u; t < KEYS; t++) {
        let s = weight[lane * KEYS + t];
        let p = select(exp(s - highest), 0.0, s <= LOWEST);
        weight[lane * KEYS + t] = p;
        sum += p;
      }
      top[lane] = highest;
      total[lane] = sum;
      shrink[lane] = factor;
    }
    workgroupBarrier();
    let keys = min(KEYS, end - first);
    for (var i = lane; i < count * DIM4; i += LANES) {
      let h = i / DIM4;
      var sum = acc[i] * shrink[h];
      for (var t = 0u; t < keys; t++) {
        let at = params.valueOffset + entryOffset(page, first + t, kvHead);
        sum += weight[h * KEYS + t] * cacheLoad4(at + 4u * (i % DIM4));
      }
      acc[i] = sum;
    }
    workgroupBarrier();
  }

  for (var i = lane; i < count * DIM4; i += LANES) {
    let l = total[i / DIM4];
    // A row that saw nothing is zero, not NaN.
    let divisor = select(max(l, 1e-30), 1.0, EMIT);
    out[(m * HEADS + firstHead) * DIM4 + i] = acc[i] / divisor;
  }
  if (EMIT && lane < count) { emit(m * HEADS + firstHead + lane, vec2f(top[lane], total[lane])); }
}

fn visible(index: u32, start: u32, ancestors: u32) -> bool {
  let bit = index - start;
  return index < start || bit >= 32u || ((ancestors >> bit) & 1u) == 1u;
}
