// Joining partial results (O, m, l) of one row's head, and the end of it. Shared by all paths, so that the same splits
// give the same bits wherever they are joined.

// The factor that brings sums of exp(s − old) to exp(s − now). Exactly 1 where nothing changes: exp(0) need not be.
fn rescale(old: f32, now: f32) -> f32 {
  return select(exp(old - now), 1.0, old == now);
}

fn joined(sum: vec4f, a: f32, part: vec4f, b: f32) -> vec4f {
  return sum * a + part * b;
}

// The (m, l) of two partial results together.
fn joinedStats(sum: vec2f, part: vec2f) -> vec2f {
  let top = max(sum.x, part.x);
  return vec2f(top, sum.y * rescale(sum.x, top) + part.y * rescale(part.x, top));
}

// O over its divisor. A sink is a score without a value: it takes part in the divisor only. What saw nothing is zero.
fn finished(sum: vec4f, stats: vec2f, head: u32) -> vec4f {
  if (!SINKS) { return sum / max(stats.y, 1e-30); }
  let sink = sinkOf(head);
  let all = joinedStats(stats, vec2f(sink, 1.0));
  return sum * rescale(stats.x, all.x) / all.y;
}
