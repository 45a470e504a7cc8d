// The write of one key and value to their page. Each lane of the vector has elements 4·unit … 4·unit + 3 of both.
// pool: this layer's pages: keys [page][KV_HEADS][PAGE][HEAD_DIM], values likewise with VALUE_DIM from params.valueOffset,
//       scales [page][KV_HEADS][PAGE] from word params.scaleOffset (int8)
var<workgroup> tops: array<vec2f, LANES>;

// Every lane of the workgroup has to come here; `holds` says which of them have elements to write.
fn writeEntry(lane: u32, holds: bool, row: Row, kvHead: u32, key: vec4f, value: vec4f) {
  let unit = lane % UNITS;
  var scales = vec2u(0u);
  if (SCALED) {
    tops[lane] = vec2f(largest(key), largest(value));
    workgroupBarrier();
    var top = vec2f(0.0);
    let first = min(lane - unit, LANES - UNITS);
    for (var i = 0u; i < params.units; i++) { top = max(top, tops[first + i]); }
    scales = vec2u(cacheScale(top.x), cacheScale(top.y));
  }
  if (!holds) { return; }
  let index = states[row.slot].length + row.offset;
  let entry = entryOf(pageOf(row.slot, index).page, index, kvHead);
  let e = 4u * unit;
  if (e < HEAD_DIM) { cacheStore4(entry * HEAD_DIM + e, key, scales.x); }
  if (e < VALUE_DIM) { cacheStore4(params.valueOffset + entry * VALUE_DIM + e, value, scales.y); }
  if (SCALED && unit == 0u) { pool[params.scaleOffset + entry] = scales.x | (scales.y << 16u); }
}

fn largest(v: vec4f) -> f32 {
  let a = abs(v);
  return max(max(a.x, a.y), max(a.z, a.w));
}
