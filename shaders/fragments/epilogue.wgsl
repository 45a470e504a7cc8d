// What comes after the dot products of a linear layer, on every path. For the results v of a row m:
//   v += bias;  v = activation(v), or gated(v[2j], v[2j + 1]) where rows 2j and 2j + 1 of the weight are gate and up;
//   v = cap · tanh(v / cap) with SOFT_CAP (Gemma 2);  out = scale · v + residual
// out, residual: [M, width] f32; width = N, or N / 2 with GATED; bias: [N] f32, by the whole matrix's rows.
// params: rowStart and rowCount of the weight's part, width, scale, cap, limit

// n: an even row of the part; dots: the results of rows n and n + 1 of row m
fn storePair(m: u32, n: u32, dots: vec2f) {
  if (n >= params.rowCount) { return; }
  let global = params.rowStart + n;
  let v = dots + vec2f(biasAt(global), biasAt(global + 1u));
  if (GATED) {
    storeOne(m, global / 2u, gated(v.x, v.y, params.limit));
  } else {
    storeOne(m, global, activate(v.x));
    if (n + 1u < params.rowCount) { storeOne(m, global + 1u, activate(v.y)); }
  }
}

fn storeOne(m: u32, n: u32, value: f32) {
  let at = m * params.width + n;
  var v = value;
  if (SOFT_CAP) { v = params.cap * preciseTanh(v / params.cap); }
  out[at] = params.scale * v + residualAt(at);
}
