// Cache entries as f16; pool: array<vec2u>, four elements each. Offsets count elements and are multiples of 4.
fn cacheLoad4(at: u32) -> vec4f {
  let words = pool[at / 4u];
  return vec4f(unpack2x16float(words.x), unpack2x16float(words.y));
}

// The factors of an entry's key and value.
fn cacheScales(entry: u32) -> vec2f {
  return vec2f(1.0);
}
