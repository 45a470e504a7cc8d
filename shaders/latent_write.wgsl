// The write of multi-head latent attention (DeepSeek-V2, 2024, §2.1): a row's compressed keys and values are RMS-normalised,
// the key that all heads share is rotated, and both go to the row's page as one vector.
//
// kv:   [rows, params.width] f32: from params.column on RANK of the compressed part, then ROPE of the key to rotate
// gain: [RANK] f32
// near, far: fragments/rotary.wgsl
// pool: this layer's pages, fragments/latent_page.wgsl
// grid: (rows), LANES lanes
@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let m = group.x;
  if (m >= batch.rows) { return; }
  let row = rows[m];
  let source = m * params.width + params.column;

  var squares = 0.0;
  for (var i = lane; i < params.rank4; i += LANES) {
    let v = kv4(source + 4u * i);
    squares += dot(v, v);
  }
  let factor = inverseSqrt(rowSum(lane, vec2f(squares, 0.0)).x * params.invRank + params.eps);

  let index = states[row.slot].length + row.offset;
  let position = states[row.slot].position + row.offset;
  let regime = regimeOf(row.slot);
  let entry = latentAt(pageOf(row.slot, index).page, index);
  for (var i = lane; i < params.rank4 + ROPE / 4u; i += LANES) {
    let at = source + 4u * i;
    var v = kv4(at);
    if (i < params.rank4) {
      v *= factor * gain[i];
    } else {
      let e = 4u * i - RANK;
      let start = source + RANK;
      let partner = vec4f(
        kv[start + partnerOf(e)],
        kv[start + partnerOf(e + 1u)],
        kv[start + partnerOf(e + 2u)],
        kv[start + partnerOf(e + 3u)],
      );
      v = rotated(v, partner, e, position, regime);
    }
    cacheStore4(entry + 4u * i, v, 0u);
  }
}

fn kv4(at: u32) -> vec4f { return vec4f(kv[at], kv[at + 1u], kv[at + 2u], kv[at + 3u]); }
