import { faultsOf } from "../fault.mjs";

export const quantised = [
  ...faultsOf(
    "shaders/quantise.wgsl",
    ["tests/engine/quantised"],
    [
      [
        "quantise: scales of a pair swapped",
        "scales |= quantiseGroup(row, 2u * id.x + 1u, start) << 16u",
        "scales = (scales << 16u) | quantiseGroup(row, 2u * id.x + 1u, start)",
      ],
      ["quantise: last column of a group not seen", "i < PER_GROUP; i++) { top", "i + 1u < PER_GROUP; i++) { top"],
      ["quantise: rounds towards zero", "floor(magnitude / scale + 0.5)", "max(0.0, floor(magnitude / scale) - 1.0)"],
      ["quantise: rows in turn ignored", "params.firstRow + row * params.rowStep", "params.firstRow + row"],
      ["quantise: sign lost", "select(i32(i), -i32(i),", "select(i32(i), i32(i),"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q4.wgsl",
    ["tests/engine/quantised"],
    [
      ["q4: zero is not 8", "- 8.0", "- 7.0"],
      ["q4: nibbles of a byte swapped", "4u * (k4 & 1u))", "4u * (1u - (k4 & 1u)))"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/weights_q8.wgsl",
    ["tests/engine/quantised"],
    [
      ["q8: unsigned", "unpack4xI8", "unpack4xU8"],
      ["q8: scale of the neighbour", "k4 / 8u)", "k4 / 4u)"],
    ],
  ),
  ...faultsOf(
    "shaders/fragments/group_scale.wgsl",
    ["tests/engine/quantised"],
    [["group scale: always the first of its word", "select(pair.x, pair.y, (group & 1u) == 1u)", "pair.x"]],
  ),
];
