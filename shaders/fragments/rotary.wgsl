// Rotary embedding (Su et al. 2021) of a vector's first ROTARY elements, four at a time. Element j turns with another:
// INTERLEAVED with its neighbour (GPT-J), otherwise with the one half a rotary part away (GPT-NeoX).
//
// near: [256, REGIMES, ROTARY / 2] vec2f (cos, sin) of angle(position mod 256)
// far:  [⌈context / 256⌉, REGIMES, ROTARY / 2] vec2f of angle(256 · ⌊position / 256⌋): the two are combined by angle addition,
//       so that tables stay small at long contexts. Computed on the host in float64: sin of WGSL is good to 2⁻¹¹ only.
//       The regimes of a position stand beside each other, so that no stride depends on the context.
const HALF: u32 = ROTARY / 2u;

// The regime of a slot's request. A model that has one does not read it.
fn regimeOf(slot: u32) -> u32 {
  if (REGIMES == 1u) { return 0u; }
  return states[slot].regime;
}

// The element that element j turns with; j itself past the rotary part.
fn partnerOf(j: u32) -> u32 {
  if (j >= ROTARY) { return j; }
  if (INTERLEAVED) { return j ^ 1u; }
  return select(j - HALF, j + HALF, j < HALF);
}

// Elements e … e + 3, e a multiple of 4, turned by the position's angles in a regime; `partner` are the elements they turn
// with.
fn rotated(own: vec4f, partner: vec4f, e: u32, position: u32, regime: u32) -> vec4f {
  if (e >= ROTARY) { return own; }
  let j = vec4u(e, e + 1u, e + 2u, e + 3u);
  var angle = select(j - HALF, j, j < vec4u(HALF));
  var leads = j < vec4u(HALF);
  if (INTERLEAVED) {
    angle = j / 2u;
    leads = (j & vec4u(1u)) == vec4u(0u);
  }
  let a = turn(position, regime, angle.x);
  let b = turn(position, regime, angle.y);
  let c = turn(position, regime, angle.z);
  let d = turn(position, regime, angle.w);
  let sine = vec4f(a.y, b.y, c.y, d.y);
  return own * vec4f(a.x, b.x, c.x, d.x) + partner * select(sine, -sine, leads);
}

// (cos, sin) of an angle at a position
fn turn(position: u32, regime: u32, angle: u32) -> vec2f {
  let lo = near[((position & 255u) * REGIMES + regime) * HALF + angle];
  let hi = far[((position >> 8u) * REGIMES + regime) * HALF + angle];
  return vec2f(hi.x * lo.x - hi.y * lo.y, hi.y * lo.x + hi.x * lo.y);
}
