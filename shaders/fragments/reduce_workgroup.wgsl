// The merge of what all LANES know, in workgroup memory; `best[0]` and lane 0 have it. Neighbours merge first, as they do
// in a subgroup of any size (reduce_subgroups.wgsl): one tree, and so the same bits.
var<workgroup> best: array<Partial, LANES>;

fn reduced(mine: Partial, lane: u32) -> Partial {
  best[lane] = mine;
  for (var step = 1u; step < LANES; step *= 2u) {
    workgroupBarrier();
    if (lane % (2u * step) == 0u) { best[lane] = merge(best[lane], best[lane + step]); }
  }
  return best[lane];
}
