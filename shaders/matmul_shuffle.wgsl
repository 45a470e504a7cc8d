// Linear layer over many rows, the wide way with subgroups: each lane has PAIRS pairs of weight rows of its own and ROWS
// rows of x, whose columns the lanes of a subgroup hold between them.
//
// x, weights, gain, out, bias, residual, NORM and GATHER: as in matvec.wgsl
// grid: (⌈M / ROWS⌉, ⌈rows of the part / (2 · PAIRS · LANES)⌉), LANES lanes: tiles of the same weights follow each other
//
// As in matmul_wide.wgsl weights go from memory to registers, unpacked once for ROWS rows. x does not go through workgroup
// memory, though: the lanes of a subgroup load HOLDERS fours of columns of a row at a time, one each, and all read them by
// shuffles. So nothing is loaded twice by a subgroup and there are no barriers: for devices whose registers can be
// broadcast cheaply, and where each load costs. HOLDERS is at most the smallest subgroup size of the device; in larger
// subgroups the lanes past it hold copies. STEP4 = HELD · HOLDERS fours of columns are whole blocks of weights;
// WHOLE: the columns are whole steps.
// Lines between "repeat" and "end" stand once for each value of $i, $h, $j, $p (kernels/unroll.ts).

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u,
        @builtin(subgroup_invocation_id) member: u32) {
  let total = select(batch.rows, batch.samples, GATHER);
  let firstM = group.x * ROWS;
  let firstN = group.y * 2u * PAIRS * LANES;
  if (firstM >= total || firstN >= params.rowCount) { return; }
  let columns4 = params.columns / 4u;
  let held4 = member % HOLDERS;
  // Rows past the end repeat the last one and are not stored: shuffles need every lane.
  // repeat i ROWS
  let x$i = xStart(min(firstM + $iu, total - 1u));
  var squares$i = 0.0;
  // repeat p PAIRS
  var acc$i_$p = vec2f(0.0);
  // end
  // end
  // repeat p PAIRS
  let n$p = firstN + 2u * (lane + $pu * LANES);
  let even$p = min(n$p, params.rowCount - 1u);
  let odd$p = min(n$p + 1u, params.rowCount - 1u);
  // end

  for (var k0 = 0u; k0 < columns4; k0 += STEP4) {
    // repeat h HELD
    let at$h = k0 + $hu * HOLDERS + held4;
    let inside$h = WHOLE || at$h < columns4;
    // repeat i ROWS
    var held$i_$h = select(vec4f(0.0), x[x$i + at$h], inside$h);
    if (NORM) { squares$i += dot(held$i_$h, held$i_$h); }
    // end
    if (NORM) {
      let gain = select(vec4f(0.0), gainAt(at$h), inside$h);
      // repeat i ROWS
      held$i_$h *= gain;
      // end
    }
    // end
    for (var b = k0; b < min(k0 + STEP4, columns4); b += BLOCK4) {
      let block = b / BLOCK4;
      // repeat p PAIRS
      var evens$p = weights[even$p * (params.rowWords / 4u) + block];
      var odds$p = weights[odd$p * (params.rowWords / 4u) + block];
      let scales$p = vec2f(blockScale(even$p, block, params.rowWords), blockScale(odd$p, block, params.rowWords));
      let zeros$p = -scales$p * vec2f(blockZero(even$p, block, params.rowWords), blockZero(odd$p, block, params.rowWords));
      // end
      // repeat h HELD
      {
        let first4 = select(b - k0, 0u, HELD > 1u);
        for (var k4 = first4; k4 < first4 + params.depth4; k4 += CHUNKS) {
          // repeat j CHUNKS
          {
            // repeat p PAIRS
            var w$p_0 = chunk(evens$p, $ju);
            var w$p_1 = chunk(odds$p, $ju);
            if (GROUPED) {
              w$p_0 = fma(w$p_0, vec4f(scales$p.x), vec4f(zeros$p.x));
              w$p_1 = fma(w$p_1, vec4f(scales$p.y), vec4f(zeros$p.y));
            }
            // end
            // repeat i ROWS
            {
              let a = subgroupShuffle(held$i_$h, k4 + $ju);
              // repeat p PAIRS
              acc$i_$p += vec2f(dot(a, w$p_0), dot(a, w$p_1));
              // end
            }
            // end
          }
          // end
          // repeat p PAIRS
          evens$p = nextPart(evens$p);
          odds$p = nextPart(odds$p);
          // end
        }
      }
      // end
    }
  }

  // repeat i ROWS
  {
    var scale = 1.0;
    if (NORM) {
      var sum = 0.0;
      for (var h = 0u; h < params.holders; h++) { sum += subgroupShuffle(squares$i, h); }
      scale = inverseSqrt(sum * params.invColumns + params.eps);
    }
    if (firstM + $iu < total) {
      // repeat p PAIRS
      storePair(firstM + $iu, n$p, acc$i_$p * scale);
      // end
    }
  }
  // end
}
