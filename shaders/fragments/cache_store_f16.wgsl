// Four neighbouring elements of the cache, f16. Offsets count elements and are multiples of 4. Values past f16's range
// are clamped: an infinite key would turn a whole row of attention into NaN.
const SCALED: bool = false;

fn cacheStore4(at: u32, v: vec4f, scale: u32) {
  let c = clamp(v, vec4f(-65504.0), vec4f(65504.0));
  pool[at / 2u] = pack2x16float(c.xy);
  pool[at / 2u + 1u] = pack2x16float(c.zw);
}

fn cacheScale(top: f32) -> u32 { return 0u; }
