// Norm and rotary embedding of queries and keys, and the write of keys and values to their pages, in one dispatch.
//
// qkv:  [rows, (HEADS + KV_HEADS) · HEAD_DIM + KV_HEADS · VALUE_DIM] f32: queries, keys, values
// gain: NORM only: [HEAD_DIM] f32 for all heads, or [heads, HEAD_DIM]. Each head, or with WHOLE_ROW all of them together, is
//       normalised first: RMSNorm (Zhang & Sennrich 2019), or LayerNorm without a bias where CENTRED
//       CLIPPED: then queries, keys and values are cut to ± params.clip
// q:    [rows, HEADS · HEAD_DIM] f32, rotated, times params.queryScale
// pool: this layer's pages (fragments/entry_write.wgsl); the row's place is found from the page table
// grid: (⌈items / PER_GROUP⌉, rows), LANES lanes. An item is a query head, or a key and value of one head: UNITS lanes, each
//       with four elements of it. QUERIES and ENTRIES say which of the two this dispatch does: a norm has gains of its own
//       for each, and both would need more than 8 storage buffers.
const UNITS: u32 = max(HEAD_DIM, VALUE_DIM) / 4u;
const PER_GROUP: u32 = LANES / UNITS;
const FIRST: u32 = select(HEADS, 0u, QUERIES);
const END: u32 = select(HEADS, HEADS + KV_HEADS, ENTRIES);
const WIDTH: u32 = (HEADS + KV_HEADS) * HEAD_DIM + KV_HEADS * VALUE_DIM;

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let m = group.y;
  if (m >= batch.rows) { return; }
  let row = rows[m];
  let e = 4u * (lane % UNITS);
  let head = FIRST + group.x * PER_GROUP + lane / UNITS;
  let holds = lane < PER_GROUP * UNITS && head < END;
  let holdsOwn = holds && e < HEAD_DIM;

  let source = m * WIDTH + head * HEAD_DIM;
  let partners = vec4u(partnerOf(e), partnerOf(e + 1u), partnerOf(e + 2u), partnerOf(e + 3u));
  var own = vec4f(0.0);
  var partner = vec4f(0.0);
  if (holdsOwn) {
    own = vec4f(qkv[source + e], qkv[source + e + 1u], qkv[source + e + 2u], qkv[source + e + 3u]);
    partner = vec4f(qkv[source + partners.x], qkv[source + partners.y], qkv[source + partners.z], qkv[source + partners.w]);
  }
  if (NORM) {
    let norm = normOf(lane, m, own, holdsOwn);
    let gains = (head - FIRST) * params.gainStep;
    own = (own - norm.x) * norm.y * gain4(gains + vec4u(e, e + 1u, e + 2u, e + 3u));
    partner = (partner - norm.x) * norm.y * gain4(gains + partners);
  }
  own = clipped(own);
  partner = clipped(partner);
  let turned = rotated(own, partner, e, states[row.slot].position + row.offset, regimeOf(row.slot));

  if (holdsOwn && head < HEADS) { writeQuery(((m * HEADS + head) * HEAD_DIM + e) / 4u, turned * params.queryScale); }
  if (ENTRIES) {
    let holdsEntry = holds && head >= HEADS;
    var value = vec4f(0.0);
    if (holdsEntry && e < VALUE_DIM) {
      let at = m * WIDTH + (HEADS + KV_HEADS) * HEAD_DIM + (head - HEADS) * VALUE_DIM + e;
      value = clipped(vec4f(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]));
    }
    writeEntry(lane, holdsEntry, row, head - HEADS, turned, value);
  }
}

fn clipped(v: vec4f) -> vec4f {
  if (!CLIPPED) { return v; }
  return clamp(v, vec4f(-params.clip), vec4f(params.clip));
}

// What a norm takes off and multiplies with: (mean, 1 / deviation) of this lane's head, or of all heads of the row.
fn normOf(lane: u32, m: u32, own: vec4f, holds: bool) -> vec2f {
  var squares = 0.0;
  if (WHOLE_ROW) {
    let start = m * WIDTH + FIRST * HEAD_DIM;
    for (var i = lane; i < (END - FIRST) * HEAD_DIM; i += LANES) { squares += qkv[start + i] * qkv[start + i]; }
    return vec2f(0.0, inverseSqrt(total(lane, 0u, squares) * params.invWidth + params.eps));
  }
  let first = min(lane - lane % UNITS, LANES - UNITS);
  var mean = 0.0;
  if (CENTRED) { mean = total(lane, first, dot(own, vec4f(1.0))) * params.invWidth; }
  let apart = select(vec4f(0.0), own - mean, holds);
  return vec2f(mean, inverseSqrt(total(lane, first, dot(apart, apart)) * params.invWidth + params.eps));
}

// The sum of what params.sumLanes lanes have, from the first of them on.
fn total(lane: u32, first: u32, v: f32) -> f32 {
  sums[lane] = v;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < params.sumLanes; i++) { sum += sums[first + i]; }
  workgroupBarrier();
  return sum;
}
