// Attention of one token over one split of its sequence, GROUP query heads of a key head together so that K and V are
// read once: Flash-Decoding (Dao et al. 2023), as in PagedAttention v2 (Kwon et al. 2023). The scores of a whole split
// fit workgroup memory, so there is one softmax a split and no rescaling within it.
//
// q:    [rows, HEADS, HEAD_DIM] f32, rotated
// pool: this layer's pages, read through the page table
// out:  [rows, HEADS, VALUE_DIM] f32. EMIT: partial results, [rows, grid z, HEADS, VALUE_DIM + 4] f32: O, m, l, 0, 0
// grid: (KV_HEADS · ⌈heads of a group / GROUP⌉, rows, splits), LANES lanes
//
// Splits begin at multiples of SPLIT tokens; workgroup z takes the z-th that has a key in sight. SERIAL: one workgroup
// takes all of a row in turn and joins them in the order and with the bits of attention_merge.wgsl, its sum so far in `out`.
const DIM4: u32 = HEAD_DIM / 4u;
const VALUE4: u32 = VALUE_DIM / 4u;
const RECORD4: u32 = VALUE4 + select(0u, 1u, EMIT);
const QUADS: u32 = (GROUP + 3u) / 4u;             // heads go four to a vector
const PAGES: u32 = max(1u, SPLIT / PAGE);
const REDUCING: u32 = 16u * QUADS;

var<workgroup> vectors: array<vec4f, GROUP * max(DIM4, VALUE4)>;  // the queries; once the scores are there, the sums
var<workgroup> weights: array<vec4f, SPLIT * QUADS>;              // scores, then exp(s − m)
var<workgroup> valueScales: array<f32, select(1u, SPLIT, SCALED)>;
var<workgroup> pages: array<Page, PAGES>;
var<workgroup> stats: array<vec2f, 4u * QUADS>;                   // (m, l) of each head
var<workgroup> kept: array<vec2f, 4u * QUADS>;                    // of the splits before (SERIAL)

struct Token {
  m: u32,
  slot: u32,
  position: u32,
  ancestors: u32,
  start: u32,      // entries that were there before this batch
  begin: u32,      // the keys in sight: [begin, end)
  end: u32,
  kvHead: u32,
  firstHead: u32,
  heads: u32,      // of this workgroup
  record: u32,     // where in `out` its first head is
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(local_invocation_index) lane: u32,
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) grid: vec3u,
) {
  if (group.y >= batch.rows) { return; }
  let token = tokenOf(group, grid.z);
  let firstSplit = token.begin / SPLIT;
  let splits = (token.end + SPLIT - 1u) / SPLIT - firstSplit;
  if (SERIAL) {
    for (var i = 0u; i < splits; i++) {
      attend(lane, token, (firstSplit + i) * SPLIT);
      keep(lane, token, i == 0u, i + 1u == splits);
    }
  } else if (group.z < splits) {
    attend(lane, token, (firstSplit + group.z) * SPLIT);
  } else {
    // Past the row's end. Nothing is read of O where l is zero.
    if (lane < token.heads) { out[token.record + lane * RECORD4 + RECORD4 - 1u] = vec4f(LOWEST, 0.0, 0.0, 0.0); }
    return;
  }
  for (var i = lane; i < token.heads * VALUE4; i += LANES) {
    let h = i / VALUE4;
    let sum = vectors[i];
    out[sumAt(token, i)] = select(finished(sum, stats[h], token.firstHead + h), sum, EMIT);
  }
  if (EMIT && lane < token.heads) {
    out[token.record + lane * RECORD4 + RECORD4 - 1u] = vec4f(stats[lane], 0.0, 0.0);
  }
}

