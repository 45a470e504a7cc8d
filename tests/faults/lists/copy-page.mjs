import { faultsOf } from "../fault.mjs";

export const copy = [
  ...faultsOf(
    "shaders/copy_page.wgsl",
    ["tests/kernels/copy-page"],
    [
      ["copy: keys only", "  pool[word.y + params.valueOffset] = pool[word.x + params.valueOffset];\n", ""],
      ["copy: one copy too many", "id.y >= batch.copies", "id.y > batch.copies"],
    ],
  ),
  ...faultsOf(
    "src/kernels/attention.ts",
    ["tests/kernels/copy-page"],
    [["copy: f16 values at an element, not a word", "valueOffset : valueOffset / 2", "valueOffset : valueOffset"]],
  ),
];
