// Cache entries as f16, two a word. Offsets count elements and are multiples of 4.
fn cacheLoad4(at: u32) -> vec4f {
  return vec4f(unpack2x16float(pool[at / 2u]), unpack2x16float(pool[at / 2u + 1u]));
}
