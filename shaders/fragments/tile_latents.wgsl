// Where attention_tile.wgsl finds what stays absorbed (latent_room.wgsl): a latent is the key of all heads, and its
// first VALUE_DIM elements their value.
fn placeOf(s: u32) -> Place { return Place(segments[s].slot, 0u, rooms[s].x); }

fn query4(row: u32, head: u32, d: u32) -> vec4f { return q[(row * HEADS + head) * DIM4 + d]; }

fn keyTile4(entry: u32, head: u32, d: u32) -> Tile4 { return cacheTile4(entry * HEAD_DIM + 4u * d); }

fn valueTile4(entry: u32, head: u32, v: u32) -> Tile4 { return cacheTile4(entry * HEAD_DIM + 4u * v); }
