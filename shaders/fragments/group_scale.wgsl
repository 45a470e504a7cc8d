// The scale of a group: two f16 to a word, from scalesAt on.
fn groupScale(scalesAt: u32, group: u32) -> f32 {
  let pair = unpack2x16float(weights[scalesAt + group / 2u]);
  return select(pair.x, pair.y, (group & 1u) == 1u);
}
