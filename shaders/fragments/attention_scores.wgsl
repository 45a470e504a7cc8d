// What attention makes of raw scores, and how partial results join. A partial result over some of a row's keys is (O, m, l)
// for each head: the greatest score m, l = Σ exp(s − m) and O = Σ exp(s − m) · V. Over no keys it is (0, LOWEST, 0).
const LOWEST: f32 = -1e30;  // finite: (−inf) − (−inf) is NaN

// Soft-cap (Gemma 2): cap · tanh(s / cap), for four heads or rows at a time.
fn capped(s: vec4f) -> vec4f {
  if (params.softcap == 0.0) { return s; }
  // tanh(15) is 1 in f32, and some drivers make NaN of tanh of large numbers.
  return params.softcap * tanh(clamp(s / params.softcap, vec4f(-15.0), vec4f(15.0)));
}

// The bit of a token tree: rows of the own segment may be hidden, from the 33rd on they never are.
fn inTree(index: u32, start: u32, ancestors: vec4u) -> vec4<bool> {
  let bit = index - start;
  let shown = (ancestors >> vec4u(bit & 31u)) & vec4u(1u);
  return vec4<bool>(index < start || bit >= 32u) | (shown == vec4u(1u));
}

fn distance(query: u32, key: u32) -> f32 {
  return f32(abs(i32(query - key)));
}
