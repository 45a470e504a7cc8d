// Two neighbouring elements of the cache, f16. Offsets count elements and are even. Values past f16's range are
// clamped: an infinite key would turn a whole row of attention into NaN.
fn cacheStore2(at: u32, v: vec2f) {
  pool[at / 2u] = pack2x16float(clamp(v, vec2f(-65504.0), vec2f(65504.0)));
}
