import { faultsOf, anyDriver } from "../fault.mjs";

const few = (/** @type {string} */ match) => ({ match });

export const matvec = faultsOf(
  "shaders/matvec.wgsl",
  ["tests/kernels/linear"],
  [
    ["matvec: gain missing", "v *= gain4;", "", few("q4 1×64·100 norm rows 6")],
    ["matvec: mean is a sum", "* params.invColumns + params.eps", "+ params.eps", few("q4 1×64·100 norm rows 6")],
    ["matvec: eps dropped", "* params.invColumns + params.eps", "* params.invColumns", few("x ~ 0.001")],
    ["matvec: last block missing", "block * BLOCK4 < columns4;", "(block + 1u) * BLOCK4 < columns4;", few("f32 1×4·1")],
    ["matvec: columns past the row", "x[x$m + k4 + $ju], inside)", "x[x$m + k4 + $ju], true)", few("f16 1×12·")],
    ["matvec: offset of zero dropped", "part$m_$r - zero * sum$m", "part$m_$r", few("q4 1×64·100 norm rows 6")],
    ["matvec: scale dropped", "+= scale * (part", "+= (part", few("q8 3×12·40")],
    ["matvec: part of a block not left", "block$r = nextPart(block$r);", "", few("q8 3×12·40")],
    ["matvec: rows past the batch", "if (first + column < total) { ", "{ ", few("of 8")],
    ["matvec: grid not folded", "group.z * groups.x + group.x", "group.x", few("folds")],
    ["matvec: pass of the wrong columns", "first + $mu / PASS * PASS", "first", few("q4 5×516.*workgroup:256")],
    [
      "matvec: sum of squares of another column",
      "laneSum(slot + ROWS, lane - k)",
      "laneSum(ROWS, lane - k)",
      few("q4 5×516"),
    ],
    ["matvec: lanes by their groups", "lane / params.lanes)", "lane % params.lanes)", few("f32 1×4·1|q8 3×12·40")],
  ],
);

export const matmulWide = faultsOf(
  "shaders/matmul_wide.wgsl",
  ["tests/kernels/matmul"],
  [
    [
      "matmul wide: barrier after loading dropped",
      "    // end\n    workgroupBarrier();\n    for (var b",
      "    // end\n    for (var b",
      { ...anyDriver, ...few("wide tiles") },
    ],
    ["matmul wide: last columns missing", "k0 < columns4;", "k0 + STEP4 <= columns4;", few("wide tiles")],
    ["matmul wide: x past its row", "let inside = k4 < columns4;", "let inside = true;", few("wide tiles")],
    ["matmul wide: half of a block", "k4 < b - k0 + BLOCK4;", "k4 < b - k0 + BLOCK4 / 2u;", few("wide tiles")],
    [
      "matmul wide: scale of the other row",
      "w1 = (w1 - zero1) * scale1;",
      "w1 = (w1 - zero1) * scale0;",
      few("wide tiles"),
    ],
    ["matmul wide: zero dropped", "w0 = (w0 - zero0) * scale0;", "w0 = w0 * scale0;", few("wide tiles")],
    ["matmul wide: block of the tile before", "let block = b / BLOCK4;", "let block = k0 / BLOCK4;", few("wide tiles")],
    ["matmul wide: gain missing", "v *= select(vec4f(0.0), gainAt(k4), inside);", "", few("wide tiles")],
    ["matmul wide: rows past the batch written", "if (firstM + $iu < total) { store", "{ store", few("wide tiles f32")],
    ["matmul wide: pairs taken apart", "let row1 = min(n + 1u,", "let row1 = min(n + 2u,", few("wide tiles")],
    [
      "matmul wide: sums of squares of one four",
      "i < params.depth4; i++) { sum",
      "i < 1u; i++) { sum",
      few("wide tiles"),
    ],
    ["matmul wide: gather ignored", "xStart(min(", "(params.stride4 * min(", few("wide tiles f32")],
  ],
);

