// Counts a drawn token where its slot has penalties.
// counts: [slots, vocab] u32, see IN_PROMPT
fn countDrawn(slot: u32, token: u32) {
  if (options[slot].penalties == 0u || token >= params.vocab) { return; }
  counts[slot * params.vocab + token] += 1u;
}
