// Activations, alone and with a gate, safe for any finite argument: no exponential overflows.
// SiLU and SwiGLU: Shazeer 2020; GELU: Hendrycks & Gimpel 2016; ReLU²: So et al. 2021; the clamped SwiGLU is gpt-oss's.
// constants: ACTIVATION, one of these
const NONE: u32 = 0u;
const SILU: u32 = 1u;
const GELU_TANH: u32 = 2u;
const GELU_ERF: u32 = 3u;
const RELU: u32 = 4u;
const RELU2: u32 = 5u;
const CLAMPED: u32 = 6u;  // with a gate only

fn activate(v: f32) -> f32 {
  if (ACTIVATION == SILU) { return v * logistic(v); }
  if (ACTIVATION == GELU_TANH) { return geluTanh(v); }
  if (ACTIVATION == GELU_ERF) { return v * normalCdf(v); }
  if (ACTIVATION == RELU) { return max(v, 0.0); }
  if (ACTIVATION == RELU2) { return max(v, 0.0) * max(v, 0.0); }
  return v;
}

// limit: of CLAMPED alone
fn gated(gate: f32, up: f32, limit: f32) -> f32 {
  if (ACTIVATION == CLAMPED) {
    let g = min(gate, limit);
    return g * logistic(1.702 * g) * (clamp(up, -limit, limit) + 1.0);
  }
  return activate(gate) * up;
}

fn logistic(v: f32) -> f32 { return 1.0 / (1.0 + exp(min(-v, 80.0))); }

// ½v(1 + tanh u) = v / (1 + e^(−2u)), u = √(2/π)(v + 0.044715 v³): no difference of near numbers. Past ±16 it is v or 0.
fn geluTanh(v: f32) -> f32 {
  let near = clamp(v, -16.0, 16.0);
  return v * logistic(1.5957691216 * near * (1.0 + 0.044715 * near * near));
}

// Φ(v) = ½ erfc(−v/√2) by Abramowitz & Stegun 7.1.26, whose erfc is within 1.5e-7; the tail's side is computed, so that it
// keeps that error small against what is left there too.
fn normalCdf(v: f32) -> f32 {
  let z = min(abs(v), 13.0) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let tail = 0.5 * series * exp(-z * z);
  return select(tail, 1.0 - tail, v > 0.0);
}

// tanh within a few units of the last place: WGSL's own is only good to 1e-5.
fn preciseTanh(v: f32) -> f32 {
  let s = v * v;
  if (s < 0.09) {
    return v * (1.0 + s * (-0.33333333 + s * (0.13333333 + s * (-0.053968254 + s * (0.021869489 - s * 0.0088632355)))));
  }
  let e = exp(-2.0 * min(abs(v), 20.0));
  return sign(v) * (1.0 - e) / (1.0 + e);
}
