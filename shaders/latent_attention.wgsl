// Latent attention (DeepSeek-V2, 2024, §2.1) over pages: all heads share one vector a token, so it is attention with one key
// head whose values are the first RANK elements of the keys. One workgroup takes one row, up to GROUP heads and one split of
// the cache, with an online softmax (Milakov & Gimelshein 2018), and reads each latent once for all of its heads.
//
// q:    [rows, HEADS · (RANK + ROPE)] f32: absorbed and rotated
// pool: this layer's pages, fragments/latent_page.wgsl
// out:  [rows, HEADS · RANK] f32; SPLIT: [rows, splits, HEADS, RANK + 4] f32: the unfinished Σ exp(s − m) · latent, then
//       (m, l, 0, 0) of each head; a split without keys writes m and l = 0 alone
// grid: (⌈HEADS / GROUP⌉, rows, splits), 16 · GROUP lanes; splits start at multiples of params.split tokens
//
// A lane has one head, and one of 16 keys of the tile for the scores, then one of 16 columns of four for the sum. The
// vectors pass through workgroup memory in slices of 64 elements: 512 + 64 of them fit no workgroup that all devices have.
const KEYS: u32 = 16u;
const SLICE4: u32 = 16u;
const STRIDE: u32 = SLICE4 + 1u;  // no two keys of a slice start in the same bank
const LANES: u32 = 16u * GROUP;
const DIM4: u32 = DIM / 4u;
const RANK4: u32 = RANK / 4u;
const LOWEST: f32 = -1e30;  // finite: (−inf) − (−inf) is NaN

var<workgroup> query: array<vec4f, GROUP * SLICE4>;
var<workgroup> latent: array<vec4f, KEYS * STRIDE>;
var<workgroup> weight: array<f32, GROUP * KEYS>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let m = group.y;
  if (m >= batch.rows) { return; }
  let row = rows[m];
  let firstHead = group.x * GROUP;
  let h = lane / 16u;
  let t = lane % 16u;

  // Entries [0, length) were there before this batch; the row's own segment follows.
  let length = states[row.slot].length;
  let end = min(length + row.offset + 1u, (group.z + 1u) * params.split);

  var top = LOWEST;
  var total = 0.0;
  // repeat s SLICES
  var sum$s = vec4f(0.0);
  // end
  for (var first = group.z * params.split; first < end; first += KEYS) {
    let tile = latentAt(pageOf(row.slot, first).page, first) / 4u;
    let keys = min(KEYS, end - first);
    var s = 0.0;
    for (var slice = 0u; slice < DIM4; slice += SLICE4) {
      loadQuery(lane, (m * HEADS + firstHead) * DIM4 + slice, DIM4 - slice);
      loadLatent(lane, tile + slice, DIM4 - slice, keys);
      workgroupBarrier();
      for (var d = 0u; d < params.slice4; d++) { s += dot(query[h * SLICE4 + d], latent[t * STRIDE + d]); }
      workgroupBarrier();
    }
    if (t >= keys || !visible(first + t, length, row.ancestors)) { s = LOWEST; }
    weight[lane] = s;
    workgroupBarrier();
    var highest = top;
    for (var i = 0u; i < params.keys; i++) { highest = max(highest, weight[h * KEYS + i]); }
    workgroupBarrier();
    weight[lane] = select(exp(s - highest), 0.0, s <= LOWEST);
    workgroupBarrier();
    let shrink = exp(top - highest);
    total *= shrink;
    for (var i = 0u; i < params.keys; i++) { total += weight[h * KEYS + i]; }
    top = highest;
    // repeat s SLICES
    sum$s = sum$s * shrink + mixed(lane, tile, $su * SLICE4, keys);
    // end
  }

  let head = firstHead + h;
  if (head >= HEADS) { return; }
  if (SPLIT) {
    let record = ((m * groups.z + group.z) * HEADS + head) * (RANK4 + 1u);
    if (t == 0u) { out[record + RANK4] = vec4f(top, total, 0.0, 0.0); }
    if (total > 0.0) {
      // repeat s SLICES
      store(record, $su * SLICE4 + t, sum$s);
      // end
    }
  } else {
    // A row that saw nothing is zero, not NaN.
    let factor = 1.0 / max(total, 1e-30);
    // repeat s SLICES
    store((m * HEADS + head) * RANK4, $su * SLICE4 + t, sum$s * factor);
    // end
  }
}

// A slice of the heads' queries, `left` of each still to come; heads past the last, and what is past a query, are zero.
fn loadQuery(lane: u32, at: u32, left: u32) {
  for (var i = lane; i < GROUP * SLICE4; i += LANES) {
    let source = at + (i / SLICE4) * DIM4 + i % SLICE4;
    var v = vec4f(0.0);
    if (i % SLICE4 < left && source < batch.rows * HEADS * DIM4) { v = q[source] * params.scale; }
    query[i] = v;
  }
}

// A slice of the tile's latents, `left` of each still to come; keys past the last, and what is past a latent, are zero.
fn loadLatent(lane: u32, at: u32, left: u32, keys: u32) {
  for (var i = lane; i < KEYS * SLICE4; i += LANES) {
    let key = i / SLICE4;
    var v = vec4f(0.0);
    if (key < keys && i % SLICE4 < left) { v = cacheLoad4(4u * (at + key * DIM4 + i % SLICE4)); }
    latent[key * STRIDE + i % SLICE4] = v;
  }
}

// The tile's share of this lane's four columns of a slice of the sum.
fn mixed(lane: u32, tile: u32, slice: u32, keys: u32) -> vec4f {
  loadLatent(lane, tile + slice, RANK4 - slice, keys);
  workgroupBarrier();
  var sum = vec4f(0.0);
  for (var i = 0u; i < params.keys; i++) {
    sum += weight[(lane / 16u) * KEYS + i] * latent[i * STRIDE + lane % 16u];
  }
  workgroupBarrier();
  return sum;
}

fn store(base: u32, column: u32, v: vec4f) {
  if (column < RANK4) { out[base + column] = v; }
}

fn visible(index: u32, length: u32, ancestors: u32) -> bool {
  let bit = index - length;
  return index < length || bit >= 32u || ((ancestors >> bit) & 1u) == 1u;
}
