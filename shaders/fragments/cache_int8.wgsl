// Cache entries as signed bytes; pool: array<u32>, four elements each. Offsets count elements and are multiples of 4.
fn cacheLoad4(at: u32) -> vec4f {
  return vec4f(unpack4xI8(pool[at / 4u]));
}

// The factors of an entry's key and value: two halves of one word.
fn cacheScales(entry: u32) -> vec2f {
  return unpack2x16float(pool[params.scaleOffset + entry]);
}
