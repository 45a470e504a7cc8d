// The sum of what all LANES lanes give, by subgroups of any size; every lane gets it. One lane of each subgroup leaves its
// sum, and each subgroup adds these up. Which lanes make a subgroup does not matter. Its twin is row_sum_memory.
var<workgroup> rowSums: array<vec2f, LANES>;

fn rowSum(lane: u32, v: vec2f) -> vec2f {
  let own = subgroupAdd(v);
  rowSums[lane] = select(vec2f(0.0), own, subgroupElect());
  workgroupBarrier();
  let size = subgroupAdd(1u);
  var sum = vec2f(0.0);
  for (var i = subgroupExclusiveAdd(1u); i < LANES; i += size) { sum += rowSums[i]; }
  workgroupBarrier();
  return subgroupAdd(sum);
}
