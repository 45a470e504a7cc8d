// Where attention_tile.wgsl finds queries, keys and values: in one run of queries, and in the pages of a cache.
fn placeOf(s: u32) -> Place { return Place(segments[s].slot, 0u, 0xffffffffu); }

fn query4(row: u32, head: u32, d: u32) -> vec4f { return q[(row * HEADS + head) * DIM4 + d]; }

fn keyTile4(entry: u32, head: u32, d: u32) -> Tile4 { return cacheTile4(entry * HEAD_DIM + 4u * d); }

fn valueTile4(entry: u32, head: u32, v: u32) -> Tile4 {
  return cacheTile4(params.valueOffset + entry * VALUE_DIM + 4u * v);
}
