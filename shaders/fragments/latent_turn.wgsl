// The rotated part of latent queries, ROPE elements of each head that follow the `count` absorbed ones in x: turned by the
// row's position and put behind the head's results. `fragments/rotary.wgsl` is before this.
fn turnRest(lane: u32, first: u32, head: u32) {
  for (var i = lane; i < TILE * (ROTARY / 4u); i += 64u) {
    let m = first + i / (ROTARY / 4u);
    if (m >= batch.rows) { return; }
    let e = 4u * (i % (ROTARY / 4u));
    let start = m * params.xWidth + head * params.xStep + params.count;
    let own = vec4f(x[start + e], x[start + e + 1u], x[start + e + 2u], x[start + e + 3u]);
    let partner = vec4f(
      x[start + partnerOf(e)],
      x[start + partnerOf(e + 1u)],
      x[start + partnerOf(e + 2u)],
      x[start + partnerOf(e + 3u)],
    );
    let row = rows[m];
    let turned = rotated(own, partner, e, states[row.slot].position + row.offset, regimeOf(row.slot));
    out[(m * params.outWidth + head * params.outStep + params.columns + e) / 4u] = turned;
  }
}
