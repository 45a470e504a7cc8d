// Linear layer over many rows: y[m, n] = Σ_k x[m, k] · w[n, k] in tiles, bound by multiply-adds.
//
// x, weights, gain, out, bias, residual, NORM and GATHER: as in matvec.wgsl
// grid: (⌈rows of the part / TILE_N⌉ folded into x and z, ⌈M / TILE_M⌉), LANES_M · LANES_N lanes
//
// A workgroup makes TILE_M × TILE_N results, TILE_K4 fours of columns at a time: x and the unpacked weights go through
// workgroup memory once, and a lane multiplies LANE_M rows with LANE_PAIRS pairs of weight rows in registers. Tiles keep k
// innermost, so a dot of vec4 serves 4 columns and nothing is transposed; a tile's row takes one vector more than it has,
// so that neighbouring lanes read different banks. x stays f32 there, for activations of 1e5 are past f16; WeightTile is
// vec4h where the weights are f16 anyway and the device has it: the same bits in half the memory.
// Sums of squares for the deferred RMS scale are made by the lanes that load x.
// Lines between "repeat" and "end" stand once for each value of $i, $p, $t (kernels/unroll.ts).
const LANES: u32 = LANES_M * LANES_N;
const STRIDE: u32 = TILE_K4 + 1u;

var<workgroup> tileX: array<vec4f, TILE_M * STRIDE>;
var<workgroup> tileW: array<WeightTile, TILE_N * STRIDE>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(num_workgroups) groups: vec3u) {
  let total = select(batch.rows, batch.samples, GATHER);
  let firstM = group.y * TILE_M;
  let firstN = (group.z * groups.x + group.x) * TILE_N;
  if (firstM >= total || firstN >= params.rowCount) { return; }
  let columns4 = params.columns / 4u;
  let laneM = lane / LANES_N;
  let laneN = lane % LANES_N;

  // Rows past the end repeat the last one and are not stored.
  // repeat t LOADS_X
  let x$t = xStart(min(firstM + (lane + $tu * LANES) / TILE_K4, total - 1u));
  var squares$t = 0.0;
  // end
  // repeat i LANE_M
  // repeat p LANE_PAIRS
  var acc$i_$p = vec2f(0.0);
  // end
  // end

  for (var k0 = 0u; k0 < columns4; k0 += TILE_K4) {
    // repeat t LOADS_X
    if (lane + $tu * LANES < TILE_M * TILE_K4) {
      let at = lane + $tu * LANES;
      let k4 = k0 + at % TILE_K4;
      let inside = k4 < columns4;
      var v = select(vec4f(0.0), x[x$t + k4], inside);
      if (NORM) {
        squares$t += dot(v, v);
        v *= select(vec4f(0.0), gainAt(k4), inside);
      }
      tileX[at / TILE_K4 * STRIDE + at % TILE_K4] = v;
    }
    // end
    for (var at = lane; at < TILE_N * TILE_K4; at += LANES) {
      let n = at / TILE_K4;
      let k4 = k0 + at % TILE_K4;
      var w = vec4f(0.0);
      if (k4 < columns4) { w = weight4(min(firstN + n, params.rowCount - 1u), k4, params.rowWords); }
      tileW[placeOf(n) * STRIDE + at % TILE_K4] = WeightTile(w);
    }
    workgroupBarrier();
    for (var k4 = 0u; k4 < params.depth4; k4++) {
      // repeat i LANE_M
      let a$i = tileX[(laneM + $iu * LANES_M) * STRIDE + k4];
      // end
      // repeat p LANE_PAIRS
      {
        let w0 = vec4f(tileW[(laneN + (2u * $pu) * LANES_N) * STRIDE + k4]);
        let w1 = vec4f(tileW[(laneN + (2u * $pu + 1u) * LANES_N) * STRIDE + k4]);
        // repeat i LANE_M
        acc$i_$p += vec2f(dot(a$i, w0), dot(a$i, w1));
        // end
      }
      // end
    }
    workgroupBarrier();
  }

  if (NORM) {
    // repeat t LOADS_X
    if (lane + $tu * LANES < TILE_M * TILE_K4) {
      let at = lane + $tu * LANES;
      tileX[at / TILE_K4 * STRIDE + at % TILE_K4] = vec4f(squares$t);
    }
    // end
    workgroupBarrier();
  }
  // repeat i LANE_M
  {
    let m = firstM + laneM + $iu * LANES_M;
    if (m < total) {
      let r = rowScale(laneM + $iu * LANES_M);
      // repeat p LANE_PAIRS
      storePair(m, firstN + 2u * (laneN + $pu * LANES_N), acc$i_$p * r);
      // end
    }
  }
  // end
}

// Where row n of the weight tile lies: a lane's rows are pairs of neighbours (gate and up), and the rows that all lanes
// read at a time lie side by side.
fn placeOf(n: u32) -> u32 {
  let pair = n / 2u;
  return pair % LANES_N + LANES_N * (2u * (pair / LANES_N) + (n & 1u));
}

// 1 / rms(x) of a row of the tile, from the sums of squares.
fn rowScale(row: u32) -> f32 {
  if (!NORM) { return 1.0; }
  var sum = 0.0;
  for (var i = 0u; i < params.depth4; i++) { sum += tileX[row * STRIDE + i].x; }
  return inverseSqrt(sum * params.invColumns + params.eps);
}
