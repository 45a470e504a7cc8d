// The end of a step: every sequence in the batch grows by what it computed, or by what its verification accepted.
// segments: [batch.segments], states: [slots]
// grid: (⌈slots / 64⌉), 64 lanes, a segment each
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= batch.segments) { return; }
  let segment = segments[id.x];
  let grown = select(segment.count, states[segment.slot].accepted, segment.accept == 1u);
  states[segment.slot].length += grown;
  states[segment.slot].position += grown;
}