export const matmulShuffle = faultsOf(
  "shaders/matmul_shuffle.wgsl",
  ["tests/kernels/matmul"],
  [
    ["matmul shuffle: last columns missing", "k0 < columns4;", "k0 + STEP4 <= columns4;", few("shuffled")],
    ["matmul shuffle: x past its row", "WHOLE || at$h < columns4;", "true;", few("shuffled")],
    [
      "matmul shuffle: half of a block",
      "k4 < first4 + params.depth4;",
      "k4 < first4 + params.depth4 / 2u;",
      few("shuffled"),
    ],
    [
      "matmul shuffle: another lane's columns",
      "subgroupShuffle(held$i_$h, k4 + $ju)",
      "subgroupShuffle(held$i_$h, k4)",
      few("shuffled.*q4"),
    ],
    ["matmul shuffle: first held twice", "k0 + $hu * HOLDERS + held4", "k0 + held4", few("shuffled.*q4.* 4 lanes")],
    [
      "matmul shuffle: block of the tile before",
      "let block = b / BLOCK4;",
      "let block = k0 / BLOCK4;",
      few("shuffled"),
    ],
    ["matmul shuffle: parts of a block not left", "evens$p = nextPart(evens$p);", "", few("shuffled")],
    ["matmul shuffle: scale of the other row", "vec4f(scales$p.y)", "vec4f(scales$p.x)", few("shuffled.*q[48]")],
    ["matmul shuffle: zero dropped", "vec4f(zeros$p.x)", "vec4f(0.0)", few("shuffled.*q4")],
    ["matmul shuffle: gain missing", "held$i_$h *= gain;", "", few("shuffled.*norm")],
    ["matmul shuffle: squares of one holder", "h < params.holders; h++", "h < 1u; h++", few("shuffled.*norm")],
    [
      "matmul shuffle: squares after the gain",
      "if (NORM) { squares$i += dot(held$i_$h, held$i_$h); }",
      "",
      few("shuffled.*norm"),
    ],
    ["matmul shuffle: rows past the batch written", "if (firstM + $iu < total) {", "{", few("shuffled.*f32")],
    ["matmul shuffle: pairs taken apart", "let odd$p = min(n$p + 1u,", "let odd$p = min(n$p + 2u,", few("shuffled")],
    ["matmul shuffle: second pair of the first lane", "2u * (lane + $pu * LANES)", "2u * lane", few("shuffled")],
    ["matmul shuffle: gather ignored", "xStart(min(", "(params.stride4 * min(", few("shuffled.*rows")],
  ],
);

export const matmul = faultsOf(
  "shaders/matmul.wgsl",
  ["tests/kernels/matmul"],
  [
    [
      "matmul: barrier after loading dropped",
      "    workgroupBarrier();\n    for (var k4",
      "    for (var k4",
      { ...anyDriver, match: "f32 65×172·32" },
    ],
    [
      "matmul: stride of the tile",
      "const STRIDE: u32 = TILE_K4 + 1u;",
      "const STRIDE: u32 = TILE_K4 - 1u;",
      few("f32 65×172·32"),
    ],
    ["matmul: last columns missing", "k0 < columns4;", "k0 + TILE_K4 <= columns4;", few("f32 1×12·17 of 9")],
    ["matmul: x past its row", "let inside = k4 < columns4;", "let inside = true;", few("f32 1×12·17 of 9")],
    ["matmul: weights past their row", "if (k4 < columns4) { w", "{ w", few("f32 65×172·32")],
    ["matmul: rows past the batch written", "if (m < total) {", "{", few("f32 70×12·17 of 130")],
    [
      "matmul: pairs taken apart",
      "LANES_N * (2u * (pair / LANES_N) + (n & 1u))",
      "LANES_N * (pair / LANES_N + 2u * (n & 1u))",
      few("f16 9×60·100"),
    ],
    ["matmul: gain missing", "v *= select(vec4f(0.0), gainAt(k4), inside);", "", few("f32 9×8·17 norm")],
    [
      "matmul: sums of squares of one four",
      "i < params.depth4; i++) { sum",
      "i < 1u; i++) { sum",
      few("f32 9×8·17 norm"),
    ],
    ["matmul: gather ignored", "xStart(min(", "(params.stride4 * min(", few("f32 66×20·17")],
    [
      "matmul: second tile of rows",
      "let firstM = group.y * TILE_M;",
      "let firstM = group.y * TILE_M / 2u;",
      few("f32 129×132·1"),
    ],
    [
      "matmul: one load of x for all",
      "(lane + $tu * LANES) / TILE_K4, total",
      "lane / TILE_K4, total",
      few("q4 35×52·70"),
    ],
  ],
);

