import { faultsOf, pure } from "../fault.mjs";

const q4 = { match: "to q4|into q4" };

export const quantised = [
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/engine/quantised"],
    [
      ["quantise: scales of a pair swapped", "16u * (i & 1u)", "16u * (1u - (i & 1u))"],
      ["quantise: last column of a group not seen", "i < count; i++", "i + 1u < count; i++"],
      ["quantise: rounds towards zero", "floor(magnitude / scale + 0.5)", "max(0.0, floor(magnitude / scale) - 1.0)"],
      ["quantise: rows in turn ignored", "params.firstRow + row * params.rowStep", "params.firstRow + row"],
      ["quantise: sign lost", "select(i32(i), -i32(i),", "select(i32(i), i32(i),"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/blocks_grouped.wgsl",
    ["tests/engine/quantised"],
    [
      ["q4: zero is not 8", "select(0.0, 8.0, WEIGHT_BITS == 4u)", "select(0.0, 7.0, WEIGHT_BITS == 4u)"],
      [
        "q8: scale of the neighbour",
        "unpack2x16float(weightWord(row * rowWords + integerWords() + group / 2u))",
        "unpack2x16float(weightWord(row * rowWords + integerWords() + group))",
      ],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/searched_scale.wgsl",
    ["tests/kernels/repack"],
    [
      ["searched: both sides 8 steps long", "select(7u, 8u,", "select(8u, 8u,", q4],
      ["searched: the first length for all", "if (error[i] < least)", "if (false)", q4],
      ["searched: units cut, not rounded", "(significand >> (shift - 1u)) + 1u", "significand >> (shift - 1u)", q4],
      ["searched: one step of eight less", "112u, 120u, 128u, 140u", "112u, 120u, 126u, 140u", q4],
      ["searched: units a bit off", "(139u << 23u)", "(138u << 23u)", q4],
      ["searched: the last of the largest", "> (top & 0x7fffffffu)", ">= (top & 0x7fffffffu)", q4],
    ],
  ),
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/kernels/repack"],
    [
      ["searched: the scale's sign", "SEARCHED && (top & 0x80000000u) == 0u", "SEARCHED && false", q4],
      [
        "searched: integers of the wrong side",
        "select(steps, -steps, side == 8u)",
        "select(-steps, steps, side == 8u)",
        q4,
      ],
    ],
  ),
  ...faultsOf(
    "src/weights/quant/search.ts",
    ["tests/weights/grouped"],
    [
      ["searched: one length alone", "[112, 120, 128, 140]", "[128]", pure],
      ["searched: plain rounding", "const SIDES = [8, 7]", "const SIDES = [7, 7]", pure],
      ["searched: grids not kept", "- largest) < side)", "- largest) < 0)", pure],
      ["searched: the worst of all", "if (error < least)", "if (error > least || chosen === 0)", pure],
      [
        "searched: step without its fit",
        "Math.floor((2 * along + lengths) / (2 * lengths))",
        "Math.floor(step * 1.1)",
        pure,
      ],
    ],
  ),
];
