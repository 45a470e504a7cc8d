// Attention of a tile of query rows, in the manner of FlashAttention-2 (Dao 2023) over pages: TOKENS tokens of a segment
// times GROUP heads of a key head, so that a tile of keys and values is loaded once for all of them. Online softmax.
//
// q:    [rows, HEADS, HEAD_DIM] f32, rotated
// pool: this layer's pages, read through the page table; a tile of KEYS keys lies in one page. Queries, keys and values may be
//       elsewhere: placeOf, query4, keyTile4 and valueTile4 are a fragment's, fragments/tile_pages.wgsl as a rule
// out:  [rows, HEADS, VALUE_DIM] f32. EMIT: partial results, [rows, HEADS, VALUE_DIM + 4] f32: O, m, l, 0, 0
// grid: (KV_HEADS · ⌈heads of a group / GROUP⌉ · ⌈VALUE_DIM / 256⌉, at least Σ ⌈rows of a segment / TOKENS⌉), LANES lanes
//
// A lane has four rows: with 15 others it has their scores, two keys each, and then their sums, four elements each of every
// 64. Queries and keys go through workgroup memory 32 elements at a time, values 16 keys by 64 elements.
const LANES: u32 = ROWS * 4u;
const KEYS: u32 = 32u;
const TOKENS: u32 = ROWS / GROUP;
const DIM4: u32 = HEAD_DIM / 4u;
const VALUE4: u32 = VALUE_DIM / 4u;
const RECORD4: u32 = VALUE4 + select(0u, 1u, EMIT);
const SLICE4: u32 = 8u;
const STRIDE: u32 = SLICE4 + 1u;          // odd, against bank conflicts
const FOURS: u32 = ROWS / 4u + 1u;        // likewise
const CHUNKS: u32 = (VALUE4 + 63u) / 64u; // of 256 elements of the values: as many as a lane's registers should hold
const COLUMNS: u32 = min(4u, (VALUE4 + 15u) / 16u);
const REDUCING: u32 = LANES;

var<workgroup> queries: array<vec4f, ROWS * STRIDE>;
var<workgroup> entries: array<Tile4, KEYS * STRIDE>;   // keys [KEYS][STRIDE], then values [16][16]
var<workgroup> weights: array<vec4f, KEYS * FOURS>;    // exp(s − m), four rows together
var<workgroup> scales: array<vec2f, select(1u, KEYS, SCALED)>;

// A segment's keys.
struct Place {
  at: u32,         // what pageOf finds them by
  least: u32,      // of its sequence only [least, limit)
  limit: u32,
}

struct Tile {
  at: u32,         // as in Place
  least: u32,
  limit: u32,
  firstRow: u32,
  tokens: u32,
  kvHead: u32,
  firstHead: u32,
  heads: u32,      // of this workgroup
  chunk: u32,      // of the values
  start: u32,      // entries that were there before this batch
  own: u32,        // index of the first token
  begin: u32,      // the keys that any row sees: [begin, end)
  end: u32,
  position: u32,   // of the first token
}

