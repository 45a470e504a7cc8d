// Sums over the params.lanes lanes that share weight rows, by workgroup memory: a tree. Its twin is lane_sums_subgroups.
// Room for SLOTS values a lane; WORKGROUP lanes; params.lanes is a power of two.
var<workgroup> laneValues: array<f32, SLOTS * WORKGROUP>;

// Every lane gives its value for each of params.slots slots …
fn giveLane(slot: u32, lane: u32, value: f32) { laneValues[slot * WORKGROUP + lane] = value; }

// … then all of them add up …
fn addLanes(lane: u32) {
  for (var distance = params.lanes / 2u; distance > 0u; distance /= 2u) {
    workgroupBarrier();
    if ((lane & (params.lanes - 1u)) < distance) {
      for (var slot = 0u; slot < params.slots; slot++) {
        laneValues[slot * WORKGROUP + lane] += laneValues[slot * WORKGROUP + lane + distance];
      }
    }
  }
  workgroupBarrier();
}

// … and the sum is read, `first` being the first of the lanes.
fn laneSum(slot: u32, first: u32) -> f32 { return laneValues[slot * WORKGROUP + first]; }
