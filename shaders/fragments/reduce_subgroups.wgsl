// The merge of what all LANES know, by subgroups of any size; `best[0]` and lane 0 have it. The tree is that of
// reduce_workgroup.wgsl: what a subgroup does not reach, lane 0 merges in the same order.
var<workgroup> best: array<Partial, LANES>;

fn reduced(mine: Partial, lane: u32) -> Partial {
  var all = mine;
  let size = subgroupAdd(1u);  // lanes of this subgroup that there are: at most LANES
  for (var step = 1u; step < LANES; step *= 2u) {
    let other = Partial(
      subgroupShuffleXor(all.key, step),
      subgroupShuffleXor(all.token, step),
      subgroupShuffleXor(all.top, step),
      subgroupShuffleXor(all.sum, step),
    );
    if (step < size) { all = merge(all, other); }
  }
  best[lane] = all;
  workgroupBarrier();
  if (lane == 0u) {
    for (var step = size; step < LANES; step *= 2u) {
      for (var i = 0u; i < LANES; i += 2u * step) { best[i] = merge(best[i], best[i + step]); }
    }
  }
  return best[lane];
}
