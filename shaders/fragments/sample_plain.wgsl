// Where sample.wgsl takes its logits from: straight from the head, LOWEST where they are not allowed.
// logits: [samples, vocab] f32
// mask:   [slots, ⌈vocab / 32⌉] allowed tokens, read where the sample is masked
fn logitOf(s: u32, slot: u32, token: u32) -> f32 {
  let word = slot * ((params.vocab + 31u) / 32u) + token / 32u;
  if (samples[s].masked == 1u && !isAllowed(mask[word], token)) { return LOWEST; }
  return logits[s * params.vocab + token];
}
