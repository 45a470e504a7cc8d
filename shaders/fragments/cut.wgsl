// The order of a row's tokens, and where the filters cut it: the larger logit first, the lower token of equals.
struct Cut {
  rank: u32,   // of the last token that is kept
  token: u32,
  top: f32,    // the largest logit
}

// Ascending where logits descend; both zeros are one.
fn rankOf(x: f32) -> u32 {
  let bits = select(bitcast<u32>(x), 0u, bitcast<u32>(x) == 0x80000000u);
  return select(0x7fffffffu - bits, bits, bits >= 0x80000000u);
}

fn logitOfRank(rank: u32) -> f32 {
  return bitcast<f32>(select(0x7fffffffu - rank, rank, rank >= 0x80000000u));
}

fn isKept(cut: Cut, rank: u32, token: u32) -> bool {
  return rank < cut.rank || (rank == cut.rank && token <= cut.token);
}
