// matvec.wgsl by integer dot products: rows of x come in 8 bits (pack_rows.wgsl), weights are quantised ones.
//
// ints:    [M, 8 · blocks] u32: 32 signed bytes a block;  scales: [M, blocks] vec2f: d, d · Σ q
// weights: [N, rowWords / 4] vec4u in a grouped layout (blocks_grouped); a lane takes 32 columns at a time, which
//          are VECS vectors of BLOCK4 words of four columns
// out, bias, residual: see fragments/epilogue.wgsl
// grid: as in matvec.wgsl
//
// For 32 columns of one group, Σ w·x = scale · (d · Σ qw·qx − zero · d · Σ qx): one integer dot of 4 a word, exact in i32.
// Lines between "repeat" and "end" stand once for each value of $r, $m, $j (kernels/unroll.ts).
const VECS: u32 = 8u / BLOCK4;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let first = group.y * COLUMNS;
  if (first >= total) { return; }

  let k = lane & (params.lanes - 1u);
  let n = ((group.z * groups.x + group.x) * (WORKGROUP / params.lanes) + lane / params.lanes) * ROWS;
  let blocks = (params.columns + 31u) / 32u;
  // Rows past the end repeat the last one and are not stored: the barriers below need every lane.
  // repeat r ROWS
  let row$r = min(n + $ru, params.rowCount - 1u);
  // end
  // repeat m COLUMNS
  let x$m = min(first + $mu, total - 1u) * blocks;
  // repeat r ROWS
  var acc$m_$r = 0.0;
  // end
  // end

  for (var block = k; block < blocks; block += params.lanes) {
    // repeat m COLUMNS
    // repeat r ROWS
    var dot$m_$r = 0;
    // end
    // end
    for (var word = 0u; word < 8u;) {
      // repeat r ROWS
      var w$r = weights[row$r * (params.rowWords / 4u) + block * VECS + word / BLOCK4];
      // end
      // A part of the vector at a time; all of it at once for one column, where that is little code.
      for (var chunks = 0u; chunks < params.vectorChunks; chunks += CHUNKS) {
        // repeat m COLUMNS
        {
          // repeat j CHUNKS
          {
            let q = ints[8u * (x$m + block) + word + $ju];
            // repeat r ROWS
            dot$m_$r += integerDot(chunkBytes(w$r, $ju), q);
            // end
          }
          // end
        }
        // end
        // repeat r ROWS
        w$r = nextPart(w$r);
        // end
        word += CHUNKS;
      }
    }
    // repeat r ROWS
    {
      let scale = blockScale(row$r, block * VECS, params.rowWords);
      let zero = blockZero(row$r, block * VECS, params.rowWords);
      // repeat m COLUMNS
      acc$m_$r += scale * (scales[x$m + block].x * f32(dot$m_$r) - zero * scales[x$m + block].y);
      // end
    }
    // end
  }

  // repeat m COLUMNS
  // repeat r ROWS
  giveLane($mu % PASS * ROWS + $ru, lane, acc$m_$r);
  // end
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
    let slot = column * ROWS + pair;
    if (first + column < total) {
      storePair(first + column, n + pair, vec2f(laneSum(slot, lane - k), laneSum(slot + 1u, lane - k)));
    }
  }
}
