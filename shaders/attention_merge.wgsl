// The join of partial attention results over different keys of the same rows (Flash-Decoding's splits; cascades, Ye et al.
// 2024; token trees), in order, so that where they lie does not matter.
//
// a:    [rows, params.partsA, HEADS, VALUE_DIM + 4] f32: O, m, l, 0, 0 of each head
// b:    likewise with params.partsB, joined after all of a
// out:  [rows, HEADS, VALUE_DIM] f32; EMIT: again a partial result, [rows, HEADS, VALUE_DIM + 4] f32
// grid: (⌈HEADS · VALUE_DIM / 4 / 64⌉, rows), 64 lanes, each four elements of one head
const VALUE4: u32 = VALUE_DIM / 4u;
const RECORD4: u32 = VALUE4 + 1u;
const LOWEST: f32 = -1e30;

struct Partial {
  sum: vec4f,
  stats: vec2f,  // (m, l)
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = id.y;
  let head = id.x / VALUE4;
  let column = id.x % VALUE4;
  if (m >= batch.rows || head >= HEADS) { return; }
  var all = Partial(vec4f(0.0), vec2f(LOWEST, 0.0));
  for (var i = 0u; i < params.partsA; i++) {
    let at = ((m * params.partsA + i) * HEADS + head) * RECORD4;
    all = plus(all, a[at + VALUE4].xy, a[at + column]);
  }
  for (var i = 0u; i < params.partsB; i++) {
    let at = ((m * params.partsB + i) * HEADS + head) * RECORD4;
    all = plus(all, b[at + VALUE4].xy, b[at + column]);
  }
  if (EMIT) {
    out[(m * HEADS + head) * RECORD4 + column] = all.sum;
    if (column == 0u) { out[(m * HEADS + head) * RECORD4 + VALUE4] = vec4f(all.stats, 0.0, 0.0); }
  } else {
    out[(m * HEADS + head) * VALUE4 + column] = finished(all.sum, all.stats, head);
  }
}

// A part over no keys has no O: nobody has written it.
fn plus(all: Partial, stats: vec2f, sum: vec4f) -> Partial {
  if (!(stats.y > 0.0)) { return all; }
  let top = max(all.stats.x, stats.x);
  return Partial(
    joined(all.sum, rescale(all.stats.x, top), sum, rescale(stats.x, top)),
    joinedStats(all.stats, stats),
  );
}