export const epilogue = faultsOf(
  "shaders/fragments/epilogue.wgsl",
  ["tests/kernels/linear"],
  [
    ["epilogue: residual dropped", "params.scale * v + residualAt(at)", "params.scale * v", few("parts 50")],
    [
      "epilogue: scale of the residual too",
      "params.scale * v + residualAt(at)",
      "params.scale * (v + residualAt(at))",
      few("bias residual scale"),
    ],
    ["epilogue: bias dropped", "dots + vec2f(biasAt(global), biasAt(global + 1u))", "dots", few("parts 50")],
    ["epilogue: bias of the part", "biasAt(global), biasAt(global + 1u)", "biasAt(n), biasAt(n + 1u)", few("parts 50")],
    ["epilogue: part starts at 0", "let global = params.rowStart + n;", "let global = n;", few("q8 3×12·40 parts")],
    [
      "epilogue: past the last row",
      "if (n + 1u < params.rowCount) { storeOne",
      "{ storeOne",
      few("f32 1×12·17|q8 1×12·17"),
    ],
    ["epilogue: rows past the part", "if (n >= params.rowCount) { return; }", "", few("q8 3×12·40 parts")],
    ["epilogue: gate and up swapped", "gated(v.x, v.y,", "gated(v.y, v.x,", few("gate silu")],
    ["epilogue: cap outside", "params.cap * preciseTanh(v / params.cap)", "preciseTanh(v)", few("softCap")],
  ],
);

export const activation = faultsOf(
  "shaders/fragments/activation.wgsl",
  ["tests/kernels/linear"],
  [
    ["activation: gelu by logistic", "1.5957691216", "1.702", few("gelu-tanh")],
    ["activation: gelu's cube", "0.044715 * near", "0.44715 * near", few("gelu-tanh")],
    [
      "activation: tail on the wrong side",
      "select(tail, 1.0 - tail, v > 0.0)",
      "select(1.0 - tail, tail, v > 0.0)",
      few("gelu-erf"),
    ],
    ["activation: erf's last term", "-1.453152027 + t * 1.061405429", "-1.453152027", few("gelu-erf")],
    ["activation: relu not squared", "max(v, 0.0) * max(v, 0.0)", "max(v, 0.0)", few("relu2")],
    ["activation: up not clamped", "(clamp(up, -limit, limit) + 1.0)", "(up + 1.0)", few("clamped")],
    ["activation: up alone", "(clamp(up, -limit, limit) + 1.0)", "clamp(up, -limit, limit)", few("clamped")],
    ["activation: tanh without its sign", "return sign(v) * (1.0 - e)", "return (1.0 - e)", few("softCap")],
    ["activation: tanh's series too far", "if (s < 0.09)", "if (s < 9.0)", few("softCap")],
  ],
);

