// Two neighbouring elements of the cache, f32. Offsets count elements and are even.
fn cacheStore2(at: u32, v: vec2f) {
  pool[at] = bitcast<u32>(v.x);
  pool[at + 1u] = bitcast<u32>(v.y);
}
