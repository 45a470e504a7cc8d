// Reductions over runs of 16 lanes in workgroup memory. Lanes from REDUCING on take part in the barriers only.
const KEY_LANES: u32 = 1u;  // lanes that share the dot product of one key
var<workgroup> scratch: array<vec4f, REDUCING>;

fn sumOverKey(v: vec4f) -> vec4f {
  return v;
}

fn max16(lane: u32, v: vec4f) -> vec4f {
  let first = shareLanes(lane, v);
  var all = v;
  for (var i = 0u; i < params.sixteen; i++) { all = max(all, scratch[first + i]); }
  workgroupBarrier();
  return all;
}

fn sum16(lane: u32, v: vec4f) -> vec4f {
  let first = shareLanes(lane, v);
  var all = vec4f(0.0);
  for (var i = 0u; i < params.sixteen; i++) { all += scratch[first + i]; }
  workgroupBarrier();
  return all;
}

fn shareLanes(lane: u32, v: vec4f) -> u32 {
  if (lane < REDUCING) { scratch[lane] = v; }
  workgroupBarrier();
  return min(lane, REDUCING - 1u) / 16u * 16u;
}
