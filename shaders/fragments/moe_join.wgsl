// What joins the sum over a token's experts; each of these is there where the program has it:
// residual:  [T, rows] f32
// sharedOut: [T, rows] f32, the shared experts' output
// gate:      [T, gateStride] f32: column gateColumn is the logit whose sigmoid scales the shared part (Qwen2-MoE)
fn joined(t: u32, at: u32) -> f32 {
  return residualAt(at) + sharedAt(at) * gateAt(t);
}
