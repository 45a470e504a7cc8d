// A lane's share of the dot products of four weight rows with one row of x, as in matvec.wgsl: of params.lanes lanes, lane k
// takes every params.lanes-th block of the rows, and applies the group's scale and zero once a block.
// NORM: x is multiplied with the norm's gain, and the squares of x are summed beside.
// Lines between "repeat" and "end" stand once for each value of $j (kernels/unroll.ts).
struct Share {
  dots: vec4f,
  squares: f32,
}

// rows: of the part; xAt: the row of x in vec4
fn shareOf(rows: vec4u, xAt: u32, k: u32) -> Share {
  let columns4 = params.columns / 4u;
  let at = rows * (params.rowWords / 4u);
  var share = Share(vec4f(0.0), 0.0);
  for (var block = k; block * BLOCK4 < columns4; block += params.lanes) {
    var b0 = weights[at.x + block];
    var b1 = weights[at.y + block];
    var b2 = weights[at.z + block];
    var b3 = weights[at.w + block];
    var dots = vec4f(0.0);
    var sum = 0.0;
    for (var k4 = block * BLOCK4; k4 < (block + 1u) * BLOCK4; k4 += CHUNKS) {
      // repeat j CHUNKS
      {
        let inside = k4 + $ju < columns4;
        var v = select(vec4f(0.0), x[xAt + k4 + $ju], inside);
        if (NORM) {
          share.squares += dot(v, v);
          v *= select(vec4f(0.0), gainAt(k4 + $ju), inside);
        }
        if (OFFSET) { sum += dot(v, vec4f(1.0)); }
        dots += vec4f(dot(v, chunk(b0, $ju)), dot(v, chunk(b1, $ju)), dot(v, chunk(b2, $ju)), dot(v, chunk(b3, $ju)));
      }
      // end
      b0 = nextPart(b0);
      b1 = nextPart(b1);
      b2 = nextPart(b2);
      b3 = nextPart(b3);
    }
    if (GROUPED) { dots = scales(rows, block) * (dots - zeros(rows, block) * sum); }
    share.dots += dots;
  }
  return share;
}

fn scales(rows: vec4u, block: u32) -> vec4f {
  return vec4f(
    blockScale(rows.x, block, params.rowWords), blockScale(rows.y, block, params.rowWords),
    blockScale(rows.z, block, params.rowWords), blockScale(rows.w, block, params.rowWords),
  );
}

fn zeros(rows: vec4u, block: u32) -> vec4f {
  return vec4f(
    blockZero(rows.x, block, params.rowWords), blockZero(rows.y, block, params.rowWords),
    blockZero(rows.z, block, params.rowWords), blockZero(rows.w, block, params.rowWords),
  );
}

// Sums over the lanes in memory (lane_sums_): the four dots.
fn giveDots(lane: u32, dots: vec4f) {
  giveLane(0u, lane, dots.x);
  giveLane(1u, lane, dots.y);
  giveLane(2u, lane, dots.z);
  giveLane(3u, lane, dots.w);
}
