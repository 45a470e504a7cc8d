// Repeatable random words, for measuring: words[i] = (hash(i, seed) & keep) | fixed.
//
// words: [count] vec4u, whole
// keep, fixed: which bits are random and which are given, so that every word is a number of a sane size in its format
//
// grid: ⌈count / 256⌉ folded into x and y, 256 lanes: four words each. The hash is PCG4D (fragments/random.wgsl), a pure
// function of place and seed, so that every device gets the same bits.

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let i = (group.y * groups.x + group.x) * 256u + lane;
  if (i >= params.count) { return; }
  words[i] = (pcg4d(vec4u(i, params.seed, 0u, 0u)) & vec4u(params.keep)) | vec4u(params.fixed);
}
