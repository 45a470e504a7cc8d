// Reductions over runs of 16 lanes, four at a time by shuffles: every subgroup has at least four lanes. Lanes from REDUCING
// on take part in shuffles and barriers only.
const KEY_LANES: u32 = 4u;  // lanes that share the dot product of one key
var<workgroup> scratch: array<vec4f, REDUCING / 4u>;

fn sumOverKey(v: vec4f) -> vec4f {
  let two = v + subgroupShuffleXor(v, 1u);
  return two + subgroupShuffleXor(two, 2u);
}

fn max16(lane: u32, v: vec4f) -> vec4f {
  let two = max(v, subgroupShuffleXor(v, 1u));
  let first = shareLanes(lane, max(two, subgroupShuffleXor(two, 2u)));
  var all = scratch[first];
  for (var i = 1u; i < 4u; i++) { all = max(all, scratch[first + i]); }
  workgroupBarrier();
  return all;
}

fn sum16(lane: u32, v: vec4f) -> vec4f {
  let first = shareLanes(lane, sumOverKey(v));
  var all = scratch[first];
  for (var i = 1u; i < 4u; i++) { all += scratch[first + i]; }
  workgroupBarrier();
  return all;
}

fn shareLanes(lane: u32, v: vec4f) -> u32 {
  if (lane < REDUCING && lane % 4u == 0u) { scratch[lane / 4u] = v; }
  workgroupBarrier();
  return min(lane, REDUCING - 1u) / 16u * 4u;
}
