// Rotary embedding (rotate-half, Su et al. 2021) of queries and keys, and the write of keys and values to their pages,
// in one dispatch.
//
// qkv:  [rows, (HEADS + 2·KV_HEADS) · HEAD_DIM] f32: queries, keys, values
// near: [256, ROTARY / 2] vec2f (cos, sin) of angle(position mod 256)
// far:  [⌈context / 256⌉, ROTARY / 2] vec2f of angle(256 · ⌊position / 256⌋): the two are combined by angle addition, so
//       that tables stay small at long contexts. Computed on the host in float64: sin of WGSL is good to 2⁻¹¹ only.
// q:    [rows, HEADS · HEAD_DIM] f32, rotated
// pool: this layer's pages; the row's place is found from the page table
// grid: (⌈(HEADS + 2·KV_HEADS) · HEAD_DIM / 4 / 64⌉, rows), 64 lanes, each four elements of one head: two pairs
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = id.y;
  let head = id.x / (HEAD_DIM / 4u);
  if (m >= batch.rows || head >= HEADS + 2u * KV_HEADS) { return; }
  let unit = id.x % (HEAD_DIM / 4u);
  let row = rows[m];
  let slot = row.slot;

  // Within the rotary part a lane has elements 2u, 2u+1 and their partners half a rotary part on; past it, four in turn.
  let isValue = head >= HEADS + KV_HEADS;
  let half = ROTARY / 2u;
  let rotates = 4u * unit < ROTARY;
  let e0 = select(4u * unit, 2u * unit, rotates);
  let e1 = select(e0 + 2u, e0 + half, rotates);
  let source = (m * (HEADS + 2u * KV_HEADS) + head) * HEAD_DIM;
  var a = vec2f(qkv[source + e0], qkv[source + e0 + 1u]);
  var b = vec2f(qkv[source + e1], qkv[source + e1 + 1u]);
  if (rotates && !isValue) {
    let position = states[slot].position + row.offset;
    let c0 = turn(position, e0);
    let c1 = turn(position, e0 + 1u);
    let cosine = vec2f(c0.x, c1.x);
    let sine = vec2f(c0.y, c1.y);
    let rotated = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = rotated;
  }

  if (head < HEADS) {
    let to = (m * HEADS + head) * HEAD_DIM;
    q[to + e0] = a.x;
    q[to + e0 + 1u] = a.y;
    q[to + e1] = b.x;
    q[to + e1 + 1u] = b.y;
    return;
  }
  let index = states[slot].length + row.offset;
  let kvHead = select(head - HEADS, head - HEADS - KV_HEADS, isValue);
  let at = select(0u, params.valueOffset, isValue) + entryOffset(pageOf(slot, index).page, index, kvHead);
  cacheStore2(at + e0, a);
  cacheStore2(at + e1, b);
}

// (cos, sin) of the angle of rotary element e at a position
fn turn(position: u32, e: u32) -> vec2f {
  let half = ROTARY / 2u;
  let lo = near[(position & 255u) * half + e];
  let hi = far[(position >> 8u) * half + e];
  return vec2f(hi.x * lo.x - hi.y * lo.y, hi.y * lo.x + hi.x * lo.y);
}
