// The rotated part of latent queries: of each head's [NOPE + ROPE] elements the last ROPE are rotated and put behind the
// head's RANK absorbed ones, which head_linear_transposed writes.
//
// q:    [rows, HEADS · (NOPE + ROPE)] f32
// near, far: fragments/rotary.wgsl
// out:  [rows, HEADS · (RANK + ROPE)] f32; only the last ROPE elements of each head are written
// grid: (⌈HEADS · ROPE / 4 / 64⌉, rows), 64 lanes, each four elements of a head
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = id.y;
  let head = id.x / (ROPE / 4u);
  if (m >= batch.rows || head >= HEADS) { return; }
  let e = 4u * (id.x % (ROPE / 4u));
  let start = (m * HEADS + head) * (NOPE + ROPE) + NOPE;
  let own = vec4f(q[start + e], q[start + e + 1u], q[start + e + 2u], q[start + e + 3u]);
  let partner = vec4f(
    q[start + partnerOf(e)],
    q[start + partnerOf(e + 1u)],
    q[start + partnerOf(e + 2u)],
    q[start + partnerOf(e + 3u)],
  );
  let row = rows[m];
  let turned = rotated(own, partner, e, states[row.slot].position + row.offset);
  out[((m * HEADS + head) * (RANK + ROPE) + RANK + e) / 4u] = turned;
}
