// Grouped matmul over the blocks that moe_sort made: each block's rows times its own expert's weights.
//
// x:       [T, K] f32 with params.share = topK (gate and up), or [T · topK, K] with share = 1 (down): pair p reads row p / share
// weights: [slots · rows, K] in the layout of the blocks_ fragment; a part has `experts` of them from slot firstSlot on
// gain:    [K] f32, NORM only: x is RMS-normalised (Zhang & Sennrich 2019), the scale applied at the end
// bias:    [slots · rows] f32 of all parts, where there is one
// list:    the work list (moe_sort.wgsl)
// out:     [T · topK, rows] f32, or rows / 2 wide with GATED: weight rows 2j and 2j + 1 are gate and up. Pairs whose expert
//          is in another part, or nowhere, stay as they are
// grid:    (⌈rows / 64⌉, params.blocks), 4 · BLOCK lanes; blocks past the count in use leave at once
//
// A workgroup makes BLOCK × 64 results, a lane 4 × 4: rows 4y … 4y + 3, columns 2x, 2x + 1, 2x + 32 and 2x + 33, so that it has
// gate and up of its outputs. Tiles are 32 deep and lie along K in vec4; a row has one vec4 more against bank conflicts.
// A row is summed in the order of K whatever else is in its block.
const COLUMNS: u32 = 64u;
const DEPTH4: u32 = 8u;
const STRIDE: u32 = DEPTH4 + 1u;
const LANES: u32 = 4u * BLOCK;
const NO_PAIR: u32 = 0xffffffffu;

var<workgroup> xTile: array<vec4f, BLOCK * STRIDE>;
var<workgroup> wTile: array<vec4f, COLUMNS * STRIDE>;
// [row][depth]: what each lane that loads a row saw of its squares
var<workgroup> squares: array<f32, BLOCK * DEPTH4>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32, @builtin(workgroup_id) group: vec3u) {
  let block = group.y;
  if (block >= list[0]) { return; }
  let slot = list[1u + block];
  // Below firstSlot the difference wraps round, past any number of experts.
  let local = slot - params.firstSlot;
  if (local >= params.experts) { return; }

  let columns4 = params.columns / 4u;
  let firstColumn = group.x * COLUMNS;
  let pairsAt = 1u + params.blocks + block * BLOCK;

  // A lane loads the same column of two rows of x, and of 256 / BLOCK rows of the weights.
  let depth = lane % DEPTH4;
  let upper = lane / DEPTH4;
  let lower = upper + BLOCK / 2u;
  let upperAt = pairRow(list[pairsAt + upper]) * columns4;
  let lowerAt = pairRow(list[pairsAt + lower]) * columns4;
  var square = vec2f(0.0);

  let y = lane / 16u;
  let c = 2u * (lane % 16u);
  var acc0 = vec4f(0.0);
  var acc1 = vec4f(0.0);
  var acc2 = vec4f(0.0);
  var acc3 = vec4f(0.0);
  for (var k0 = 0u; k0 < columns4; k0 += DEPTH4) {
    let k4 = k0 + depth;
    var v0 = vec4f(0.0);
    var v1 = vec4f(0.0);
    if (k4 < columns4) {
      v0 = x[upperAt + k4];
      v1 = x[lowerAt + k4];
      if (NORM) {
        square += vec2f(dot(v0, v0), dot(v1, v1));
        v0 *= gainAt(k4);
        v1 *= gainAt(k4);
      }
    }
    xTile[upper * STRIDE + depth] = v0;
    xTile[lower * STRIDE + depth] = v1;
    for (var r = upper; r < COLUMNS; r += BLOCK / 2u) {
      var w = vec4f(0.0);
      if (k4 < columns4) {
        // Rows past the end repeat the last one; their results are not stored.
        let row = local * params.rows + min(firstColumn + r, params.rows - 1u);
        w = weight4(row, k4, params.rowWords);
      }
      wTile[r * STRIDE + depth] = w;
    }
    workgroupBarrier();
    for (var i = 0u; i < DEPTH4; i++) {
      let w0 = wTile[c * STRIDE + i];
      let w1 = wTile[(c + 1u) * STRIDE + i];
      let w2 = wTile[(c + 32u) * STRIDE + i];
      let w3 = wTile[(c + 33u) * STRIDE + i];
      let a0 = xTile[(4u * y) * STRIDE + i];
      let a1 = xTile[(4u * y + 1u) * STRIDE + i];
      let a2 = xTile[(4u * y + 2u) * STRIDE + i];
      let a3 = xTile[(4u * y + 3u) * STRIDE + i];
      acc0 += vec4f(dot(a0, w0), dot(a0, w1), dot(a0, w2), dot(a0, w3));
      acc1 += vec4f(dot(a1, w0), dot(a1, w1), dot(a1, w2), dot(a1, w3));
      acc2 += vec4f(dot(a2, w0), dot(a2, w1), dot(a2, w2), dot(a2, w3));
      acc3 += vec4f(dot(a3, w0), dot(a3, w1), dot(a3, w2), dot(a3, w3));
    }
    workgroupBarrier();
  }
  squares[upper * DEPTH4 + depth] = square.x;
  squares[lower * DEPTH4 + depth] = square.y;
  workgroupBarrier();

  finish(4u * y, list[pairsAt + 4u * y], slot, firstColumn + c, acc0);
  finish(4u * y + 1u, list[pairsAt + 4u * y + 1u], slot, firstColumn + c, acc1);
  finish(4u * y + 2u, list[pairsAt + 4u * y + 2u], slot, firstColumn + c, acc2);
  finish(4u * y + 3u, list[pairsAt + 4u * y + 3u], slot, firstColumn + c, acc3);
}

// Where a block has no more pairs, row 0 stands in.
fn pairRow(pair: u32) -> u32 {
  return select(pair / params.share, 0u, pair == NO_PAIR);
}

// sums: columns n, n + 1, n + 32 and n + 33 of the block's row
fn finish(row: u32, pair: u32, slot: u32, n: u32, sums: vec4f) {
  if (pair == NO_PAIR) { return; }
  var v = sums;
  if (NORM) {
    var square = 0.0;
    for (var i = 0u; i < DEPTH4; i++) { square += squares[row * DEPTH4 + i]; }
    v *= inverseSqrt(square * params.invColumns + params.eps);
  }
  store2(pair, slot, n, v.xy);
  store2(pair, slot, n + 32u, v.zw);
}

fn store2(pair: u32, slot: u32, n: u32, sums: vec2f) {
  if (n >= params.rows) { return; }
  let biasRow = slot * params.rows + n;
  let v = sums + vec2f(biasAt(biasRow), biasAt(biasRow + 1u));
  if (GATED) {
    out[pair * (params.rows / 2u) + n / 2u] = gated(v.x, v.y, params.limit);
  } else {
    out[pair * params.rows + n] = v.x;
    if (n + 1u < params.rows) { out[pair * params.rows + n + 1u] = v.y; }
  }
}
