// Keys and values of each head from latents (DeepSeek-V2, 2024, §2.1.1), for prompts: the entries that
// latent_room.wgsl names, times the matrix that makes them, in register tiles as in matmul.wgsl.
//
// pool:     this layer's pages, fragments/latent_page.wgsl
// rooms:    latent_room.wgsl
// weights:  [N, RANK] in the layout whose fragment gives weight4; N = HEADS · (NOPE + VALUE)
// out:      [entries, N + ROPE] f32: head after head keys without their rotated part, and values; then the rotated part
// grid:     (⌈N / 64⌉ + 1, ⌈entries / 64⌉), 256 lanes, each 4 × 4 of a tile's results; the last along x copies what rotates
const N: u32 = HEADS * (NOPE + VALUE);
const ROW4: u32 = (N + ROPE) / 4u;
const DEEP4: u32 = 4u;            // fours of columns that go through workgroup memory
const STRIDE: u32 = DEEP4 + 1u;   // against bank conflicts

var<workgroup> latents: array<vec4f, 64u * STRIDE>;
var<workgroup> matrix: array<vec4f, 64u * STRIDE>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let first = group.y * 64u;
  let total = rooms[batch.segments].z;
  if (first >= total) { return; }
  if (group.x * 64u >= N) {
    copyTurned(lane, first, total);
    return;
  }
  let row = lane / 16u;
  let column = lane % 16u;
  // repeat i LANE_ROWS
  var sum$i = vec4f(0.0);
  // end
  // Entries past the last repeat it and are not stored.
  let at = lane / DEEP4;
  let source = sourceOf(min(first + at, total - 1u));
  for (var k0 = 0u; k0 < RANK / 4u; k0 += DEEP4) {
    let k4 = k0 + lane % DEEP4;
    var x = vec4f(0.0);
    var w = vec4f(0.0);
    if (k4 < RANK / 4u) {
      x = cacheLoad4(source + 4u * k4);
      w = weight4(min(group.x * 64u + at, N - 1u), k4, params.rowWords);
    }
    latents[at * STRIDE + lane % DEEP4] = x;
    // A lane's four rows of the matrix are 16 apart here: lanes beside each other read rows beside each other.
    matrix[(at % 4u * 16u + at / 4u) * STRIDE + lane % DEEP4] = w;
    workgroupBarrier();
    for (var d = 0u; d < params.deep4; d++) {
      let w0 = matrix[column * STRIDE + d];
      let w1 = matrix[(column + 16u) * STRIDE + d];
      let w2 = matrix[(column + 32u) * STRIDE + d];
      let w3 = matrix[(column + 48u) * STRIDE + d];
      // repeat i LANE_ROWS
      let a$i = latents[(row + $iu * 16u) * STRIDE + d];
      sum$i += vec4f(dot(a$i, w0), dot(a$i, w1), dot(a$i, w2), dot(a$i, w3));
      // end
    }
    workgroupBarrier();
  }
  let n4 = group.x * 16u + column;
  // repeat i LANE_ROWS
  let entry$i = first + row + $iu * 16u;
  if (entry$i < total && n4 < N / 4u) { out[entry$i * ROW4 + n4] = sum$i; }
  // end
}

// Where an entry's latent is in the pool, in elements.
fn sourceOf(entry: u32) -> u32 {
  var s = 0u;
  while (entry >= rooms[s + 1u].z) { s++; }
  let room = rooms[s];
  let index = room.x + entry - room.z;
  return latentAt(pageOf(room.w, index).page, index);
}

fn copyTurned(lane: u32, first: u32, total: u32) {
  for (var i = lane; i < min(64u, total - first) * (ROPE / 4u); i += 256u) {
    let entry = first + i / (ROPE / 4u);
    let e = i % (ROPE / 4u);
    out[entry * ROW4 + N / 4u + e] = cacheLoad4(sourceOf(entry) + RANK + 4u * e);
  }
}
