// Linear layer over many rows, the wide way: each lane has a pair of weight rows of its own and ROWS rows of x.
//
// x, weights, gain, out, bias, residual, NORM and GATHER: as in matvec.wgsl
// grid: (⌈rows of the part / (2 · LANES)⌉ folded into x and z, ⌈M / ROWS⌉), LANES lanes
//
// Weights go from memory to registers, unpacked once for ROWS rows; only x goes through workgroup memory, STEP4 fours of
// columns at a time, and there all lanes read the same vector at once. So it asks little of workgroup memory, where
// matmul.wgsl asks much, and has fewer multiply-adds to a load: for GPUs whose workgroup memory is slow and broadcasts cheap.
// Lines between "repeat" and "end" stand once for each value of $i, $j, $t (kernels/unroll.ts).

var<workgroup> tileX: array<vec4f, ROWS * STEP4>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let firstM = group.y * ROWS;
  let firstN = (group.z * groups.x + group.x) * 2u * LANES;
  if (firstM >= total || firstN >= params.rowCount) { return; }
  let columns4 = params.columns / 4u;
  let n = firstN + 2u * lane;
  // Rows past the end repeat the last one and are not stored: the barriers below need every lane.
  let row0 = min(n, params.rowCount - 1u);
  let row1 = min(n + 1u, params.rowCount - 1u);
  // repeat t LOADS
  let x$t = xStart(min(firstM + (lane + $tu * LANES) / STEP4, total - 1u));
  var squares$t = 0.0;
  // end
  // repeat i ROWS
  var acc$i = vec2f(0.0);
  // end

  for (var k0 = 0u; k0 < columns4; k0 += STEP4) {
    // repeat t LOADS
    if (lane + $tu * LANES < ROWS * STEP4) {
      let at = lane + $tu * LANES;
      let k4 = k0 + at % STEP4;
      let inside = k4 < columns4;
      var v = select(vec4f(0.0), x[x$t + k4], inside);
      if (NORM) {
        squares$t += dot(v, v);
        v *= select(vec4f(0.0), gainAt(k4), inside);
      }
      tileX[at] = v;
    }
    // end
    workgroupBarrier();
    for (var b = k0; b < min(k0 + STEP4, columns4); b += BLOCK4) {
      let block = b / BLOCK4;
      var block0 = weights[row0 * (params.rowWords / 4u) + block];
      var block1 = weights[row1 * (params.rowWords / 4u) + block];
      let scale0 = blockScale(row0, block, params.rowWords);
      let scale1 = blockScale(row1, block, params.rowWords);
      let zero0 = blockZero(row0, block, params.rowWords);
      let zero1 = blockZero(row1, block, params.rowWords);
      for (var k4 = b - k0; k4 < b - k0 + BLOCK4; k4 += CHUNKS) {
        // repeat j CHUNKS
        {
          var w0 = chunk(block0, $ju);
          var w1 = chunk(block1, $ju);
          if (GROUPED) {
            w0 = (w0 - zero0) * scale0;
            w1 = (w1 - zero1) * scale1;
          }
          // repeat i ROWS
          {
            let a = tileX[$iu * STEP4 + k4 + $ju];
            acc$i += vec2f(dot(a, w0), dot(a, w1));
          }
          // end
        }
        // end
        block0 = nextPart(block0);
        block1 = nextPart(block1);
      }
    }
    workgroupBarrier();
  }

  if (NORM) {
    // repeat t LOADS
    if (lane + $tu * LANES < ROWS * STEP4) { tileX[lane + $tu * LANES] = vec4f(squares$t); }
    // end
    workgroupBarrier();
  }
  // repeat i ROWS
  if (firstM + $iu < total) { storePair(firstM + $iu, n, acc$i * rowScale($iu)); }
  // end
}

// 1 / rms(x) of a row of the tile, from the sums of squares.
fn rowScale(row: u32) -> f32 {
  if (!NORM) { return 1.0; }
  var sum = 0.0;
  for (var i = 0u; i < params.depth4; i++) { sum += tileX[row * STEP4 + i].x; }
  return inverseSqrt(sum * params.invColumns + params.eps);
}
