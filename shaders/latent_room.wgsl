// Which entries of each segment's sequence are expanded into keys and values of heads: as many of the last ones as there is
// room for, or none; the rest is attended to in the space of latents. Segments take their room in order.
//
// With X = rank · (nope + value), T rows that see S entries cost, in multiply-adds a head,
//   absorbed: T · X + T · S · (2 rank + rope),  expanded: S · X + T · S · (nope + rope + value),
// so that expanding all pays where S · X < T · (X + S · saved), saved being 2 rank − nope − value. To expand a part leaves the
// T · X where it is, and pays where T · saved > X. A decode row beside a prompt, T being one and S large, stays absorbed.
//
// rooms: [segments + 1] (first, end, base, slot): entries [first, end) are expanded, the first of them being the base-th of
//        all; behind the last segment the base is how many there are
// grid:  (1), one lane: segments are few
@compute @workgroup_size(1)
fn main() {
  var base = 0u;
  for (var s = 0u; s < batch.segments; s++) {
    let segment = segments[s];
    let end = states[segment.slot].length + segment.count;
    let taken = worthExpanding(end, f32(segment.count), params.entries - base);
    rooms[s] = vec4u(end - taken, end, base, segment.slot);
    base += taken;
  }
  rooms[batch.segments] = vec4u(0u, 0u, base, 0u);
}

fn worthExpanding(end: u32, t: f32, left: u32) -> u32 {
  let part = t * params.saved > params.expansion;
  let all = end <= left && f32(end) * params.expansion < t * (params.expansion + f32(end) * params.saved);
  return select(0u, min(end, left), part || all);
}
