import { faultsOf } from "../fault.mjs";

export const weights = [
  ...faultsOf(
    "shaders/fragments/weights_bf16.wgsl",
    ["tests/kernels/linear", "tests/kernels/embed"],
    [
      ["bf16: halves swapped", "lo << 16u, lo & 0xffff0000u,", "lo & 0xffff0000u, lo << 16u,"],
      ["bf16: lower half not shifted", "hi << 16u,", "hi,"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_f16.wgsl",
    ["tests/kernels/linear", "tests/kernels/embed"],
    [
      [
        "f16: words swapped",
        "weights[at]), unpack2x16float(weights[at + 1u])",
        "weights[at + 1u]), unpack2x16float(weights[at])",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q8.wgsl",
    ["tests/kernels/embed"],
    [["q8: scale of the next group", "k4 / 8u", "k4 / 8u + 1u"]],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q4.wgsl",
    ["tests/kernels/embed"],
    [
      ["q4: nibbles swapped", "4u * (k4 & 1u)", "4u * (1u - (k4 & 1u))"],
      ["q4: not centred", "- 8.0", "- 7.0"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/group_scale.wgsl",
    ["tests/kernels/embed"],
    [["grouped: scales of a pair swapped", "(group & 1u) == 1u", "(group & 1u) == 0u"]],
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
