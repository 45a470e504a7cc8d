// Four neighbouring elements of the cache, f32. Offsets count elements and are multiples of 4.
const SCALED: bool = false;

fn cacheStore4(at: u32, v: vec4f, scale: u32) {
  let bits = bitcast<vec4u>(v);
  pool[at] = bits.x;
  pool[at + 1u] = bits.y;
  pool[at + 2u] = bits.z;
  pool[at + 3u] = bits.w;
}

fn cacheScale(top: f32) -> u32 { return 0u; }
