// Linear layer over 1 to 8 rows: y[m, n] = Σ_k x[m, k] · w[n, k], bound by how fast the weights can be read.
//
// x:       [M, K / 4] vec4f;  GATHER: row m of the result is row samples[m].row of x
// weights: [N, rowWords / 4] vec4u in the layout of the blocks_ fragment; a part of a larger matrix starts at row rowStart
// gain:    [K / 4] vec4f, NORM only: x is RMS-normalised (Zhang & Sennrich 2019): (x ⊙ (gain + gainOffset)) · r, with
//          r = rsqrt(mean(x²) + eps); r is one number a row, so it is applied to the sums (deferred), and costs no pass
// out, bias, residual: see fragments/epilogue.wgsl
// grid: (⌈rows of the part / (ROWS · WORKGROUP / lanes)⌉ folded into x and z, ⌈M / COLUMNS⌉), WORKGROUP lanes
//
// params.lanes lanes share ROWS weight rows: a lane takes every lanes-th block (one vec4u: 32 weights of 4 bits … 4 of f32)
// of them, unpacks it once for COLUMNS rows of x, and applies the group's scale and zero once a block. Each result is
// summed in the same order whatever COLUMNS and M are.
// Lines between "repeat" and "end" stand once for each value of $r, $m, $j (kernels/unroll.ts).

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let first = group.y * COLUMNS;
  if (first >= total) { return; }

  let k = lane & (params.lanes - 1u);
  let n = ((group.z * groups.x + group.x) * (WORKGROUP / params.lanes) + lane / params.lanes) * ROWS;
  let columns4 = params.columns / 4u;
  // Rows past the end repeat the last one and are not stored: the barriers below need every lane.
  // repeat r ROWS
  let row$r = min(n + $ru, params.rowCount - 1u);
  // end
  // repeat m COLUMNS
  let x$m = xStart(min(first + $mu, total - 1u));
  var squares$m = 0.0;
  // repeat r ROWS
  var acc$m_$r = 0.0;
  // end
  // end

  for (var block = k; block * BLOCK4 < columns4; block += params.lanes) {
    // repeat r ROWS
    var block$r = weights[row$r * (params.rowWords / 4u) + block];
    // end
    // repeat m COLUMNS
    var sum$m = 0.0;
    // repeat r ROWS
    var part$m_$r = 0.0;
    // end
    // end
    // A part of the block at a time; all of it at once where few columns keep the code small.
    for (var k4 = block * BLOCK4; k4 < (block + 1u) * BLOCK4; k4 += CHUNKS) {
      // repeat j CHUNKS
      {
        let inside = k4 + $ju < columns4;
        let gain4 = select(vec4f(0.0), gainAt(k4 + $ju), inside);
        // repeat r ROWS
        let w$r = chunk(block$r, $ju);
        // end
        // repeat m COLUMNS
        {
          var v = select(vec4f(0.0), x[x$m + k4 + $ju], inside);
          if (NORM) {
            squares$m += dot(v, v);
            v *= gain4;
          }
          if (OFFSET) { sum$m += dot(v, vec4f(1.0)); }
          // repeat r ROWS
          part$m_$r += dot(v, w$r);
          // end
        }
        // end
      }
      // end
      // repeat r ROWS
      block$r = nextPart(block$r);
      // end
    }
    // repeat r ROWS
    {
      let scale = blockScale(row$r, block, params.rowWords);
      let zero = blockZero(row$r, block, params.rowWords);
      // repeat m COLUMNS
      if (GROUPED) { acc$m_$r += scale * (part$m_$r - zero * sum$m); } else { acc$m_$r += part$m_$r; }
      // end
    }
    // end
  }

  // PASS columns at a time go through the sums over lanes, so that they fit workgroup memory.
  // repeat m COLUMNS
  // repeat r ROWS
  giveLane($mu % PASS * SLOTS_A_COLUMN + $ru, lane, acc$m_$r);
  // end
  if (NORM) { giveLane($mu % PASS * SLOTS_A_COLUMN + ROWS, lane, squares$m); }
  if ($mu % PASS == PASS - 1u) {
    addLanes(lane);
    finish(lane, k, n, first + $mu / PASS * PASS, total);
    workgroupBarrier();
  }
  // end
}

// The lanes of a group share out the pairs of results of PASS columns.
fn finish(lane: u32, k: u32, n: u32, first: u32, total: u32) {
  for (var i = k; i < PASS * (ROWS / 2u); i += params.lanes) {
    let column = i / (ROWS / 2u);
    let pair = 2u * (i % (ROWS / 2u));
    let slot = column * SLOTS_A_COLUMN;
    var y = vec2f(laneSum(slot + pair, lane - k), laneSum(slot + pair + 1u, lane - k));
    if (NORM) { y *= inverseSqrt(laneSum(slot + ROWS, lane - k) * params.invColumns + params.eps); }
    if (first + column < total) { storePair(first + column, n + pair, y); }
  }
}
