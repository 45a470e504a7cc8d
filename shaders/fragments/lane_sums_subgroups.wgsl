// Sums over the params.lanes lanes that share weight rows, by subgroups of any size, and what is left by workgroup memory.
// Its twin is lane_sums_memory. Which lanes a subgroup has is asked, not assumed: where they are not consecutive (no driver
// is known to do so), each lane's value goes through memory.
var<workgroup> laneValues: array<f32, SLOTS * WORKGROUP>;
// Consecutive lanes whose values are one sum already.
var<private> reach: u32 = 1u;

// Every lane gives its value for each of params.slots slots …
fn giveLane(slot: u32, lane: u32, value: f32) { laneValues[slot * WORKGROUP + lane] = value; }

// … then all of them add up …
fn addLanes(lane: u32) {
  let size = subgroupAdd(1u);
  let consecutive = subgroupAll((lane & (size - 1u)) == subgroupExclusiveAdd(1u));
  reach = select(1u, min(size, params.lanes), consecutive);
  for (var slot = 0u; slot < params.slots; slot++) {
    var sum = laneValues[slot * WORKGROUP + lane];
    for (var distance = 1u; distance < params.lanes; distance *= 2u) {
      let other = subgroupShuffleXor(sum, distance);
      sum += select(0.0, other, distance < reach);
    }
    if ((lane & (reach - 1u)) == 0u) { laneValues[slot * WORKGROUP + lane] = sum; }
  }
  workgroupBarrier();
}

// … and the sum is read, `first` being the first of the lanes.
fn laneSum(slot: u32, first: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < params.lanes; i += reach) { sum += laneValues[slot * WORKGROUP + first + i]; }
  return sum;
}
