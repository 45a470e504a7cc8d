// Cache entries in workgroup memory: as f32.
alias Tile4 = vec4f;

fn cacheTile4(at: u32) -> Tile4 {
  return cacheLoad4(at);
}