fn tokenOf(group: vec3u, records: u32) -> Token {
  let row = rows[group.y];
  let perGroup = HEADS / KV_HEADS;
  let chunks = (perGroup + GROUP - 1u) / GROUP;
  let kvHead = group.x / chunks;
  let firstHead = kvHead * perGroup + (group.x % chunks) * GROUP;
  let start = states[row.slot].length;
  let own = start + row.offset;
  var token = Token();
  token.m = group.y;
  token.slot = row.slot;
  token.position = states[row.slot].position + row.offset;
  token.ancestors = row.ancestors;
  token.start = start;
  token.begin = own + 1u - min(own + 1u, params.window);
  token.end = select(start + segments[row.segment].count, own + 1u, params.causal == 1u);
  token.kvHead = kvHead;
  token.firstHead = firstHead;
  token.heads = min(GROUP, (kvHead + 1u) * perGroup - firstHead);
  token.record = ((group.y * records + group.z) * HEADS + firstHead) * RECORD4;
  return token;
}

fn sumAt(token: Token, i: u32) -> u32 {
  return token.record + i / VALUE4 * RECORD4 + i % VALUE4;
}

// One split: leaves O in `vectors`, (m, l) in `stats`.
fn attend(lane: u32, token: Token, split: u32) {
  let first = max(token.begin, split);
  let n = min(token.end, split + SPLIT) - first;
  workgroupBarrier();  // what the split before left has been read
  for (var i = lane; i < GROUP * DIM4; i += LANES) {
    var query = vec4f(0.0);
    if (i < token.heads * DIM4) { query = q[(token.m * HEADS + token.firstHead) * DIM4 + i] * params.scale; }
    vectors[i] = query;
  }
  for (var i = lane; i < PAGES; i += LANES) {
    if (split + i * PAGE < token.end) { pages[i] = pageOf(token.slot, split + i * PAGE); }
  }
  workgroupBarrier();
  scoreKeys(lane, token, split, first, n);
  workgroupBarrier();
  softmaxKeys(lane, n);
  workgroupBarrier();
  sumValues(lane, token, split, first, n);
}

// Lanes along keys, KEY_LANES of them along each key.
fn scoreKeys(lane: u32, token: Token, split: u32, first: u32, n: u32) {
  let slopesLow = slopesOf(token.firstHead);
  let slopesHigh = slopesOf(token.firstHead + 4u);
  for (var round = 0u; round < n; round += LANES / KEY_LANES) {
    let i = round + lane / KEY_LANES;
    let index = min(first + i, token.end - 1u);
    let page = pages[(index - split) >> PAGE_SHIFT];
    let entry = entryOf(page.page, index, token.kvHead);
    var low = vec4f(0.0);
    var high = vec4f(0.0);
    if (i < n) {
      for (var d = lane % KEY_LANES; d < params.dim4; d += KEY_LANES) {
        let key = cacheLoad4(entry * HEAD_DIM + 4u * d);
        low += dots(d, key, GROUP);
        if (QUADS > 1u) { high += dots(4u * DIM4 + d, key, GROUP - 4u * (QUADS - 1u)); }
      }
    }
    low = sumOverKey(low);
    if (QUADS > 1u) { high = sumOverKey(high); }
    if (i < n && lane % KEY_LANES == 0u) {
      let scales = cacheScales(entry);
      if (SCALED) { valueScales[i] = scales.y; }
      let away = distance(token.position, page.base + (index & (PAGE - 1u)));
      let seen = inTree(index, token.start, vec4u(token.ancestors));
      weights[i * QUADS] = select(vec4f(LOWEST), capped(low * scales.x) - slopesLow * away, seen);
      if (QUADS > 1u) {
        weights[i * QUADS + 1u] = select(vec4f(LOWEST), capped(high * scales.x) - slopesHigh * away, seen);
      }
    }
  }
}

// One key with the queries of up to four heads, the first of them at `at`.
fn dots(at: u32, key: vec4f, heads: u32) -> vec4f {
  var s = vec4f(dot(vectors[at], key), 0.0, 0.0, 0.0);
  if (heads > 1u) { s.y = dot(vectors[at + DIM4], key); }
  if (heads > 2u) { s.z = dot(vectors[at + 2u * DIM4], key); }
  if (heads > 3u) { s.w = dot(vectors[at + 3u * DIM4], key); }
  return s;
}

