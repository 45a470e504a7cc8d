// Cache entries in workgroup memory: f16 as they are in the pool, in half the room.
alias Tile4 = vec4<f16>;

fn cacheTile4(at: u32) -> Tile4 {
  return bitcast<vec4<f16>>(pool[at / 4u]);
}
