// matmul.wgsl by integer dot products: rows of x come in 8 bits (pack_rows.wgsl), weights are quantised ones.
//
// ints:    [M, 8 · blocks] u32: 32 signed bytes a block;  scales: [M, blocks] vec2f: d, d · Σ q
// weights: [N, rowWords / 4] vec4u in a grouped layout (blocks_grouped)
// out, bias, residual: see fragments/epilogue.wgsl
// grid: (⌈rows of the part / TILE_N⌉ folded into x and z, ⌈M / TILE_M⌉), LANES_M · LANES_N lanes
//
// A tile goes 32 columns at a time, which have one scale on each side: 8 words a row, whose 4-byte dots add up exactly in
// i32, and are scaled once: scale · (d · Σ qw·qx − zero · d · Σ qx). Tiles lie as in matmul.wgsl.
// Lines between "repeat" and "end" stand once for each value of $i, $p (kernels/unroll.ts).
const LANES: u32 = LANES_M * LANES_N;
const STRIDE: u32 = 9u;  // words of a tile's row, and one more for the banks

var<workgroup> tileX: array<u32, TILE_M * STRIDE>;
var<workgroup> tileW: array<u32, TILE_N * STRIDE>;
var<workgroup> scaleX: array<vec2f, TILE_M>;
var<workgroup> scaleW: array<vec2f, TILE_N>;  // scale, scale · zero

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let firstM = group.y * TILE_M;
  let firstN = (group.z * groups.x + group.x) * TILE_N;
  if (firstM >= total || firstN >= params.rowCount) { return; }
  let blocks = (params.columns + 31u) / 32u;
  let laneM = lane / LANES_N;
  let laneN = lane % LANES_N;
  // repeat i LANE_M
  // repeat p LANE_PAIRS
  var acc$i_$p = vec2f(0.0);
  // end
  // end

  for (var block = 0u; block < blocks; block++) {
    // Rows past the end repeat the last one and are not stored.
    for (var at = lane; at < TILE_M * 8u; at += LANES) {
      let row = min(firstM + at / 8u, total - 1u) * blocks + block;
      tileX[at / 8u * STRIDE + at % 8u] = ints[8u * row + at % 8u];
      if (at % 8u == 0u) { scaleX[at / 8u] = scales[row]; }
    }
    for (var at = lane; at < TILE_N * 8u; at += LANES) {
      let row = min(firstN + at / 8u, params.rowCount - 1u);
      let part = block * (8u / BLOCK4) + at % 8u / BLOCK4;
      let place = placeOf(at / 8u);
      tileW[place * STRIDE + at % 8u] = chunkBytes(weights[row * (params.rowWords / 4u) + part], at % BLOCK4);
      if (at % 8u == 0u) {
        let scale = blockScale(row, part, params.rowWords);
        scaleW[place] = vec2f(scale, scale * blockZero(row, part, params.rowWords));
      }
    }
    workgroupBarrier();
    // repeat i LANE_M
    // repeat p LANE_PAIRS
    var dot$i_$p = vec2i(0);
    // end
    // end
    for (var k = 0u; k < params.wordsABlock; k++) {
      // repeat i LANE_M
      let a$i = tileX[(laneM + $iu * LANES_M) * STRIDE + k];
      // end
      // repeat p LANE_PAIRS
      {
        let w0 = tileW[(laneN + (2u * $pu) * LANES_N) * STRIDE + k];
        let w1 = tileW[(laneN + (2u * $pu + 1u) * LANES_N) * STRIDE + k];
        // repeat i LANE_M
        dot$i_$p += vec2i(integerDot(w0, a$i), integerDot(w1, a$i));
        // end
      }
      // end
    }
    // repeat p LANE_PAIRS
    {
      let s0 = scaleW[laneN + (2u * $pu) * LANES_N];
      let s1 = scaleW[laneN + (2u * $pu + 1u) * LANES_N];
      // repeat i LANE_M
      {
        let d = scaleX[laneM + $iu * LANES_M];
        acc$i_$p += d.x * vec2f(s0.x, s1.x) * vec2f(dot$i_$p) - d.y * vec2f(s0.y, s1.y);
      }
      // end
    }
    // end
    workgroupBarrier();
  }

  // repeat i LANE_M
  {
    let m = firstM + laneM + $iu * LANES_M;
    if (m < total) {
      // repeat p LANE_PAIRS
      storePair(m, firstN + 2u * (laneN + $pu * LANES_N), acc$i_$p);
      // end
    }
  }
  // end
}

// Where row n of the weight tile lies: see matmul.wgsl.
fn placeOf(n: u32) -> u32 {
  let pair = n / 2u;
  return pair % LANES_N + LANES_N * (2u * (pair / LANES_N) + (n & 1u));
}