// 16 lanes for four heads. Values in 8 bits take their scale here, once a key.
fn softmaxKeys(lane: u32, n: u32) {
  let quad = min(lane / 16u, QUADS - 1u);
  let count = select(0u, n, lane < REDUCING);
  var top = vec4f(LOWEST);
  for (var i = lane % 16u; i < count; i += 16u) { top = max(top, weights[i * QUADS + quad]); }
  top = max16(lane, top);
  var total = vec4f(0.0);
  for (var i = lane % 16u; i < count; i += 16u) {
    let s = weights[i * QUADS + quad];
    var p = select(exp(s - top), vec4f(0.0), s <= vec4f(LOWEST));
    total += p;
    if (SCALED) { p *= valueScales[i]; }
    weights[i * QUADS + quad] = p;
  }
  total = sum16(lane, total);
  if (lane < REDUCING && lane % 16u == 0u) {
    stats[4u * quad] = vec2f(top.x, total.x);
    stats[4u * quad + 1u] = vec2f(top.y, total.y);
    stats[4u * quad + 2u] = vec2f(top.z, total.z);
    stats[4u * quad + 3u] = vec2f(top.w, total.w);
  }
}

// Lanes along the value, params.streams of them along the keys, which then add up one after another.
fn sumValues(lane: u32, token: Token, split: u32, first: u32, n: u32) {
  let column = lane % VALUE4;
  let stream = lane / VALUE4;
  var low = mat4x4f();
  var high = mat4x4f();
  let count = select(0u, n, stream < params.streams);
  for (var i = stream; i < count; i += params.streams) {
    let index = first + i;
    let entry = entryOf(pages[(index - split) >> PAGE_SHIFT].page, index, token.kvHead);
    let value = cacheLoad4(params.valueOffset + entry * VALUE_DIM + 4u * column);
    low = weighed(low, weights[i * QUADS], value, GROUP);
    if (QUADS > 1u) { high = weighed(high, weights[i * QUADS + 1u], value, GROUP - 4u * (QUADS - 1u)); }
  }
  for (var turn = 0u; turn < min(params.streams, n); turn++) {
    if (stream == turn) {
      addSums(column, low, GROUP, turn == 0u);
      if (QUADS > 1u) { addSums(4u * VALUE4 + column, high, GROUP - 4u * (QUADS - 1u), turn == 0u); }
    }
    workgroupBarrier();
  }
}

fn weighed(sum: mat4x4f, p: vec4f, value: vec4f, heads: u32) -> mat4x4f {
  var all = sum;
  all[0] += p.x * value;
  if (heads > 1u) { all[1] += p.y * value; }
  if (heads > 2u) { all[2] += p.z * value; }
  if (heads > 3u) { all[3] += p.w * value; }
  return all;
}

fn addSums(at: u32, sum: mat4x4f, heads: u32, fresh: bool) {
  addSum(at, sum[0], fresh);
  if (heads > 1u) { addSum(at + VALUE4, sum[1], fresh); }
  if (heads > 2u) { addSum(at + 2u * VALUE4, sum[2], fresh); }
  if (heads > 3u) { addSum(at + 3u * VALUE4, sum[3], fresh); }
}

fn addSum(at: u32, sum: vec4f, fresh: bool) {
  vectors[at] = select(vectors[at] + sum, sum, fresh);
}

// SERIAL: joins this split to those before; the last one's result stays in `vectors` and `stats`.
fn keep(lane: u32, token: Token, isFirst: bool, isLast: bool) {
  if (!isFirst) {
    for (var i = lane; i < token.heads * VALUE4; i += LANES) {
      let old = kept[i / VALUE4].x;
      let mine = stats[i / VALUE4].x;
      let top = max(old, mine);
      vectors[i] = joined(out[sumAt(token, i)], rescale(old, top), vectors[i], rescale(mine, top));
    }
    workgroupBarrier();
    if (lane < token.heads) { stats[lane] = joinedStats(kept[lane], stats[lane]); }
    workgroupBarrier();
  }
  if (lane < token.heads) { kept[lane] = stats[lane]; }
  if (!isLast) {
    for (var i = lane; i < token.heads * VALUE4; i += LANES) { out[sumAt(token, i)] = vectors[i]; }
  }
}
