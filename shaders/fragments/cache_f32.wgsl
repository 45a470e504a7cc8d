// Cache entries as f32; pool: array<vec4f>. Offsets count elements and are multiples of 4.
fn cacheLoad4(at: u32) -> vec4f {
  return pool[at / 4u];
}

// The factors of an entry's key and value.
fn cacheScales(entry: u32) -> vec2f {
  return vec2f(1.0);
}
