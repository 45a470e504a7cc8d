// Where sample.wgsl takes its logits from: processed ones, LOWEST where a filter drops the token.
// processed: [samples, vocab] f32 from process.wgsl
// cuts:      [samples] from filter.wgsl
fn logitOf(s: u32, slot: u32, token: u32) -> f32 {
  let x = processed[s * params.vocab + token];
  let cut = cuts[s];
  let temperature = options[slot].temperature;
  let near = temperature <= 0.0 || (x - cut.top) * inverseTemperature(temperature) >= options[slot].logMinP;
  return select(LOWEST, x, near && isKept(cut, rankOf(x), token));
}
