// Cache entries as f32, a word each. Offsets count elements and are multiples of 4.
fn cacheLoad4(at: u32) -> vec4f {
  return bitcast<vec4f>(vec4u(pool[at], pool[at + 1u], pool[at + 2u], pool[at + 3u]));
}