// What a lane has to know of its four rows.
struct Sight {
  begin: vec4u,
  end: vec4u,
  ancestors: vec4u,
  position: vec4u,
  slopes: vec4f,
}

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  // Tiles never cross segments.
  var index = group.y;
  var s = 0u;
  for (; s < batch.segments; s++) {
    let tiles = (segments[s].count + TOKENS - 1u) / TOKENS;
    if (index < tiles) { break; }
    index -= tiles;
  }
  if (s >= batch.segments) { return; }
  let tile = tileOf(group.x, s, index * TOKENS);
  let sight = sightOf(tile, lane / 16u * 4u);

  var top = vec4f(LOWEST);
  var total = vec4f(0.0);  // of this lane's keys
  var o0 = mat4x4f();
  var o1 = mat4x4f();
  var o2 = mat4x4f();
  var o3 = mat4x4f();
  for (var first = tile.begin / KEYS * KEYS; first < tile.end; first += KEYS) {
    let page = pageOf(tile.at, first);
    let entry = entryOf(page.page, first, tile.kvHead);
    let scores = scoreKeys(lane, tile, first, entry);
    let low = maskedScores(scores[0], lane % 16u, tile, sight, first, page.base);
    let high = maskedScores(scores[1], lane % 16u + 16u, tile, sight, first, page.base);
    let highest = max(top, max16(lane, max(low, high)));
    let shrink = exp(top - highest);
    top = highest;
    let p = array<vec4f, 2>(weightOf(low, top), weightOf(high, top));
    total = total * shrink + p[0] + p[1];
    storeWeights(lane, p[0], p[1]);
    o0 = addValues(lane, shrunk(o0, shrink), tile, first, entry, 0u);
    if (COLUMNS > 1u) { o1 = addValues(lane, shrunk(o1, shrink), tile, first, entry, 16u); }
    if (COLUMNS > 2u) { o2 = addValues(lane, shrunk(o2, shrink), tile, first, entry, 32u); }
    if (COLUMNS > 3u) { o3 = addValues(lane, shrunk(o3, shrink), tile, first, entry, 48u); }
  }
  total = sum16(lane, total);
  let i = lane / 16u * 4u;
  let column = lane % 16u;
  write(tile, i, column, vec2f(top.x, total.x), mat4x4f(o0[0], o1[0], o2[0], o3[0]));
  write(tile, i + 1u, column, vec2f(top.y, total.y), mat4x4f(o0[1], o1[1], o2[1], o3[1]));
  write(tile, i + 2u, column, vec2f(top.z, total.z), mat4x4f(o0[2], o1[2], o2[2], o3[2]));
  write(tile, i + 3u, column, vec2f(top.w, total.w), mat4x4f(o0[3], o1[3], o2[3], o3[3]));
}

fn tileOf(x: u32, s: u32, firstToken: u32) -> Tile {
  let segment = segments[s];
  let place = placeOf(s);
  let perGroup = HEADS / KV_HEADS;
  let parts = (perGroup + GROUP - 1u) / GROUP;
  let part = x / CHUNKS % parts;
  let state = states[segment.slot];
  var tile = Tile();
  tile.at = place.at;
  tile.least = place.least;
  tile.limit = place.limit;
  tile.firstRow = segment.first + firstToken;
  tile.tokens = min(TOKENS, segment.count - firstToken);
  tile.kvHead = x / CHUNKS / parts;
  tile.firstHead = tile.kvHead * perGroup + part * GROUP;
  tile.heads = min(GROUP, perGroup - part * GROUP);
  tile.chunk = x % CHUNKS;
  tile.start = state.length;
  tile.own = state.length + rows[tile.firstRow].offset;
  tile.begin = firstSeen(tile, tile.own);
  tile.end = min(tile.limit, select(state.length + segment.count, tile.own + tile.tokens, params.causal == 1u));
  tile.position = state.position + rows[tile.firstRow].offset;
  return tile;
}

fn firstSeen(tile: Tile, own: u32) -> u32 {
  return max(tile.least, own + 1u - min(own + 1u, params.window));
}

// Row i of a tile is head i % GROUP of token i / GROUP.
fn isRow(tile: Tile, i: u32) -> bool {
  return i / GROUP < tile.tokens && i % GROUP < tile.heads;
}