export const laneSums = [
  ...faultsOf(
    "shaders/fragments/lane_sums_subgroups.wgsl",
    ["tests/kernels/linear"],
    [
      ["lane sums: barrier dropped", "  workgroupBarrier();\n", "", { ...anyDriver, match: "q4 [15]×516" }],
      [
        "lane sums: one subgroup's sum missing",
        "i < params.lanes; i += reach",
        "i + reach < params.lanes; i += reach",
        few("q4 1×516"),
      ],
      [
        "lane sums: another row's lanes in a subgroup",
        "min(size, params.lanes)",
        "size",
        few("q4 1×516.*workgroup:64"),
      ],
      [
        "lane sums: a lane's values by one slot",
        "sum = laneValues[slot * WORKGROUP + lane]",
        "sum = laneValues[lane]",
        few("q4 1×516"),
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/lane_sums_memory.wgsl",
    ["tests/kernels/linear"],
    [
      [
        "lane sums: tree's barrier dropped",
        "    workgroupBarrier();\n    if",
        "    if",
        { ...anyDriver, match: "q4 1×516.*subgroups:false" },
      ],
      [
        "lane sums: half of the lanes",
        "distance = params.lanes / 2u",
        "distance = params.lanes / 4u",
        few("q4 1×516.*subgroups:false"),
      ],
      ["lane sums: another group's first lane", "WORKGROUP + first]", "WORKGROUP]", few("q4 1×516.*subgroups:false")],
    ],
  ),
];

export const packed = [
  ...faultsOf(
    "shaders/pack_rows.wgsl",
    ["tests/kernels/linear-packed"],
    [
      ["pack: scale by the step", "vec2f(d, d * f32(sum))", "vec2f(d, f32(sum))", few("1 × 64, x")],
      ["pack: last column of a four not seen", "max(v.z, v.w)", "v.z", few("1 × 2052, x")],
      ["pack: next row's columns", "let end = min(first + 8u, columns4);", "let end = first + 8u;", few("3 × 36, x")],
      ["pack: rows of ints", "ints[m * 8u * blocks + k4]", "ints[m * 2u * columns4 + k4]", few("3 × 36, x")],
      ["pack: rows of scales", "scales[m * blocks + block]", "scales[m + block]", few("3 × 36, x")],
      [
        "pack: rounded down",
        "round(x[start + k4] * gainAt(k4) * steps)",
        "floor(x[start + k4] * gainAt(k4) * steps)",
        few("1 × 64, x"),
      ],
      ["pack: r missing", "top > 1e-30) * r;", "top > 1e-30);", few("q4z-g64 1×36")],
      [
        "pack: gain missing from the integers",
        "round(x[start + k4] * gainAt(k4) * steps)",
        "round(x[start + k4] * steps)",
        few("q4z-g64 1×36"),
      ],
      ["pack: zeros divided", "select(0.0, 127.0 / top, top > 1e-30)", "127.0 / top", few("zeros of zeros")],
      ["pack: blocks past 64", "block += LANES", "block += 2u * LANES", few("1 × 2052, x")],
    ],
  ),
  ...faultsOf(
    "shaders/matvec_packed.wgsl",
    ["tests/kernels/linear-packed"],
    [
      ["matvec packed: zero dropped", " - zero * scales[x$m + block].y", "", few("q4 1×4·2 ")],
      ["matvec packed: scale of x dropped", "scales[x$m + block].x * f32(dot$m_$r)", "f32(dot$m_$r)", few("q4 1×4·2 ")],
      ["matvec packed: second vector of a block", "block * VECS + word / BLOCK4]", "block * VECS]", few("q8 1×260·21")],
      ["matvec packed: words of x", "block) + word + $ju]", "block) + $ju]", few("q8 1×260·21")],
      [
        "matvec packed: group of the first vector",
        "blockScale(row$r, block * VECS,",
        "blockScale(row$r, block,",
        few("q8 1×260·21"),
      ],
      ["matvec packed: rows of x", "total - 1u) * blocks", "total - 1u)", few("q4z-g64 5×64")],
      ["matvec packed: last block missing", "block < blocks; block", "block + 1u < blocks; block", few("q8 1×260·21")],
      ["matvec packed: rows past the batch", "if (first + column < total) {", "{", few("2×64·33 of 8")],
    ],
  ),
  ...faultsOf(
    "shaders/matmul_packed.wgsl",
    ["tests/kernels/linear-packed"],
    [
      ["matmul packed: zero dropped", " - d.y * vec2f(s0.y, s1.y)", "", few("2×64·33 of 20")],
      [
        "matmul packed: stride of the tile",
        "const STRIDE: u32 = 9u;",
        "const STRIDE: u32 = 7u;",
        few("2×64·33 of 20|9×32"),
      ],
      [
        "matmul packed: last block missing",
        "block < blocks; block",
        "block + 1u < blocks; block",
        few("2×64·33 of 20"),
      ],
      ["matmul packed: rows past the batch", "if (m < total) {", "{", few("2×64·33 of 20")],
      [
        "matmul packed: scales of one row",
        "if (at % 8u == 0u) { scaleX",
        "if (at == 0u) { scaleX",
        few("2×64·33 of 20"),
      ],
      [
        "matmul packed: pairs taken apart",
        "LANES_N * (2u * (pair / LANES_N) + (n & 1u))",
        "LANES_N * (pair / LANES_N + 2u * (n & 1u))",
        few("20×64·140"),
      ],
      [
        "matmul packed: barrier before the next tile dropped",
        "    // end\n    workgroupBarrier();\n  }",
        "    // end\n  }",
        { ...anyDriver, match: "(64|65|20)×" },
      ],
      ["matmul packed: words of a block", "at % 8u / BLOCK4;", "at % 4u / BLOCK4;", few("9×32·|9×36·|64×32·")],
    ],
  ),
];
