// The least that a dispatch can do: counts itself. What it takes is what one more dispatch costs.
//
// out: [1] u32, one more for each dispatch. Each needs the one before it, as the layers of a model do.
//
// grid: 1, a single lane.

@compute @workgroup_size(1)
fn main() {
  out[0] += 1u;
}
