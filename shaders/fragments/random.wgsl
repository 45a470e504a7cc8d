// Random numbers as a pure function of (seed, draw, token): the same whatever lane asks, so a draw does not depend on
// the grid. PCG4D (Jarzynski & Olano 2020, "Hash Functions for GPU Rendering").
fn pcg4d(input: vec4u) -> vec4u {
  var v = input * 1664525u + 1013904223u;
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w;
  v.y += v.z * v.x;
  v.z += v.x * v.y;
  v.w += v.y * v.z;
  return v;
}

// A Gumbel variate, −ln(E) with E exponential. The largest of logit + Gumbel is a draw from softmax(logit).
fn gumbel(seed: u32, draw: u32, token: u32) -> f32 {
  let bits = pcg4d(vec4u(token, draw, seed, 0x7e55e2au)).x;
  // u in (0, 1), E = −ln(1 − u). Small u decide, so they keep their precision: near 0 the series, not 1 − u. The last
  // number below 1 stands for those that round to 1, whose E would be infinite.
  let u = min((f32(bits) + 0.5) * 0x1p-32, 0x0.ffffffp0);
  let series = u * (1.0 + u * (0.5 + u * 0.33333333));
  let e = select(-log(1.0 - u), series, u < 0.0078125);
  return -log(e);
}
