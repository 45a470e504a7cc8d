// Where attention_tile.wgsl finds what latent_expand.wgsl made: rows of each head's key without its rotated part, and value,
// head after head, then the rotated part that all share. Queries are split likewise: what does not rotate is where the linear
// layer left it, what does is behind each head's absorbed query.
//
// q:        [rows, Q_WIDTH] f32, NOPE + ROPE elements a head
// turned:   [rows, HEADS, RANK + ROPE] f32
// rooms:    latent_room.wgsl
// expanded: [entries, HEADS · (NOPE + VALUE) + ROPE] f32
alias Tile4 = vec4f;

const NOPE4: u32 = NOPE / 4u;
const PAIR4: u32 = (NOPE + VALUE) / 4u;
const ROW4: u32 = HEADS * PAIR4 + ROPE / 4u;

// Entry i of the sequence is row at + i; below the first of them the sum wraps around, and nobody reads there.
fn placeOf(s: u32) -> Place {
  let room = rooms[s];
  return Place(room.z - room.x, room.x, room.y);
}

fn pageOf(at: u32, index: u32) -> Page { return Page(at, 0u); }

fn entryOf(at: u32, index: u32, head: u32) -> u32 { return at + index; }

fn query4(row: u32, head: u32, d: u32) -> vec4f {
  if (d < NOPE4) { return q[row * (Q_WIDTH / 4u) + head * DIM4 + d]; }
  return turned[(row * HEADS + head) * ((RANK + ROPE) / 4u) + RANK / 4u + d - NOPE4];
}

fn keyTile4(entry: u32, head: u32, d: u32) -> Tile4 {
  if (d < NOPE4) { return expanded[entry * ROW4 + head * PAIR4 + d]; }
  return expanded[entry * ROW4 + HEADS * PAIR4 + d - NOPE4];
}

fn valueTile4(entry: u32, head: u32, v: u32) -> Tile4 { return expanded[entry * ROW4 + head * PAIR4 + NOPE4 + v]; }

fn cacheScales(entry: u32) -> vec2f { return vec2f(1.0); }
