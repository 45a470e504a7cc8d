// Rows all of whose entries are expanded (latent_room.wgsl) have nothing to absorb.
fn skips(first: u32) -> bool {
  for (var m = first; m < min(first + TILE, batch.rows); m++) {
    if (rooms[rows[m].segment].x > 0u) { return false; }
  }
  return true;
}