fn sightOf(tile: Tile, i: u32) -> Sight {
  let tokens = (vec4u(i) + vec4u(0u, 1u, 2u, 3u)) / GROUP;
  let own = vec4u(tile.own) + tokens;
  let last = tile.firstRow + tile.tokens - 1u;
  let r = min(vec4u(tile.firstRow) + tokens, vec4u(last));
  let h = vec4u(tile.firstHead) + (vec4u(i) + vec4u(0u, 1u, 2u, 3u)) % GROUP;
  return Sight(
    vec4u(firstSeen(tile, own.x), firstSeen(tile, own.y), firstSeen(tile, own.z), firstSeen(tile, own.w)),
    min(vec4u(tile.limit), select(vec4u(tile.end), own + 1u, params.causal == 1u)),
    vec4u(rows[r.x].ancestors, rows[r.y].ancestors, rows[r.z].ancestors, rows[r.w].ancestors),
    vec4u(tile.position) + tokens,
    vec4f(slopeOf(h.x), slopeOf(h.y), slopeOf(h.z), slopeOf(h.w)),
  );
}

// The scores of this lane's rows with keys lane % 16 and lane % 16 + 16 of the tile.
fn scoreKeys(lane: u32, tile: Tile, first: u32, entry: u32) -> array<vec4f, 2> {
  let row = lane / 16u * 4u * STRIDE;
  let key = lane % 16u * STRIDE;
  var low = vec4f(0.0);
  var high = vec4f(0.0);
  for (var d = 0u; d < params.dim4; d += SLICE4) {
    let width = min(params.slice4, params.dim4 - d);
    loadQueries(lane, tile, d, width);
    loadKeys(lane, tile, first, entry, d, width);
    workgroupBarrier();
    for (var x = 0u; x < width; x++) {
      let k0 = vec4f(entries[key + x]);
      let k1 = vec4f(entries[key + 16u * STRIDE + x]);
      let q0 = queries[row + x];
      let q1 = queries[row + STRIDE + x];
      let q2 = queries[row + 2u * STRIDE + x];
      let q3 = queries[row + 3u * STRIDE + x];
      low += vec4f(dot(q0, k0), dot(q1, k0), dot(q2, k0), dot(q3, k0));
      high += vec4f(dot(q0, k1), dot(q1, k1), dot(q2, k1), dot(q3, k1));
    }
    workgroupBarrier();
  }
  if (SCALED) {
    low *= scales[lane % 16u].x;
    high *= scales[lane % 16u + 16u].x;
  }
  return array<vec4f, 2>(low, high);
}

fn loadQueries(lane: u32, tile: Tile, d: u32, width: u32) {
  for (var i = lane; i < ROWS * SLICE4; i += LANES) {
    let x = i % SLICE4;
    if (x >= width) { continue; }
    let row = i / SLICE4;
    var query = vec4f(0.0);
    if (isRow(tile, row)) {
      query = query4(tile.firstRow + row / GROUP, tile.firstHead + row % GROUP, d + x) * params.scale;
    }
    queries[row * STRIDE + x] = query;
  }
}

// Keys that nobody sees may not be there: they are zero.
fn loadKeys(lane: u32, tile: Tile, first: u32, entry: u32, d: u32, width: u32) {
  for (var i = lane; i < KEYS * SLICE4; i += LANES) {
    let x = i % SLICE4;
    if (x >= width) { continue; }
    let t = i / SLICE4;
    var key = Tile4();
    if (isSeen(tile, first + t)) { key = keyTile4(entry + t, tile.kvHead, d + x); }
    entries[t * STRIDE + x] = key;
  }
  if (SCALED && d == 0u && lane < KEYS) {
    scales[lane] = select(vec2f(0.0), cacheScales(entry + lane), isSeen(tile, first + lane));
  }
}

fn isSeen(tile: Tile, index: u32) -> bool {
  return index >= tile.begin && index < tile.end;
}

