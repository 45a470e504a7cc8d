import { faultsOf } from "../fault.mjs";

export const weights = [
  ...faultsOf(
    "shaders/fragments/weights_bf16.wgsl",
    ["tests/kernels/embed"],
    [
      ["bf16: halves swapped", "lo << 16u, lo & 0xffff0000u,", "lo & 0xffff0000u, lo << 16u,"],
      ["bf16: lower half not shifted", "hi << 16u,", "hi,"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_f16.wgsl",
    ["tests/kernels/embed"],
    [
      [
        "f16: words swapped",
        "weights[at]), unpack2x16float(weights[at + 1u])",
        "weights[at + 1u]), unpack2x16float(weights[at])",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_grouped.wgsl",
    ["tests/kernels/embed"],
    [
      [
        "words: scale of the next group",
        "let group = 4u * k4 / WEIGHT_GROUP;",
        "let group = 4u * k4 / WEIGHT_GROUP + 1u;",
      ],
      ["words: nibbles swapped", "4u * (k4 & 1u)", "4u * (1u - (k4 & 1u))"],
      ["words: not centred", "select(0u, 8u, WEIGHT_BITS == 4u)", "0u"],
      ["words: zero points of 8 bits unsigned", "bitcast<i32>(zero << 24u) >> 24u", "bitcast<i32>(zero)"],
      ["words: zero points before the last scale", "(groups + 1u) / 2u", "groups / 2u"],
      ["words: scales of a pair swapped", "(group & 1u) == 1u", "(group & 1u) == 0u"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/blocks_grouped.wgsl",
    ["tests/kernels/linear", "tests/kernels/matmul"],
    [
      ["blocks: unsigned", "vec4f(unpack4xI8(bytes))", "vec4f(unpack4xU8(bytes))", { match: "q8 3×12·40" }],
      ["blocks: nibbles swapped", "4u * (j & 1u)", "4u * (1u - (j & 1u))", { match: "q4 1×64·100" }],
      ["blocks: not centred", "select(0.0, 8.0, WEIGHT_BITS == 4u)", "0.0", { match: "q4 1×64·100" }],
      [
        "blocks: zero point of another group",
        "(word >> (8u * (group & 3u))) & 255u",
        "word & 255u",
        { match: "q4z 1×260" },
      ],
      ["blocks: zero points before the last scale", "(groups + 1u) / 2u", "groups / 2u", { match: "q4z 1×260" }],
      ["blocks: scales of a pair swapped", "(group & 1u) == 1u", "(group & 1u) == 0u", { match: "q4z 1×260" }],
      ["blocks: parts of a block", "block.yzwx", "block.zwxy", { match: "q4z-g64 6×132" }],
      ["blocks: tile's zero dropped", "(q - blockZero(row, block, rowWords))", "q", { match: "q4 10×172" }],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/blocks_f32.wgsl",
    ["tests/kernels/matmul"],
    [["blocks: row of f32 in words", "row * (rowWords / 4u) + k4", "row * rowWords + k4", { match: "f32 65×172·32" }]],
  ),
  ...faultsOf(
    "shaders/fragments/blocks_f16.wgsl",
    ["tests/kernels/linear"],
    [["blocks: words of f16", "block[2u * j + 1u]", "block[2u * j]", { match: "f16 3×12·40" }]],
  ),
  ...faultsOf(
    "shaders/fragments/blocks_bf16.wgsl",
    ["tests/kernels/linear"],
    [
      [
        "blocks: halves of bf16",
        "lo << 16u, lo & 0xffff0000u,",
        "lo & 0xffff0000u, lo << 16u,",
        { match: "bf16 2×64·68" },
      ],
    ],
  ),
  ...faultsOf(
    "shaders/embed.wgsl",
    ["tests/kernels/embed"],
    [
      ["embed: scale dropped", "params.scale * weight4", "weight4"],
      ["embed: last token not taken from the state", "if (token == FROM_STATE)", "if (false)"],
      ["embed: part's start ignored", "let local = token - params.rowStart;", "let local = token;"],
      ["embed: part's end ignored", "if (local >= params.rowCount) { return; }", ""],
      ["embed: rows past the batch written", "m >= batch.rows || ", ""],
    ],
  ),
];
