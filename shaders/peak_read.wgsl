// What this device can read: streams a buffer once, 16 bytes a load, and keeps next to nothing.
//
// data: [count] vec4u
// out:  [groups · 256] u32, the exclusive or of all words that a lane has read; it keeps the loads from being optimised away
//
// grid: ⌈count / (256 · perLane)⌉ folded into x and y, 256 lanes: a workgroup reads a run of 256 · perLane vectors, its lanes
// side by side.

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let index = group.y * groups.x + group.x;
  let first = index * 256u * params.perLane + lane;
  var sum = vec4u(0u);
  for (var i = 0u; i < params.perLane; i++) {
    let at = first + i * 256u;
    if (at < params.count) { sum ^= data[at]; }
  }
  let slot = index * 256u + lane;
  if (slot < params.lanes) { out[slot] = sum.x ^ sum.y ^ sum.z ^ sum.w; }
}
