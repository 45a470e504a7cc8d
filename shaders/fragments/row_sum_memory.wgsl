// The sum of what all LANES lanes give, by workgroup memory: a tree. Every lane gets it. Its twin is row_sum_subgroups.
var<workgroup> rowSums: array<vec2f, LANES>;

fn rowSum(lane: u32, v: vec2f) -> vec2f {
  rowSums[lane] = v;
  for (var distance = LANES / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if (lane < distance) { rowSums[lane] += rowSums[lane + distance]; }
  }
  workgroupBarrier();
  let sum = rowSums[0];
  workgroupBarrier();
  return sum;
}
