// What this device can multiply and add: eight independent chains of vec4, so that latency is hidden.
//
// out: [lanes] f32, the sum of all chains; x ← x · factor + addend, 4 · rounds times
//
// grid: ⌈lanes / 256⌉ folded into x and y, 256 lanes. A lane does 256 · rounds floating-point operations, the multiply and the
// add of an fma counted as two. V is vec4f or vec4h, by the fragment.

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let index = (group.y * groups.x + group.x) * 256u + lane;
  let b = V(E(params.factor));
  let c = V(E(params.addend));
  // Starts differ in every chain and component: none can be found to be another's copy.
  let start = V(E(lane % 32u)) * E(0.03125) + V(E(0.0), E(0.25), E(0.5), E(0.75));
  var x0 = start;
  var x1 = start + V(E(1.0));
  var x2 = start + V(E(2.0));
  var x3 = start + V(E(3.0));
  var x4 = start + V(E(4.0));
  var x5 = start + V(E(5.0));
  var x6 = start + V(E(6.0));
  var x7 = start + V(E(7.0));
  for (var i = 0u; i < params.rounds; i++) {
    x0 = fma(x0, b, c); x1 = fma(x1, b, c); x2 = fma(x2, b, c); x3 = fma(x3, b, c);
    x4 = fma(x4, b, c); x5 = fma(x5, b, c); x6 = fma(x6, b, c); x7 = fma(x7, b, c);
    x0 = fma(x0, b, c); x1 = fma(x1, b, c); x2 = fma(x2, b, c); x3 = fma(x3, b, c);
    x4 = fma(x4, b, c); x5 = fma(x5, b, c); x6 = fma(x6, b, c); x7 = fma(x7, b, c);
    x0 = fma(x0, b, c); x1 = fma(x1, b, c); x2 = fma(x2, b, c); x3 = fma(x3, b, c);
    x4 = fma(x4, b, c); x5 = fma(x5, b, c); x6 = fma(x6, b, c); x7 = fma(x7, b, c);
    x0 = fma(x0, b, c); x1 = fma(x1, b, c); x2 = fma(x2, b, c); x3 = fma(x3, b, c);
    x4 = fma(x4, b, c); x5 = fma(x5, b, c); x6 = fma(x6, b, c); x7 = fma(x7, b, c);
  }
  let low = vec4f(x0) + vec4f(x1) + vec4f(x2) + vec4f(x3);
  let high = vec4f(x4) + vec4f(x5) + vec4f(x6) + vec4f(x7);
  if (index < params.lanes) { out[index] = dot(low + high, vec4f(1.0)); }
}