// The scores with key t of the tile. The mask is worked out only where it may hide something: on the diagonal, at the
// window's edge, and among the 32 rows that a token tree can hide.
fn maskedScores(raw: vec4f, t: u32, tile: Tile, sight: Sight, first: u32, base: u32) -> vec4f {
  let index = first + t;
  var s = capped(raw);
  if (SLOPES) {
    let key = base + (index & (PAGE - 1u));
    let away = vec4f(
      distance(sight.position.x, key),
      distance(sight.position.y, key),
      distance(sight.position.z, key),
      distance(sight.position.w, key),
    );
    s -= sight.slopes * away;
  }
  let diagonal = first + KEYS > min(tile.end, tile.own + 1u);
  let edge = first < firstSeen(tile, tile.own + tile.tokens - 1u);
  let tree = first + KEYS > tile.start && first < tile.start + 32u;
  if (diagonal || edge || tree) {
    let inside = (vec4u(index) >= sight.begin) & (vec4u(index) < sight.end);
    s = select(vec4f(LOWEST), s, inside & inTree(index, tile.start, sight.ancestors));
  }
  return s;
}

fn weightOf(s: vec4f, top: vec4f) -> vec4f {
  return select(exp(s - top), vec4f(0.0), s <= vec4f(LOWEST));
}

// Values in 8 bits take their scale here, once a key. The first barrier of addValues comes before anybody reads.
fn storeWeights(lane: u32, low: vec4f, high: vec4f) {
  let t = lane % 16u;
  let to = t * FOURS + lane / 16u;
  weights[to] = select(low, low * scales[t * SCALE].y, SCALED);
  weights[to + 16u * FOURS] = select(high, high * scales[(t + 16u) * SCALE].y, SCALED);
}
const SCALE: u32 = select(0u, 1u, SCALED);

fn shrunk(o: mat4x4f, by: vec4f) -> mat4x4f {
  return mat4x4f(o[0] * by.x, o[1] * by.y, o[2] * by.z, o[3] * by.w);
}

// o[r] += Σ p · V for four elements of the values, of the 64 that begin at vec4 `column` of the chunk.
fn addValues(lane: u32, sum: mat4x4f, tile: Tile, first: u32, entry: u32, column: u32) -> mat4x4f {
  var o = sum;
  let group = lane / 16u;
  for (var half = 0u; half < min(2u * params.sixteen, tile.end - first); half += 16u) {
    for (var i = lane; i < 256u; i += LANES) {
      let t = half + i / 16u;
      let v = tile.chunk * 64u + column + i % 16u;
      var value = Tile4();
      if (isSeen(tile, first + t) && v < VALUE4) {
        value = valueTile4(entry + t, tile.kvHead, v);
      }
      entries[i] = value;
    }
    workgroupBarrier();
    for (var t = 0u; t < min(params.sixteen, tile.end - first - half); t++) {
      let p = weights[(half + t) * FOURS + group];
      let value = vec4f(entries[t * 16u + lane % 16u]);
      o[0] += p.x * value;
      o[1] += p.y * value;
      o[2] += p.z * value;
      o[3] += p.w * value;
    }
    workgroupBarrier();
  }
  return o;
}

fn write(tile: Tile, i: u32, lane: u32, stats: vec2f, sums: mat4x4f) {
  if (!isRow(tile, i)) { return; }
  let head = tile.firstHead + i % GROUP;
  let at = ((tile.firstRow + i / GROUP) * HEADS + head) * RECORD4;
  if (EMIT && tile.chunk == 0u && lane == 0u) { out[at + VALUE4] = vec4f(stats, 0.0, 0.0); }
  // A partial result over no keys has no sums: nobody reads them.
  if (EMIT && stats.y == 0.0) { return; }
  writeColumn(tile, at, lane, stats, head, sums[0]);
  if (COLUMNS > 1u) { writeColumn(tile, at, lane + 16u, stats, head, sums[1]); }
  if (COLUMNS > 2u) { writeColumn(tile, at, lane + 32u, stats, head, sums[2]); }
  if (COLUMNS > 3u) { writeColumn(tile, at, lane + 48u, stats, head, sums[3]); }
}

fn writeColumn(tile: Tile, at: u32, column: u32, stats: vec2f, head: u32, sum: vec4f) {
  let v = tile.chunk * 64u + column;
  if (v < VALUE4) { out[at + v] = select(finished(sum, stats, head), sum, EMIT); }
}
