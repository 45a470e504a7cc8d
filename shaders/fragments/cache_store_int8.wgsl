// Four neighbouring elements of the cache as signed bytes of one word: v / scale, to the nearest, |q| ≤ 127. Offsets count
// elements and are multiples of 4; the scale is given as the f16 bits that readers will find.
const SCALED: bool = true;

fn cacheStore4(at: u32, v: vec4f, scale: u32) {
  let step = unpack2x16float(scale).x;
  // A scale of zero stands for a vector too small for f16: its integers are zero.
  let inverse = select(1.0 / max(step, 0x1p-25), 0.0, step == 0.0);
  let q = clamp(v * inverse, vec4f(-127.0), vec4f(127.0));
  pool[at / 4u] = pack4xI8(vec4i(q + select(vec4f(-0.5), vec4f(0.5), q >= vec4f(0.0))));
}

// The f16 bits of a vector's scale, its largest magnitude / 127: rounded in integers, to even, so that the bits are the
// same on every device. Where that is past f16's range the largest f16 stands, and the integers are clamped.
fn cacheScale(top: f32) -> u32 {
  let scale = min(top * (1.0 / 127.0), 65504.0);
  // Below 2⁻¹⁴ f16 counts units of 2⁻²⁴; 1024 of them are the bits of 2⁻¹⁴ itself.
  if (scale < 0x1p-14) { return u32(round(scale * 0x1p24)); }
  let bits = bitcast<u32>(scale);
  return (bits + 0xfffu + ((bits >> 13u) & 1u) - 0x38000000u) >> 13u;
}
