import { faultsOf } from "../fault.mjs";

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
];
