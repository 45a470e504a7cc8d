// Adds to each expert's count how often the router chose it in this batch. Integers, so the order of adding is no matter.
//
// ids:    [T, topK] u32, the chosen experts
// counts: [E] u32, kept from step to step
// grid:   (1), 256 lanes
const LANES: u32 = 256u;
const MOST_EXPERTS: u32 = 512u;

var<workgroup> found: array<atomic<u32>, MOST_EXPERTS>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  for (var e = lane; e < params.experts; e += LANES) { atomicStore(&found[e], 0u); }
  workgroupBarrier();
  for (var i = lane; i < batch.rows * params.topK; i += LANES) { atomicAdd(&found[ids[i]], 1u); }
  workgroupBarrier();
  for (var e = lane; e < params.experts; e += LANES) { counts[e] += atomicLoad(&found[e]); }
}
